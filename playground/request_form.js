// The form of a view that sends requests: its fields, the button that runs it, and the earlier runs.

import { el, fill } from "./dom.js";
import { earlierRuns } from "./earlier_runs.js";
import { runner } from "./problem.js";
import { shareButton } from "./sharing.js";

/**
 * Ctrl+Enter anywhere in the form runs it, as does Enter in the `query`, unless it ends a word in an input method.
 * @param {object} options
 * @param {string} options.id of the view
 * @param {string} options.label of the button
 * @param {any[]} options.fields the elements above the button
 * @param {HTMLInputElement} [options.query]
 * @param {(signal: AbortSignal) => Promise<any>} options.onRun
 * @param {() => Object} options.input what `restore` of the view takes
 * @param {(input: any) => {title: string, facts: string}} options.words describes an earlier run
 * @param {(run: import("./earlier_runs.js").Run) => void} options.onChoose called with the chosen earlier run
 * @returns {{elements: HTMLElement[], run: () => void,
 *   refuses: (problem: string, field?: {focus: () => void}) => boolean}} `refuses` shows what is wrong with the input
 *   beside the button, focuses its field, and tells whether something is wrong
 */
export function requestForm({ id, label, fields, query, onRun, input, words, onChoose }) {
  const { element, run } = runner({ id, label, onRun });
  const missing = el("p", { class: "note bad", role: "alert" });
  const form = el(
    "form",
    { class: `card stack ${id}-form`, novalidate: true, on: { submit: (event) => event.preventDefault(), keydown } },
    fields,
    missing,
    el("div", { class: "run-and-share" }, element, shareButton(id, input)),
  );
  return { elements: [form, earlierRuns({ view: id, words, onChoose })], run, refuses };

  function keydown(event) {
    const isMeant = event.ctrlKey || event.metaKey || (event.target === query && !event.isComposing);
    if (event.key !== "Enter" || !isMeant) return;
    event.preventDefault();
    run();
  }

  function refuses(problem, field) {
    fill(missing, problem || null);
    if (problem) field?.focus();
    return problem !== "";
  }
}
