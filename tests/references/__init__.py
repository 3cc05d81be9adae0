"""References: each architecture written out once more, in float64 NumPy, from its published definition.

They share nothing with the service: one text at a time, no padding, no batching, the tensors under the
names they have on the Hub, the tokens straight from tokenizer.json. Where the service and a reference
disagree, one of the two has misread the definition; the docstrings say where each formula was read.
"""
