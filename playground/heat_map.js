// The cosines of texts as coloured cells. One path for each step of the colour scale, so that the theme's style sheet
// colours them.

import { el, svg } from "./dom.js";
import { number, t } from "./i18n.js";
import { pictureBox } from "./picture_box.js";

/** Maximum number of texts on each side; more would be illegible. */
export const MOST_TEXTS = 64;
/** Steps of the colour scale: classes heat-0 to heat-11. */
const STEPS = 12;
const SMALLEST_CELL = 9;
const LARGEST_CELL = 48;
const VALUE_CELL = 34; // minimum size of a cell with a number
const NUMBERS = 30;
const CAPTION = 16;
const LABEL_CELL = 14; // minimum height of a row with a label
const LABEL_CHARACTERS = 60;

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * The range of the colour scale: that of all pairs of different texts, rounded outwards to 0.05.
 * @param {Float32Array} cosines (m, m)
 * @param {number} m @returns {[number, number]}
 */
export function scaleOf(cosines, m) {
  let low = Infinity;
  let high = -Infinity;
  for (let row = 0; row < m; row += 1) {
    for (let column = 0; column < row; column += 1) {
      low = Math.min(low, cosines[row * m + column]);
      high = Math.max(high, cosines[row * m + column]);
    }
  }
  if (m < 2) return [0, 1];
  const [from, to] = [Math.floor(low * 20 + 1e-6) / 20, Math.ceil(high * 20 - 1e-6) / 20];
  return from < to ? [from, to] : [from - 0.05, to];
}

/** The colour step of a value, clamped to the scale. */
export function stepOf(value, [low, high]) {
  return Math.max(0, Math.min(STEPS - 1, Math.floor(((value - low) / (high - low)) * STEPS)));
}

/**
 * @param {object} options
 * @param {Float32Array} options.cosines (m, m)
 * @param {{number: number, text: string}[]} options.texts m of them, with their numbers in the whole list
 * @param {number} options.width available pixels
 * @param {(index: number) => void} options.onChoose called with a cell's row on Enter or a click
 * @returns {HTMLElement}
 */
export function heatMap({ cosines, texts, width, onChoose }) {
  const m = texts.length;
  const cell = Math.max(SMALLEST_CELL, Math.min(LARGEST_CELL, Math.floor((width - NUMBERS - 2) / m)));
  const size = cell * m;
  const labels = cell >= LABEL_CELL && width - size - NUMBERS > 160 ? width - size - NUMBERS : 0;
  const scale = scaleOf(cosines, m);
  const cursor = svg("rect", { class: "heat-cursor", width: cell, height: cell, visibility: "hidden" });
  const picture = svg(
    "svg",
    { width: size + NUMBERS + labels, height: size + CAPTION, class: "heat-map", "aria-hidden": "true" },
    svg("g", { transform: `translate(${NUMBERS} ${CAPTION})` }, cells(), cell >= VALUE_CELL ? values() : null, cursor),
    axes(),
  );
  const { box, readout, help } = pictureBox({
    name: "heat",
    picture,
    cursor,
    label: t("embeddings.matrix.label", { count: m }),
    help: t("embeddings.matrix.help"),
    start: /** @type {[number, number]} */ ([0, 0]),
    under,
    step,
    mark,
    words,
    spoken,
    onChoose: ([row]) => onChoose(row),
    reveal,
  });
  return el("div", { class: "stack tight" }, legend(scale), box, readout, help);

  function cells() {
    const paths = Array.from({ length: STEPS }, () => []);
    for (let row = 0; row < m; row += 1) {
      for (let column = 0; column < m; column += 1) {
        const step = row === column ? STEPS - 1 : stepOf(cosines[row * m + column], scale);
        paths[step].push(`M${column * cell} ${row * cell}h${cell}v${cell}h-${cell}z`);
      }
    }
    return paths.map((path, step) => svg("path", { class: `heat-${step}`, d: path.join("") || "M0 0" }));
  }

  function values() {
    return Array.from({ length: m * m }, (_, at) => {
      const [row, column] = [Math.floor(at / m), at % m];
      const step = row === column ? STEPS - 1 : stepOf(cosines[at], scale);
      const place = { x: (column + 0.5) * cell, y: (row + 0.5) * cell + 4 };
      return svg("text", { ...place, class: `heat-value heat-ink-${step}` }, number(cosines[at], 2));
    });
  }

  function axes() {
    const every = Math.ceil(22 / cell);
    return texts
      .map((text, index) => [text.number, index])
      .filter(([, index]) => index % every === 0)
      .map(([name, index]) => [
        svg("text", { class: "heat-axis end", x: NUMBERS - 4, y: CAPTION + (index + 0.5) * cell + 4 }, String(name)),
        labels ? rowLabel(index) : null,
        svg("text", { class: "heat-axis middle", x: NUMBERS + (index + 0.5) * cell, y: CAPTION - 4 }, String(name)),
      ]);
  }

  /** Long labels are clipped at the edge; the line below the picture has the whole text. */
  function rowLabel(index) {
    const { text } = texts[index];
    const place = { x: NUMBERS + size + 8, y: CAPTION + (index + 0.5) * cell + 4 };
    return svg("text", { class: "heat-label", ...place }, [...text].slice(0, LABEL_CHARACTERS).join(""));
  }

  function under(event) {
    const { left, top } = picture.getBoundingClientRect();
    const column = Math.floor((event.clientX - left - NUMBERS) / cell);
    const row = Math.floor((event.clientY - top - CAPTION) / cell);
    return row >= 0 && column >= 0 && row < m && column < m ? [row, column] : null;
  }

  function step(key, [row, column]) {
    if (key === "Home") return [row, 0];
    if (key === "End") return [row, m - 1];
    const move = MOVES[key];
    return move ? [row + move[0], column + move[1]].map((place) => Math.max(0, Math.min(m - 1, place))) : null;
  }

  function reveal([row, column], box) {
    box.scrollTo({
      left: NUMBERS + column * cell - box.clientWidth / 2,
      top: CAPTION + row * cell - box.clientHeight / 2,
    });
  }

  function mark([row, column]) {
    cursor.setAttribute("x", String(column * cell));
    cursor.setAttribute("y", String(row * cell));
  }

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

function legend([low, high]) {
  const width = 14;
  const steps = Array.from({ length: STEPS }, (_, step) =>
    svg("rect", { class: `heat-${step}`, x: step * width, y: 0, width, height: 12 }),
  );
  return el(
    "div",
    { class: "row heat-legend" },
    el("span", {}, t("embeddings.matrix.cosine")),
    el("span", { class: "mono" }, number(low, 2)),
    svg("svg", { width: STEPS * width, height: 12, "aria-hidden": "true" }, steps),
    el("span", { class: "mono" }, number(high, 2)),
  );
}
