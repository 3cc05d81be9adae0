"""References: independent implementations of each architecture from its published definition, in float64 NumPy.

They share no code with the service: one text at a time, no padding, no batching, tensor names of the Hub, tokens from
tokenizer.json. The docstrings cite the source of each formula.
"""
