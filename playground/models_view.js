// The models view: state, memory and usage of all models; with ADMIN, buttons to load, unload and import them.

import { el, fill } from "./dom.js";
import { addStrings, bytes, number, t } from "./i18n.js";
import { languagesOf, licence, sizeAndSpeed, stateBadge } from "./model_facts.js";
import { watchNumbers } from "./model_numbers.js";
import { problemBox } from "./problem.js";
import { ask, limits, models, onModels } from "./service.js";
import { serviceText } from "./service_text.js";
import { strings } from "./strings/models.js";

export const id = "models";

addStrings(strings);

const REFRESH_MS = 5000;
const FIRST_LOOK_MS = 300;
const GROUPS = {
  ready: ["ready"],
  under_way: ["loading", "importing"],
  stored: ["stored"],
  forwarded: ["forwarded"],
  importable: ["importable"],
  unavailable: ["unavailable"],
};
const ACTS = {
  ready: ["unload"],
  stored: ["load"],
  forwarded: ["load"],
  importable: ["import", "load"],
  unavailable: ["retry"],
};

// The user's choices and actions, kept when the view or language changes
const filter = { text: "", kind: "all" };
const open = new Set(); // ids of models whose facts are shown
const busy = new Map(); // id -> the running action
const problems = new Map(); // id -> the problem of the last action

let list = [];
let allowed = null;
let numbers = null; // until the first poll
let parts = null; // the elements on the page, if this view is shown
let ends = [];

/** @param {HTMLElement} root */
export function mount(root) {
  parts = {
    admin: el("div", {}),
    said: el("p", { class: "model-said", role: "status" }),
    stale: el("p", { class: "note" }),
    groups: el("div", { class: "stack" }),
  };
  const filters = el("div", { class: "row end model-filters" }, search(), kinds());
  fill(root, filters, parts.admin, parts.groups, parts.stale, parts.said);
  const timer = setInterval(() => !document.hidden && refresh(), REFRESH_MS);
  ends = [
    onModels((fresh) => {
      list = fresh;
      begin();
    }),
    watchNumbers(
      (fresh) => {
        numbers = fresh;
        fill(parts.stale);
        drawNumbers();
      },
      (problem) => fill(parts.stale, t("models.stale", { reason: problem.message })),
    ),
    () => clearInterval(timer),
  ];
  begin().then(refresh);
}

export function unmount() {
  for (const end of ends) end();
  ends = [];
  parts = null;
}

async function begin() {
  try {
    list = await models();
    allowed = await limits();
  } catch (problem) {
    if (parts) fill(parts.groups, problemBox(problem));
    return;
  }
  draw();
}

function refresh() {
  return models({ fresh: true }).catch((problem) => {
    if (parts) fill(parts.stale, t("models.stale", { reason: problem.message }));
  });
}

function search() {
  const placeholder = t("models.search.hint");
  const input = el("input", { id: "models-search", type: "search", value: filter.text, placeholder });
  input.addEventListener("input", () => {
    filter.text = input.value;
    draw();
  });
  return el("div", { class: "field grow" }, el("label", { for: "models-search" }, t("models.search")), input);
}

function kinds() {
  const options = ["all", "embedding", "reranker"].map((kind) => [kind, t(`models.kind.${kind}`)]);
  const select = el(
    "select",
    { id: "models-kind", value: filter.kind },
    options.map(([kind, text]) => el("option", { value: kind }, text)),
  );
  select.addEventListener("change", () => {
    filter.kind = select.value;
    draw();
  });
  return el("div", { class: "field" }, el("label", { for: "models-kind" }, t("models.kind")), select);
}

function draw() {
  if (!parts || !allowed) return;
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  fill(
    parts.admin,
    allowed.admin ? null : el("p", { class: "note" }, t("models.admin_off", { setting: "ADMIN=true" })),
  );
  const shown = list.filter(fits);
  const groups = Object.entries(GROUPS).map(([name, states]) => {
    const members = shown.filter((model) => states.includes(model.state));
    return members.length
      ? el(
          "section",
          { class: "stack tight" },
          el("h3", {}, t(`models.group.${name}`), " ", el("span", { class: "count" }, number(members.length))),
          el("ul", { class: "models" }, members.map(row)),
        )
      : null;
  });
  fill(parts.groups, shown.length ? groups : el("p", { class: "note" }, t("models.none")));
  drawNumbers();
  if (focused?.dataset.key) follow(focused.dataset.key, focused.closest("[data-model]")?.getAttribute("data-model"));
}

/** Restores the focus after the list is redrawn, following the model to its new place. */
function follow(key, name) {
  const again = parts.groups.querySelector(`[data-key="${CSS.escape(key)}"]`);
  (again ?? parts.groups.querySelector(`[data-model="${CSS.escape(name)}"] [data-key]`))?.focus();
}

function fits(model) {
  const names = [model.id, model.full_name, ...model.aliases];
  const text = [...names, ...model.languages, languagesOf(model), model.license].join(" ").toLowerCase();
  const words = filter.text.toLowerCase().split(/\s+/);
  return (filter.kind === "all" || model.kind === filter.kind) && words.every((word) => text.includes(word));
}

