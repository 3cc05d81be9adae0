"""Embed a corpus on a Ray cluster: files -> shards of rows -> the models of each node -> one Parquet file per shard.

plan.py divides the input into shards, worker.py computes one shard, run.py is the run.
"""
