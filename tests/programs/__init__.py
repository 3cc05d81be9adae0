"""Load and fault programs that run longer than a test; their docstrings show the commands.

tests/e2e/test_soak.py, test_fuzz.py, test_hostile.py and test_corpus.py are short runs of them.
"""
