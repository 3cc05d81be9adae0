"""What may differ between two runs of the tests: variables of the run, read once.

A test never reads the processor. These variables make one processor stand for others (tests/conftest.py).
"""

import os

DTYPE = os.environ.get("TEST_DTYPE", "float32")
"""DTYPE of every app and service under test: float32, auto or bfloat16."""
THREADS = int(os.environ.get("TEST_CPU_THREADS", "1"))
"""Threads of every model under test. One by default: several tests run at a time, and threads only disturb them."""
