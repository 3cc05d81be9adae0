// A native, accessible list to choose a text by number. With many texts it shows only search results, as a list of
// thousands would be slow.

import { debounce, el, fill, uniqueId } from "./dom.js";
import { t } from "./i18n.js";

const ROWS = 12;
const MOST = 250;
const SEARCHABLE = 40; // minimum number of texts for a search field
const CHARACTERS = 120;

/**
 * @param {object} options @param {{number: number, text: string, side: string}[]} options.texts
 * @param {number} options.chosen index
 * @param {(index: number) => void} options.onChoose @returns {{element: HTMLElement, choose: (index: number) => void}}
 */
export function textList({ texts, chosen, onChoose }) {
  const size = Math.min(ROWS, Math.max(2, texts.length));
  const list = el("select", { id: uniqueId("chosen"), size, class: "text-list" });
  const search = el("input", { id: uniqueId("search"), type: "search" });
  const note = el("p", { class: "note", role: "status" });
  let now = chosen;
  list.addEventListener("change", () => onChoose(Number(list.value)));
  search.addEventListener("input", debounce(draw, 150));
  draw();
  const searchField = el(
    "div",
    { class: "field" },
    el("label", { for: search.id }, t("embeddings.neighbours.search")),
    search,
  );
  const element = el(
    "div",
    { class: "stack tight" },
    texts.length > SEARCHABLE ? searchField : null,
    el("label", { for: list.id }, t("embeddings.neighbours.chosen")),
    list,
    note,
  );
  return { element, choose };

  function draw() {
    const found = matching(texts, search.value.trim().toLowerCase());
    fill(list, found.slice(0, MOST).map(option));
    choose(now);
    const isCut = found.length > MOST;
    fill(note, isCut ? t("embeddings.neighbours.more", { shown: MOST, count: found.length }) : null);
  }

  function choose(index) {
    now = index;
    list.value = String(index);
  }
}

/** Searches by number if the input is the number of a text, else by words. */
function matching(texts, wanted) {
  if (!wanted) return texts;
  const byNumber = texts[Number(wanted) - 1];
  return byNumber ? [byNumber] : texts.filter(({ text }) => text.toLowerCase().includes(wanted));
}

function option({ number: name, text, side }) {
  const mark = side === "query" ? "◆ " : "";
  return el("option", { value: String(name - 1) }, `${name} ${mark}${text.slice(0, CHARACTERS)}`);
}
