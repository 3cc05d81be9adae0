// A table in a focusable box, so that a large one can be scrolled, also by keyboard.

import { el } from "./dom.js";

/**
 * @param {object} options
 * @param {string} options.label names the box, and the table where it has no caption of its own
 * @param {string} [options.name] a class of the box
 * @param {any} [options.caption] shown above the table
 * @param {any} options.head cells of its first row
 * @param {any} [options.bodies] the table bodies, unless the caller adds them later
 * @returns {HTMLElement}
 */
export function tableBox({ label, name = "", caption = null, head, bodies = null }) {
  return el(
    "div",
    { class: `table-box ${name}`, role: "region", tabindex: "0", "aria-label": label },
    el(
      "table",
      {},
      el("caption", { class: caption ? null : "visually-hidden" }, caption ?? label),
      el("thead", {}, el("tr", {}, head)),
      bodies,
    ),
  );
}
