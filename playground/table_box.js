// A table in a box of its own, which scrolls what is too large and takes the focus, so that keys scroll it, too.

import { el } from "./dom.js";

/**
 * @param {object} options
 * @param {string} options.label names the box, and the table where it has no caption of its own
 * @param {string} [options.name] a class of the box
 * @param {any} [options.caption] what the table shows above itself
 * @param {any} options.head cells of its first row
 * @param {any} [options.bodies] its further parts, unless the caller adds them later
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
