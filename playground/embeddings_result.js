// The result of the texts: facts, dimensions, map, neighbours, similarity. The worker computes; this module draws.

import { copyAs } from "./copy_as.js";
import { breathe, debounce, el, fill, smallButton } from "./dom.js";
import { save } from "./downloads.js";
import { number, t } from "./i18n.js";
import { matrixTools, mostTexts } from "./matrix_tools.js";
import { neighboursTable } from "./neighbours_table.js";
import { problemBox } from "./problem.js";
import { scatterMap } from "./scatter_map.js";
import { similarityMap } from "./similarity_map.js";
import { similarityTable } from "./similarity_table.js";
import { textList } from "./text_list.js";
import { timingBar } from "./timing.js";
import { Superseded, compute } from "./vectors.js";
import { widthChooser } from "./width_chooser.js";

const MOST_WARNINGS = 10;

/**
 * @typedef {object} Result
 * @property {{number: number, text: string, side: string}[]} texts
 * @property {Object} model of GET /models
 * @property {number} d dimensions of the response
 * @property {number} width dimensions in use
 * @property {number} k number of neighbours to compare; 0: not chosen yet
 * @property {number} chosen index of the text whose neighbours are shown
 * @property {number} from index of the first text of the heat map
 * @property {boolean} asTable whether the similarities are shown as a table
 * @property {{map?: object, matrix?: object, kept?: number, changes?: object[]}} computed for all of the above
 * @property {Object<string, object>} latest a marker of the last worker task of each kind
 * @property {object[]} answers the result of ask() for each request, with side, tokens and warnings instead of data
 */

let shown = null; // {result, places, observer, map, list}

/**
 * Draws a result, and redraws it when the user changes the options.
 * @param {HTMLElement} place @param {Result} result
 */
export function drawResult(place, result) {
  forgetResult();
  result.k ||= [10, 5, 3, 1].find((k) => k <= (result.texts.length - 1) / 2) ?? 1;
  const places = Object.fromEntries(
    ["kept", "map", "list", "changes", "matrix", "download"].map((name) => [name, el("div", { class: "stack tight" })]),
  );
  let drawnFor = 0;
  const resized = debounce(() => {
    if (shown?.places !== places || Math.abs(place.clientWidth - drawnFor) < 2) return;
    drawnFor = place.clientWidth;
    drawMap();
    drawMatrix();
  }, 150);
  shown = { result, places, observer: new ResizeObserver(resized), map: null, list: null };
  const width = widthChooser({ ...result, onWidth: debounce(changeWidth, 120), onNeighbours: changeNeighbours });
  fill(
    place,
    card("embeddings.result", facts(result), places.download),
    card("embeddings.width", width, places.kept),
    el(
      "div",
      { class: "map-and-list" },
      card("embeddings.map", places.map),
      card("embeddings.neighbours", places.list, places.changes),
    ),
    card("embeddings.matrix", matrixTools(result, computeMatrix), places.matrix),
  );
  drawnFor = place.clientWidth;
  shown.observer.observe(place);
  drawAll(places);
  computeAll();
}

/** Draws one part after the other, so that the page stays responsive. */
async function drawAll(places) {
  for (const drawn of [drawDownload, drawKept, drawList, drawMap, drawChanges, drawMatrix]) {
    if (shown?.places !== places) return;
    drawn();
    await breathe();
  }
}

/** Stops drawing when the view is closed. */
export function forgetResult() {
  shown?.observer.disconnect();
  shown = null;
}

function card(key, ...children) {
  return el("section", { class: "card stack" }, el("h3", {}, t(key)), children);
}

function facts({ texts, d, answers }) {
  const tokens = answers.reduce((sum, answer) => sum + answer.tokens, 0);
  const warnings = answers.flatMap((answer) => answer.warnings);
  const first = warnings.slice(0, MOST_WARNINGS);
  const more = warnings.length - first.length;
  return [
    el("p", { role: "status" }, t("embeddings.summary", { count: texts.length, dimensions: d, tokens })),
    warnings.length ? el("ul", { class: "warnings warn", lang: "en" }, first.map(item)) : null,
    more > 0 ? el("p", { class: "note" }, t("embeddings.warnings.more", { count: more })) : null,
    answers.map((answer) => [
      answers.length > 1 ? el("h4", {}, t("embeddings.of", { side: t(`embeddings.sides.${answer.side}`) })) : null,
      el("div", { class: "columns" }, timingBar(answer.timings, answer.elapsedMs), copyAs(() => answer.request)),
    ]),
  ];
}

function item(text) {
  return el("li", {}, text);
}

// Results of the worker; each is drawn when it arrives, unless it is superseded.

function computeAll() {
  computeMatrix();
  computeMap();
  computeKept();
  computeChanges();
}

