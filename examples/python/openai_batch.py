"""A batch with OpenAI's client: embed texts in the background. The service must have BATCH_DIR (docs/batches.md).

pip install openai
BASE_URL=http://localhost:7987 MODEL=all-minilm-l6-v2 python openai_batch.py
"""

import json
import os
import time

from openai import OpenAI

BASE_URL = os.environ.get("BASE_URL", "http://localhost:7987")
MODEL = os.environ.get("MODEL", "all-minilm-l6-v2")

TEXTS = {"mars": "Mars is red.", "venus": "Venus is bright.", "moon": "The moon is near."}

client = OpenAI(base_url=f"{BASE_URL}/v1", api_key=os.environ.get("API_KEY", "none"))
lines = [
    json.dumps({"custom_id": name, "method": "POST", "url": "/v1/embeddings", "body": {"model": MODEL, "input": text}})
    for name, text in TEXTS.items()
]
file = client.files.create(file=("planets.jsonl", "\n".join(lines).encode()), purpose="batch")
batch = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
while batch.status in ("validating", "in_progress", "finalizing"):
    time.sleep(0.5)
    batch = client.batches.retrieve(batch.id)
print(f"{batch.status}: {batch.request_counts.completed} of {batch.request_counts.total}")

if batch.output_file_id:
    vectors = {}
    for line in client.files.content(batch.output_file_id).iter_lines():
        answer = json.loads(line)
        vectors[answer["custom_id"]] = answer["response"]["body"]["data"][0]["embedding"]
    for name in TEXTS:
        print(f"{name}: {len(vectors[name])} numbers")
