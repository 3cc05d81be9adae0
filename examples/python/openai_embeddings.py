"""Embeddings with OpenAI's client: which sentence is closest to a question?

pip install openai
BASE_URL=http://localhost:7987 MODEL=all-minilm-l6-v2 python openai_embeddings.py
"""

import os

from openai import OpenAI

BASE_URL = os.environ.get("BASE_URL", "http://localhost:7987")
MODEL = os.environ.get("MODEL", "all-minilm-l6-v2")

QUESTION = "How do I reset my password?"
SENTENCES = [
    "Open the settings page and choose a new password.",
    "Our office is closed on public holidays.",
    "The weather is cold in winter.",
]

client = OpenAI(base_url=f"{BASE_URL}/v1", api_key=os.environ.get("API_KEY", "none"))
answer = client.embeddings.create(model=MODEL, input=[QUESTION, *SENTENCES])
question, *vectors = [entry.embedding for entry in answer.data]

print(f"{len(answer.data)} vectors of {len(question)} numbers, {answer.usage.prompt_tokens} tokens")
for sentence, vector in zip(SENTENCES, vectors, strict=True):
    # the vectors have length 1, so this sum is their cosine similarity
    cosine = sum(a * b for a, b in zip(question, vector, strict=True))
    print(f"{cosine:.4f}  {sentence}")
