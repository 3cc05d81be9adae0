// Controls for the similarities: the range of texts, and heat map or table.

import { el, fill, smallButton, uniqueId } from "./dom.js";
import { t } from "./i18n.js";
import { MOST_TEXTS } from "./similarity_map.js";
import { MOST_TABLE_TEXTS } from "./similarity_table.js";

/** Maximum number of texts on each side. */
export function mostTexts({ asTable }) {
  return asTable ? MOST_TABLE_TEXTS : MOST_TEXTS;
}

/**
 * Changes `asTable` and `from` of a result, then calls `onChange`.
 * @param {import("./embeddings_result.js").Result} result @param {() => void} onChange @returns {HTMLElement}
 */
export function matrixTools(result, onChange) {
  const views = [false, true].map((asTable) => ({
    asTable,
    button: smallButton(t(`embeddings.matrix.${asTable ? "as_table" : "picture"}`), () => take({ asTable })),
  }));
  const from = el("input", { id: uniqueId("from"), type: "number", min: 1, max: result.texts.length });
  from.addEventListener("change", () => take({ from: (Math.floor(Number(from.value)) || 1) - 1 }));
  const limited = el("p", { class: "note" });
  const part = el("div", { class: "row" }, el("label", { for: from.id }, t("embeddings.matrix.from")), from, limited);
  refresh();
  return el(
    "div",
    { class: "stack tight" },
    el(
      "div",
      { class: "row", role: "group", "aria-label": t("embeddings.matrix.view") },
      views.map(({ button }) => button),
    ),
    part,
  );

  function take(change) {
    Object.assign(result, change);
    result.from = Math.max(0, Math.min(result.from, result.texts.length - mostTexts(result)));
    refresh();
    onChange();
  }

  function refresh() {
    for (const { asTable, button } of views) button.setAttribute("aria-pressed", String(result.asTable === asTable));
    const [shown, count] = [mostTexts(result), result.texts.length];
    part.hidden = count <= shown;
    from.value = String(result.from + 1);
    const key = result.asTable ? "embeddings.matrix.limited_table" : "embeddings.matrix.limited";
    fill(limited, t(key, { shown, count }));
  }
}
