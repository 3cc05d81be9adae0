// A list of models, grouped by state, and facts about the chosen one.

import { el, fill, uniqueId } from "./dom.js";
import { t } from "./i18n.js";
import { modelFacts, sizeAndSpeed } from "./model_facts.js";
import { problemBox } from "./problem.js";
import { scriptWarning } from "./script_warning.js";
import { limits, models, onModels } from "./service.js";

/** The states, most useful first. */
export const STATES = ["ready", "loading", "importing", "stored", "forwarded", "importable", "unavailable"];
const USABLE = new Set(["ready", "loading", "stored", "forwarded"]);

/**
 * A labelled select of the models of some kinds, or with some outputs. `value` is a model's id, or "" if `optional` and
 * none is chosen. The initial value is the service's default, or a model that is ready if the default is not.
 * @param {object} options
 * @param {("reranker" | "embedding")[]} options.kinds
 * @param {string[]} [options.outputs] a model must have one of these
 * @param {string} options.label
 * @param {string} [options.value]
 * @param {boolean} [options.optional]
 * @param {(id: string) => boolean} [options.isTaken] whether another chooser has the model
 * @param {() => string[]} [options.texts] texts for the model, checked for their script
 * @param {(id: string) => void} [options.onChange] called after the user's choice, and after the default is known
 * @returns {{element: HTMLElement, value: string, model: Object | undefined, describe: () => void}} `describe` checks
 *   the texts again
 */
export function modelChooser({ kinds, outputs, label, value, onChange, isTaken, texts, optional = false }) {
  const id = uniqueId("model");
  const select = el("select", { id, "aria-describedby": `${id}-facts`, on: { change: () => choose(select.value) } });
  const facts = el("div", { id: `${id}-facts`, class: "model-facts" });
  const element = el("div", { class: "field model-chooser" }, el("label", { for: id }, label), select, facts);
  let known = [];
  let chosen = value ?? "";
  const end = onModels((list) => {
    if (element.isConnected) update(list);
    else end();
  });
  models().then(update, (problem) => fill(facts, problemBox(problem)));
  return {
    element,
    describe,
    get value() {
      return chosen;
    },
    set value(next) {
      chosen = next;
      draw();
    },
    get model() {
      return known.find((model) => model.id === chosen);
    },
  };

  async function update(list) {
    const before = chosen;
    known = list.filter((model) => kinds.includes(model.kind) && hasOneOf(model, outputs));
    if (!chosen && !optional) chosen = first(known, kinds, await limits());
    draw();
    if (chosen !== before) onChange?.(chosen);
  }

  function choose(next) {
    chosen = next;
    describe();
    onChange?.(chosen);
  }

  function draw() {
    const groups = STATES.map((state) => {
      const members = known.filter((model) => model.state === state);
      return members.length ? el("optgroup", { label: t(`state.${state}`) }, members.map(option)) : null;
    });
    const isKnown = !chosen || known.some((model) => model.id === chosen);
    fill(
      select,
      optional ? el("option", { value: "" }, t("chooser.none")) : null,
      isKnown ? null : el("option", { value: chosen }, chosen), // of a link to another service
      groups,
    );
    if (chosen || optional) select.value = chosen;
    describe();
  }

  function option(model) {
    const cosine = model.kind === "embedding" && kinds.includes("reranker");
    const name = cosine ? t("chooser.cosine", { name: model.id }) : model.id;
    const disabled = model.id !== chosen && isTaken?.(model.id);
    return el("option", { value: model.id, disabled }, [name, ...sizeAndSpeed(model)].join(" · "));
  }

  function describe() {
    const model = known.find((candidate) => candidate.id === chosen);
    fill(facts, model ? [modelFacts(model), texts ? scriptWarning(model, texts) : null] : null);
  }
}

function hasOneOf(model, outputs) {
  return !outputs || outputs.some((output) => model.outputs?.includes(output));
}

function first(list, kinds, allowed) {
  const defaults = kinds.map((kind) => (kind === "reranker" ? allowed.defaultReranker : allowed.defaultEmbedding));
  const candidates = list.filter((model) => kinds.includes(model.kind));
  const byDefault = candidates.find((model) => defaults[0] === model.id || defaults[0] === model.full_name);
  const inOrder = kinds.flatMap((kind) => candidates.filter((model) => model.kind === kind));
  const usable = [byDefault, ...inOrder].find((model) => model && USABLE.has(model.state));
  return (usable ?? byDefault ?? candidates[0])?.id ?? "";
}
