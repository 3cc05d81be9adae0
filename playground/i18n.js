// The page in English and Japanese. Each view registers its own strings; keys begin with the view's name.

import { read, write } from "./address.js";

/** The languages and their own names. */
export const LANGUAGES = { en: "English", ja: "日本語" };

const strings = { en: new Map(), ja: new Map() };
/** @type {Language} */
let current = choose();

/** @typedef {"en" | "ja"} Language */

/** @returns {Language} */
export function language() {
  return current;
}

/**
 * Switches the language, also in the URL. The caller redraws the page.
 * @param {Language} next
 */
export function setLanguage(next) {
  current = next;
  write({ lang: next }); // first, as it would wait for layout after a change of the document
  document.documentElement.lang = next;
}

/**
 * Adds a view's texts. Both languages must have the same keys.
 * @param {{en: Object<string, string>, ja: Object<string, string>}} texts
 */
export function addStrings(texts) {
  for (const name of Object.keys(strings)) {
    for (const [key, text] of Object.entries(texts[name])) strings[name].set(key, text);
  }
  for (const key of new Set([...Object.keys(texts.en), ...Object.keys(texts.ja)])) {
    if (!(key in texts.en && key in texts.ja)) console.error(`a language lacks the text ${key}`);
  }
}

/**
 * The text of a key in the current language, with its {placeholders} filled; numbers are formatted.
 * For a missing key, returns the key and logs a console error, which fails the tests.
 * @param {string} key @param {Object<string, any>} [values] @returns {string}
 */
export function t(key, values = {}) {
  const text = strings[current].get(key);
  if (text === undefined) {
    console.error(`no text for ${key} in ${current}`);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    if (!(name in values)) console.error(`${key} wants a value for ${whole}`);
    return typeof values[name] === "number" ? number(values[name]) : String(values[name] ?? "");
  });
}

/**
 * Formats a number in the current language, with exactly `digits` decimals if given, else at most 3.
 * @param {number} value @param {number} [digits] @returns {string}
 */
export function number(value, digits) {
  return formatter(current, digits).format(value);
}

/**
 * Formats a size in bytes, such as 91 MB.
 * @param {number} bytes @returns {string}
 */
export function bytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 1000 && at < units.length - 1) {
    bytes /= 1000;
    at += 1;
  }
  return `${number(bytes, bytes < 10 && at > 0 ? 1 : 0)} ${units[at]}`;
}

/**
 * Formats a large number briefly, such as 23M.
 * @param {number} value @returns {string}
 */
export function shortNumber(value) {
  return new Intl.NumberFormat(current, { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

const formatters = new Map();

function formatter(name, digits) {
  const key = `${name} ${digits}`;
  if (!formatters.has(key)) {
    const options = digits === undefined ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits };
    formatters.set(key, new Intl.NumberFormat(name, options));
  }
  return formatters.get(key);
}

function choose() {
  const requested = /** @type {Language} */ (read("lang"));
  const name = requested in LANGUAGES ? requested : navigator.language.startsWith("ja") ? "ja" : "en";
  document.documentElement.lang = name;
  return name;
}
