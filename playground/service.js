// All requests to the service: sends the key, returns responses with timings, throws one type of error.

const KEY = "playground.key";
const FOLLOW_MS = 1000;
const RETRY_MS = 5000;
const NOT_READY = new Set(["importing", "loading"]);

/** A failed request. `kind` tells the cause: an error response, the network, or cancellation by the user. */
export class Problem extends Error {
  /** @param {{kind: "answer" | "network" | "cancelled", message?: string, [fact: string]: any}} facts */
  constructor({ kind, message = "", status = 0, code = null, type = null, param = null, ...rest }) {
    super(message);
    this.name = "Problem";
    this.kind = kind;
    this.status = status;
    this.code = code;
    this.type = type;
    this.param = param;
    /** Seconds, or null. */
    this.retryAfter = rest.retryAfter ?? null;
    /** The id of the request in the service's log, or null. */
    this.requestId = rest.requestId ?? null;
  }
}

/**
 * Sends a request; `path` is relative to the service ("v1/rerank"). A response that is not JSON is returned as text.
 * If the service requires a key, the user is asked for it once, and the request is sent again.
 * @param {string} path @param {{body?: any, method?: string, signal?: AbortSignal, view?: string}} [options]
 * @returns {Promise<{status: number, data: any, headers: Headers, timings: {name: string, ms: number}[],
 *   elapsedMs: number, request: {method: string, path: string, body: any}, serverRequestId: string | null}>}
 * @throws {Problem}
 */
export async function ask(path, options = {}) {
  const used = key();
  try {
    return await send(path, options, used);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    const another = !asking && key() !== "" && key() !== used; // entered during this request
    if (!another && (declined || !(await askForKey()))) throw problem;
    return ask(path, options);
  }
}

/** @param {string} path @param {{body?: any, method?: string, signal?: AbortSignal}} options @param {string} apiKey */
async function send(path, { body, method = body === undefined ? "GET" : "POST", signal }, apiKey) {
  /** @type {Object<string, string>} */
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  const started = performance.now();
  let answer, data;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: text, signal, cache: "no-store", redirect: "error" });
    const isJSON = (answer.headers.get("Content-Type") ?? "").includes("json");
    data = await (isJSON ? answer.json() : answer.text());
  } catch (error) {
    throw new Problem({ kind: signal?.aborted ? "cancelled" : "network", message: error.message });
  }
  const elapsedMs = performance.now() - started;
  const serverRequestId = answer.headers.get("X-Request-Id");
  if (!answer.ok) throw refused(answer, data, serverRequestId);
  return {
    status: answer.status,
    data,
    headers: answer.headers,
    timings: timings(answer.headers.get("Server-Timing")),
    elapsedMs,
    request: { method, path, body },
    serverRequestId,
  };
}

function refused(answer, data, requestId) {
  const { message, code, type, param } = data?.error ?? {};
  const wait = Number.parseFloat(answer.headers.get("Retry-After") ?? "");
  return new Problem({
    kind: "answer",
    status: answer.status,
    message: message ?? (typeof data === "string" && data ? data.slice(0, 500) : answer.statusText),
    code,
    type,
    param,
    retryAfter: Number.isNaN(wait) ? null : wait,
    requestId,
  });
}

/** `a;dur=1.5, b;desc="x";dur=2` -> [{name: "a", ms: 1.5}, {name: "b", ms: 2}] */
function timings(header) {
  return (header ?? "").split(",").flatMap((part) => {
    const [name, ...parameters] = part.split(";").map((piece) => piece.trim());
    const duration = parameters.find((parameter) => parameter.startsWith("dur="));
    return name && duration ? [{ name, ms: Number(duration.slice(4)) }] : [];
  });
}

// The API key

/** @type {() => Promise<string | null>} */
let keyAsker = async () => null;
let asking = null;
let declined = false; // after a refusal, background requests do not ask again

/** The key that the user gave, or "". It is kept for this tab. */
export function key() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** @param {string} value "" deletes it */
export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/**
 * Sets the function that asks the user for a key; it resolves to the key, or to null if the user gives none.
 * @param {() => Promise<string | null>} asker
 */
export function onKeyWanted(asker) {
  keyAsker = asker;
}

/**
 * Asks the user for a key, once for all waiting requests.
 * @returns {Promise<boolean>} whether there is one now
 */
export function askForKey() {
  asking ??= keyAsker()
    .then((given) => {
      if (given) setKey(given);
      declined = !given;
      return !declined;
    })
    .finally(() => {
      asking = null;
    });
  return asking;
}

// The models

const listeners = new Set();
let listing = null;
let fetching = null;
let timer = 0;

/**
 * The objects of GET /models, cached unless `fresh`.
 * @param {{fresh?: boolean}} [options] @returns {Promise<Object[]>}
 */
export async function models({ fresh = false } = {}) {
  return (await listed(fresh)).models;
}

/**
 * @typedef {{maxInputs: number, maxDocuments: number, maxBodyBytes: number, admin: boolean, tasks: string[],
 *   defaultReranker: string, defaultEmbedding: string}} Limits
 */

/**
 * The service's limits and defaults.
 * @returns {Promise<Limits>}
 */
export async function limits() {
  return limitsIn(await listed(false));
}

/**
 * The same without waiting; `assumed` until the service has told them.
 * @template {Partial<Limits>} T
 * @param {T} assumed @returns {T | Limits}
 */
export function limitsOr(assumed) {
  return listing ? limitsIn(listing) : assumed;
}

/** @returns {Limits} */
function limitsIn({ limits, admin, tasks, ...rest }) {
  return {
    maxInputs: limits.max_inputs,
    maxDocuments: limits.max_documents,
    maxBodyBytes: limits.max_body_bytes,
    admin,
    tasks,
    defaultReranker: rest.default_reranker_model,
    defaultEmbedding: rest.default_embedding_model,
  };
}

/**
 * Calls `listener(models)` whenever the list changes.
 * @param {(models: Object[]) => void} listener
 * @returns {() => void} stops it
 */
export function onModels(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

async function listed(fresh) {
  if (listing && !fresh) return listing;
  fetching ??= ask("models").finally(() => {
    fetching = null;
  });
  const { data } = await fetching.catch((problem) => {
    if (problem.kind === "network" && listeners.size) refreshIn(RETRY_MS); // the service may be starting
    throw problem;
  });
  const changed = JSON.stringify(data) !== JSON.stringify(listing);
  listing = data;
  if (changed) for (const listener of [...listeners]) listener(data.models);
  // poll only while a model is being imported or loaded
  if (data.models.some((model) => NOT_READY.has(model.state))) refreshIn(FOLLOW_MS);
  return listing;
}

function refreshIn(ms) {
  clearTimeout(timer);
  timer = setTimeout(() => listed(true).catch(() => {}), ms); // callers of `models` get the error
}
