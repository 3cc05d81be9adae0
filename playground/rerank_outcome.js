// The result of reranking: one ranking, or several with rank lines between neighbours; timings; the request.

import { bumpChart, ranksOf } from "./bump_chart.js";
import { copyAs } from "./copy_as.js";
import { el, fill, svg, uniqueId } from "./dom.js";
import { t } from "./i18n.js";
import { sizeAndSpeed } from "./model_facts.js";
import { showPassage } from "./passage_dialog.js";
import { problemBox } from "./problem.js";
import { rankedList } from "./rerank_result.js";
import { rowWindow } from "./row_window.js";
import { scriptWarning } from "./script_warning.js";
import { serviceText } from "./service_text.js";
import { timingBar } from "./timing.js";

/**
 * @typedef {Object} Column one model's result; only the first three if it failed
 * @property {string} letter its name in a comparison
 * @property {any} problem a Problem, or another error; null: none
 * @property {Object} model of GET /models
 * @property {{method: string, path: string, body: any}} request as it was sent
 * @property {{index: number, score: number}[]} results best first
 * @property {Map<number, import("./truncation.js").Cut>} cuts
 * @property {string[]} warnings other than those about truncated passages
 * @property {number} tokens
 * @property {{name: string, ms: number}[]} timings
 * @property {number} elapsedMs
 *
 * @typedef {{query: string, passages: string[], raw: boolean, columns: Column[]}} Outcome
 */

/** The models of a comparison, in order. */
export const LETTERS = "ABCD";

/**
 * @param {Outcome} outcome @returns {HTMLElement}
 */
export function outcomeView(outcome) {
  const ranked = outcome.columns.filter((column) => !column.problem);
  const kind = ranked.length > 1 ? `several of-${ranked.length}` : "single";
  const heads = outcome.columns.map((column) => columnHead(column, outcome));
  return el(
    "section",
    { class: `stack outcome ${kind}`, "aria-label": t("rerank.result") },
    el("h3", {}, t("rerank.result")),
    el("div", { class: outcome.columns.length > 1 ? "columns" : "stack" }, heads),
    rankings(outcome, ranked),
    ranked.length ? el("div", { class: "card" }, copies(ranked)) : null,
  );
}

function columnHead(column, { columns, query, passages, raw }) {
  const name = columns.length > 1 ? lettered(column) : column.model.id;
  const title = el("h4", {}, name, " ", el("span", { class: "note" }, sizeAndSpeed(column.model).join(" · ")));
  if (column.problem) return el("section", { class: "card stack tight" }, title, problemBox(column.problem));
  const { cuts, tokens, warnings, results, timings, elapsedMs } = column;
  const isCosine = column.model.kind === "embedding";
  return el(
    "section",
    { class: "card stack tight" },
    title,
    el("p", { class: "note" }, t("rerank.read", { count: passages.length, results: results.length, tokens })),
    isCosine ? el("p", { class: "note" }, t(raw ? "rerank.cosineRaw" : "rerank.cosine")) : null,
    cuts.size ? el("p", { class: "warn" }, t("rerank.cuts", { count: cuts.size })) : null,
    scriptWarning(column.model, () => [query, ...passages]),
    warnings.map((warning) => el("p", { class: "warn" }, serviceText(warning))),
    timingBar(timings, elapsedMs),
  );
}

function columnNames(ranked) {
  const names = ranked.map((column) => el("span", {}, lettered(column)));
  return el("p", { class: "rankings-names label", "aria-hidden": "true" }, names);
}

function lettered({ letter, model }) {
  return t("rerank.modelNamed", { letter, model: model.id });
}

/** The lists, the lines between them, and a legend. */
function rankings({ passages, query }, ranked) {
  if (!ranked.length) return null;
  const orders = ranked.map((column) => column.results.map(({ index }) => index));
  const places = orders.map(ranksOf);
  const isSingle = ranked.length === 1;
  const scale = scales(ranked);
  const hint = uniqueId("hint");
  const box = el("div", { class: "rankings" });
  const view = rowWindow(box, Math.max(...orders.map((order) => order.length)));
  const lists = ranked.map((column, at) =>
    rankedList({
      view,
      results: column.results,
      passages,
      cuts: column.cuts,
      before: at ? places[at - 1] : null,
      scale: scale[at],
      label: t("rerank.ranking", { model: column.model.id }),
      onOpen: open,
      onPoint: point,
      onAcross: (index, side) => lists[at + side]?.focus(index),
    }),
  );
  for (const { element } of lists) element.setAttribute("aria-describedby", hint);
  const charts = orders.slice(1).map((right, at) => bumpChart({ left: orders[at], right, view, onPoint: point }));
  fill(box, lists.map(({ element }, at) => [element, charts[at]?.element]));
  return [
    el("p", { class: "note", id: hint }, t(isSingle ? "rerank.hint" : "rerank.hintSeveral")),
    isSingle ? null : legend(),
    el("div", { class: "rankings-frame" }, isSingle ? null : columnNames(ranked), box),
  ];

  function point(index) {
    for (const list of lists) list.mark(index);
    for (const chart of charts) chart.highlight(index);
  }

  function open(index) {
    showPassage({ index, text: passages[index], query, places: ranked.map((column, at) => place(column, at, index)) });
  }

  function place({ model, results, cuts }, at, index) {
    const rank = places[at].get(index) ?? null;
    return { model, rank, score: rank && results[rank - 1].score, cut: cuts.get(index) ?? null };
  }
}

/** 0 to 1; for raw scores the range of the scores and 0. */
function scales(ranked) {
  return ranked.map(({ results, request }) => {
    if (!request.body.raw_scores) return [0, 1];
    const scores = results.map(({ score }) => score);
    return [Math.min(0, ...scores), Math.max(0, ...scores)];
  });
}

function legend() {
  const kinds = ["up", "down", "same", "gone"];
  return el(
    "ul",
    { class: "row bump-legend" },
    kinds.map((kind) =>
      el(
        "li",
        {},
        svg(
          "svg",
          { class: "bump-sample", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
          svg("path", { d: kind === "gone" ? "M0 5H40" : "M0 5H100", class: `line ${kind}` }),
        ),
        t(`rerank.legend.${kind}`),
      ),
    ),
  );
}

/** The request of one model, or of each of several. */
function copies(ranked) {
  let at = 0;
  const copy = copyAs(() => ranked[at].request);
  if (ranked.length < 2) return copy;
  const id = uniqueId("copied-model");
  const select = el(
    "select",
    { id, on: { change: () => choose(Number(select.value)) } },
    ranked.map((column, place) => el("option", { value: place }, lettered(column))),
  );
  return [el("div", { class: "row copied-model" }, el("label", { for: id }, t("rerank.requestOf")), select), copy];

  function choose(place) {
    at = place;
    copy.refresh();
  }
}
