// The first two principal components, by Lanczos iteration on the covariance. The covariance is never computed: each
// step multiplies by the centred vectors and by their transpose.

const MAX_STEPS = 300;
const CHECK_EVERY = 8;
const TOLERANCE = 1e-10;
/** Share of the variance below which a value is a rounding error. */
const NOTHING = 1e-12;

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
 * @param {Float32Array | Float64Array} vectors @param {number} n @param {number} d
 * @param {() => Promise<void> | void} [pause] awaited between steps
 * @returns {Promise<Components>}
 */
export async function principalComponents(vectors, n, d, pause = () => {}) {
  const centred = new Centred(vectors, n, d);
  const total = centred.variance();
  const directions = [];
  const explained = [0, 0];
  for (let which = 0; which < 2 && n > 1; which += 1) {
    const found = await leading(centred, directions, total, pause);
    if (!found || found.value <= NOTHING * total) break;
    directions.push(withFixedSign(found.vector));
    explained[which] = Math.min(found.value / total, 1);
  }
  while (directions.length < 2) directions.push(new Float64Array(d));
  const coordinates = new Float64Array(2 * n);
  directions.forEach((direction, which) => {
    centred.project(direction).forEach((value, row) => (coordinates[2 * row + which] = value));
  });
  return { coordinates, directions, explained };
}

/** Centred vectors, without a copy. */
class Centred {
  constructor(vectors, n, d) {
    Object.assign(this, { vectors, n, d, mean: new Float64Array(d) });
    for (let row = 0, at = 0; row < n; row += 1) {
      for (let column = 0; column < d; column += 1, at += 1) this.mean[column] += vectors[at] / n;
    }
  }

  /** The sum of squared distances from the mean; 0 if it is only a rounding error. */
  variance() {
    const { vectors, n, d, mean } = this;
    let sum = 0;
    for (let row = 0, at = 0; row < n; row += 1) {
      for (let column = 0; column < d; column += 1, at += 1) sum += (vectors[at] - mean[column]) ** 2;
    }
    return sum > NOTHING ** 2 * n * dot(mean, mean) ? sum : 0;
  }

  /** (n, d) times (d): the projections onto a direction. */
  project(direction) {
    const { vectors, n, d, mean } = this;
    const along = new Float64Array(n);
    const offset = dot(mean, direction);
    for (let row = 0, at = 0; row < n; row += 1) {
      let a = 0;
      let b = 0;
      let column = 0;
      for (; column + 1 < d; column += 2, at += 2) {
        a += vectors[at] * direction[column];
        b += vectors[at + 1] * direction[column + 1];
      }
      if (column < d) a += vectors[at++] * direction[column];
      along[row] = a + b - offset;
    }
    return along;
  }

  /** The covariance (times n) times a direction. */
  multiply(direction) {
    const { vectors, n, d, mean } = this;
    const along = this.project(direction);
    const product = new Float64Array(d);
    let sum = 0;
    for (let row = 0, at = 0; row < n; row += 1) {
      const weight = along[row];
      sum += weight;
      for (let column = 0; column < d; column += 1, at += 1) product[column] += weight * vectors[at];
    }
    for (let column = 0; column < d; column += 1) product[column] -= sum * mean[column];
    return product;
  }
}

/**
 * The largest eigenvalue of the covariance, and its vector, orthogonal to the directions found before.
 * Different start vectors make sure that the second of two equal eigenvalues is found, too.
 */
async function leading(centred, before, total, pause) {
  const { d, n } = centred;
  const most = Math.min(MAX_STEPS, d - before.length, n - 1 - before.length);
  if (total <= 0 || most < 1) return null;
  // a combination of the vectors, so that no step is wasted on directions in which they do not differ
  const start = centred.multiply(pseudorandom(d, before.length));
  const whole = Math.sqrt(dot(start, start));
  without(without(start, before), before);
  if (Math.sqrt(dot(start, start)) <= NOTHING * whole) return null;
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
    const rest = Math.sqrt(dot(next, next));
    const steps = basis.length;
    const last = steps === most || rest <= NOTHING * total;
    if (last || steps % CHECK_EVERY === 0) {
      const { value, vector: weights } = largestOfTridiagonal(diagonal, offDiagonal);
      if (last || rest * Math.abs(weights[steps - 1]) <= TOLERANCE * value) {
        return { value, vector: unit(combined(basis, weights)) };
      }
    }
    offDiagonal.push(rest);
    vector = next.map((entry) => entry / rest);
  }
}

/** The largest eigenvalue of a symmetric tridiagonal matrix by bisection, its vector by inverse iteration. */
export function largestOfTridiagonal(diagonal, offDiagonal) {
  const size = diagonal.length;
  let low = Math.max(...diagonal);
  let high = low;
  for (let i = 0; i < size; i += 1) {
    high = Math.max(high, diagonal[i] + Math.abs(offDiagonal[i - 1] ?? 0) + Math.abs(offDiagonal[i] ?? 0));
  }
  for (let round = 0; round < 200 && high - low > 1e-16 * Math.abs(high); round += 1) {
    const middle = (low + high) / 2;
    if (isAbove(middle, diagonal, offDiagonal)) high = middle;
    else low = middle;
    if (middle === low && middle === high) break;
  }
  const value = high;
  const shift = value + Math.abs(value) * 1e-14 + Number.MIN_VALUE;
  let vector = new Float64Array(size).fill(1 / Math.sqrt(size));
  for (let round = 0; round < 4; round += 1) vector = unit(solved(shift, diagonal, offDiagonal, vector)) ?? vector;
  return { value, vector };
}

/** Whether a number exceeds every eigenvalue (Sturm: all pivots of T - x are negative). */
function isAbove(x, diagonal, offDiagonal) {
  let pivot = 1;
  for (let i = 0; i < diagonal.length; i += 1) {
    pivot = diagonal[i] - x - (i ? offDiagonal[i - 1] ** 2 / pivot : 0);
    if (pivot >= 0) return false;
  }
  return true;
}

/** (shift - T)^-1 times a vector; the shift exceeds every eigenvalue, so that no pivoting is needed. */
function solved(shift, diagonal, offDiagonal, right) {
  const size = diagonal.length;
  const pivots = new Float64Array(size);
  const vector = Float64Array.from(right);
  for (let i = 0; i < size; i += 1) {
    const factor = i ? -offDiagonal[i - 1] / pivots[i - 1] : 0;
    pivots[i] = shift - diagonal[i] + (i ? factor * offDiagonal[i - 1] : 0);
    if (pivots[i] <= 0) pivots[i] = Math.abs(shift) * 1e-15 + Number.MIN_VALUE;
    if (i) vector[i] -= factor * vector[i - 1];
  }
  for (let i = size - 1; i >= 0; i -= 1) {
    if (i + 1 < size) vector[i] += offDiagonal[i] * vector[i + 1];
    vector[i] /= pivots[i];
  }
  return vector;
}

function combined(basis, weights) {
  const sum = new Float64Array(basis[0].length);
  basis.forEach((vector, i) => {
    for (let column = 0; column < sum.length; column += 1) sum[column] += weights[i] * vector[column];
  });
  return sum;
}

/** Makes `vector` orthogonal to all `others`, in place. */
function without(vector, others) {
  for (const other of others) {
    const along = dot(vector, other);
    for (let column = 0; column < vector.length; column += 1) vector[column] -= along * other[column];
  }
  return vector;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}

/** The vector scaled to length 1, or null if it is zero. */
function unit(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return length > 0 && Number.isFinite(length) ? vector.map((entry) => entry / length) : null;
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
