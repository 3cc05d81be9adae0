// The cosines of texts as a table, as an accessible alternative to the heat map.

import { el } from "./dom.js";
import { number, t } from "./i18n.js";
import { tableBox } from "./table_box.js";

/** Maximum number of texts on each side; a larger table would be slow. */
export const MOST_TABLE_TEXTS = 24;

/**
 * @param {{cosines: Float32Array, texts: {number: number, text: string}[]}} options
 * @returns {HTMLElement}
 */
export function similarityTable({ cosines, texts }) {
  const m = texts.length;
  const head = texts.map(({ number: name, text }) => el("th", { scope: "col", class: "numeric", title: text }, name));
  const rows = texts.map(({ number: name, text }, row) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", title: text }, el("span", { class: "clip" }, `${name} ${text}`)),
      texts.map((_, column) => el("td", { class: "numeric" }, number(cosines[row * m + column], 3))),
    ),
  );
  return tableBox({
    name: "similarity-table",
    label: t("embeddings.matrix.table"),
    head: [el("th", { scope: "col" }, t("embeddings.text")), head],
    bodies: el("tbody", {}, rows),
  });
}
