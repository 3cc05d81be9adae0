// What the page shows about a model: state, size, speed, limits, languages, licence.

import { el } from "./dom.js";
import { bytes, language, number, shortNumber, t } from "./i18n.js";
import { serviceText } from "./service_text.js";

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
  const speed = speedOf(model);
  const rows = [
    ["chooser.max_tokens", model.max_tokens && number(model.max_tokens)],
    ["chooser.dimensions", model.dimensions && number(model.dimensions)],
    ["chooser.languages", languagesOf(model)],
    ["chooser.license", licence(model)],
    ["chooser.parameters", model.parameters && shortNumber(model.parameters)],
    [model.stored_bytes ? "chooser.stored" : "chooser.size", sizeOf(model)],
    ["chooser.speed", speed && number(speed)],
  ].filter(([, value]) => value);
  return [
    el(
      "p",
      { class: "model-line" },
      stateBadge(model),
      " ",
      rows.map(([key, text]) => [el("span", { class: "fact" }, el("b", {}, t(key)), " ", text), " "]),
    ),
    model.detail ? el("p", { class: "note" }, serviceText(model.detail)) : null,
    model.note ? el("p", { class: "note" }, serviceText(model.note)) : null,
    model.state === "importable" ? el("p", { class: "note" }, t("chooser.importable")) : null,
  ].filter((part) => part !== null);
}

/** The size and the speed of a model, as far as they are known, for a place beside its name. */
export function sizeAndSpeed(model) {
  const speed = speedOf(model);
  return [sizeOf(model), speed && t("chooser.tokens_per_s", { speed })].filter(Boolean);
}

function sizeOf(model) {
  const size = model.stored_bytes ?? model.download_bytes;
  return size ? bytes(size) : null;
}

/** Tokens per second of the fastest engine, rounded to two digits; null if it was not measured. */
function speedOf(model) {
  const fastest = Math.max(0, ...Object.values(model.tokens_per_s ?? {}));
  return fastest ? Number(fastest.toPrecision(2)) : null;
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
