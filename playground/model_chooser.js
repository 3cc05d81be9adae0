// A list of models, grouped by state, and facts about the chosen one.

import { el, fill, uniqueId } from "./dom.js";
import { bytes, language, number, t } from "./i18n.js";
import { problemBox } from "./problem.js";
import { limits, models, onModels } from "./service.js";

/** The states, most useful first. */
export const STATES = ["ready", "loading", "importing", "stored", "forwarded", "importable", "unavailable"];
const USABLE = new Set(["ready", "loading", "stored", "forwarded"]);

/**
 * A labelled select of the models of some kinds. `value` is a model's id, or "" if `optional` and none is chosen.
 * The initial value is the service's default, or a model that is ready if the default is not.
 * @param {{kinds: ("reranker" | "embedding")[], label: string, value?: string, optional?: boolean,
 *   onChange?: (id: string, model: Object | undefined) => void}} options
 * @returns {{element: HTMLElement, value: string, model: Object | undefined}}
 */
export function modelChooser({ kinds, label, value, onChange, optional = false }) {
  const id = uniqueId("model");
  const select = el("select", { id, "aria-describedby": `${id}-facts`, on: { change: () => choose(select.value) } });
  const facts = el("div", { id: `${id}-facts`, class: "model-facts" });
  const element = el("div", { class: "field model-chooser" }, el("label", { for: id }, label), select, facts);
  let known = [];
  let chosen = value ?? "";
  const end = onModels((list) => {
    if (element.isConnected) update(list);
    else end();
  });
  models().then(update, (problem) => fill(facts, problemBox(problem)));
  return {
    element,
    get value() {
      return chosen;
    },
    get model() {
      return known.find((model) => model.id === chosen);
    },
  };

  async function update(list) {
    const before = chosen;
    if (!chosen && !optional) chosen = first(list, kinds, await limits());
    draw(list);
    if (chosen !== before) onChange?.(chosen, known.find((model) => model.id === chosen));
  }

  function choose(next) {
    chosen = next;
    describe();
    onChange?.(chosen, known.find((model) => model.id === chosen));
  }

  function draw(list) {
    known = list.filter((model) => kinds.includes(model.kind));
    const groups = STATES.map((state) => [state, known.filter((model) => model.state === state)])
      .filter(([, members]) => members.length)
      .map(([state, members]) => el("optgroup", { label: t(`state.${state}`) }, members.map(option)));
    fill(select, optional ? el("option", { value: "" }, t("chooser.none")) : null, groups);
    if (known.some((model) => model.id === chosen) || optional) select.value = chosen;
    describe();
  }

  function option(model) {
    const cosine = model.kind === "embedding" && kinds.includes("reranker");
    return el("option", { value: model.id }, cosine ? t("chooser.cosine", { name: model.id }) : model.id);
  }

  function describe() {
    const model = known.find((candidate) => candidate.id === chosen);
    fill(facts, model ? modelFacts(model) : null);
  }
}

function first(list, kinds, allowed) {
  const defaults = kinds.map((kind) => (kind === "reranker" ? allowed.defaultReranker : allowed.defaultEmbedding));
  const candidates = list.filter((model) => kinds.includes(model.kind));
  const byDefault = candidates.find((model) => defaults[0] === model.id || defaults[0] === model.full_name);
  const inOrder = kinds.flatMap((kind) => candidates.filter((model) => model.kind === kind));
  const usable = [byDefault, ...inOrder].find((model) => model && USABLE.has(model.state));
  return (usable ?? byDefault ?? candidates[0])?.id ?? "";
}

/**
 * The state of a model as a badge: a sign, a word, and a colour.
 * @param {Object} model
 */
export function stateBadge(model) {
  const text = t(`state.${model.state}`);
  const progress = model.import_progress;
  const label = typeof progress === "number" ? `${text} ${number(Math.floor(progress * 100))} %` : text;
  return el("span", { class: `badge state-${model.state}` }, label);
}

/**
 * State, limits, licence, languages and the note of a model, as nodes.
 * @param {Object} model @returns {HTMLElement[]}
 */
export function modelFacts(model) {
  const rows = [
    ["chooser.max_tokens", model.max_tokens && number(model.max_tokens)],
    ["chooser.dimensions", model.dimensions && number(model.dimensions)],
    ["chooser.languages", languagesOf(model)],
    ["chooser.license", licence(model)],
    ["chooser.size", model.state === "importable" && model.download_bytes ? bytes(model.download_bytes) : null],
  ].filter(([, value]) => value);
  return [
    el(
      "p",
      { class: "model-line" },
      stateBadge(model),
      " ",
      rows.map(([key, text]) => [el("span", { class: "fact" }, el("b", {}, t(key)), " ", text), " "]),
    ),
    model.detail ? el("p", { class: "note", lang: "en" }, model.detail) : null,
    model.note ? el("p", { class: "note", lang: "en" }, model.note) : null,
    model.state === "importable" ? el("p", { class: "note" }, t("chooser.importable")) : null,
  ].filter(Boolean);
}

/** The names of a model's languages, in the page's language. */
export function languagesOf(model) {
  const names = new Intl.DisplayNames(language(), { type: "language" });
  return model.languages
    .map((code) => (code === "multilingual" ? t("chooser.multilingual") : names.of(code)))
    .join(language() === "ja" ? "、" : ", ");
}

/** The licence, and a warning if it forbids commercial use. */
export function licence(model) {
  if (!model.license || model.license === "unknown") return null;
  return model.commercial_use === false ? t("chooser.non_commercial", { license: model.license }) : model.license;
}
