"""Torch networks: building them from a checkpoint, and architectures that transformers lacks."""
