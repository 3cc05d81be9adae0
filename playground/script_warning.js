// A warning if texts are in a script that none of a model's languages uses.

import { el } from "./dom.js";
import { language, t } from "./i18n.js";
import { languagesOf } from "./model_facts.js";

const MOST_TEXTS = 200;
const MOST_CHARACTERS = 20_000;
/** Share of the letters from which on the texts count as written in the script. */
const SHARE = 0.2;
/** ISO 15924 codes; kana before Han, which Japanese shares with Chinese. */
const SCRIPTS = [
  { code: "Jpan", letters: /[\p{Script=Hiragana}\p{Script=Katakana}]/gu, languages: ["ja"] },
  { code: "Kore", letters: /\p{Script=Hangul}/gu, languages: ["ko"] },
  { code: "Hani", letters: /\p{Script=Han}/gu, languages: ["zh", "ja"] },
  { code: "Cyrl", letters: /\p{Script=Cyrillic}/gu, languages: ["ru", "uk", "bg", "sr"] },
  { code: "Arab", letters: /\p{Script=Arabic}/gu, languages: ["ar", "fa", "ur"] },
];

/**
 * @param {Object} model of GET /models @param {() => string[]} texts @returns {HTMLElement | null}
 */
export function scriptWarning(model, texts) {
  const script = model.languages?.includes("multilingual") === false ? scriptOf(texts()) : null;
  if (!script || script.languages.some((code) => model.languages.includes(code))) return null;
  const name = new Intl.DisplayNames(language(), { type: "script" }).of(script.code);
  return el(
    "p",
    { class: "note warn" },
    t("chooser.script", { script: name, model: model.id, languages: languagesOf(model) }),
  );
}

function scriptOf(texts) {
  const text = texts.slice(0, MOST_TEXTS).join("\n").slice(0, MOST_CHARACTERS);
  const all = text.match(/\p{Letter}/gu)?.length ?? 0;
  return SCRIPTS.find(({ letters }) => (text.match(letters)?.length ?? 0) > SHARE * all);
}
