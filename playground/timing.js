// The timing of a request: a bar of stages, and a table with the same numbers.

import { el } from "./dom.js";
import { addStrings, number, t } from "./i18n.js";
import { strings } from "./strings/timing.js";

const STAGES = ["tokenize", "queue", "compute", "service", "network"];
const KNOWN = new Set(["tokenize", "queue", "compute"]);

addStrings(strings);

/**
 * The stages of a request in order; their sum is the elapsed time. `service` is the service's remaining time (loading a
 * model, reading and writing), `network` the time outside the service.
 * @param {{name: string, ms: number}[]} timings of Server-Timing
 * @param {number} elapsedMs as the page measured it
 * @returns {{name: string, ms: number}[]}
 */
export function stages(timings, elapsedMs) {
  const known = timings.filter(({ name }) => KNOWN.has(name));
  const inStages = known.reduce((sum, { ms }) => sum + ms, 0);
  const total = timings.find(({ name }) => name === "total")?.ms ?? inStages;
  const rest = [
    { name: "service", ms: Math.max(0, total - inStages) },
    { name: "network", ms: Math.max(0, elapsedMs - Math.max(total, inStages)) },
  ];
  return [...known, ...rest].sort((a, b) => STAGES.indexOf(a.name) - STAGES.indexOf(b.name));
}

/**
 * @param {{name: string, ms: number}[]} timings of Server-Timing
 * @param {number} elapsedMs @returns {HTMLElement}
 */
export function timingBar(timings, elapsedMs) {
  const parts = stages(timings, elapsedMs);
  const sum = parts.reduce((total, { ms }) => total + ms, 0) || 1;
  const bar = parts.map(({ name, ms }) => {
    const part = el("span", { class: `timing-part timing-${name}` });
    part.style.setProperty("flex-grow", String(ms / sum));
    return part;
  });
  return el(
    "figure",
    { class: "timing" },
    el("figcaption", { class: "label" }, t("timing.title", { ms: milliseconds(elapsedMs) })),
    el("div", { class: "timing-bar", "aria-hidden": "true" }, bar),
    el(
      "table",
      {},
      el("thead", {}, row(t("timing.stage"), t("timing.time"), t("timing.share"))),
      el("tbody", {}, parts.map(({ name, ms }) => line(name, ms, sum))),
    ),
  );
}

function line(name, ms, sum) {
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, el("span", { class: `timing-swatch timing-${name}` }), t(`timing.${name}`)),
    el("td", { class: "numeric" }, t("timing.ms", { ms: milliseconds(ms) })),
    el("td", { class: "numeric" }, `${number((ms / sum) * 100, 0)} %`),
  );
}

function row(stage, ...numbers) {
  const cells = numbers.map((each) => el("th", { scope: "col", class: "numeric" }, each));
  return el("tr", {}, el("th", { scope: "col" }, stage), cells);
}

function milliseconds(ms) {
  return number(ms, ms < 10 ? 1 : 0);
}