async function fetched(name, args, draw, read = (value) => value) {
  const { result, places } = shown;
  const mine = (result.latest[name] = {});
  places[name].setAttribute("aria-busy", "true");
  try {
    const value = await compute(name, args);
    if (result.latest[name] !== mine) return;
    result.computed[name] = read(value);
    if (shown?.result === result) draw();
  } catch (error) {
    if (error instanceof Superseded || shown?.result !== result) return;
    fill(shown.places[name], problemBox(error));
  }
}

function computeMatrix() {
  const { from, asTable, texts } = shown.result;
  const count = Math.min(mostTexts(shown.result), texts.length - from);
  fetched("matrix", { from, count }, drawMatrix, (cosines) => ({ cosines, from, asTable }));
}

function computeMap() {
  fetched("map", {}, drawMap);
}

function computeKept() {
  fetched("kept", { k: shown.result.k }, drawKept);
}

function computeChanges() {
  fetched("changes", { text: shown.result.chosen, k: shown.result.k }, drawChanges);
}

function changeWidth(width) {
  if (!shown || width === shown.result.width) return;
  shown.result.width = width;
  compute("width", { width });
  drawDownload();
  computeAll();
}

function changeNeighbours(k) {
  shown.result.k = k;
  computeKept();
  computeChanges();
}

function choose(index) {
  shown.result.chosen = index;
  shown.list?.choose(index);
  computeChanges();
}

// Drawing

/** Draws a value in its place, or a note that it is being computed. */
function draw(name, drawn) {
  const place = shown.places[name];
  const value = shown.result.computed[name];
  if (value === undefined) fill(place, el("p", { class: "note" }, t("embeddings.width.computing")));
  else {
    fill(place, drawn(value));
    place.removeAttribute("aria-busy");
  }
}

function drawKept() {
  const { k, texts } = shown.result;
  draw("kept", (kept) => {
    if (texts.length < 2) return null;
    const words = t("embeddings.width.kept", { k, share: number(100 * kept, 1) });
    const part = el("span", { class: "bar-fill" });
    part.style.setProperty("width", `${100 * kept}%`);
    return [el("p", { role: "status" }, words), el("div", { class: "bar kept", "aria-hidden": "true" }, part)];
  });
}

function drawMap() {
  const { result, places } = shown;
  const hadFocus = places.map.contains(document.activeElement);
  draw("map", (map) => {
    shown.map = scatterMap({ ...map, texts: result.texts, width: widthOf(places.map), onChoose: choose });
    const isMixed = new Set(result.texts.map(({ side }) => side)).size > 1;
    return [isMixed ? el("p", { class: "note" }, t("embeddings.map.queries")) : null, shown.map.element];
  });
  markChosen();
  if (hadFocus) places.map.querySelector("[tabindex]")?.focus();
}

function markChosen() {
  const { result, map } = shown;
  const changes = result.computed.changes ?? [];
  map?.choose(result.chosen, changes.filter(({ dropped }) => !dropped).map(({ index }) => index));
}

function drawChanges() {
  draw("changes", (changes) => neighboursTable(shown.result, changes));
  markChosen();
}

function widthOf(place) {
  return Math.max(280, Math.floor(place.clientWidth));
}

function drawList() {
  const { texts, chosen } = shown.result;
  shown.list = textList({ texts, chosen, onChoose: choose });
  fill(shown.places.list, shown.list.element);
}

function drawMatrix() {
  const { result, places } = shown;
  const hadFocus = places.matrix.contains(document.activeElement);
  draw("matrix", ({ cosines, from, asTable }) => {
    const texts = result.texts.slice(from, from + Math.sqrt(cosines.length));
    const onChoose = (index) => choose(from + index);
    return asTable
      ? similarityTable({ cosines, texts })
      : similarityMap({ cosines, texts, width: widthOf(places.matrix), onChoose });
  });
  if (hadFocus) places.matrix.querySelector("[tabindex]")?.focus();
}

function drawDownload() {
  const { result, places } = shown;
  const status = el("span", { class: "note", role: "status" });
  const button = (format) => {
    const name = `${result.model.id}-${result.width}.${format}`;
    const pressed = async () => {
      fill(status, t("embeddings.width.computing"));
      save(name, await compute("file", { format }));
      fill(status, t("embeddings.download.done", { name }));
    };
    const label = t(`embeddings.download.${format}`);
    return smallButton(label, pressed);
  };
  const note = t("embeddings.download.note", { width: result.width, whole: result.d });
  const title = el("span", { class: "label" }, t("embeddings.download"));
  fill(
    places.download,
    el("div", { class: "row" }, title, button("json"), button("csv"), status),
    el("p", { class: "note" }, note),
  );
}
