// Asks for the API key if the service requires one. It is kept for this tab and sent only to this service.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { key, setKey } from "./service.js";

/**
 * Resolves to the key, or to null if the user gives none.
 * @returns {Promise<string | null>}
 */
export function keyAsker() {
  const wrong = key() !== "";
  setKey("");
  return new Promise((resolve) => {
    const input = el("input", {
      id: "api-key",
      type: "password",
      autocomplete: "off",
      spellcheck: "false",
      required: true,
      "aria-describedby": "api-key-why",
    });
    const dialog = el(
      "dialog",
      { class: "key-dialog", "aria-labelledby": "api-key-title" },
      el(
        "form",
        { method: "dialog" },
        el("h2", { id: "api-key-title" }, t("key.title")),
        el("p", { id: "api-key-why" }, t(wrong ? "key.wrong" : "key.why")),
        el("div", { class: "field" }, el("label", { for: "api-key" }, t("key.label")), input),
        el("p", { class: "note" }, t("key.kept")),
        el(
          "div",
          { class: "row" },
          el("button", { class: "button primary", value: "use" }, t("key.use")),
          el("button", { class: "button", value: "", formnovalidate: true }, t("key.cancel")),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" ? input.value.trim() : "";
      dialog.remove();
      resolve(given || null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
