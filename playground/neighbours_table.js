// A table of the nearest neighbours of a text, with their ranks by whole vectors, and those that dropped out.

import { el } from "./dom.js";
import { number, t } from "./i18n.js";
import { tableBox } from "./table_box.js";

/**
 * @param {{texts: {number: number, text: string}[], chosen: number, d: number, width: number}} result
 * @param {import("./neighbours.js").Change[]} changes @returns {HTMLElement}
 */
export function neighboursTable({ texts, chosen, d, width }, changes) {
  if (!changes.length) return el("p", { class: "note" }, t("embeddings.neighbours.alone"));
  const isCut = width < d;
  const label = t("embeddings.neighbours.of", { number: String(texts[chosen].number) });
  const rows = changes.map((change) =>
    el(
      "tr",
      { class: change.dropped ? "dropped" : null },
      el("td", { class: "numeric" }, number(change.rank)),
      isCut ? el("td", {}, movement(change)) : null,
      el("td", { class: "numeric" }, number(change.cosine, 4)),
      el("td", { class: "user-text" }, el("b", {}, String(texts[change.index].number)), ` ${texts[change.index].text}`),
    ),
  );
  const head = [
    el("th", { scope: "col", class: "numeric" }, t("embeddings.neighbours.rank")),
    isCut ? el("th", { scope: "col" }, t("embeddings.neighbours.was")) : null,
    el("th", { scope: "col", class: "numeric" }, t("embeddings.neighbours.cosine")),
    el("th", { scope: "col" }, t("embeddings.text")),
  ];
  return tableBox({
    name: "neighbours",
    label,
    caption: [label, " ", el("span", { class: "note user-text" }, texts[chosen].text)],
    head,
    bodies: el("tbody", {}, rows),
  });
}

function movement({ rank, was, dropped }) {
  if (dropped) return el("span", { class: "bad" }, t("embeddings.neighbours.dropped", { rank: was }));
  if (rank === was) return el("span", { class: "note" }, t("embeddings.neighbours.same"));
  const isUp = rank < was;
  const key = isUp ? "embeddings.neighbours.up" : "embeddings.neighbours.down";
  return el("span", { class: isUp ? "good" : "warn" }, t(key, { rank: was }));
}
