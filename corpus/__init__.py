"""A corpus to a file of vectors: rows -> batches -> service -> parts on the disk -> one output."""
