"""Programs that load or attack a service for longer than a test may take. Each one's docstring says how to run it.

Short runs of them are tests: tests/e2e/test_soak.py, test_fuzz.py, test_hostile.py, test_corpus.py.
"""
