// The page's side of the worker that holds the vectors.

let worker = null;
let last = 0;
const waiting = new Map();

/** A later width or a later answer has made this useless; nothing is wrong. */
export class Superseded extends Error {}

/**
 * Asks the worker; tasks and their answers are in vectors_worker.js.
 * @param {"load" | "width" | "kept" | "changes" | "matrix" | "map" | "file"} task
 * @param {object} [args]
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
