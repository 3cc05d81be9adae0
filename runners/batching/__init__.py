"""One queue for all requests of a model: what is computed together, and whose turn comes next."""
