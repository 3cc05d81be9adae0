// fetch without a library.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as given from "./given.mjs";
import { MODEL, URL_GUARDED, URL_OPEN, assertAllClose, assertClose } from "./given.mjs";

/** Status and body of a POST. */
async function post(path, body, headers = {}, url = URL_OPEN) {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test("vectors are lists of numbers", async () => {
  const { status, body } = await post("/v1/embeddings", { model: MODEL, input: given.texts });
  assert.equal(status, 200);
  assertAllClose(body.data.map((entry) => entry.embedding), given.vectors);
});

test("a ranking", async () => {
  const { query, documents, ranking } = given;
  const { body } = await post("/v1/rerank", { model: MODEL, query, documents, return_documents: true });
  assert.deepEqual(body.results.map((result) => result.index), ranking.map(([index]) => index));
  assertClose(body.results.map((result) => result.relevance_score), ranking.map(([, score]) => score));
  for (const result of body.results) assert.equal(result.document, documents[result.index]);
});

test("Cohere's and text-embeddings-inference's rankings", async () => {
  const { query, documents, ranking } = given;
  const cohere = await post("/v2/rerank", { model: MODEL, query, documents, top_n: 2 });
  assertClose(cohere.body.results.map((result) => result.relevance_score), ranking.slice(0, 2).map(([, score]) => score));
  const tei = await post("/rerank", { model: MODEL, query, texts: documents });
  assertClose(tei.body.map((result) => result.score), ranking.map(([, score]) => score));
});

test("one error body for every client", async () => {
  const { status, body } = await post("/v1/rerank", { model: MODEL, query: "q", documents: [] });
  assert.equal(status, 400);
  assert.deepEqual(Object.keys(body).sort(), ["detail", "error", "message"]);
  assert.equal(body.error.param, "documents");
  assert.equal(body.message, body.error.message);
});

test("requests without the key get 401", async () => {
  const refused = await post("/v1/embeddings", { model: MODEL, input: "a" }, {}, URL_GUARDED);
  assert.deepEqual([refused.status, refused.body.error.code], [401, "invalid_api_key"]);
  assert.equal(refused.headers.get("www-authenticate"), "Bearer");
  const key = { "x-api-key": given.API_KEY };
  const answered = await post("/v1/embeddings", { model: MODEL, input: given.texts[0] }, key, URL_GUARDED);
  assertAllClose(answered.body.data.map((entry) => entry.embedding), [given.vectors[0]]);
});
