"""The HTTP API. Nothing here imports torch."""
