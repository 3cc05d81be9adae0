// Sparse vectors: the weights of a query's and a passage's tokens, and the tokens that both have.

import { el } from "./dom.js";
import { number, t } from "./i18n.js";
import { tableBox } from "./table_box.js";
import { sharedTokens, sparseScore } from "./token_scores.js";
import { weightedText } from "./weighted_text.js";

/** Maximum number of rows of a table; the CSV file has all. */
const MOST_ROWS = 200;

/**
 * @typedef {object} SparseText a text and its vector
 * @property {string} text
 * @property {import("./weighted_text.js").Token[]} tokens of the text
 * @property {import("./token_scores.js").Weight[]} weights largest first
 *
 * @param {object} options
 * @param {SparseText | null} options.query
 * @param {SparseText} options.passage @param {number} options.position of the passage, from 1
 * @returns {HTMLElement[]}
 */
export function sparseParts({ query, passage, position }) {
  return [
    el(
      "div",
      { class: query ? "columns" : "stack" },
      query ? side(t("tokens.query"), query) : null,
      side(t("tokens.passage", { position }), passage),
    ),
    query ? sharedTable(sharedTokens(query.weights, passage.weights)) : null,
  ].filter((part) => part !== null);
}

function side(title, { text, tokens, weights }) {
  const top = weights[0]?.weight ?? 1;
  const ids = new Set(tokens.map(({ id }) => id));
  const added = weights.filter(({ id }) => !ids.has(id)).length;
  const byId = new Map(weights.map(({ id, weight }) => [id, weight]));
  const rows = weights.slice(0, MOST_ROWS).map(({ id, token, weight }) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", class: "token" }, token),
      el("td", { class: "numeric" }, number(weight, 4)),
      el("td", {}, bar(weight / top)),
      el("td", {}, ids.has(id) ? t("tokens.sparse.inText") : t("tokens.sparse.added")),
    ),
  );
  const caption = t("tokens.sparse.weights", { count: weights.length, added });
  return el(
    "section",
    { class: "stack tight" },
    el("h4", {}, title),
    weightedText({ text, tokens, weights: byId, largest: top }),
    weights.length
      ? table({
          caption,
          rows,
          count: weights.length,
          head: [["tokens.token"], ["tokens.sparse.weight", true], ["tokens.sparse.share"], ["tokens.sparse.from"]],
        })
      : el("p", { class: "note" }, t("tokens.sparse.empty")),
  );
}

function sharedTable(shared) {
  if (!shared.length) return el("p", { class: "note" }, t("tokens.shared.none"));
  const rows = shared.slice(0, MOST_ROWS).map(({ token, query, passage, product }) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", class: "token" }, token),
      [query, passage, product].map((value) => el("td", { class: "numeric" }, number(value, 4))),
      el("td", {}, bar(product / shared[0].product)),
    ),
  );
  return table({
    caption: t("tokens.shared", { count: shared.length, score: number(sparseScore(shared), 4) }),
    rows,
    count: shared.length,
    head: [
      ["tokens.token"],
      ["tokens.query", true],
      ["tokens.passage.short", true],
      ["tokens.shared.product", true],
      ["tokens.shared.share"],
    ],
  });
}

/** A table of tokens; `count` tells how many rows there would be. */
function table({ caption, rows, count, head }) {
  const limited = count > rows.length ? t("tokens.limited", { shown: rows.length, count }) : null;
  return el(
    "div",
    { class: "stack tight" },
    tableBox({
      name: "token-table",
      label: caption,
      caption,
      head: head.map(([key, isNumeric]) => el("th", { scope: "col", class: isNumeric ? "numeric" : null }, t(key))),
      bodies: el("tbody", {}, rows),
    }),
    limited ? el("p", { class: "note" }, limited) : null,
  );
}

function bar(share) {
  const part = el("span", { class: "bar-fill" });
  part.style.setProperty("width", `${100 * share}%`);
  return el("span", { class: "bar", "aria-hidden": "true" }, part);
}
