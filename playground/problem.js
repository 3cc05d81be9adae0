// Error messages, and a button that runs and cancels a request.

import { el, fill } from "./dom.js";
import { t, number } from "./i18n.js";
import { Problem, askForKey, models } from "./service.js";
import { serviceText } from "./service_text.js";

const SLOW_MS = 1000;
const ADVICE = new Set([400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504]);

/**
 * An alert with the service's message, its code, the request's id and what the user can do.
 * @param {any} problem a Problem, or another error of the page @returns {HTMLElement}
 */
export function problemBox(problem) {
  const kind = problem instanceof Problem ? problem.kind : "page";
  if (kind === "cancelled") return el("div", { class: "problem quiet", role: "status" }, t("problem.cancelled"));
  const answered = problem.status >= 500 ? "problem.failed" : "problem.answer";
  const title = kind === "answer" ? t(answered, { status: String(problem.status) }) : t(`problem.${kind}`);
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("p", { class: "problem-title" }, title),
    kind === "network" ? null : el("p", { class: "problem-message" }, serviceText(problem.message)),
    el("p", {}, advice(kind, problem)),
    problem.status === 401 ? keyButton() : null,
    kind === "answer" ? facts(problem) : null,
  );
}

function advice(kind, problem) {
  if (kind !== "answer") return t(`problem.${kind}.advice`);
  if (problem.retryAfter !== null) return t("problem.advice.retry", { seconds: Math.ceil(problem.retryAfter) });
  const known = ADVICE.has(problem.status) ? problem.status : problem.status >= 500 ? 500 : 400;
  return t(`problem.advice.${known}`);
}

async function giveKey() {
  if (await askForKey()) models({ fresh: true }).catch(() => {}); // updates all users of the list
}

function keyButton() {
  return el("button", { type: "button", class: "button", on: { click: giveKey } }, t("key.give"));
}

function facts(problem) {
  const rows = [
    ["problem.code", problem.code],
    ["problem.param", problem.param],
    ["problem.request_id", problem.requestId],
  ].filter(([, value]) => value);
  if (!rows.length) return null;
  const lines = rows.map(([key, value]) => [el("dt", {}, t(key)), el("dd", { class: "mono" }, value)]);
  return el("dl", { class: "facts" }, lines);
}

const runs = new Map();

/**
 * A button that becomes Cancel while `onRun(signal)` runs, with the elapsed seconds of a slow run and an error message.
 * A new run cancels the previous one. With an `id`, a runner that is recreated (after a switch of language) shows the
 * current run and problem.
 * @param {{label: string, onRun: (signal: AbortSignal) => Promise<any>, id?: string}} options
 * @returns {{element: HTMLElement, run: () => Promise<boolean>}} run() tells whether it succeeded
 */
export function runner({ label, onRun, id }) {
  const state = (id && runs.get(id)) || { controller: null, started: 0, problem: null, draw: null };
  if (id) runs.set(id, state);
  const button = el("button", { type: "button", class: "button primary", on: { click: pressed } });
  const status = el("p", { class: "run-status", role: "status" });
  const place = el("div", { class: "run-problem" });
  const element = el("div", { class: "runner" }, el("div", { class: "row" }, button, status), place);
  state.draw = draw;
  draw();
  return { element, run };

  function pressed() {
    if (state.controller) state.controller.abort();
    else run();
  }

  async function run() {
    state.controller?.abort();
    const controller = new AbortController();
    Object.assign(state, { controller, started: performance.now(), problem: null });
    const slow = setInterval(() => state.draw(), SLOW_MS);
    state.draw();
    let problem = null;
    try {
      await onRun(controller.signal);
    } catch (error) {
      problem = controller.signal.aborted ? new Problem({ kind: "cancelled" }) : error;
      if (!(problem instanceof Problem)) console.error(problem);
    } finally {
      clearInterval(slow);
    }
    if (state.controller !== controller) return false; // another run has replaced this one
    Object.assign(state, { controller: null, problem });
    state.draw();
    return problem === null;
  }

  function draw() {
    const running = state.controller !== null;
    fill(button, running ? t("run.cancel") : label);
    button.classList.toggle("primary", !running);
    element.setAttribute("aria-busy", String(running));
    const seconds = Math.floor((performance.now() - state.started) / 1000);
    const waiting = seconds < 1 ? t("run.running") : t("run.waiting", { seconds: number(seconds) });
    // announce to screen readers once, not every second
    fill(status, running ? [el("span", { "aria-hidden": seconds > 1 }, waiting)] : null);
    if (state.problem) fill(place, problemBox(state.problem));
    else fill(place);
  }
}
