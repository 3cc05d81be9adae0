// Truncated passages, from the service's warnings, and the place of the cut in the text.

import { ask } from "./service.js";

const CUT = /^(documents\.(\d+)|query) was cut from (more than )?(\d+) tokens to .* of (\d+)\.$/;
/** Maximum length of a text that is tokenized again to find the cut. */
const LONGEST = 200_000;

/** @typedef {{tokens: number, kept: number, exact: boolean}} Cut number of tokens, and number of kept tokens */

/**
 * Parses the service's warnings: cuts of passages, and other warnings unchanged.
 * @param {string[]} warnings @returns {{cuts: Map<number, Cut>, others: string[]}}
 */
export function readWarnings(warnings) {
  const cuts = new Map();
  const others = [];
  for (const warning of warnings) {
    const found = CUT.exec(warning);
    if (found?.[2]) cuts.set(Number(found[2]), { tokens: Number(found[4]), kept: Number(found[5]), exact: !found[3] });
    else others.push(warning);
  }
  return { cuts, others };
}

/**
 * Where the model truncated a passage, in UTF-16 units; null if unknown: for a tokenizer without offsets, a forwarded
 * model or a very long text.
 * @param {{model: Object, query: string, text: string, cut: Cut, signal?: AbortSignal}} what `model` of GET /models
 * @returns {Promise<number | null>}
 * @throws {import("./service.js").Problem}
 */
export async function findCut({ model, query, text, cut, signal }) {
  if (!cut.exact || text.length > LONGEST || model?.state === "forwarded") return null;
  const body = { model: model.id, inputs: [query, text], add_special_tokens: false };
  const { data } = await ask("tokenize", { body, signal, view: "rerank" });
  const [queryTokens, tokens] = data;
  const kept = keptTokens({ query: queryTokens.length, passage: tokens.length, over: cut.tokens - cut.kept, model });
  if (kept <= 0) return 0;
  const last = tokens[Math.min(kept, tokens.length) - 1];
  return last?.stop == null ? null : units(text, last.stop);
}

/** The number of kept tokens of a passage: pairs are truncated longest first, single and prompted texts at the end. */
function keptTokens({ query, passage, over, model }) {
  if (model.kind === "embedding" || model.instruction) return passage - over;
  const room = query + passage - over;
  const [short, long] = [Math.min(query, passage), Math.max(query, passage)];
  if (room - short >= short) return passage === long ? room - short : passage;
  return passage === long ? room - Math.floor(room / 2) : Math.floor(room / 2);
}

/** The service counts characters as code points, the browser as UTF-16 units. */
function units(text, characters) {
  let at = 0;
  for (let count = 0; count < characters && at < text.length; count += 1) at += text.codePointAt(at) > 0xffff ? 2 : 1;
  return at;
}
