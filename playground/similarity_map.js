// The cosines of texts as a heat map.

import { el } from "./dom.js";
import { heatMap, scaleAround } from "./heat_map.js";
import { number, t } from "./i18n.js";

/** Maximum number of texts on each side; more would be illegible. */
export const MOST_TEXTS = 64;
const CELL = { smallest: 9, largest: 48 };
const TEXT_CHARACTERS = 60;

/**
 * The colour scale: the range of all pairs of different texts.
 * @param {Float32Array} cosines (m, m)
 * @param {number} m @returns {[number, number]}
 */
function scaleOf(cosines, m) {
  let low = Infinity;
  let high = -Infinity;
  for (let row = 0; row < m; row += 1) {
    for (let column = 0; column < row; column += 1) {
      low = Math.min(low, cosines[row * m + column]);
      high = Math.max(high, cosines[row * m + column]);
    }
  }
  return m < 2 ? [0, 1] : scaleAround(low, high);
}

/**
 * @param {object} options
 * @param {Float32Array} options.cosines (m, m)
 * @param {{number: number, text: string}[]} options.texts m of them, with their numbers in the whole list
 * @param {number} options.width available pixels
 * @param {(index: number) => void} options.onChoose called with a cell's row on Enter or a click
 * @returns {HTMLElement}
 */
export function similarityMap({ cosines, texts, width, onChoose }) {
  const m = texts.length;
  const names = texts.map((text) => String(text.number));
  return heatMap({
    values: cosines,
    rows: { names, room: 30, apart: 22 },
    columns: { names, room: 16, apart: 22 },
    texts: texts.map(({ text }) => [...text].slice(0, TEXT_CHARACTERS).join("")),
    scale: scaleOf(cosines, m),
    isFull: (row, column) => row === column,
    width,
    cell: CELL,
    legend: t("embeddings.matrix.cosine"),
    label: t("embeddings.matrix.label", { count: m }),
    help: t("embeddings.matrix.help"),
    words,
    spoken,
    onChoose: ([row]) => onChoose(row),
  });

  function words(place) {
    if (!place) return el("p", { class: "note" }, t("embeddings.matrix.hover"));
    const [first, second] = place.map((index) => texts[index]);
    return [
      el("p", {}, el("b", { class: "mono" }, cosine(place)), " ", t("embeddings.matrix.pair", pair(first, second))),
      el("p", { class: "note clip" }, `${first.number}: ${first.text}`),
      el("p", { class: "note clip" }, `${second.number}: ${second.text}`),
    ];
  }

  function spoken(place) {
    const [first, second] = place.map((index) => texts[index]);
    return t("embeddings.matrix.spoken", { ...pair(first, second), cosine: cosine(place), text: second.text });
  }

  function cosine([row, column]) {
    return number(cosines[row * m + column], 4);
  }
}

function pair(first, second) {
  return { first: String(first.number), second: String(second.number) };
}
