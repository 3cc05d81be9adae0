// Texts as points by their first two principal components. Points without space for a label show it under the pointer
// or the keyboard cursor; all texts are in the list by number.

import { breathe, el, fill, svg } from "./dom.js";
import { number, t } from "./i18n.js";
import { nearestPoint, placeLabels, project } from "./label_placement.js";
import { pictureBox } from "./picture_box.js";

const RADIUS = 4;
const MARGIN = 28;
const LINE_HEIGHT = 15;
const LABEL_CHARACTERS = 26;
const REACH = 24; // distance in pixels within which a point is under the pointer
const DIRECTIONS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

const widths = new Map();
let context = null;

/** The approximate width of a text, from cached widths of its characters. */
function measure(text) {
  let sum = 2;
  for (const character of text) {
    if (!widths.has(character)) widths.set(character, widthOf(character));
    sum += widths.get(character);
  }
  return sum;
}

function widthOf(character) {
  if (!context) {
    context = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  }
  return context.measureText(character).width;
}

/**
 * @param {object} options
 * @param {Float64Array} options.coordinates (n, 2)
 * @param {[number, number]} options.explained shares of the variance
 * @param {{number: number, text: string, side: string}[]} options.texts n of them
 * @param {number} options.width available pixels
 * @param {(index: number) => void} options.onChoose
 * @returns {{element: HTMLElement, choose: (index: number, neighbours: number[]) => void}} `choose` marks a text and
 *   draws lines to its nearest neighbours
 */
export function scatterMap({ coordinates, explained, texts, width, onChoose }) {
  const height = Math.round(Math.max(300, Math.min(560, width * 0.62)));
  const points = project(coordinates, { width, height, margin: MARGIN });
  const labels = texts.map(({ number: name, text }) => [String(name), `${name} ${shortened(text)}`]);
  const names = svg("g", {});
  const unlabelled = el("p", { class: "note" });
  const links = svg("path", { class: "map-link", d: "" });
  const ring = svg("circle", { class: "map-chosen", r: RADIUS + 2.5, visibility: "hidden" });
  const cursor = svg("circle", { class: "map-cursor", r: RADIUS + 5, visibility: "hidden" });
  const picture = svg(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, class: "scatter-map", "aria-hidden": "true" },
    zeroLines(),
    links,
    svg("path", { class: "map-points", d: marks((side) => side !== "query", disc) }),
    svg("path", { class: "map-points query", d: marks((side) => side === "query", diamond) }),
    ring,
    names,
    cursor,
  );
  let chosen = null;
  const { box, readout, help, moveTo } = pictureBox({
    name: "map",
    picture,
    cursor,
    label: t("embeddings.map.label", { count: texts.length }),
    help: t("embeddings.map.help"),
    start: 0,
    under,
    step,
    mark: (index) => move(cursor, index),
    words,
    spoken: (index) => `${title(index)} ${texts[index].text}`,
    onChoose,
  });
  const element = el(
    "div",
    { class: "stack tight" },
    el("p", { class: "note map-axis" }, axis("embeddings.map.vertical", explained[1])),
    box,
    el("p", { class: "note map-axis horizontal" }, axis("embeddings.map.horizontal", explained[0])),
    readout,
    unlabelled,
    help,
  );
  label();
  return { element, choose };

  async function label() {
    const room = { width, height, radius: RADIUS + 2, lineHeight: LINE_HEIGHT, measure };
    const placed = (await placeLabels({ points, labels, ...room }, breathe)).filter((box) => box !== null);
    names.append(...placed.map((box) => svg("text", { class: "map-label", x: box.x + 1, y: box.y + 11.5 }, box.text)));
    const count = points.length - placed.length;
    if (count) fill(unlabelled, t("embeddings.map.unlabelled", { count }));
  }

  function choose(index, neighbours) {
    chosen = index;
    const { x, y } = points[index];
    move(ring, index);
    ring.setAttribute("visibility", "visible");
    links.setAttribute("d", neighbours.map((other) => `M${x} ${y}L${points[other].x} ${points[other].y}`).join(""));
    moveTo(index);
  }

  function marks(isIncluded, shape) {
    return points.flatMap(({ x, y }, index) => (isIncluded(texts[index].side) ? shape(x, y) : [])).join("");
  }

  function zeroLines() {
    const zero = project(Float64Array.of(...bounds(coordinates), 0, 0), { width, height, margin: MARGIN })[2];
    return [
      svg("line", { class: "map-zero", x1: zero.x, x2: zero.x, y1: 0, y2: height }),
      svg("line", { class: "map-zero", x1: 0, x2: width, y1: zero.y, y2: zero.y }),
    ];
  }

  function under(event) {
    const { left, top } = picture.getBoundingClientRect();
    const place = { x: event.clientX - left, y: event.clientY - top };
    const found = nearestPoint(points, place);
    return found >= 0 && Math.hypot(points[found].x - place.x, points[found].y - place.y) <= REACH ? found : null;
  }

  function step(key, at) {
    const last = points.length - 1;
    if (key === "Home") return 0;
    if (key === "End") return last;
    if (key === "PageUp") return Math.max(0, at - 1);
    if (key === "PageDown") return Math.min(last, at + 1);
    return DIRECTIONS[key] ? towards(DIRECTIONS[key], at) : null;
  }

  function towards(direction, at) {
    const found = nearestPoint(points, points[at], direction);
    return found < 0 ? at : found;
  }

  function move(circle, index) {
    circle.setAttribute("cx", String(points[index].x));
    circle.setAttribute("cy", String(points[index].y));
  }

  function words(index) {
    const current = index ?? chosen;
    if (current === null) return el("p", { class: "note" }, t("embeddings.map.hover"));
    return el("p", { class: "clip" }, el("b", {}, title(current)), ` ${texts[current].text}`);
  }

  function title(index) {
    const { number: name, side } = texts[index];
    return side ? `${name} (${t(`embeddings.side.${side}`)})` : String(name);
  }
}

function axis(key, share) {
  return t(key, { share: number(100 * share, 1) });
}

function disc(x, y) {
  const r = RADIUS;
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
}

function diamond(x, y) {
  const r = RADIUS + 1.5;
  return `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;
}

function bounds(coordinates) {
  const ends = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = 0; at < coordinates.length; at += 2) {
    for (const axis of [0, 1]) {
      ends[axis] = Math.min(ends[axis], coordinates[at + axis]);
      ends[2 + axis] = Math.max(ends[2 + axis], coordinates[at + axis]);
    }
  }
  return ends;
}

function shortened(text) {
  const characters = [...text];
  return characters.length > LABEL_CHARACTERS ? `${characters.slice(0, LABEL_CHARACTERS - 1).join("")}…` : text;
}
