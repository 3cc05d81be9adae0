// A dialog with a whole passage: its rank in each ranking, and where each model truncated it.

import { el, fill, uniqueId } from "./dom.js";
import { number, t } from "./i18n.js";
import { problemBox } from "./problem.js";
import { cutText, movementText, scoreText } from "./rerank_result.js";
import { tableBox } from "./table_box.js";
import { findCut } from "./truncation.js";

/**
 * @typedef {{model: Object, rank: number | null, score: number | null,
 *   cut: Cut | null}} Place in one ranking
 * @typedef {import("./truncation.js").Cut} Cut
 */

/**
 * Shows a passage until the user closes it, then restores the focus.
 * @param {{index: number, text: string, query: string, places: Place[]}} passage
 */
export function showPassage({ index, text, query, places }) {
  const title = uniqueId("passage");
  const ending = new AbortController();
  const dialog = el(
    "dialog",
    { class: "passage-dialog", "aria-labelledby": title, on: { close, click: closeOutside } },
    el(
      "form",
      { method: "dialog" },
      el(
        "div",
        { class: "row" },
        el("h3", { id: title }, t("rerank.passage", { position: index + 1 })),
        el("button", { type: "submit", class: "button small" }, t("rerank.close")),
      ),
      table(places, index),
      texts(),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();

  function texts() {
    const cut = places.filter((place) => place.cut);
    if (!cut.length) return textBox(el("p", { class: "user-text" }, text));
    return cut.map((place) => {
      const body = textBox(el("p", { class: "user-text" }, text));
      const status = el("p", { class: "note", role: "status" }, t("rerank.finding"));
      find(place, body, status);
      const name = t("rerank.readBy", { model: place.model.id, cut: cutText(/** @type {Cut} */ (place.cut)) });
      return el("section", { class: "stack tight" }, el("h4", {}, name), status, body);
    });
  }

  async function find({ model, cut }, box, status) {
    try {
      const at = await findCut({ model, query, text, cut, signal: ending.signal });
      fill(status, t(at === null ? "rerank.noPlace" : "rerank.place"));
      if (at === null) return;
      const end = el("span", { class: "cut-end" }, t("rerank.cutHere"));
      fill(box.firstChild, text.slice(0, at), " ", end, " ", el("del", {}, text.slice(at)));
      const below = end.getBoundingClientRect().top - box.getBoundingClientRect().top;
      box.scrollTop += below - box.clientHeight / 2;
    } catch (problem) {
      if (!ending.signal.aborted) status.replaceWith(problemBox(problem));
    }
  }

  function close() {
    ending.abort();
    dialog.remove();
  }

  function closeOutside({ target }) {
    if (target === dialog) dialog.close();
  }
}

/** A focusable box in which long texts scroll. */
function textBox(body) {
  return el("div", { class: "passage-text", tabindex: "0", role: "region", "aria-label": t("rerank.text") }, body);
}

function table(places, index) {
  const names = ["rerank.model", "rerank.rank", "rerank.score", "rerank.movement"];
  const [first, ...others] = names.map((name) => t(name));
  const heads = others.map((name) => el("th", { scope: "col", class: "numeric" }, name));
  return tableBox({
    label: t("rerank.places"),
    head: [el("th", { scope: "col" }, first), heads],
    bodies: el("tbody", {}, places.map((place) => line(place, index))),
  });
}

function line({ model, rank, score }, index) {
  const cells = rank
    ? [number(rank), scoreText(score), movementText(index + 1, rank)]
    : ["–", "–", t("rerank.notReturned")];
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, model.id),
    cells.map((cell) => el("td", { class: "numeric" }, cell)),
  );
}
