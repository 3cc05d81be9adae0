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
  if (start === end) return `M0 ${start - 0.5}H${WIDTH}`;
  // only the part in the drawn range, as drawing a line of 90,000 pixels is slow
  const [top, bottom] = range;
  const points = [start - 0.5, end - 0.5].map((y) => Math.min(bottom, Math.max(top, y)));
  return `M${points.map((y) => `${(WIDTH * (y - start + 0.5)) / (end - start)} ${y}`).join("L")}`;
}

function indexOf(target) {
  const index = target.dataset?.index;
  return index === undefined ? null : Number(index);
}
