// Vercel's @ai-sdk/cohere, with a root URL and with /v2.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createCohere } from "@ai-sdk/cohere";

import * as given from "./given.mjs";
import { MODEL, URL_OPEN, assertAllClose, assertClose, documents, query, ranking, texts } from "./given.mjs";

for (const path of ["", "/v2"]) {
  const cohere = createCohere({ baseURL: URL_OPEN + path, apiKey: "unused" });

  test(`embeddings below ${path || "/"}`, async () => {
    const answer = await cohere.embeddingModel(MODEL).doEmbed({ values: texts });
    assertAllClose(answer.embeddings, given.vectors);
    assert.equal(answer.usage.tokens, given.tokens);
  });

  test(`a ranking below ${path || "/"}`, async () => {
    const values = { type: "text", values: documents };
    const answer = await cohere.rerankingModel(MODEL).doRerank({ query, documents: values, topN: 2, topK: 2 });
    assert.deepEqual(answer.ranking.map(({ index }) => index), ranking.slice(0, 2).map(([index]) => index));
    assertClose(answer.ranking.map((result) => result.relevanceScore), ranking.slice(0, 2).map(([, score]) => score));
  });
}
