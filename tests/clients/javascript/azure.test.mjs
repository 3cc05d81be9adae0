// openai-node's AzureOpenAI.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { AzureOpenAI } from "openai";

import * as given from "./given.mjs";
import { API_KEY, FULL_NAME, MODEL, URL_GUARDED, URL_OPEN, assertAllClose, texts } from "./given.mjs";

const azure = (options) => new AzureOpenAI({ apiVersion: "2024-10-21", apiKey: "unused", maxRetries: 0, ...options });

test("the model of the request, or the client's deployment", async () => {
  for (const [options, model] of [[{}, MODEL], [{}, FULL_NAME], [{ deployment: MODEL }, "text-embedding-3-small"]]) {
    const answer = await azure({ endpoint: URL_OPEN, ...options }).embeddings.create({ model, input: texts });
    assertAllClose(answer.data.map((entry) => entry.embedding), given.vectors);
  }
});

test("errors, and the key", async () => {
  const wrong = azure({ endpoint: URL_GUARDED }).embeddings.create({ model: MODEL, input: "a" });
  await assert.rejects(wrong, OpenAI.AuthenticationError);
  const known = azure({ endpoint: URL_GUARDED, apiKey: API_KEY });
  const answer = await known.embeddings.create({ model: MODEL, input: texts[0] });
  assertAllClose(answer.data.map((entry) => entry.embedding), given.vectors.slice(0, 1));
  await assert.rejects(known.embeddings.create({ model: "no-such-model", input: "a" }), OpenAI.NotFoundError);
});
