// ollama-js: embed, the older embeddings, and the list of models.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";

import * as given from "./given.mjs";
import { API_KEY, MODEL, URL_GUARDED, URL_OPEN, assertAllClose, texts } from "./given.mjs";

const client = new Ollama({ host: URL_OPEN });

test("embed", async () => {
  for (const model of [MODEL, `${MODEL}:latest`]) {
    const answer = await client.embed({ model, input: texts, keep_alive: "5m", options: { num_ctx: 512 } });
    assertAllClose(answer.embeddings, given.vectors);
    assert.equal(answer.prompt_eval_count, given.tokens);
  }
  const short = await client.embed({ model: MODEL, input: texts, dimensions: 64 });
  assertAllClose(short.embeddings, given.shortVectors);
  const { embedding } = await client.embeddings({ model: MODEL, prompt: texts[0] });
  assertAllClose([embedding], given.vectors.slice(0, 1));
});

test("models", async () => {
  for (const { models } of [await client.list(), await client.ps()]) {
    assert.ok(models.some((model) => model.model === `${MODEL}:latest`));
  }
  assert.deepEqual((await client.show({ model: MODEL })).capabilities, ["embedding"]);
});

test("errors", async () => {
  await assert.rejects(client.embed({ model: "no-such-model", input: "a" }), /There is no model of that name/);
  await assert.rejects(new Ollama({ host: URL_GUARDED }).embed({ model: MODEL, input: "a" }), /An API key is required/);
  const known = new Ollama({ host: URL_GUARDED, headers: { Authorization: `Bearer ${API_KEY}` } });
  assertAllClose((await known.embed({ model: MODEL, input: texts[0] })).embeddings, given.vectors.slice(0, 1));
});
