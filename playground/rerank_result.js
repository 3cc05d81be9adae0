// One ranking as a list of bars: rank, passage, score, original position, movement and truncation.

import { direction } from "./bump_chart.js";
import { el } from "./dom.js";
import { number, t } from "./i18n.js";

const SHOWN_CHARACTERS = 280;
/** Keys and how far they move in the list. */
const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
/** Keys that move to a neighbouring list. */
const SIDES = { ArrowLeft: -1, ArrowRight: 1 };

/**
 * @typedef {Object} RankedOptions
 * @property {{index: number, score: number}[]} results best first
 * @property {string[]} passages
 * @property {Map<number, import("./truncation.js").Cut>} cuts
 * @property {Map<number, number> | null} before rank of each passage to compare with; null: the original order
 * @property {[number, number]} scale scores at the ends of the bars
 * @property {string} label of the list
 * @property {{follow: Function, show: Function}} view the window of visible rows (row_window.js)
 * @property {(index: number) => void} onOpen
 * @property {(index: number | null) => void} onPoint pointer or focus on a passage
 * @property {(index: number, side: -1 | 1) => void} onAcross to the same passage of the list on the left or right
 */

/**
 * The list is one Tab stop; arrow keys move inside it.
 * @param {RankedOptions} options
 * @returns {{element: HTMLElement, mark: (index: number | null) => void, focus: (index: number) => void}}
 */
export function rankedList(options) {
  const { results, label, view, onOpen, onPoint, onAcross } = options;
  const places = new Map(results.map(({ index }, place) => [index, place]));
  const rows = new Map(); // place -> <li>, for the rows that exist
  let stop = 0; // the place that has the Tab stop
  let marked = null;
  const element = el("ol", {
    class: "ranked",
    role: "list",
    "aria-label": label,
    on: {
      click: ({ target }) => withIndex(target, onOpen),
      pointerover: ({ target }) => withIndex(target, onPoint),
      pointerleave: () => onPoint(null),
      focusin: ({ target }) => withIndex(target, focused),
      focusout: () => onPoint(null),
      keydown: moved,
    },
  });
  element.style.setProperty("--rows", String(results.length));
  view.follow(draw);
  return { element, mark, focus };

  function draw(first, last) {
    const active = [...rows].find(([, item]) => item.contains(document.activeElement))?.[0];
    for (const [place, item] of rows) {
      if ((place >= first && place < last) || place === active) continue;
      item.remove();
      rows.delete(place);
    }
    for (let place = last - 1; place >= first; place -= 1) {
      if (!rows.has(place)) insert(place);
    }
    if (!rows.has(stop)) setStop(first);
    else setStop(stop);
    mark(marked);
  }

  /** Keeps rows in document order, for the Tab key and screen readers. */
  function insert(place) {
    const facts = { "aria-posinset": place + 1, "aria-setsize": results.length };
    const item = el("li", facts, row(results[place], place + 1, options));
    item.style.setProperty("--place", String(place));
    const next = Math.min(...[...rows.keys()].filter((other) => other > place));
    element.insertBefore(item, rows.get(next) ?? null);
    rows.set(place, item);
  }

  function buttonAt(place) {
    return rows.get(place)?.firstChild;
  }

  function focused(index) {
    setStop(places.get(index));
    onPoint(index);
  }

  function setStop(place) {
    buttonAt(stop)?.setAttribute("tabindex", "-1");
    stop = place;
    buttonAt(stop)?.setAttribute("tabindex", "0");
  }

  function mark(index) {
    buttonAt(places.get(marked))?.classList.remove("marked");
    marked = index;
    buttonAt(places.get(marked))?.classList.add("marked");
  }

  function focus(index) {
    const place = places.get(index);
    if (place === undefined) return;
    if (!rows.has(place)) view.show(place);
    buttonAt(place)?.focus();
  }

  function moved(event) {
    if (!(event.key in STEPS || event.key in SIDES)) return;
    withIndex(event.target, (index) => {
      event.preventDefault();
      if (event.key in SIDES) onAcross(index, SIDES[event.key]);
      else focus(results[Math.min(results.length - 1, Math.max(0, places.get(index) + STEPS[event.key]))].index);
    });
  }
}

function withIndex(target, fn) {
  const button = target.closest("[data-index]");
  if (button) fn(Number(button.dataset.index));
}

function row({ index, score }, rank, { passages, cuts, before, scale }) {
  const from = before ? before.get(index) : index + 1;
  const cut = cuts.get(index);
  return el(
    "button",
    { type: "button", class: "ranked-row", "data-index": index, tabindex: "-1" },
    el("span", { class: "rank" }, number(rank)),
    el("span", { class: "passage" }, beginning(passages[index])),
    bar(score, scale),
    el(
      "span",
      { class: "row-facts" },
      el("b", {}, scoreText(score)),
      " ",
      el("span", { class: "from" }, t("rerank.from", { position: index + 1 })),
      " ",
      el("span", { class: `move ${from ? direction(from - rank) : "new"}` }, movementText(from, rank)),
      cut ? [" ", el("span", { class: "cut" }, cutText(cut))] : null,
    ),
  );
}

/** A score with four decimals. */
export function scoreText(score) {
  return number(score, 4);
}

/** +3, −2, = or "new". */
export function movementText(from, rank) {
  if (!from) return t("rerank.new");
  if (from === rank) return "=";
  return from > rank ? `+${number(from - rank)}` : `\u2212${number(rank - from)}`;
}

/** The truncation of a passage. */
export function cutText({ tokens, kept, exact }) {
  return t(exact ? "rerank.cut" : "rerank.cutOver", { kept, tokens });
}

function bar(score, [low, high]) {
  const width = high - low || 1;
  const part = el("span", { class: "bar-fill" });
  part.style.setProperty("inset-inline-start", `${((Math.min(0, score) - low) / width) * 100}%`);
  part.style.setProperty("width", `${(Math.abs(score) / width) * 100}%`);
  const zero = low < 0 ? el("span", { class: "bar-zero" }) : null;
  zero?.style.setProperty("inset-inline-start", `${(-low / width) * 100}%`);
  return el("span", { class: "bar" }, part, zero);
}

function beginning(text) {
  if (text.length <= SHOWN_CHARACTERS) return text;
  return `${text.slice(0, SHOWN_CHARACTERS).replace(/[\ud800-\udbff]$/, "")}…`;
}
