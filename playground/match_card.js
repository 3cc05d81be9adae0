// Token vectors: which token of a passage is most similar to each token of a query (MaxSim).

import { el } from "./dom.js";
import { heatMap, scaleAround } from "./heat_map.js";
import { number, t } from "./i18n.js";
import { tableBox } from "./table_box.js";
import { largest } from "./token_scores.js";

/** Maximum numbers of tokens in the picture and the table; the CSV file has all. */
const MOST_PASSAGE_TOKENS = 128;
const MOST_QUERY_TOKENS = 64;
const NAME_CHARACTERS = 12;
const CELL = { smallest: 15, largest: 42, height: 20 };

/**
 * @param {import("./token_scores.js").Matches} matches @param {number} width available pixels @returns {HTMLElement[]}
 */
export function matchParts(matches, width) {
  const { query, passage, values, best, score } = matches;
  const n = query.length;
  const similarity = (row, column) => values[row * n + column];
  const bestOf = best.map((row, column) => similarity(row, column));
  const strongest = passage.map((_, row) => Math.max(...query.map((_, column) => similarity(row, column))));
  const rows = largest(strongest, MOST_PASSAGE_TOKENS);
  const columns = largest(bestOf, MOST_QUERY_TOKENS);
  const shown = Float32Array.from(rows.flatMap((row) => columns.map((column) => similarity(row, column))));
  const total = decimals(score);
  const passageNames = rows.map((row) => short(passage[row]));
  const queryNames = columns.map((column) => short(query[column]));
  const isLimited = rows.length < passage.length || columns.length < n;
  const label = t("tokens.match.label", { passage: rows.length, query: columns.length });
  return [
    el("p", { role: "status" }, t("tokens.match.score", { score: total, count: n, mean: decimals(score / n) })),
    isLimited
      ? el("p", { class: "note" }, t("tokens.match.limited", { passage: passage.length, query: n }))
      : null,
    el(
      "div",
      { class: "match-map" },
      heatMap({
        values: shown,
        rows: { names: passageNames, room: roomOf(passageNames), apart: 14 },
        columns: { names: queryNames, room: roomOf(queryNames), apart: 14, upright: true },
        scale: scaleAround(Math.min(...shown), Math.max(...shown)),
        marked: columns.flatMap((column, at) => {
          const row = rows.indexOf(best[column]);
          return row < 0 ? [] : [/** @type {[number, number]} */ ([row, at])];
        }),
        width,
        cell: CELL,
        legend: t("tokens.match.similarity"),
        label,
        help: t("tokens.match.help"),
        words,
        spoken,
      }),
    ),
    matchTable(),
  ].filter((part) => part !== null);

  function facts([row, column]) {
    const [token, other] = [query[columns[column]], passage[rows[row]]];
    return { query: token, passage: other, similarity: decimals(similarity(rows[row], columns[column])) };
  }

  function isBest([row, column]) {
    return best[columns[column]] === rows[row];
  }

  function words(place) {
    if (!place) return el("p", { class: "note" }, t("tokens.match.hover"));
    const { query: token, passage: other, similarity: value } = facts(place);
    return [
      el("p", {}, el("b", { class: "mono" }, value), " ", t("tokens.match.pair", { query: token, passage: other })),
      isBest(place) ? el("p", { class: "note" }, t("tokens.match.isBest")) : null,
    ];
  }

  function spoken(place) {
    const sentence = t("tokens.match.spoken", facts(place));
    return isBest(place) ? `${sentence} ${t("tokens.match.isBest")}` : sentence;
  }

  function matchTable() {
    const lines = columns.map((column) =>
      el(
        "tr",
        {},
        el("th", { scope: "row", class: "token" }, query[column]),
        el("td", { class: "token" }, passage[best[column]]),
        el("td", { class: "numeric" }, number(best[column] + 1)),
        el("td", { class: "numeric" }, decimals(bestOf[column])),
      ),
    );
    const caption = t("tokens.match.table");
    return tableBox({
      name: "token-table",
      label: caption,
      caption,
      head: [
        el("th", { scope: "col" }, t("tokens.match.queryToken")),
        el("th", { scope: "col" }, t("tokens.match.passageToken")),
        el("th", { scope: "col", class: "numeric" }, t("tokens.match.position")),
        el("th", { scope: "col", class: "numeric" }, t("tokens.match.similarity")),
      ],
      bodies: [
        el("tbody", {}, lines),
        el(
          "tfoot",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "row", colspan: 3 }, t("tokens.match.sum")),
            el("td", { class: "numeric" }, el("b", {}, total)),
          ),
        ),
      ],
    });
  }
}

/** Pixels for the longest name, whose characters are 7 or, in East Asian scripts, 12 wide. */
function roomOf(names) {
  return 10 + Math.max(...names.map((name) => [...name].reduce((sum, each) => sum + (each > "\u2e7f" ? 12 : 7), 0)));
}

function decimals(value) {
  return number(value, 4);
}

function short(token) {
  const characters = [...token];
  return characters.length > NAME_CHARACTERS ? `${characters.slice(0, NAME_CHARACTERS - 1).join("")}…` : token;
}