function row(model) {
  const isDefault = [model.id, model.full_name].some((name) =>
    [allowed.defaultReranker, allowed.defaultEmbedding].includes(name),
  );
  return el(
    "li",
    { class: "card model", "data-model": model.id },
    el(
      "div",
      { class: "model-name" },
      el("h4", { class: "user-text" }, model.id),
      el("span", { class: "note" }, [t(`models.kind.${model.kind}`), ...sizeAndSpeed(model)].join(" · ")),
      isDefault ? el("span", { class: "tag" }, t("models.default")) : null,
      el("p", { class: "note" }, [languagesOf(model), licence(model)].filter(Boolean).join(" · ")),
    ),
    el("div", { class: "model-state" }, stateBadge(model), progress(model)),
    el("dl", { class: "model-numbers" }, figuresOf(model).map(figure)),
    el("div", { class: "model-acts" }, allowed.admin ? acts(model) : null),
    model.detail && !problems.has(model.id) ? el("p", { class: "note model-detail" }, serviceText(model.detail)) : null,
    problems.has(model.id) ? el("div", { class: "model-detail" }, problemBox(problems.get(model.id))) : null,
    facts(model),
  );
}

function progress(model) {
  if (model.state !== "importing") return null;
  const value = model.import_progress; // null: started, progress unknown
  return el("progress", { "aria-label": t("models.progress", { name: model.id }), max: 1, value });
}

/** The usage of a model in memory. */
function figuresOf(model) {
  const isLoaded = model.memory_bytes !== null || model.state === "ready";
  return isLoaded ? ["memory", "requests", "tokens_per_second"] : [];
}

function figure(name) {
  return el("div", {}, el("dt", {}, t(`models.${name}`)), el("dd", { "data-figure": name }, "–"));
}

/** Updates the numbers in place every few seconds, without redrawing the list. */
function drawNumbers() {
  if (!parts) return;
  for (const item of parts.groups.querySelectorAll("[data-model]")) {
    const model = list.find((one) => one.id === item.dataset.model);
    const { requests = 0, tokensPerSecond = 0 } = numbers?.get(item.dataset.model) ?? {};
    const figures = {
      memory: model?.memory_bytes && bytes(model.memory_bytes),
      requests: numbers && number(requests),
      tokens_per_second: numbers && tokensPerSecond !== null && number(Math.round(tokensPerSecond)),
    };
    for (const place of item.querySelectorAll("[data-figure]")) {
      const text = figures[place.dataset.figure] || "–";
      if (place.textContent !== text) place.textContent = text;
    }
  }
}

function acts(model) {
  return (ACTS[model.state] ?? []).map((act) =>
    el(
      "button",
      {
        type: "button",
        class: "button small",
        "aria-label": t(`models.${act}.label`, { name: model.id }),
        "data-key": `${act} ${model.id}`,
        // not `disabled`, which would lose the focus
        "aria-disabled": busy.has(model.id) ? "true" : null,
        on: {
          click: (event) => {
            event.currentTarget.focus(); // Safari does not focus a clicked button
            perform(act === "retry" ? "load" : act, model);
          },
        },
      },
      t(`models.${act}`),
    ),
  );
}

async function perform(act, model) {
  if (busy.has(model.id)) return;
  busy.set(model.id, act);
  problems.delete(model.id);
  say(`models.${act}.begun`, model);
  draw();
  setTimeout(refresh, FIRST_LOOK_MS); // then the list polls as long as something is running
  try {
    await ask(`models/${encodeURIComponent(model.id)}/${act}`, { method: "POST" });
    say(`models.${act}.done`, model);
  } catch (problem) {
    problems.set(model.id, problem);
    say("models.failed", model);
  }
  busy.delete(model.id);
  await refresh();
  draw();
}

function say(key, model) {
  if (parts) fill(parts.said, t(key, { name: model.id }));
}

/** The measured speed of each engine. */
function speeds(model) {
  const engines = Object.entries(model.tokens_per_s);
  return engines.map(([engine, speed]) => `${engine} ${number(Math.round(speed))}`).join(", ");
}

function facts(model) {
  const rows = [
    ["full_name", model.full_name],
    ["does", t(`models.does.${model.kind}`)],
    ["languages", languagesOf(model)],
    ["license", licence(model)],
    ["max_tokens", model.max_tokens && number(model.max_tokens)],
    ["dimensions", model.dimensions && number(model.dimensions)],
    ["pooling", model.pooling],
    ["parameters", model.parameters && number(model.parameters)],
    ["download", model.download_bytes && bytes(model.download_bytes)],
    ["stored_bytes", model.stored_bytes && bytes(model.stored_bytes)],
    ["backend", model.backend],
    ["revision", model.revision],
    ["speed", speeds(model)],
    ["note", model.note && serviceText(model.note)],
  ].filter(([, value]) => value);
  const details = el(
    "details",
    { class: "model-detail", open: open.has(model.id) },
    el(
      "summary",
      { "aria-label": t("models.facts.label", { name: model.id }), "data-key": `facts ${model.id}` },
      t("models.facts"),
    ),
    el("dl", { class: "facts" }, rows.map(([key, value]) => [el("dt", {}, t(`models.${key}`)), el("dd", {}, value)])),
  );
  details.addEventListener("toggle", () => (details.open ? open.add(model.id) : open.delete(model.id)));
  return details;
}
