// The embeddings view: its form and its requests. embeddings_result.js shows the results.

import { debounce, el, fill, uniqueId } from "./dom.js";
import { remember } from "./earlier_runs.js";
import { drawResult, forgetResult } from "./embeddings_result.js";
import { addStrings, t } from "./i18n.js";
import { linesField, sourceOf } from "./lines_field.js";
import { modelChooser } from "./model_chooser.js";
import { requestForm } from "./request_form.js";
import { ask, limitsOr, models } from "./service.js";
import { isTexts } from "./sharing.js";
import { strings } from "./strings/embeddings.js";
import { compute } from "./vectors.js";

addStrings(strings);

export const id = "embeddings";

const ROUTE = "v1/embeddings";
const QUERY = /^\?\s+/; // prefix of queries if queries and documents are mixed
const SIDES = ["query", "document"];
const PLACEHOLDER = "{instruction}";
const PROMPT = "prompt:";
const CHECK_MS = 200;

/** The user's input and the results, kept when the view or language changes. */
const state = {
  source: { text: null, file: null, problem: null },
  model: "",
  side: "none", // or query, document, mixed, prompt:NAME
  instruction: "",
  /** @type {import("./embeddings_result.js").Result | null} */
  result: null,
};
const allowed = () => limitsOr({ maxInputs: 2048, maxBodyBytes: 64 * 2 ** 20 });
let view = null; // the elements on the page, if this view is shown

/** @param {HTMLElement} root */
export function mount(root) {
  const chooser = modelChooser({
    kinds: ["embedding"],
    label: t("embeddings.model"),
    value: state.model,
    texts: () => field.reading().passages,
    onChange: (name) => {
      state.model = name;
      drawSides();
    },
  });
  const field = linesField({
    source: state.source,
    label: t("embeddings.texts"),
    rows: 9,
    example: t("embeddings.example"),
    keepsTyped: true,
    countNote,
    onChange: debounce(() => chooser.describe(), CHECK_MS),
    limits: () => ({ max: allowed().maxInputs, maxBytes: allowed().maxBodyBytes }),
  });
  const sides = el("div", { class: "stack tight" });
  const form = requestForm({
    id,
    label: t("embeddings.run"),
    fields: [el("div", { class: "columns" }, field.element, el("div", { class: "stack" }, chooser.element, sides))],
    onRun: send,
    input,
    words,
    onChoose: again,
  });
  view = { root, form, chooser, field, sides, place: el("div", { class: "stack" }) };
  fill(root, form.elements, view.place);
  drawSides();
  models().then(drawSides, () => {}); // the model chooser shows the problem
  if (state.result) drawResult(view.place, state.result);
}

export function unmount() {
  forgetResult();
  view = null;
}

/** @typedef {{texts: string[], model: string, side: string, instruction: string}} Input */

/** @returns {Input} */
function input() {
  const { model, side, instruction } = state;
  return { texts: view.field.reading().passages, model, side, instruction };
}

/**
 * Replaces the user's input before the view is mounted.
 * @param {Input} given e.g. from a link
 * @throws {Error} if it is none
 */
export function restore({ texts, model, side, instruction }) {
  if (!isTexts(texts) || !isTexts([model, side, instruction])) throw new TypeError("not an input");
  Object.assign(state, { source: sourceOf(texts), model, side, instruction, result: null });
}

/** Runs an earlier input again, as the worker holds only the vectors of the last one. */
function again(run) {
  restore(run.input);
  mount(view.root);
  view.form.run();
}

function words({ texts, model }) {
  const [count, limit] = [texts.length, allowed().maxInputs];
  return { title: texts[0], facts: `${model} · ${t("embeddings.texts.count", { count, limit })}` };
}

function countNote(count) {
  const limit = allowed().maxInputs;
  const isOver = count > limit;
  const words = t(isOver ? "embeddings.texts.over" : "embeddings.texts.count", { count, limit });
  return el("p", { class: isOver ? "note bad" : "note" }, words);
}

// Sides and prompts

