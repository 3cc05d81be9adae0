"""What runs a model; nothing here knows HTTP. Read embedding.py and rerank.py first."""
