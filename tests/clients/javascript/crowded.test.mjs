// openai-node with a full queue.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

import { API_KEY, MODEL, URL_GUARDED } from "./given.mjs";

test("a full queue is a RateLimitError with Retry-After", async () => {
  const client = new OpenAI({ baseURL: `${URL_GUARDED}/v1`, apiKey: API_KEY, maxRetries: 0 });
  await assert.rejects(client.embeddings.create({ model: MODEL, input: "a" }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError, `${error}`);
    assert.deepEqual([error.status, error.code, error.type], [429, "rate_limit_exceeded", "rate_limit_error"]);
    assert.match(error.message, /tokens wait for this model/);
    assert.ok(Number(error.headers.get("retry-after")) >= 1);
    return true;
  });
});
