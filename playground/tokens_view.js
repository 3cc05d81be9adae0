// The view of sparse vectors and token vectors: its form and its requests. tokens_result.js shows the results.

import { debounce, el, fill, uniqueId } from "./dom.js";
import { fromBase64 } from "./downloads.js";
import { remember } from "./earlier_runs.js";
import { addStrings, t } from "./i18n.js";
import { linesField, sourceOf } from "./lines_field.js";
import { modelChooser } from "./model_chooser.js";
import { requestForm } from "./request_form.js";
import { sampleButtons } from "./samples.js";
import { ask, limitsOr, models } from "./service.js";
import { isTexts } from "./sharing.js";
import { strings } from "./strings/tokens.js";
import { matchesOf, weightsOf } from "./token_scores.js";
import { drawResult, forgetResult } from "./tokens_result.js";

addStrings(strings);

export const id = "tokens";

const ROUTE = "v1/embeddings";
/** Maximum number of passages, as a vector for each token makes a large response. */
const MOST_PASSAGES = 20;
const CHECK_MS = 200;

/** The user's input and the result, kept when the view or language changes. */
const state = {
  query: "",
  source: { text: "", file: null, problem: null },
  model: "",
  /** @type {import("./tokens_result.js").Result | null} */
  result: null,
};
const allowed = () => limitsOr({ maxInputs: MOST_PASSAGES, maxBodyBytes: 64 * 2 ** 20 });
let view = null; // the elements on the page, if this view is shown

/** @param {HTMLElement} root */
export function mount(root) {
  const query = el("input", { id: uniqueId("query"), type: "text", value: state.query, on: { input: asked } });
  const passages = linesField({
    source: state.source,
    label: t("tokens.passages"),
    rows: 6,
    aside: sampleButtons(sampled),
    countNote: (count) => el("p", { class: "note" }, t("tokens.passages.count", { count })),
    onChange: debounce(() => chooser.describe(), CHECK_MS),
    limits: () => ({ max: Math.min(allowed().maxInputs, MOST_PASSAGES), maxBytes: allowed().maxBodyBytes }),
  });
  const chooser = modelChooser({
    kinds: ["embedding"],
    outputs: ["sparse", "multi_vector"],
    label: t("tokens.model"),
    value: state.model,
    texts: () => [state.query, ...passages.reading().passages],
    onChange: (name) => {
      state.model = name;
      fill(outputs, outputsNote(chooser.model));
    },
  });
  const outputs = el("p", { class: "note" });
  const form = requestForm({
    id,
    label: t("tokens.run"),
    fields: [
      el("div", { class: "field" }, el("label", { for: query.id }, t("tokens.query.optional")), query),
      el("div", { class: "columns" }, passages.element, el("div", { class: "stack tight" }, chooser.element, outputs)),
    ],
    query,
    onRun: send,
    input,
    words,
    onChoose: again,
  });
  view = { root, form, query, passages, chooser, place: el("div", { class: "stack" }) };
  fill(root, form.elements, view.place);
  if (state.result) drawResult(view.place, state.result);
}

export function unmount() {
  forgetResult();
  view = null;
}

/** @typedef {{query: string, passages: string[], model: string}} Input */

/** @returns {Input} */
function input() {
  return { query: state.query, passages: view.passages.reading().passages, model: state.model };
}

/**
 * Replaces the user's input before the view is mounted.
 * @param {Input} given e.g. from a link
 * @throws {Error} if it is none
 */
export function restore({ query, passages, model }) {
  if (!isTexts([query, model]) || !isTexts(passages)) throw new TypeError("not an input");
  Object.assign(state, { query, model, source: sourceOf(passages.slice(0, MOST_PASSAGES)), result: null });
}

/** Shows an earlier run; runs it if its result is gone. */
function again(run) {
  restore(run.input);
  state.result = run.outcome ?? null;
  mount(view.root);
  if (!state.result) view.form.run();
}

function words({ query, passages, model }) {
  return {
    title: query || passages[0],
    facts: `${model} · ${t("tokens.passages.count", { count: passages.length })}`,
  };
}

function asked() {
  state.query = view.query.value;
  view.chooser.describe();
}

function sampled({ query, passages }) {
  state.query = query;
  view.query.value = query;
  view.passages.write(passages);
}

function outputsNote(model) {
  const outputs = ["sparse", "multi_vector"].filter((each) => model?.outputs?.includes(each));
  return outputs.length ? outputs.map((each) => t(`tokens.outputs.${each}`)).join(" ") : null;
}

// The requests

async function send(signal) {
  const { passages } = view.passages.reading();
  const { query } = state;
  const model = view.chooser.model ?? { id: view.chooser.value, outputs: ["sparse"] }; // of a link: the service tells
  const has = { sparse: model.outputs.includes("sparse"), multi: model.outputs.includes("multi_vector") };
  const lacks = !passages.length ? "passages" : !query.trim() && !has.sparse ? "query" : "";
  if (view.form.refuses(lacks && t(`tokens.missing.${lacks}`), view[lacks])) return;
  const sides = [...(query.trim() ? [{ name: "query", texts: [query] }] : []), { name: "document", texts: passages }];
  const wantsVectors = has.multi && sides.length > 1;
  const bodies = sides.map(({ name, texts }) => ({
    ...(model.id && { model: model.id }), // else the service's default
    input: texts,
    input_type: name,
    return_dense: false,
    ...(has.sparse && { return_sparse: true }),
    ...(wantsVectors && { return_colbert_vecs: true, encoding_format: "base64" }),
    return_tokens: true,
  }));
  const inputs = sides.flatMap(({ texts }) => texts);
  const listing = { model: model.id, inputs, add_special_tokens: false };
  const asking = bodies.map((body) => ask(ROUTE, { body, signal, view: id }));
  const [listed, ...answers] = await Promise.all([
    has.sparse ? ask("tokenize", { body: listing, signal, view: id }) : null,
    ...asking,
  ]).finally(() => models({ fresh: true }).catch(() => {})); // the request may have loaded it
  const items = answers.flatMap(({ data }) => data.data);
  const texts = inputs.map((text, at) => ({
    text,
    tokens: listed ? listed.data[at] : [],
    weights: has.sparse ? weightsOf(items[at].sparse_embedding) : [],
  }));
  const passageTexts = texts.slice(-passages.length);
  const vectors = wantsVectors ? items.map(tokenVectors) : [];
  state.result = {
    model,
    has: { sparse: has.sparse, multi: wantsVectors },
    query: sides.length > 1 ? texts[0] : null,
    passages: passageTexts.map((each, at) => ({
      ...each,
      matches: wantsVectors ? matchesOf(vectors[0], vectors[at + 1]) : null,
    })),
    chosen: null,
    answers: answers.map(({ data, ...answer }, at) => ({
      ...answer,
      side: sides[at].name,
      tokens: data.usage.prompt_tokens,
      warnings: data.warnings ?? [],
    })),
  };
  remember({ view: id, input: { query, passages, model: model.id }, outcome: state.result });
  if (view) drawResult(view.place, state.result);
}

function tokenVectors({ colbert_vecs: rows, colbert_tokens: tokens }) {
  return { tokens, vectors: rows.map(fromBase64) };
}
