"""Variables of a test run, most of which simulate other processors (tests/conftest.py)."""

import os

DTYPE = os.environ.get("TEST_DTYPE", "float32")
"""DTYPE of every app and service under test: float32, auto or bfloat16."""
THREADS = int(os.environ.get("TEST_CPU_THREADS", "1"))
"""Threads of every model under test. One by default, because several tests run at a time."""
IMAGE_PLATFORM = os.environ.get("TEST_IMAGE_PLATFORM", "cpu")
"""Platform of the image that tests/image builds: cpu or cuda, which runs on the CPU here."""
