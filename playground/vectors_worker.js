// A worker that holds the vectors and computes with them, so that the page stays responsive.
// In: {id, task, args}; out: {id, value} or {id, error}, error "superseded" if a later width replaced the task.

import { csvParts, fromBase64, jsonParts } from "./downloads.js";
import { cut, keptShare, nearest, rankChanges, similarities } from "./neighbours.js";
import { principalComponents } from "./pca.js";

const SLICE_MS = 40;
const TYPES = { csv: "text/csv", json: "application/json" };

/** @type {{n: number, d: number, texts: object[], model: string, whole: any}} loaded first */
let held;
/** The current vectors, whole or truncated to a width, and their matrix once computed. */
let current = null;
let epoch = 0;
let loads = 0;
let pausedAt = 0;

class Superseded extends Error {}

const TASKS = {
  /** Loads the base64 strings of the responses, in the order of the texts. */
  load({ strings, texts, model }) {
    epoch += 1;
    loads += 1;
    const rows = strings.map(fromBase64);
    const [n, d] = [rows.length, rows[0]?.length ?? 0];
    const vectors = new Float32Array(n * d);
    rows.forEach((row, index) => vectors.set(row, index * d));
    const load = loads;
    const whole = { vectors, width: d, matrix: null, pause: pauseWhile(() => load === loads) };
    held = { n, d, texts, model, whole };
    current = whole;
    return { n, d };
  },

  /** Truncates the vectors; later tasks use the result. */
  width({ width }) {
    epoch += 1;
    const { n, d, whole } = held;
    const mine = epoch;
    const vectors = width === d ? null : cut(whole.vectors, n, d, width);
    current = vectors ? { vectors, width, matrix: null, pause: pauseWhile(() => mine === epoch) } : whole;
    return { width };
  },

  /** The share of each text's k nearest neighbours by whole vectors that are kept. */
  async kept({ k }) {
    const [{ n, whole }, mine] = [held, current];
    const before = nearest(await matrixOf(whole, n), n, k);
    const after = nearest(await matrixOf(mine, n), n, k);
    return keptShare(before, after, n);
  },

  /** The nearest neighbours of a text, compared with those by whole vectors. */
  async changes({ text, k }) {
    const [{ n, whole }, mine] = [held, current];
    const rowOf = (matrix) => matrix.subarray(text * n, (text + 1) * n);
    return rankChanges(rowOf(await matrixOf(whole, n)), rowOf(await matrixOf(mine, n)), text, k);
  },

  /** The cosines between `count` texts, starting at `from`. */
  matrix({ from, count }) {
    const { width, vectors, pause } = current;
    return similarities(vectors.subarray(from * width, (from + count) * width), count, width, pause);
  },

  /** Coordinates on the map. */
  async map() {
    const { vectors, width, pause } = current;
    const { coordinates, explained } = await principalComponents(vectors, held.n, width, pause);
    return { coordinates, explained };
  },

  /** A file with the current vectors. */
  async file({ format }) {
    const parts = format === "csv" ? csvParts : jsonParts;
    const pause = pauseWhile(() => true);
    const pieces = [];
    for (const part of parts({ ...held, ...current })) {
      pieces.push(part);
      await pause();
    }
    return new Blob(pieces, { type: TYPES[format] });
  },
};

/** Computed once for all concurrent tasks. */
function matrixOf(some, n) {
  some.matrix ??= similarities(some.vectors, n, some.width, some.pause);
  return some.matrix;
}

/** Lets the worker receive messages, and stops superseded work. */
function pauseWhile(isWanted) {
  return async () => {
    if (performance.now() - pausedAt < SLICE_MS) return;
    await new Promise((resolve) => setTimeout(resolve));
    pausedAt = performance.now();
    if (!isWanted()) throw new Superseded();
  };
}

addEventListener("message", async ({ data: { id, task, args } }) => {
  try {
    postMessage({ id, value: await TASKS[task](args) });
  } catch (error) {
    postMessage({ id, error: error instanceof Superseded ? "superseded" : `${error.name}: ${error.message}` });
  }
});
