"""Text or pair to token ids: special tokens, prompts, truncation and counts."""
