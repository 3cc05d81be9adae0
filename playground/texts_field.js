// The texts to embed: lines that are typed or pasted, or a file that is chosen or dropped.

import { debounce, el, fill, smallButton, uniqueId } from "./dom.js";
import { ACCEPT, largePaste, readFile, readLines } from "./files.js";
import { t } from "./i18n.js";

const PREVIEW_TEXTS = 4;

/**
 * @typedef {object} Source what the reader gave; kept by the view
 * @property {string | null} text null: the example of the current language
 * @property {{name: string | null, texts: string[], left: number} | null} file name null: a large paste
 * @property {string | null} problem a file's name that could not be read
 */

/**
 * @param {{source: Source, limits: () => {maxInputs: number, maxBodyBytes: number}}} options
 * @returns {{element: HTMLElement, texts: () => string[], draw: () => void, focus: () => void}}
 */
export function textsField({ source, limits }) {
  const id = uniqueId("texts");
  const area = el("textarea", { id, rows: "9", spellcheck: "false", "aria-describedby": `${id}-notes` });
  const input = el("input", { type: "file", accept: ACCEPT, hidden: true, on: { change: chosen } });
  const card = el("div", { class: "file-card stack tight" });
  const notes = el("div", { id: `${id}-notes`, role: "status" });
  const open = smallButton(t("embeddings.texts.file"), () => input.click());
  const count = debounce(describe, 200);
  area.addEventListener("input", () => {
    source.text = area.value;
    count();
  });
  area.addEventListener("paste", pasted);
  const element = el(
    "div",
    { class: "field texts-field", on: { dragover, drop } },
    el("label", { for: id }, t("embeddings.texts")),
    area,
    card,
    el("div", { class: "row" }, open, input, el("span", { class: "note" }, t("embeddings.texts.drop"))),
    notes,
  );
  draw();
  return { element, texts, draw, focus: () => (source.file ? open : area).focus() };

  function texts() {
    return source.file ? source.file.texts : readLines(written(), Infinity).passages;
  }

  function written() {
    return source.text ?? t("embeddings.example");
  }

  function draw() {
    area.value = source.file ? "" : written();
    area.hidden = source.file !== null;
    card.hidden = source.file === null;
    fill(card, source.file ? preview(source.file) : null);
    describe();
  }

  function describe() {
    const found = texts().length;
    const { maxInputs: limit } = limits();
    const left = source.file?.left ?? 0;
    fill(
      notes,
      source.problem === null
        ? null
        : el("p", { class: "note bad" }, t("embeddings.texts.unreadable", { name: source.problem })),
      el(
        "p",
        { class: found > limit ? "note bad" : "note" },
        t(found > limit ? "embeddings.texts.over" : "embeddings.texts.count", { count: found, limit }),
      ),
      left ? el("p", { class: "note warn" }, t("embeddings.texts.left", { count: left })) : null,
    );
  }

  function preview({ name, texts: some }) {
    const shown = some.slice(0, PREVIEW_TEXTS).map((text) => el("li", { class: "clip" }, text));
    const away = smallButton(t("embeddings.texts.away"), () => {
      source.file = null;
      draw();
      area.focus();
    });
    const title = name ?? t("embeddings.texts.pasted");
    return [el("p", { class: "row" }, el("b", { class: "user-text" }, title), away), el("ol", {}, shown)];
  }

  function chosen() {
    takeFile(input.files[0]);
    input.value = "";
  }

  function dragover(event) {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  }

  function drop(event) {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    takeFile(event.dataTransfer.files[0]);
  }

  async function takeFile(file) {
    if (!file) return;
    const { maxInputs, maxBodyBytes } = limits();
    try {
      const read = await readFile(file, { maxPassages: maxInputs, maxBytes: maxBodyBytes });
      source.file = { name: file.name, texts: read.passages, left: read.leftOut + read.unreadable };
      source.problem = null;
    } catch {
      source.problem = file.name;
    }
    draw();
  }

  function pasted(event) {
    const whole = largePaste(event, area);
    if (whole === null) return;
    const read = readLines(whole, limits().maxInputs);
    source.file = { name: null, texts: read.passages, left: read.leftOut };
    draw();
    open.focus();
  }
}
