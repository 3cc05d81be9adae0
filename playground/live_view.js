// The live view: reads /metrics once a second while it is visible, and shows small charts and a table.

import { MOST_SERIES, chart } from "./charts.js";
import { el, fill } from "./dom.js";
import { addStrings, t } from "./i18n.js";
import { CHARTS } from "./live_charts.js";
import { HISTORY_S, History, largest } from "./live_history.js";
import { parseMetrics } from "./metrics_text.js";
import { ask } from "./service.js";
import { strings } from "./strings/live.js";
import { tableBox } from "./table_box.js";

addStrings(strings);

export const id = "live";

const EVERY_MS = 1000;
const PATIENCE_MS = 5000;

/** Kept when the view or language changes. */
const state = { history: new History(), isPaused: false, problem: /** @type {string | null} */ (null) };
let view = null; // the elements on the page, if this view is shown
let polling = null; // the controller of the running loop

/** @param {HTMLElement} root */
export function mount(root) {
  const pause = el("button", { type: "button", class: "button", on: { click: togglePause } });
  const status = el("p", { class: "note", role: "status" });
  const charts = CHARTS.map(({ name, format, read }) => {
    const title = t(`live.chart.${name}`);
    return { read, format, title, ...chart({ title, format, spanS: HISTORY_S }) };
  });
  const values = table();
  view = { pause, status, charts, values, said: "" };
  fill(
    root,
    el("div", { class: "row" }, pause, status),
    el("div", { class: "charts" }, charts.map(({ element }) => element)),
    el(
      "section",
      { class: "card stack" },
      el("h3", {}, t("live.table")),
      values,
      el("p", { class: "note" }, t("live.about")),
    ),
  );
  document.addEventListener("visibilitychange", follow);
  draw();
  follow();
}

export function unmount() {
  document.removeEventListener("visibilitychange", follow);
  view = null;
  follow();
}

function table() {
  const series = el("th", { scope: "col" }, t("live.table.series"));
  const value = el("th", { scope: "col", class: "numeric" }, t("live.table.value"));
  return tableBox({ name: "live-table", label: t("live.table"), head: [series, value] });
}

function togglePause() {
  state.isPaused = !state.isPaused;
  state.problem = null;
  drawStatus();
  follow();
}

// The polls

/** Starts or stops polling, which runs only while the page is visible. */
function follow() {
  const isWanted = view !== null && !state.isPaused && document.visibilityState === "visible";
  if (isWanted === (polling !== null)) return;
  if (isWanted) {
    polling = new AbortController();
    poll(polling.signal);
  } else {
    polling.abort();
    polling = null;
  }
}

async function poll(signal) {
  while (!signal.aborted) {
    const started = performance.now();
    await pollOnce(signal);
    if (signal.aborted) return;
    draw();
    await pause(EVERY_MS - (performance.now() - started), signal);
  }
}

async function pollOnce(signal) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  try {
    const { data } = await ask("metrics", { signal: AbortSignal.any([signal, patience]), view: id });
    if (signal.aborted) return;
    state.history.push(now(), parseMetrics(data, "service_"));
    state.problem = null;
  } catch (problem) {
    if (signal.aborted) return;
    state.history.miss(now());
    if (patience.aborted) state.problem = t("live.slow", { seconds: PATIENCE_MS / 1000 });
    else if (problem.kind === "answer") state.problem = t("live.refused", { message: problem.message });
    else state.problem = t("live.lost");
  }
}

function now() {
  return performance.now() / 1000;
}

function pause(ms, signal) {
  return new Promise((/** @type {(value?: void) => void} */ resolve) => {
    const timer = setTimeout(resolve, Math.max(0, ms));
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

// Charts

function draw() {
  if (!view) return;
  const { history } = state;
  const times = history.moments.map(({ time }) => time);
  const groups = view.charts.map(({ title, read, format, update }) => {
    const series = largest(read(history), MOST_SERIES, t("live.others"));
    update(times, series);
    return group(title, series, format);
  });
  drawStatus();
  if (view.values.contains(document.activeElement)) return; // do not change it while it has the focus
  const old = view.values.querySelectorAll("tbody");
  view.values.querySelector("table").append(...groups);
  for (const body of old) body.remove();
}

function group(title, series, format) {
  const rows = [...series].map(([name, values]) => {
    const value = values.at(-1);
    return el(
      "tr",
      {},
      el("td", {}, name),
      el("td", { class: "numeric" }, value === null || value === undefined ? "–" : format(value)),
    );
  });
  const head = el("tr", {}, el("th", { scope: "rowgroup", colspan: 2 }, title));
  return el("tbody", {}, series.size ? head : null, rows);
}

/** Updated only if it changes, or a screen reader would read it every second. */
function drawStatus() {
  if (!view) return;
  fill(view.pause, t(state.isPaused ? "live.resume" : "live.pause"));
  const { restartedAt } = state.history;
  const restarted = restartedAt !== null && now() - restartedAt < HISTORY_S ? t("live.restarted") : "";
  const going = state.isPaused ? t("live.paused") : (state.problem ?? t("live.going"));
  const said = `${going} ${restarted}`.trim();
  if (said === view.said) return;
  view.said = said;
  view.status.classList.toggle("bad", state.problem !== null && !state.isPaused);
  fill(view.status, said);
}
