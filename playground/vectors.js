// The page's side of the worker that holds the vectors.

let worker = null;
let last = 0;
const waiting = new Map();

/** A later width or response has superseded this task; not a failure. */
export class Superseded extends Error {}

/**
 * Runs a task in the worker; see vectors_worker.js for the tasks and their results.
 * @param {"load" | "width" | "kept" | "changes" | "matrix" | "map" | "file"} task @param {object} [args]
 * @returns {Promise<any>}
 */
export function compute(task, args = {}) {
  worker ??= started();
  last += 1;
  const id = last;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, task, args });
  });
}

function started() {
  const made = new Worker(new URL("./vectors_worker.js", import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data: { id, value, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(value);
    else reject(error === "superseded" ? new Superseded() : new Error(error));
  });
  made.addEventListener("error", (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "The worker could not be started."));
    waiting.clear();
    worker = null;
  });
  return made;
}
