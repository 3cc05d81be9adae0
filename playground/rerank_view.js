// The rerank view: a query, passages, up to four models, and the rankings.

import { debounce, el, fill, uniqueId } from "./dom.js";
import { remember } from "./earlier_runs.js";
import { addStrings, language, t } from "./i18n.js";
import { linesField, sourceOf } from "./lines_field.js";
import { modelChooser } from "./model_chooser.js";
import { requestForm } from "./request_form.js";
import { LETTERS, outcomeView } from "./rerank_outcome.js";
import { sampleButtons } from "./samples.js";
import { ask, limits, limitsOr, models } from "./service.js";
import { isTexts } from "./sharing.js";
import { strings } from "./strings/rerank.js";
import { readWarnings } from "./truncation.js";

addStrings(strings);

export const id = "rerank";

/** @type {("reranker" | "embedding")[]} */
const KINDS = ["reranker", "embedding"];
const ROUTE = "v1/rerank";
const FOLLOW_MS = 500;
const CHECK_MS = 200;

/** The user's input and the results, kept when the view or language changes. */
const state = {
  query: "",
  source: { text: "", file: null, problem: null },
  /** @type {string[]} without repetition; empty until the default is known */
  models: [],
  topN: "",
  raw: false,
  /** @type {import("./rerank_outcome.js").Outcome | null} */
  outcome: null,
};
const allowed = () => limitsOr({ maxDocuments: Infinity, maxBodyBytes: Infinity });
let turns = 0; // number of runs
let view = null; // the elements on the page, if this view is shown

/** @param {HTMLElement} root */
export function mount(root) {
  const query = el("input", { id: uniqueId("query"), type: "text", value: state.query, on: { input: asked } });
  const passages = linesField({
    source: state.source,
    label: t("rerank.passages"),
    rows: 8,
    aside: sampleButtons(sampled),
    countNote,
    onChange: checkModels,
    limits: () => ({ max: allowed().maxDocuments, maxBytes: allowed().maxBodyBytes }),
  });
  const choosers = [...LETTERS].map((letter, at) =>
    modelChooser({
      kinds: KINDS,
      label: t(at ? "rerank.other" : "rerank.first", { letter }),
      value: state.models[at],
      optional: at > 0,
      isTaken: (name) => state.models.includes(name),
      texts: () => [state.query, ...passages.reading().passages],
      onChange: (name) => choose(at, name),
    }),
  );
  const form = requestForm({
    id,
    label: t("rerank.run"),
    fields: [
      el("div", { class: "field" }, el("label", { for: query.id }, t("rerank.query")), query),
      passages.element,
      el("div", { class: "columns" }, choosers.map(({ element }) => element)),
      options(),
    ],
    query,
    onRun: send,
    input,
    words,
    onChoose: again,
  });
  const status = el("p", { class: "note", role: "status" });
  const place = el("div", {});
  view = { root, form, query, passages, choosers, status, place };
  fill(root, form.elements, status, place);
  showChoosers();
  drawOutcome();
}

export function unmount() {
  view = null;
}

/** @typedef {{query: string, passages: string[], models: string[], topN: string, raw: boolean}} Input */

/** @returns {Input} */
function input() {
  const { query, models: names, topN, raw } = state;
  return { query, passages: view.passages.reading().passages, models: names, topN, raw };
}

/**
 * Replaces the user's input before the view is mounted.
 * @param {Input} given e.g. from a link
 * @throws {Error} if it is none
 */
export function restore({ query, passages, models: names, topN, raw }) {
  if (!isTexts([query, topN]) || !isTexts(passages) || !isTexts(names)) throw new TypeError("not an input");
  const chosen = [...new Set(names)].slice(0, LETTERS.length);
  Object.assign(state, { query, topN, raw: raw === true, models: chosen, source: sourceOf(passages), outcome: null });
}

/** Shows an earlier run; runs it if its result is gone. */
function again(run) {
  turns += 1; // a run that has not ended shall not replace it
  restore(run.input);
  state.outcome = run.outcome ?? null;
  mount(view.root);
  if (!state.outcome) view.form.run();
}

function words({ query, passages, models: names }) {
  return { title: query, facts: `${names.join(", ")} · ${t("rerank.count", { count: passages.length })}` };
}

/** Chooses a model in one place; models after a cleared place move up. */
function choose(place, name) {
  const names = [...state.models];
  names[place] = name;
  state.models = names.filter(Boolean);
  showChoosers();
}

