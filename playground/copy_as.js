// Shows the last request as a program, and copies it.

import { el, fill, smallButton, uniqueId } from "./dom.js";
import { addStrings, number, t } from "./i18n.js";
import { key } from "./service.js";
import { SNIPPETS } from "./snippets.js";
import { strings } from "./strings/copy_as.js";

const NAMES = {
  curl: "curl",
  openai: "Python: openai",
  cohere: "Python: cohere",
  requests: "Python: requests",
  javascript: "JavaScript",
};
const SHOWN_CHARACTERS = 4000;

addStrings(strings);

let way = "curl"; // the last choice, shared by all views

/**
 * A choice of languages, the program, and a copy button. Programs are generated on demand, as a request may be large.
 * @param {() => import("./snippets.js").Request | null} getRequest the last request, or null
 * @returns {HTMLElement & {refresh: () => void}} call `refresh` after each request
 */
export function copyAs(getRequest) {
  const id = uniqueId("copy");
  const options = Object.entries(NAMES).map(([name, label]) => el("option", { value: name }, label));
  const select = el("select", { id, value: way, on: { change: changed } }, options);
  const copy = smallButton(t("copy.copy"), copied);
  const status = el("span", { class: "note", role: "status" });
  const note = el("div", { class: "stack tight" });
  const code = el("pre", { tabindex: "0", role: "region", "aria-label": t("copy.program") });
  const details = el("details", { on: { toggle: draw } }, el("summary", {}, t("copy.show")), code);
  const section = el(
    "section",
    { class: "copy-as stack tight", "aria-label": t("copy.title") },
    el("div", { class: "row" }, el("label", { for: id }, t("copy.title")), select, copy, status),
    note,
    details,
  );
  refresh();
  return Object.assign(section, { refresh });

  function changed() {
    way = select.value;
    refresh();
  }

  function refresh() {
    fill(status);
    draw();
  }

  function snippet() {
    const request = getRequest();
    return request && SNIPPETS[select.value](request, { root: root(), key: key() !== "" });
  }

  function draw() {
    const made = getRequest() ? snippet() : null;
    copy.disabled = !made?.text;
    details.hidden = !made?.text;
    const notes = made ? [made.note, key() && "copy.key"].filter(Boolean) : ["copy.nothing"];
    fill(note, notes.map((each) => el("p", { class: "note" }, t(each))));
    if (!made?.text || !details.open) fill(code);
    else fill(code, shown(made.text));
  }

  async function copied() {
    const { text } = snippet();
    fill(status, (await toClipboard(text)) ? t("copy.copied") : t("copy.failed"));
  }
}

/** The visible part of a long program, with a note; copying copies all of it. */
function shown(text) {
  if (text.length <= SHOWN_CHARACTERS) return text;
  const start = text.slice(0, text.lastIndexOf("\n", SHOWN_CHARACTERS) + 1) || text.slice(0, SHOWN_CHARACTERS);
  return [start, el("span", { class: "note" }, t("copy.more", { characters: number(text.length - start.length) }))];
}

/** The service's URL, including a proxy's path prefix. */
function root() {
  return new URL(".", document.baseURI).href.replace(/\/$/, "");
}

/**
 * Copies a text.
 * @param {string} text @returns {Promise<boolean>} whether it worked
 */
export async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeByCommand(text); // without https, or without permission
  }
}

function writeByCommand(text) {
  const before = /** @type {HTMLElement | null} */ (document.activeElement);
  const area = el("textarea", { class: "visually-hidden", "aria-hidden": "true", tabindex: "-1", value: text });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}
