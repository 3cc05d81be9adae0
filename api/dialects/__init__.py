"""The APIs of other services, one file each: request bodies, answers, and handlers that translate between them."""
