// Rank lines between two rankings: each passage is a line from its place on the left to its place on the right.
// The lists beside it say the same in words, so that the drawing is for the eye alone.

import { el, svg } from "./dom.js";

const WIDTH = 100;

/** Up, down or in place: the sign of a movement as a class. */
export function direction(movement) {
  return movement > 0 ? "up" : movement < 0 ? "down" : "same";
}

/**
 * Place -> passage turned round: passage -> place, from 1.
 * @param {number[]} order
 * @returns {Map<number, number>}
 */
export function ranksOf(order) {
  return new Map(order.map((index, place) => [index, place + 1]));
}

/**
 * As high as the lists (a row of CSS's --row for each place); drawn are the lines that begin or end near what is on
 * the screen.
 * @param {{left: number[], right: number[], view: {follow: Function}, onPoint?: (index: number | null) => void}} what
 *   passages, best first; the window of rows that is on the screen (row_window.js)
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

/** A line between two places; a short end where one ranking leaves the passage out. */
function path(start, end, range) {
  if (!start) return `M82 ${end - 0.5}H${WIDTH}`;
  if (!end) return `M0 ${start - 0.5}H18`;
  const isFromRight = start <= range[0] || start > range[1];
  const [from, to] = isFromRight ? [end - 0.5, start - 0.5] : [start - 0.5, end - 0.5];
  const points = upTo(edge(from, to, range), [[0, from], [45, from], [55, to], [WIDTH, to]]);
  const [first, ...curve] = points.map(([x, y]) => `${isFromRight ? WIDTH - x : x} ${y}`);
  return `M${first}C${curve.join(" ")}`;
}

/** How much of a curve lies within the range that is drawn, as its parameter; a line of 90,000 pixels costs much. */
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
