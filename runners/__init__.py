"""What runs a model; nothing here knows HTTP. Read embedding.py and rerank.py first, then engine.py.

text/ makes token ids of texts, batching/ decides what is computed together, backends/ compute it with the torch modules
of networks/. pool/ says which models are in memory; providers/ forward to another service.
"""
