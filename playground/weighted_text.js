// A text whose tokens are shaded by their weights.

import { el } from "./dom.js";
import { number } from "./i18n.js";

/**
 * @typedef {{id: number, text: string, start: number | null, stop: number | null}} Token of /tokenize, in code points
 *
 * @param {object} options
 * @param {string} options.text
 * @param {Token[]} options.tokens of the text
 * @param {Map<number, number>} options.weights token id -> weight
 * @param {number} options.largest the weight of the darkest shade
 * @returns {HTMLElement}
 */
export function weightedText({ text, tokens, weights, largest }) {
  const isLocated = tokens.every(({ start }) => start !== null);
  return el("p", { class: "weighted-text user-text" }, isLocated ? inText() : tokens.map(piece));

  /** The text itself; a token that shares its characters with the one before it is left out. */
  function inText() {
    const characters = [...text];
    const parts = [];
    let at = 0;
    for (const { id, start, stop } of tokens) {
      if (start === null || stop === null || stop <= at) continue;
      const from = Math.max(at, start);
      parts.push(characters.slice(at, from).join(""), shaded(characters.slice(from, stop).join(""), id));
      at = stop;
    }
    return [...parts, characters.slice(at).join("")];
  }

  /** A token whose characters are unknown. */
  function piece({ id, text: name }) {
    return [shaded(name, id), " "];
  }

  function shaded(part, id) {
    const weight = weights.get(id) ?? 0;
    if (!weight) return part;
    const mark = el("span", { class: "weighted", title: number(weight, 4) }, part);
    mark.style.setProperty("--weight", String(Math.min(1, weight / largest)));
    return mark;
  }
}
