// The runs of this tab, newest first. The inputs survive a reload (session storage); results only as long as the page.

import { el, fill, smallButton } from "./dom.js";
import { t } from "./i18n.js";

const KEY = "playground.runs";
const MOST = 20;
/** Larger inputs, such as files, are not stored: browsers store about 5 million characters. */
const MOST_STORED = 100_000;

/**
 * @typedef {{view: string, input: any, outcome?: any}} Run `outcome` as the view keeps it
 * @typedef {Run & {json: string}} Kept
 */

/** @type {Kept[]} */
let runs = stored();
let redraw = () => {};

/**
 * Adds a run, in place of one with the same input.
 * @param {Run} run
 */
export function remember({ view, input, outcome }) {
  const json = JSON.stringify({ view, input });
  keep([{ view, input, outcome, json }, ...runs.filter((other) => other.json !== json)].slice(0, MOST));
}

/**
 * A list of the runs of a view, each as a button.
 * @param {{view: string, words: (input: any) => {title: string, facts: string},
 *   onChoose: (run: Run) => void}} options `words` describes a run
 * @returns {HTMLElement}
 */
export function earlierRuns({ view, words, onChoose }) {
  const summary = el("summary");
  const list = el("ol", { class: "earlier-runs" });
  const forget = smallButton(t("earlier.forget"), () => keep(runs.filter((run) => run.view !== view)));
  const element = el("details", { class: "card earlier" }, summary, list, forget);
  redraw = draw;
  draw();
  return element;

  function draw() {
    const own = runs.filter((run) => run.view === view);
    element.hidden = !own.length;
    fill(summary, t("earlier.title", { count: own.length }));
    fill(list, own.map((run) => el("li", {}, entry(run))));
  }

  function entry(run) {
    const { title, facts } = words(run.input);
    return el(
      "button",
      { type: "button", class: "earlier-run", on: { click: () => onChoose(run) } },
      el("span", { class: "clip" }, title),
      el("span", { class: "note clip" }, facts),
    );
  }
}

function keep(next) {
  runs = next;
  const kept = runs.map(({ json }) => json).filter((json) => json.length <= MOST_STORED);
  sessionStorage.setItem(KEY, `[${kept.join()}]`);
  redraw();
}

function stored() {
  /** @type {Run[]} */
  const found = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  return found.map((run) => ({ ...run, json: JSON.stringify(run) }));
}
