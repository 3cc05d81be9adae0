// Data from tests/clients/test_javascript.py: URLs, texts, and the numbers of sentence-transformers.

import assert from "node:assert/strict";

export const { URL_OPEN, URL_GUARDED, API_KEY, MODEL, FULL_NAME } = process.env;
export const { texts, vectors, shortVectors, tokens, query, documents, ranking, tokenArray } = JSON.parse(
  process.env.EXPECTED,
);

const TOLERANCE = 1e-5;

/** Equal in length and, but for rounding, in value. */
export function assertClose(ours, theirs) {
  assert.equal(ours.length, theirs.length);
  ours.forEach((number, place) => {
    const difference = Math.abs(number - theirs[place]);
    assert.ok(difference <= TOLERANCE, `${number} at ${place} should be ${theirs[place]}`);
  });
}

/** The same for each of several vectors. */
export function assertAllClose(ours, theirs) {
  assert.equal(ours.length, theirs.length);
  ours.forEach((vector, index) => assertClose(vector, theirs[index]));
}
