"""The benchmark; see README.md here and `./embeddings bench --help`."""