/** One place more than there are models. */
function showChoosers() {
  view?.choosers.forEach((chooser, place) => {
    chooser.value = state.models[place] ?? "";
    chooser.element.hidden = place > state.models.length;
  });
}

const checkModels = debounce(() => view?.choosers.forEach((chooser) => chooser.describe()), CHECK_MS);

function asked() {
  state.query = view.query.value;
  checkModels();
}

function options() {
  const top = el("input", {
    id: uniqueId("top"),
    type: "number",
    min: "1",
    step: "1",
    inputmode: "numeric",
    value: state.topN,
    placeholder: t("rerank.all"),
    on: { input: () => (state.topN = top.value) },
  });
  const raw = el("input", { type: "checkbox", checked: state.raw, on: { change: () => (state.raw = raw.checked) } });
  return el(
    "div",
    { class: "row" },
    el("label", { for: top.id }, t("rerank.topN")),
    top,
    el("label", { class: "check" }, raw, t("rerank.raw")),
    el("span", { class: "note" }, t("rerank.rawNote")),
  );
}

function sampled({ query, passages }) {
  state.query = query;
  view.query.value = query;
  view.passages.write(passages);
}

function countNote(count, name) {
  return el("p", { class: "note" }, name ? t("rerank.count.file", { count, name }) : t("rerank.count", { count }));
}

/** The name of the first field whose input is missing or wrong, or "". */
function lackingField(passages) {
  if (!state.query.trim()) return "query";
  if (!passages.length) return "passages";
  const isRight = state.topN === "" || (Number.isInteger(Number(state.topN)) && Number(state.topN) > 0);
  return isRight ? "" : "topN";
}

/** @typedef {import("./rerank_outcome.js").Column} Column */

/** Runs one model after the other, so that they do not slow each other down. */
async function send(signal) {
  const turn = (turns += 1);
  const fields = view; // also if another view is opened meanwhile
  const { defaultReranker } = await limits(); // throws if the service does not respond
  const { passages } = fields.passages.reading();
  const lacks = lackingField(passages);
  if (fields.form.refuses(lacks && t(`rerank.missing.${lacks}`), fields[lacks])) return;
  const { query, topN, raw } = state;
  const options = { ...(topN ? { top_n: Number(topN) } : {}), ...(raw ? { raw_scores: true } : {}) };
  const chosen = state.models.length ? state.models : [defaultReranker];
  /** @type {import("./rerank_outcome.js").Outcome} */
  const outcome = { query, passages, raw, columns: [] };
  const given = { query, documents: passages, ...options };
  for (const [at, name] of chosen.entries()) {
    const ranked = await column(name, given, signal, chosen.length === 1);
    outcome.columns.push(/** @type {Column} */ ({ letter: LETTERS[at], ...ranked }));
  }
  if (outcome.columns.every(({ problem }) => problem?.kind === "cancelled")) throw outcome.columns[0].problem;
  if (turn !== turns) return; // another run has replaced this one
  state.outcome = outcome;
  remember({ view: id, input: { query, passages, models: chosen, topN, raw }, outcome });
  drawOutcome();
}

async function column(name, given, signal, isOnly) {
  const model = (await models()).find((each) => each.id === name) ?? { id: name };
  const isReady = model.state === "ready";
  const following = isReady ? 0 : setTimeout(refresh, FOLLOW_MS); // shows the progress of an import
  try {
    const answer = await ask(ROUTE, { body: { model: name, ...given }, signal, view: id });
    const { results, usage, meta } = answer.data;
    const { cuts, others } = readWarnings(meta.warnings ?? []);
    return {
      model,
      request: answer.request,
      results: results.map(({ index, relevance_score: score }) => ({ index, score })),
      cuts,
      warnings: others,
      tokens: usage.total_tokens,
      timings: answer.timings,
      elapsedMs: answer.elapsedMs,
      problem: null,
    };
  } catch (problem) {
    if (isOnly) throw problem;
    return { model, problem };
  } finally {
    clearTimeout(following);
    if (!isReady) refresh();
  }
}

function refresh() {
  models({ fresh: true }).catch(() => {}); // only for display; the request reports errors
}

function drawOutcome() {
  if (!view || !state.outcome) return;
  fill(view.place, outcomeView(state.outcome));
  const ranked = state.outcome.columns.filter(({ problem }) => !problem);
  const names = new Intl.ListFormat(language()).format(ranked.map(({ model }) => model.id));
  if (ranked.length) fill(view.status, t("rerank.done", { count: state.outcome.passages.length, models: names }));
  else fill(view.status);
}
