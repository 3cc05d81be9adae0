// Nearest neighbours: cosines of unit vectors, the nearest texts of each text, and the effect of shorter vectors.

/** Rows of the matrix between two pauses. */
const SLICE = 32;

/**
 * Truncates vectors to `width` numbers and normalizes them, like the service's `dimensions`.
 * @param {Float32Array} vectors (n, d), row by row
 * @param {number} n @param {number} d @param {number} width
 * @returns {Float32Array} (n, width)
 */
export function cut(vectors, n, d, width) {
  const shorter = new Float32Array(n * width);
  for (let row = 0; row < n; row += 1) {
    let squares = 0;
    for (let at = row * d; at < row * d + width; at += 1) squares += vectors[at] * vectors[at];
    const length = Math.sqrt(squares) || 1;
    for (let column = 0; column < width; column += 1) {
      shorter[row * width + column] = vectors[row * d + column] / length;
    }
  }
  return shorter;
}

/**
 * The cosine of every pair of unit vectors.
 * @param {Float32Array} vectors (n, d)
 * @param {number} n @param {number} d
 * @param {() => Promise<void> | void} [pause] awaited between slices of the work
 * @returns {Promise<Float32Array>} (n, n), symmetric
 */
export async function similarities(vectors, n, d, pause = () => {}) {
  const matrix = new Float32Array(n * n);
  for (let row = 0; row < n; row += 2) {
    if (row % SLICE === 0) await pause();
    for (let column = row; column < n; column += 4) multiplyTile(vectors, n, d, row, column, matrix);
  }
  return matrix;
}

/** Rows `i` and i + 1 times rows `j` to j + 3 at once, to read each number from memory less often. */
function multiplyTile(vectors, n, d, i, j, matrix) {
  const a = i * d;
  const b = Math.min(i + 1, n - 1) * d; // past the end: repeats the last row
  const [p, q, r, s] = [0, 1, 2, 3].map((offset) => Math.min(j + offset, n - 1) * d);
  const sums = products(vectors, d, a, b, p, q, r, s);
  for (let x = 0; x < 2 && i + x < n; x += 1) {
    for (let y = 0; y < 4 && j + y < n; y += 1) {
      matrix[(i + x) * n + j + y] = sums[4 * x + y];
      matrix[(j + y) * n + i + x] = sums[4 * x + y];
    }
  }
}

const SUMS = new Float64Array(8);

function products(vectors, d, a, b, p, q, r, s) {
  let ap = 0, aq = 0, ar = 0, as = 0, bp = 0, bq = 0, br = 0, bs = 0;
  for (let k = 0; k < d; k += 1) {
    const one = vectors[a + k], two = vectors[b + k];
    const third = vectors[p + k], fourth = vectors[q + k], fifth = vectors[r + k], sixth = vectors[s + k];
    ap += one * third;
    aq += one * fourth;
    ar += one * fifth;
    as += one * sixth;
    bp += two * third;
    bq += two * fourth;
    br += two * fifth;
    bs += two * sixth;
  }
  SUMS[0] = ap; SUMS[1] = aq; SUMS[2] = ar; SUMS[3] = as;
  SUMS[4] = bp; SUMS[5] = bq; SUMS[6] = br; SUMS[7] = bs;
  return SUMS;
}

/**
 * The `k` nearest others of every text, nearest first; ties in the order of the texts.
 * @param {Float32Array} matrix (n, n)
 * @param {number} n
 * @param {number} k at most n - 1
 * @returns {Int32Array} (n, min(k, n - 1))
 */
export function nearest(matrix, n, k) {
  const width = Math.min(k, n - 1);
  const found = new Int32Array(n * Math.max(width, 0));
  for (let row = 0; row < n && width > 0; row += 1) {
    let filled = 0;
    const base = row * width;
    for (let other = 0; other < n; other += 1) {
      const value = matrix[row * n + other];
      if (other === row || (filled === width && value <= matrix[row * n + found[base + width - 1]])) continue;
      let place = filled < width ? filled++ : width - 1;
      for (; place > 0 && matrix[row * n + found[base + place - 1]] < value; place -= 1) {
        found[base + place] = found[base + place - 1];
      }
      found[base + place] = other;
    }
  }
  return found;
}

/**
 * The share of nearest neighbours that are kept, over all texts; 1 if there are none.
 * @param {Int32Array} before (n, k)
 * @param {Int32Array} after (n, k)
 * @param {number} n @returns {number}
 */
export function keptShare(before, after, n) {
  const k = before.length / n;
  if (!k) return 1;
  let kept = 0;
  for (let row = 0; row < n; row += 1) {
    const now = new Set(after.subarray(row * k, (row + 1) * k));
    for (let at = row * k; at < (row + 1) * k; at += 1) kept += now.has(before[at]) ? 1 : 0;
  }
  return kept / before.length;
}

/**
 * All other texts, nearest to `text` first; ties in the order of the texts.
 * @param {ArrayLike<number>} cosines (n), those of one text
 * @param {number} text its own index
 * @returns {number[]}
 */
export function ranking(cosines, text) {
  return Array.from(cosines, (_, index) => index)
    .filter((index) => index !== text)
    .sort((a, b) => cosines[b] - cosines[a] || a - b);
}

/**
 * @typedef {{index: number, rank: number, was: number, cosine: number, wholeCosine: number, dropped: boolean}} Change
 *   ranks from 1
 */

/**
 * The nearest neighbours by shorter vectors, with their ranks by whole vectors, then those that dropped out.
 * @param {ArrayLike<number>} whole (n) cosines of the text, whole vectors
 * @param {ArrayLike<number>} shorter (n) the same, shorter vectors
 * @param {number} text @param {number} k @returns {Change[]}
 */
export function rankChanges(whole, shorter, text, k) {
  const before = ranking(whole, text);
  const after = ranking(shorter, text);
  const [rankBefore, rankNow] = [before, after].map(ranks);
  const row = (index) => ({
    index,
    rank: rankNow(index),
    was: rankBefore(index),
    cosine: shorter[index],
    wholeCosine: whole[index],
    dropped: rankNow(index) > k,
  });
  return [...after.slice(0, k), ...before.slice(0, k).filter((index) => rankNow(index) > k)].map(row);
}

/** A function of an index to its place in the order, from 1. */
function ranks(order) {
  const places = new Map(order.map((index, place) => [index, place + 1]));
  return (index) => places.get(index) ?? Infinity;
}
