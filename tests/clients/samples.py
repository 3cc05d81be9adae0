"""Texts that the clients send. Imports only the standard library."""

MODEL = "all-minilm-l6-v2"
FULL_NAME = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSIONS = 384
M3 = "tiny-m3"
"""A random model in the layout of bge-m3, with its three outputs."""
API_KEY = "key-of-the-tests"
"""The key of the guarded server."""

JAPANESE = "自然言語処理は面白い。"
TEXTS = [
    "Natural language processing is fascinating.",
    JAPANESE,
    "def sort(items):\n    return sorted(items)",
    "I ❤️ NY 🗽 naïve café",
]

QUERY = "What is machine learning?"
DOCUMENTS = [
    "Machine learning is a branch of artificial intelligence.",
    "Today is a beautiful sunny day.",
    "Deep learning is a method of machine learning.",
    "機械学習は人工知能の一分野です。",
]

TOO_LONG = "one two three four five six seven eight nine ten " * 40
"""A text of more than 256 tokens, the model's limit."""
