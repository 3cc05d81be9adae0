"""Networks in torch: how one is built from a checkpoint, and the architectures that transformers lacks."""
