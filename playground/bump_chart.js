// A bump chart of two rankings: a line joins each passage's place on the left to its place on the right.
// It is hidden from screen readers, as the lists beside it have the same information.

import { el, svg } from "./dom.js";

const WIDTH = 100;

/** The CSS class for a movement: up, down or none. */
export function direction(movement) {
  return movement > 0 ? "up" : movement < 0 ? "down" : "same";
}

/**
 * Inverts a ranking (place -> passage) to passage -> place, from 1.
 * @param {number[]} order @returns {Map<number, number>}
 */
export function ranksOf(order) {
  return new Map(order.map((index, place) => [index, place + 1]));
}

/**
 * The chart is as high as the lists (one CSS --row for each place); only lines with an end near the visible rows are
 * drawn.
 * @param {{left: number[], right: number[], view: {follow: Function}, onPoint?: (index: number | null) => void}} what
 *   passages, best first; the window of visible rows (row_window.js)
 * @returns {{element: HTMLElement, highlight: (index: number | null) => void}}
 */
export function bumpChart({ left, right, view, onPoint }) {
  const [from, to] = [ranksOf(left), ranksOf(right)];
  const rows = Math.max(left.length, right.length, 1);
  const lines = svg("g", {});
  const marked = svg("g", {});
  const facts = { class: "bump-lines", preserveAspectRatio: "none", "aria-hidden": "true" };
  const drawing = svg("svg", facts, lines, marked);
  const element = el("div", { class: "bump-chart" }, drawing);
  element.style.setProperty("--rows", String(rows));
  let range = [0, rows];
  let pointed = null;
  view.follow(draw);
  drawing.addEventListener("pointerover", ({ target }) => onPoint?.(indexOf(target)));
  drawing.addEventListener("pointerleave", () => onPoint?.(null));
  return { element, highlight };

  function draw(first, last) {
    range = [first, last];
    drawing.setAttribute("viewBox", `0 ${first} ${WIDTH} ${last - first}`);
    drawing.style.setProperty("--first-row", String(first));
    drawing.style.setProperty("--shown-rows", String(last - first));
    const near = new Set([...left.slice(first, last), ...right.slice(first, last)]);
    lines.replaceChildren(...[...near].map(line));
    highlight(pointed);
  }

  function highlight(index) {
    pointed = index;
    marked.replaceChildren(...(from.has(index) || to.has(index) ? [line(index)] : []));
    drawing.classList.toggle("pointing", marked.hasChildNodes());
  }

  function line(index) {
    const [start, end] = [from.get(index), to.get(index)];
    const kind = start && end ? direction(start - end) : "gone";
    return svg("path", { d: path(start, end, range), class: `line ${kind}`, "data-index": index });
  }
}

/** A line between two places, or a short stub if one ranking omits the passage. */
function path(start, end, range) {
  if (!start) return `M82 ${end - 0.5}H${WIDTH}`;
  if (!end) return `M0 ${start - 0.5}H18`;
  const isFromRight = start <= range[0] || start > range[1];
  const [from, to] = isFromRight ? [end - 0.5, start - 0.5] : [start - 0.5, end - 0.5];
  const points = upTo(edge(from, to, range), [[0, from], [45, from], [55, to], [WIDTH, to]]);
  const [first, ...curve] = points.map(([x, y]) => `${isFromRight ? WIDTH - x : x} ${y}`);
  return `M${first}C${curve.join(" ")}`;
}

/** The part of a curve in the drawn range, as its parameter: drawing a line of 90,000 pixels is slow. */
function edge(from, to, [top, bottom]) {
  const part = (Math.min(bottom, Math.max(top, to)) - from) / (to - from);
  if (!(part < 1)) return 1;
  let [low, high] = [0, 1];
  for (let step = 0; step < 20; step += 1) {
    const middle = (low + high) / 2;
    if (middle * middle * (3 - 2 * middle) < part) low = middle;
    else high = middle;
  }
  return high;
}

/** The beginning of a cubic curve, by de Casteljau. */
function upTo(t, points) {
  if (t === 1) return points;
  const start = [points[0]];
  for (let rest = points; rest.length > 1; start.push(rest[0])) {
    rest = rest.slice(1).map((point, at) => between(rest[at], point, t));
  }
  return start;
}

function between([x1, y1], [x2, y2], t) {
  return [x1 + (x2 - x1) * t, y1 + (y2 - y1) * t];
}

function indexOf(target) {
  const index = target.dataset?.index;
  return index === undefined ? null : Number(index);
}
