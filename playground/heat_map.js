// Numbers as coloured cells. One path for each step of the colour scale, so that the theme's style sheet colours them.

import { el, svg } from "./dom.js";
import { number } from "./i18n.js";
import { pictureBox } from "./picture_box.js";

/** Steps of the colour scale: classes heat-0 to heat-11. */
const STEPS = 12;
const VALUE_CELL = 34; // minimum width of a cell with a number
const TEXT_CELL = 14; // minimum height of a row with a text

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** The colour step of a value, clamped to the scale. */
function stepOf(value, [low, high]) {
  return Math.max(0, Math.min(STEPS - 1, Math.floor(((value - low) / (high - low)) * STEPS)));
}

/**
 * A colour scale with both values, rounded outwards to 0.05.
 * @param {number} low @param {number} high @returns {[number, number]}
 */
export function scaleAround(low, high) {
  const [from, to] = [Math.floor(low * 20 + 1e-6) / 20, Math.ceil(high * 20 - 1e-6) / 20];
  return from < to ? [from, to] : [from - 0.05, to];
}

/**
 * @typedef {object} Axis
 * @property {string[]} names of the rows or columns
 * @property {number} room pixels for the names
 * @property {number} apart minimum distance of two names in pixels; in smaller cells, some are omitted
 * @property {boolean} [upright] whether the names of columns are written upwards
 *
 * @param {object} options
 * @param {Float32Array} options.values (rows, columns)
 * @param {Axis} options.rows @param {Axis} options.columns
 * @param {string[]} [options.texts] of the rows, written beside them if there is room
 * @param {[number, number]} options.scale values of the first and the last colour
 * @param {(row: number, column: number) => boolean} [options.isFull] whether a cell has the last colour anyway
 * @param {[number, number][]} [options.marked] outlined cells
 * @param {number} options.width available pixels
 * @param {{smallest: number, largest: number, height?: number}} options.cell pixels; without a height, cells are square
 * @param {string} options.legend name of the values
 * @param {string} options.label of the picture @param {string} options.help about its keys
 * @param {(place: [number, number] | null) => any} options.words the text for the cell under the pointer
 * @param {(place: [number, number]) => string} options.spoken the same for a screen reader
 * @param {(place: [number, number]) => void} [options.onChoose] called on Enter or a click
 * @returns {HTMLElement}
 */
export function heatMap(options) {
  const { values, rows, columns, texts, scale, isFull = () => false, marked = [], width, cell } = options;
  const { legend, label, help: keys, words, spoken, onChoose = () => {} } = options;
  const [left, top] = [rows.room, columns.room];
  const [high, wide] = [rows.names.length, columns.names.length];
  const x = Math.max(cell.smallest, Math.min(cell.largest, Math.floor((width - left - 2) / wide)));
  const y = cell.height ?? x;
  const aside = texts && y >= TEXT_CELL && width - wide * x - left > 160 ? width - wide * x - left : 0;
  const cursor = svg("rect", { class: "heat-cursor", width: x, height: y, visibility: "hidden" });
  const picture = svg(
    "svg",
    { width: left + wide * x + aside, height: top + high * y, class: "heat-map", "aria-hidden": "true" },
    svg(
      "g",
      { transform: `translate(${left} ${top})` },
      cells(),
      x >= VALUE_CELL ? numbers() : null,
      marked.map(([row, column]) =>
        svg("rect", { class: "heat-mark", x: column * x + 1, y: row * y + 1, width: x - 2, height: y - 2 }),
      ),
      cursor,
    ),
    rowNames(),
    columnNames(),
  );
  const { box, readout, help } = pictureBox({
    name: "heat",
    picture,
    cursor,
    label,
    help: keys,
    start: /** @type {[number, number]} */ ([0, 0]),
    under,
    step,
    mark,
    words,
    spoken,
    onChoose,
    reveal,
  });
  return el("div", { class: "stack tight" }, scaleBar(legend, scale), box, readout, help);

  function colour(row, column) {
    return isFull(row, column) ? STEPS - 1 : stepOf(values[row * wide + column], scale);
  }

  function cells() {
    const paths = Array.from({ length: STEPS }, () => /** @type {string[]} */ ([]));
    for (let row = 0; row < high; row += 1) {
      for (let column = 0; column < wide; column += 1) {
        paths[colour(row, column)].push(`M${column * x} ${row * y}h${x}v${y}h-${x}z`);
      }
    }
    return paths.map((path, each) => svg("path", { class: `heat-${each}`, d: path.join("") || "M0 0" }));
  }

  function numbers() {
    return Array.from(values, (value, at) => {
      const [row, column] = [Math.floor(at / wide), at % wide];
      const place = { x: (column + 0.5) * x, y: (row + 0.5) * y + 4 };
      return svg("text", { ...place, class: `heat-value heat-ink-${colour(row, column)}` }, number(value, 2));
    });
  }

  /** Long texts are clipped at the edge; the line below the picture has the whole text. */
  function rowNames() {
    return some(rows, y).map(([name, row]) => {
      const middle = top + (row + 0.5) * y + 4;
      return [
        svg("text", { class: "heat-axis end", x: left - 4, y: middle }, name),
        aside && texts ? svg("text", { class: "heat-label", x: left + wide * x + 8, y: middle }, texts[row]) : null,
      ];
    });
  }

  function columnNames() {
    return some(columns, x).map(([name, column]) => {
      const middle = left + (column + 0.5) * x;
      return columns.upright
        ? svg("text", { class: "heat-axis", transform: `translate(${middle + 4} ${top - 4}) rotate(-90)` }, name)
        : svg("text", { class: "heat-axis middle", x: middle, y: top - 4 }, name);
    });
  }

  function under(event) {
    const corner = picture.getBoundingClientRect();
    const column = Math.floor((event.clientX - corner.left - left) / x);
    const row = Math.floor((event.clientY - corner.top - top) / y);
    return row >= 0 && column >= 0 && row < high && column < wide ? [row, column] : null;
  }

  function step(key, [row, column]) {
    if (key === "Home") return [row, 0];
    if (key === "End") return [row, wide - 1];
    const move = MOVES[key];
    if (!move) return null;
    return [clamped(row + move[0], high), clamped(column + move[1], wide)];
  }

  function reveal([row, column], box) {
    box.scrollTo({ left: left + column * x - box.clientWidth / 2, top: top + row * y - box.clientHeight / 2 });
  }

  function mark([row, column]) {
    cursor.setAttribute("x", String(column * x));
    cursor.setAttribute("y", String(row * y));
  }
}

/** The names for which there is room, with their indexes. */
function some({ names, apart }, size) {
  const every = Math.ceil(apart / size);
  return names
    .map((name, index) => /** @type {[string, number]} */ ([name, index]))
    .filter(([, index]) => index % every === 0);
}

function clamped(index, count) {
  return Math.max(0, Math.min(count - 1, index));
}

function scaleBar(legend, [low, high]) {
  const width = 14;
  const steps = Array.from({ length: STEPS }, (_, step) =>
    svg("rect", { class: `heat-${step}`, x: step * width, y: 0, width, height: 12 }),
  );
  return el(
    "div",
    { class: "row heat-legend" },
    el("span", {}, legend),
    el("span", { class: "mono" }, number(low, 2)),
    svg("svg", { width: STEPS * width, height: 12, "aria-hidden": "true" }, steps),
    el("span", { class: "mono" }, number(high, 2)),
  );
}
