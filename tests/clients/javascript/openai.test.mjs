// openai-node: vectors in all formats, models, and errors as its classes.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

import * as given from "./given.mjs";
import { FULL_NAME, MODEL, URL_GUARDED, URL_OPEN, assertAllClose, assertClose, texts } from "./given.mjs";

const client = new OpenAI({ baseURL: `${URL_OPEN}/v1`, apiKey: "unused", maxRetries: 0 });
const embeddings = (answer) => answer.data.map((entry) => entry.embedding);

test("it requests base64 by default and decodes it", async () => {
  const answer = await client.embeddings.create({ model: MODEL, input: texts });
  assertAllClose(embeddings(answer), given.vectors);
  assert.deepEqual(answer.data.map((entry) => entry.index), [...texts.keys()]);
  assert.deepEqual(answer.usage, { prompt_tokens: given.tokens, total_tokens: given.tokens });
  assert.equal(answer.model, MODEL);
});

test("float", async () => {
  const answer = await client.embeddings.create({ model: FULL_NAME, input: texts, encoding_format: "float" });
  assertAllClose(embeddings(answer), given.vectors);
});

test("explicit base64", async () => {
  const answer = await client.embeddings.create({ model: MODEL, input: texts[1], encoding_format: "base64" });
  const bytes = Buffer.from(answer.data[0].embedding, "base64");
  assertClose([...new Float32Array(new Uint8Array(bytes).buffer)], given.vectors[1]);
});

for (const encoding_format of [undefined, "float"]) {
  test(`dimensions, ${encoding_format ?? "by default"}`, async () => {
    const answer = await client.embeddings.create({ model: MODEL, input: texts, dimensions: 64, encoding_format });
    assertAllClose(embeddings(answer), given.shortVectors);
  });
}

test("token arrays are cl100k_base", async () => {
  const answer = await client.embeddings.create({ model: MODEL, input: given.tokenArray });
  assertAllClose(embeddings(answer), [given.vectors[0]]);
});

test("one text", async () => {
  const answer = await client.embeddings.create({ model: MODEL, input: texts[1] });
  assertAllClose(embeddings(answer), [given.vectors[1]]);
});

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes(MODEL));
  for (const name of [MODEL, FULL_NAME]) assert.equal((await client.models.retrieve(name)).id, MODEL);
});

test("a batch from upload to output", async () => {
  const lines = texts.map((input, number) =>
    JSON.stringify({ custom_id: `${number}`, method: "POST", url: "/v1/embeddings", body: { model: MODEL, input } }),
  );
  const file = await client.files.create({
    file: await OpenAI.toFile(Buffer.from(lines.join("\n")), "batch.jsonl"),
    purpose: "batch",
  });
  assert.equal(file.filename, "batch.jsonl");
  let batch = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/embeddings",
    completion_window: "24h",
  });
  while (["validating", "in_progress", "finalizing"].includes(batch.status)) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    batch = await client.batches.retrieve(batch.id);
  }
  assert.deepEqual([batch.status, batch.request_counts.completed], ["completed", texts.length]);
  const output = await (await client.files.content(batch.output_file_id)).text();
  const answers = output.trim().split("\n").map((line) => JSON.parse(line));
  answers.sort((left, right) => left.custom_id - right.custom_id);
  assertAllClose(answers.flatMap((answer) => embeddings(answer.response.body)), given.vectors);
  const listed = [];
  for await (const each of client.batches.list({ limit: 1 })) listed.push(each.id);
  assert.ok(listed.includes(batch.id));
  assert.equal((await client.files.delete(file.id)).deleted, true);
  assert.equal((await failure(client.batches.cancel(batch.id))).status, 400);
});

/** The error that a call ends with. */
async function failure(call) {
  const error = await call.then(() => null, (reason) => reason);
  assert.ok(error instanceof OpenAI.APIError, `no APIError: ${error}`);
  return error;
}

test("an unknown model is a NotFoundError with our message", async () => {
  const error = await failure(client.embeddings.create({ model: "all-minilm-l7", input: "a" }));
  assert.ok(error instanceof OpenAI.NotFoundError);
  assert.deepEqual([error.status, error.code, error.param], [404, "model_not_found", "model"]);
  assert.equal(error.type, "invalid_request_error");
  assert.match(error.message, /^404 There is no model of that name\. Did you mean all-minilm-l6-v2/);
});

test("an unknown model in the model list is a NotFoundError", async () => {
  assert.ok((await failure(client.models.retrieve("nobody/nothing"))) instanceof OpenAI.NotFoundError);
});

test("an invalid field is a BadRequestError that names it", async () => {
  for (const [fields, param] of [
    [{ input: [""] }, "input.0"],
    [{ input: ["a", ""] }, "input.1"],
    [{ input: [] }, "input"],
    [{ input: "a", dimensions: 385 }, "dimensions"],
    [{ input: "a", encoding_format: "int4" }, "encoding_format"],
    [{ input: [10 ** 7] }, "input.0"],
  ]) {
    const error = await failure(client.embeddings.create({ model: MODEL, ...fields }));
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual([error.status, error.param], [400, param]);
    assert.match(error.message, new RegExp(param.split(".")[0]));
  }
});

test("a wrong key is an AuthenticationError, a right one is not", async () => {
  for (const apiKey of ["wrong", " "]) {
    const stranger = new OpenAI({ baseURL: `${URL_GUARDED}/v1`, apiKey, maxRetries: 0 });
    const error = await failure(stranger.models.list());
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.deepEqual([error.status, error.code], [401, "invalid_api_key"]);
    assert.match(error.message, /API key/);
  }
  const known = new OpenAI({ baseURL: `${URL_GUARDED}/v1`, apiKey: given.API_KEY, maxRetries: 0 });
  const answer = await known.embeddings.create({ model: MODEL, input: texts[0] });
  assertAllClose(embeddings(answer), [given.vectors[0]]);
});
