// Small SVG line charts, with a text description; a table beside them has the numbers.

import { el, fill, svg } from "./dom.js";
import { t } from "./i18n.js";

const WIDTH = 320;
const HEIGHT = 130;
const LEFT = 46;
const BOTTOM = 18;
const TOP = 8;
const RIGHT = 6;
/** Number of distinguishable series: classes line-0 to line-5 differ in colour and dashes. */
export const MOST_SERIES = 6;

/**
 * The end of an axis that starts at 0: 1, 2 or 5 times a power of ten, at least `value`.
 * @param {number} value @returns {number}
 */
export function niceEnd(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((end) => end >= value * (1 - 1e-9)) ?? 10 * power;
}

/**
 * The commands of an SVG path through the values; a missing value or a gap in time interrupts it.
 * @param {number[]} xs @param {(number | null)[]} ys
 * @param {number} reach the largest step without a gap
 * @returns {string}
 */
export function linePath(xs, ys, reach) {
  let path = "";
  let last = null;
  ys.forEach((y, at) => {
    if (y === null || !Number.isFinite(y)) {
      last = null;
      return;
    }
    const joined = last !== null && xs[at] - last <= reach;
    path += `${joined ? "L" : "M"}${xs[at].toFixed(1)} ${y.toFixed(1)}`;
    if (!joined) path += "h0.1"; // a single value is a dot
    last = xs[at];
  });
  return path;
}

/**
 * A chart that `update` redraws. A series keeps its style.
 * @param {{title: string, format: (value: number) => string, spanS: number}} options
 * @returns {{element: HTMLElement, update: (times: number[], series: Map<string, (number | null)[]>) => void}}
 */
export function chart({ title, format, spanS }) {
  const looks = new Map();
  const top = svg("text", { class: "chart-tick", x: LEFT - 5, y: TOP + 4 });
  const zero = svg("text", { class: "chart-tick", x: LEFT - 5, y: HEIGHT - BOTTOM + 4 });
  const lines = svg("g", {});
  const between = TOP + 0.3 * (HEIGHT - TOP - BOTTOM); // the upper two grid lines
  const none = svg("text", { class: "chart-none", x: (LEFT + WIDTH) / 2, y: between }, t("live.nothing"));
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": title },
    [TOP, (TOP + HEIGHT - BOTTOM) / 2, HEIGHT - BOTTOM].map((y) =>
      svg("line", { class: "chart-grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }),
    ),
    top,
    zero,
    svg("text", { class: "chart-tick start", x: LEFT, y: HEIGHT - 4 }, t("live.ago", { minutes: spanS / 60 })),
    svg("text", { class: "chart-tick", x: WIDTH - RIGHT, y: HEIGHT - 4 }, t("live.now")),
    lines,
    none,
  );
  const legend = el("ul", { class: "chart-legend" });
  const element = el("figure", { class: "card chart-card" }, el("h3", {}, title), picture, legend);
  return { element, update };

  function update(times, series) {
    const end = niceEnd(Math.max(0, ...[...series.values()].flat().filter(Number.isFinite)));
    const now = times.at(-1) ?? 0;
    const xs = times.map((time) => WIDTH - RIGHT - ((now - time) / spanS) * (WIDTH - LEFT - RIGHT));
    const yOf = (value) => HEIGHT - BOTTOM - (value / end) * (HEIGHT - TOP - BOTTOM);
    const reach = (3.5 / spanS) * (WIDTH - LEFT - RIGHT);
    const shown = [...series].filter(([, values]) => values.some((value) => value !== null));
    assignLooks(shown.map(([name]) => name));
    fill(top, format(end));
    fill(zero, format(0));
    none.setAttribute("visibility", shown.length ? "hidden" : "visible");
    fill(
      lines,
      shown.map(([name, values]) => {
        const ys = values.map((value) => (value === null ? null : yOf(value)));
        return svg("path", { class: `chart-line line-${looks.get(name)}`, d: linePath(xs, ys, reach) || "M0 0" });
      }),
    );
    fill(legend, shown.map(([name, values]) => entry(name, values.at(-1))));
    const values = shown.map(([name, each]) => `${name} ${spoken(each.at(-1))}`);
    picture.setAttribute("aria-label", `${title}: ${values.join("; ")}`);
  }

  /** The first free style; a series keeps it as long as it exists. */
  function assignLooks(names) {
    for (const name of looks.keys()) if (!names.includes(name)) looks.delete(name);
    for (const name of names) {
      if (looks.has(name)) continue;
      const taken = new Set(looks.values());
      looks.set(name, Array.from({ length: MOST_SERIES }, (_, look) => look).find((look) => !taken.has(look)) ?? 0);
    }
  }

  function entry(name, value) {
    const swatch = svg(
      "svg",
      { class: "chart-swatch", width: 22, height: 8, "aria-hidden": "true" },
      svg("path", { class: `chart-line line-${looks.get(name)}`, d: "M0 4h22" }),
    );
    return el("li", {}, swatch, el("span", { class: "user-text" }, name), el("b", {}, spoken(value)));
  }

  function spoken(value) {
    return value === null || value === undefined ? "–" : format(value);
  }
}
