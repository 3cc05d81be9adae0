// The arithmetic of sparse vectors and token vectors.

/**
 * @typedef {{id: number, token: string, weight: number}} Weight of a token in a sparse vector
 * @typedef {{token: string, query: number, passage: number, product: number}} Shared a token of both vectors
 * @typedef {object} Matches the similarities of a query's and a passage's tokens
 * @property {string[]} query n tokens @property {string[]} passage m tokens
 * @property {Float32Array} values (m, n) dot products of their vectors, which have length 1
 * @property {number[]} best for each token of the query the most similar one of the passage
 * @property {number} score the sum of those similarities (MaxSim)
 */

/**
 * The weights of a sparse vector, largest first.
 * @param {{indices: number[], values: number[], tokens: string[]}} vector @returns {Weight[]}
 */
export function weightsOf({ indices, values, tokens }) {
  const weights = indices.map((id, at) => ({ id, token: tokens[at], weight: values[at] }));
  return weights.sort((a, b) => b.weight - a.weight);
}

/**
 * The tokens of both vectors, largest product first; the sum of the products is the score.
 * @param {Weight[]} query @param {Weight[]} passage @returns {Shared[]}
 */
export function sharedTokens(query, passage) {
  const weights = new Map(passage.map(({ id, weight }) => [id, weight]));
  const shared = query.flatMap(({ id, token, weight }) => {
    const other = weights.get(id);
    return other === undefined ? [] : [{ token, query: weight, passage: other, product: weight * other }];
  });
  return shared.sort((a, b) => b.product - a.product);
}

/** @param {Shared[]} shared @returns {number} */
export function sparseScore(shared) {
  return shared.reduce((sum, { product }) => sum + product, 0);
}

/**
 * @param {{tokens: string[], vectors: Float32Array[]}} query
 * @param {{tokens: string[], vectors: Float32Array[]}} passage @returns {Matches}
 */
export function matchesOf(query, passage) {
  const n = query.tokens.length;
  const values = new Float32Array(passage.tokens.length * n);
  passage.vectors.forEach((one, row) => {
    query.vectors.forEach((other, column) => (values[row * n + column] = dot(one, other)));
  });
  const best = query.tokens.map((_, column) => argmax(passage.tokens.map((_, row) => values[row * n + column])));
  const score = best.reduce((sum, row, column) => sum + values[row * n + column], 0);
  return { query: query.tokens, passage: passage.tokens, values, best, score };
}

function dot(one, other) {
  let sum = 0;
  for (let at = 0; at < one.length; at += 1) sum += one[at] * other[at];
  return sum;
}

function argmax(numbers) {
  return numbers.reduce((best, value, at) => (value > numbers[best] ? at : best), 0);
}

/**
 * The indexes of the `most` largest numbers, in their order.
 * @param {number[]} numbers @param {number} most @returns {number[]}
 */
export function largest(numbers, most) {
  const order = numbers.map((_, at) => at).sort((a, b) => numbers[b] - numbers[a]);
  return order.slice(0, most).sort((a, b) => a - b);
}
