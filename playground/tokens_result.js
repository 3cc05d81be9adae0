// The result of the tokens view: the scores of the passages, then the vectors of the query and of one passage.

import { copyAs } from "./copy_as.js";
import { debounce, el, fill, smallButton } from "./dom.js";
import { csvFile, save } from "./downloads.js";
import { number, t } from "./i18n.js";
import { matchParts } from "./match_card.js";
import { sparseParts } from "./sparse_card.js";
import { tableBox } from "./table_box.js";
import { timingBar } from "./timing.js";
import { sharedTokens, sparseScore } from "./token_scores.js";

/**
 * @typedef {import("./sparse_card.js").SparseText} SparseText without weights if the model has no sparse vectors
 * @typedef {SparseText & {matches: import("./token_scores.js").Matches | null}} Passage
 *
 * @typedef {object} Result
 * @property {Object} model of GET /models
 * @property {{sparse: boolean, multi: boolean}} has its outputs; token vectors only with a query
 * @property {SparseText | null} query
 * @property {Passage[]} passages
 * @property {number | null} chosen index of the passage that is shown; null: the best one
 * @property {object[]} answers the result of ask() for each side, with side, tokens and warnings instead of data
 */

let shown = null; // {observer}

/**
 * Draws a result, and redraws it when the user chooses a passage.
 * @param {HTMLElement} place @param {Result} result
 */
export function drawResult(place, result) {
  forgetResult();
  const parts = el("div", { class: "stack" });
  const scores = scoresOf(result);
  let chosen = result.chosen ?? scores[0].at;
  const table = el("div", {});
  let drawnFor = 0;
  const observer = new ResizeObserver(
    debounce(() => {
      if (Math.abs(parts.clientWidth - drawnFor) >= 2) draw();
    }, 150),
  );
  shown = { observer };
  fill(place, card("tokens.result", facts(result), table, downloads(result), requests(result)), parts);
  draw();
  observer.observe(parts);

  function choose(at) {
    chosen = at;
    result.chosen = at;
    draw();
    /** @type {HTMLElement} */ (table.querySelector("[aria-current]")).focus();
  }

  function draw() {
    drawnFor = parts.clientWidth;
    fill(table, result.passages.length > 1 || result.query ? scoresTable({ ...result, chosen }, scores, choose) : null);
    const { query, passages, has } = result;
    const passage = passages[chosen];
    const position = chosen + 1;
    fill(
      parts,
      has.sparse ? card("tokens.sparse", sparseParts({ query, passage, position })) : null,
      passage.matches
        ? card("tokens.match", text(passage, position), matchParts(passage.matches, widthOf(parts)))
        : null,
    );
  }
}

/** Stops drawing when the view is closed. */
export function forgetResult() {
  shown?.observer.disconnect();
  shown = null;
}

/** The scores of all passages, best first: the sparse score if there is one, else MaxSim. */
function scoresOf({ query, passages, has }) {
  const scores = passages.map(({ weights, matches }, at) => ({
    at,
    sparse: query && has.sparse ? sparseScore(sharedTokens(query.weights, weights)) : null,
    multi: matches?.score ?? null,
  }));
  return query ? scores.sort((a, b) => (b.sparse ?? b.multi) - (a.sparse ?? a.multi)) : scores;
}

function scoresTable({ query, passages, has, chosen }, scores, choose) {
  const columns = query ? ["sparse", "multi"].filter((name) => has[name]) : [];
  const rows = scores.map((score) =>
    el("tr", {}, passageCell(score.at), columns.map((name) => scoreCell(score[name]))),
  );
  return tableBox({
    name: "token-scores",
    label: t("tokens.scores"),
    caption: columns.length ? t("tokens.scores.by", { name: t(`tokens.scores.${columns[0]}`) }) : t("tokens.scores"),
    head: [
      el("th", { scope: "col" }, t("tokens.passage.short")),
      columns.map((name) => el("th", { scope: "col", class: "numeric" }, t(`tokens.scores.${name}`))),
    ],
    bodies: el("tbody", {}, rows),
  });

  function passageCell(at) {
    const isChosen = at === chosen;
    const button = el(
      "button",
      { type: "button", class: "token-passage", "aria-current": isChosen, on: { click: () => choose(at) } },
      el("b", {}, number(at + 1)),
      ` ${passages[at].text}`,
    );
    return el("th", { scope: "row" }, button);
  }
}

function scoreCell(score) {
  return el("td", { class: "numeric" }, number(score, 4));
}

function text(passage, position) {
  return [el("h4", {}, t("tokens.passage", { position })), el("p", { class: "user-text" }, passage.text)];
}

function card(key, ...children) {
  return el("section", { class: "card stack" }, el("h3", {}, t(key)), children);
}

function facts({ passages, answers }) {
  const tokens = answers.reduce((sum, answer) => sum + answer.tokens, 0);
  const warnings = answers.flatMap((answer) => answer.warnings);
  return [
    el("p", { role: "status" }, t("tokens.summary", { count: passages.length, tokens })),
    warnings.length
      ? el("ul", { class: "warnings warn", lang: "en" }, warnings.map((each) => el("li", {}, each)))
      : null,
  ];
}

function requests({ answers }) {
  return answers.map((answer) => [
    answers.length > 1 ? el("h4", {}, t(`tokens.request.${answer.side}`)) : null,
    el("div", { class: "columns" }, timingBar(answer.timings, answer.elapsedMs), copyAs(() => answer.request)),
  ]);
}

function widthOf(place) {
  return Math.max(260, Math.floor(place.clientWidth) - 34); // inside the card's padding
}

// CSV files

function downloads({ model, query, passages, has }) {
  const status = el("span", { class: "note", role: "status" });
  const button = (name, head, rows) =>
    smallButton(t(`tokens.download.${name}`), () => {
      const file = `${model.id}-${name}.csv`;
      save(file, csvFile([head, ...rows()]));
      fill(status, t("tokens.download.done", { name: file }));
    });
  return el(
    "div",
    { class: "row" },
    el("span", { class: "label" }, t("tokens.download")),
    has.sparse
      ? button("weights", ["side", "number", "token_id", "token", "weight", "in_text"], () =>
          weightRows(query, passages),
        )
      : null,
    has.multi
      ? button(
          "similarities",
          ["passage", "passage_position", "passage_token", "query_position", "query_token", "similarity", "is_best"],
          () => passages.flatMap(({ matches }, at) => matchRows(matches, at + 1)),
        )
      : null,
    status,
  );
}

function weightRows(query, passages) {
  const sides = [...(query ? [["query", 1, query]] : []), ...passages.map((each, at) => ["document", at + 1, each])];
  return sides.flatMap(([side, position, { tokens, weights }]) => {
    const ids = new Set(tokens.map(({ id }) => id));
    return weights.map(({ id, token, weight }) => [side, position, id, token, weight, ids.has(id) ? 1 : 0]);
  });
}

function matchRows({ query, passage, values, best }, position) {
  return passage.flatMap((token, row) =>
    query.map((other, column) => [
      position,
      row + 1,
      token,
      column + 1,
      other,
      values[row * query.length + column],
      best[column] === row ? 1 : 0,
    ]),
  );
}
