// The first two principal components, by Lanczos iteration on the covariance. The covariance is never computed: each
// step multiplies by the centred vectors and by their transpose.

const MAX_STEPS = 300;
const CHECK_EVERY = 8;
const TOLERANCE = 1e-10;
/** Share of the variance below which a value is a rounding error. */
const NOTHING = 1e-12;

/** @typedef {Float32Array | Float64Array} Vector */

/**
 * @typedef {object} Components
 * @property {Float64Array} coordinates (n, 2), row by row
 * @property {Float64Array[]} directions unit vectors (d); the largest entry of each is positive, so the sign is fixed
 * @property {[number, number]} explained share of the variance of each component
 */

/**
 * The first two principal components of n vectors of d numbers, row by row in `vectors`.
 *
 * If the vectors differ in fewer than two directions, the other components are zeros.
 * @param {Vector} vectors @param {number} n @param {number} d
 * @param {() => Promise<void> | void} [pause] awaited between steps
 * @returns {Promise<Components>}
 */
export async function principalComponents(vectors, n, d, pause = () => {}) {
  const centred = new Centred(vectors, n, d);
  const total = centred.variance();
  const directions = [];
  /** @type {[number, number]} */
  const explained = [0, 0];
  for (let which = 0; which < 2 && n > 1; which += 1) {
    const found = await leading(centred, directions, total, pause);
    if (!found || found.value <= NOTHING * total) break;
    directions.push(withFixedSign(found.vector));
    explained[which] = Math.min(found.value / total, 1);
  }
  while (directions.length < 2) directions.push(new Float64Array(d));
  const [first, second] = directions.map((direction) => centred.project(direction));
  const coordinates = Float64Array.from({ length: 2 * n }, (_, at) => (at % 2 ? second : first)[at >> 1]);
  return { coordinates, directions, explained };
}

/** Centred vectors, without a copy. */
class Centred {
  constructor(vectors, n, d) {
    this.rows = Array.from({ length: n }, (_, row) => vectors.subarray(row * d, (row + 1) * d));
    this.mean = new Float64Array(d);
    for (const row of this.rows) add(this.mean, 1 / n, row);
  }

  /** The sum of squared distances from the mean; 0 if it is only a rounding error. */
  variance() {
    const { rows, mean } = this;
    let sum = 0;
    for (const row of rows) for (let at = 0; at < mean.length; at += 1) sum += (row[at] - mean[at]) ** 2;
    return sum > NOTHING ** 2 * rows.length * dot(mean, mean) ? sum : 0;
  }

  /** (n, d) times (d): the projections onto a direction. */
  project(direction) {
    const offset = dot(this.mean, direction);
    return Float64Array.from(this.rows, (row) => dot(row, direction) - offset);
  }

  /** The covariance (times n) times a direction. */
  multiply(direction) {
    const along = this.project(direction);
    const product = new Float64Array(direction.length);
    this.rows.forEach((row, at) => add(product, along[at], row));
    return add(product, -along.reduce((sum, each) => sum + each, 0), this.mean);
  }
}

/**
 * The largest eigenvalue of the covariance, and its vector, orthogonal to the directions found before.
 * Different start vectors make sure that the second of two equal eigenvalues is found, too.
 */
async function leading(centred, before, total, pause) {
  const [n, d] = [centred.rows.length, centred.mean.length];
  const most = Math.min(MAX_STEPS, d - before.length, n - 1 - before.length);
  if (total <= 0 || most < 1) return null;
  // a combination of the vectors, so that no step is wasted on directions in which they do not differ
  const start = centred.multiply(pseudorandom(d, before.length));
  const whole = length(start);
  without(without(start, before), before);
  if (length(start) <= NOTHING * whole) return null;
  let vector = unit(start);
  const basis = [];
  const diagonal = [];
  const offDiagonal = [];
  for (;;) {
    await pause();
    basis.push(vector);
    const next = centred.multiply(vector);
    diagonal.push(dot(next, vector));
    // twice, to remove rounding errors
    for (let pass = 0; pass < 2; pass += 1) without(without(next, basis), before);
    const rest = length(next);
    const steps = basis.length;
    const last = steps === most || rest <= NOTHING * total;
    if (last || steps % CHECK_EVERY === 0) {
      const { value, vector: weights } = largestOfTridiagonal(diagonal, offDiagonal);
      if (last || rest * Math.abs(weights[steps - 1]) <= TOLERANCE * value) {
        const sum = new Float64Array(d);
        basis.forEach((each, at) => add(sum, weights[at], each));
        return { value, vector: unit(sum) };
      }
    }
    offDiagonal.push(rest);
    vector = next.map((entry) => entry / rest);
  }
}

/** The largest eigenvalue of a symmetric tridiagonal matrix by bisection, its vector by inverse iteration. */
function largestOfTridiagonal(diagonal, offDiagonal) {
  let vector = new Float64Array(diagonal.length).fill(1);
  let low = Math.max(...diagonal);
  let high = Math.max(...diagonal.map((each, i) => each + (offDiagonal[i - 1] ?? 0) + (offDiagonal[i] ?? 0)));
  while (high - low > 1e-15 * high) {
    const middle = (low + high) / 2;
    if (solved(middle, diagonal, offDiagonal, vector)) high = middle;
    else low = middle;
  }
  const shift = high * (1 + 1e-14);
  for (let round = 0; round < 4; round += 1) vector = unit(solved(shift, diagonal, offDiagonal, vector) ?? vector);
  return { value: high, vector };
}

/** (shift - T)^-1 times a vector; null if the shift does not exceed every eigenvalue: then a pivot is not positive. */
function solved(shift, diagonal, offDiagonal, right) {
  const pivots = [];
  const vector = Float64Array.from(right);
  for (let i = 0; i < vector.length; i += 1) {
    const factor = i ? offDiagonal[i - 1] / pivots[i - 1] : 0;
    pivots.push(shift - diagonal[i] - (i ? factor * offDiagonal[i - 1] : 0));
    if (pivots[i] <= 0) return null;
    if (i) vector[i] += factor * vector[i - 1];
  }
  for (let i = vector.length - 1; i >= 0; i -= 1) {
    if (i + 1 < vector.length) vector[i] += offDiagonal[i] * vector[i + 1];
    vector[i] /= pivots[i];
  }
  return vector;
}

/** Makes `vector` orthogonal to all `others`, in place. */
function without(vector, others) {
  for (const other of others) add(vector, -dot(vector, other), other);
  return vector;
}

/** Adds a multiple of a vector to `target`, in place. */
function add(target, factor, vector) {
  for (let i = 0; i < target.length; i += 1) target[i] += factor * vector[i];
  return target;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}

function length(vector) {
  return Math.sqrt(dot(vector, vector));
}

function unit(vector) {
  const whole = length(vector);
  return vector.map((entry) => entry / whole);
}

/** A seeded random generator (mulberry32) of numbers between -0.5 and 0.5. */
function pseudorandom(size, seed) {
  let state = 0x9e3779b9 + seed;
  return Float64Array.from({ length: size }, () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32 - 0.5;
  });
}

function withFixedSign(vector) {
  let largest = 0;
  vector.forEach((entry, i) => {
    if (Math.abs(entry) > Math.abs(vector[largest]) + 1e-12) largest = i;
  });
  return vector[largest] < 0 ? vector.map((entry) => -entry) : vector;
}
