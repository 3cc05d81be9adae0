// Translates the service's own sentences (notes about models, reasons, error messages), which are in English.

import { el } from "./dom.js";
import { language } from "./i18n.js";
import { japanese } from "./strings/service.js";

const ENDS = /(?<=[.;:!?]) (?=\S)/; // of a sentence or clause
/** The sentences with holes. */
const PATTERNS = Object.entries(japanese)
  .filter(([english]) => english.includes("{}"))
  .map(([english, words]) => {
    const pieces = english.split("{}").map(escaped);
    return { pattern: new RegExp(`^${pieces.join("(.+?)")}$`, "s"), words };
  });

/**
 * The text with each known sentence translated; others stay in English, and are marked as such.
 * @param {string} text @returns {(string | HTMLElement)[]}
 */
export function serviceText(text) {
  if (language() === "en") return [text];
  const parts = [];
  const pieces = text.split(ENDS);
  for (let at = 0; at < pieces.length; ) {
    const { count, words } = firstKnown(pieces, at);
    parts.push(words ?? el("span", { lang: "en" }, `${pieces[at]} `));
    at += count;
  }
  return parts;
}

/** The translation of as few pieces as possible from a place on: a sentence may contain a full stop or colon. */
function firstKnown(pieces, at) {
  for (let count = 1; count <= pieces.length - at; count += 1) {
    const words = translated(pieces.slice(at, at + count).join(" "));
    if (words !== null) return { count, words };
  }
  return { count: 1, words: null };
}

function translated(sentence) {
  if (sentence in japanese) return japanese[sentence];
  for (const { pattern, words } of PATTERNS) {
    const found = pattern.exec(sentence);
    if (found) return words.replace(/\{(\d)\}/g, (_, place) => found[Number(place) + 1]);
  }
  return null;
}

/** The text as a regular expression that matches it. */
function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
