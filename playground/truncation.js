// Which passages were cut, as the service's warnings say it, and where in the text the cut lies.

import { ask } from "./service.js";

const CUT = /^(documents\.(\d+)|query) was cut from (more than )?(\d+) tokens to .* of (\d+)\.$/;
/** Characters up to which a text is tokenised once more to find the place. */
const LONGEST = 200_000;

/** @typedef {{tokens: number, kept: number, exact: boolean}} Cut tokens there were and tokens that were read */

/**
 * The service's warnings as cuts of passages, and those that say something else, as they are.
 * @param {string[]} warnings
 * @returns {{cuts: Map<number, Cut>, others: string[]}}
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
 * Where the model stopped reading a passage, in UTF-16 units; null where that cannot be told: a tokenizer that does
 * not know places, a model that is forwarded, a text too long to look at.
 * @param {{model: Object, query: string, text: string, cut: Cut, signal?: AbortSignal}} what `model` of GET /models
 * @returns {Promise<number | null>}
 * @throws {import("./service.js").Problem}
 */
export async function findCut({ model, query, text, cut, signal }) {
  if (!cut.exact || text.length > LONGEST || model?.state === "forwarded") return null;
  const body = { model: model.id, inputs: [query, text], add_special_tokens: false };
  const { data } = await ask("tokenize", { body, signal, view: "rerank" });
  const [asked, tokens] = data;
  const kept = keptTokens({ query: asked.length, passage: tokens.length, over: cut.tokens - cut.kept, model });
  if (kept <= 0) return 0;
  const last = tokens[Math.min(kept, tokens.length) - 1];
  return last?.stop == null ? null : units(text, last.stop);
}

/** Tokens of the passage that are read. A pair is cut where it is longer; a passage alone, or in words, at its end. */
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
