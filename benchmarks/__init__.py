"""The benchmark; see README.md here and `scripts/bench --help`."""