function drawSides() {
  if (!view) return;
  const prompts = view.chooser.model?.prompts ?? {};
  const others = Object.keys(prompts).filter((name) => !SIDES.includes(name));
  const chosen = promptName();
  if (chosen && !others.includes(chosen)) state.side = "none";
  const options = [
    ["none", t("embeddings.side.none")],
    ["query", t("embeddings.side.all_query")],
    ["document", t("embeddings.side.all_document")],
    ["mixed", t("embeddings.side.mixed")],
    ...others.map((name) => [PROMPT + name, t("embeddings.side.prompt", { name })]),
  ].map(([value, label]) => el("option", { value }, label));
  const select = el("select", { id: uniqueId("side"), value: state.side }, options);
  select.addEventListener("change", () => {
    state.side = select.value;
    drawSides();
    view.sides.querySelector("select").focus();
  });
  fill(
    view.sides,
    el("div", { class: "field" }, el("label", { for: select.id }, t("embeddings.side")), select),
    whatIsAdded(prompts),
    state.side === "mixed" ? el("p", { class: "note" }, t("embeddings.side.two")) : null,
    takesInstruction() ? instructionField() : null,
  );
}

function promptName() {
  return state.side.startsWith(PROMPT) ? state.side.slice(PROMPT.length) : null;
}

function whatIsAdded(prompts) {
  const model = view.chooser.model?.id;
  if (!model || state.side === "none") return null;
  const name = promptName();
  const sides = name ? [name] : SIDES.filter((side) => state.side === side || state.side === "mixed");
  return sides.map((each) => {
    const side = name ?? t(`embeddings.side.${each}`);
    const text = prompts[each]
      ? t("embeddings.side.adds", { model, side, prompt: prompts[each] })
      : t("embeddings.side.adds_nothing", { model, side });
    return el("p", { class: "note user-text" }, text);
  });
}

function takesInstruction() {
  const prompts = view?.chooser.model?.prompts ?? {};
  return (prompts[promptName() ?? state.side] ?? "").includes(PLACEHOLDER);
}

function instructionField() {
  const input = el("input", { id: uniqueId("instruction"), type: "text", value: state.instruction });
  input.addEventListener("input", () => (state.instruction = input.value));
  return el("div", { class: "field" }, el("label", { for: input.id }, t("embeddings.instruction")), input);
}

// The request

/** One request per side, as input_type applies to a whole request; `at` has the indexes of its texts. */
function requests(lines) {
  const isMixed = state.side === "mixed";
  const sides = lines.map((line) => (isMixed ? (QUERY.test(line) ? "query" : "document") : state.side));
  return [...new Set(sides)].map((side) => {
    const at = sides.flatMap((each, index) => (each === side ? [index] : []));
    const input = at.map((index) => (isMixed ? lines[index].replace(QUERY, "") : lines[index]));
    const isSide = SIDES.includes(side);
    const body = {
      ...(view.chooser.value && { model: view.chooser.value }), // else the service's default
      input,
      encoding_format: "base64",
      ...(isSide && { input_type: side }),
      ...(promptName() && { prompt_name: promptName() }),
      ...(state.instruction && takesInstruction() && { instruction: state.instruction }),
    };
    return { side: isSide ? side : "", at, body };
  });
}

async function send(signal) {
  const lines = view.field.reading().passages;
  if (view.form.refuses(lines.length ? "" : t("embeddings.texts.none"), view.field)) return;
  const chosen = view.chooser.model;
  const asked = input();
  const wanted = requests(lines);
  const others = new AbortController(); // if one fails, the other is cancelled
  const both = AbortSignal.any([signal, others.signal]);
  let answers;
  try {
    answers = await Promise.all(wanted.map(({ body }) => ask(ROUTE, { body, signal: both, view: id })));
  } catch (problem) {
    others.abort();
    throw problem;
  } finally {
    models({ fresh: true }).catch(() => {}); // the request may have loaded it
  }
  const texts = [];
  const vectors = [];
  wanted.forEach(({ side, at, body }, which) => {
    const data = answers[which].data.data;
    at.forEach((place, index) => {
      texts[place] = { number: place + 1, text: body.input[index], side };
      vectors[place] = data[index].embedding;
    });
  });
  const model = chosen ?? { id: wanted[0].body.model ?? answers[0].data.model };
  remember({ view: id, input: { ...asked, model: model.id } });
  const { d } = await compute("load", { strings: vectors, texts, model: model.id });
  state.result = {
    texts,
    model,
    d,
    width: d,
    k: 0,
    chosen: 0,
    from: 0,
    asTable: false,
    computed: {},
    latest: {},
    answers: answers.map(({ data, ...answer }, which) => ({
      ...answer,
      side: wanted[which].side,
      tokens: data.usage.prompt_tokens,
      warnings: data.warnings ?? [],
    })),
  };
  if (view) drawResult(view.place, state.result);
}
