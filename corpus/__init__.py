"""Embed a corpus: rows -> batches -> service -> parts on disk -> one output file."""
