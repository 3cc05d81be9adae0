// A field for texts: typed or pasted lines, or a chosen or dropped file.

import { debounce, el, fill, smallButton, uniqueId } from "./dom.js";
import { ACCEPT, FileProblem, largePaste, readFile, readLines } from "./files.js";
import { addStrings, t } from "./i18n.js";
import { problemText, readingNotes } from "./reading_notes.js";
import { limits as serviceLimits } from "./service.js";
import { strings } from "./strings/lines_field.js";

addStrings(strings);

const PREVIEW_LINES = 3;
const PREVIEW_CHARACTERS = 160;

/**
 * @typedef {object} Source the user's input, kept by the view
 * @property {string | null} text null: no input yet, the field shows the example
 * @property {{name: string | null, reading: import("./files.js").Reading} | null} file name null: a large paste
 * @property {FileProblem | null} problem why the last file was rejected
 */

/**
 * The input of texts that were entered before: lines, or a file if a text is not the same as a line.
 * @param {string[]} texts @returns {Source}
 */
export function sourceOf(texts) {
  if (texts.every((text) => text === text.trim() && !/[\r\n]/.test(text))) {
    return { text: texts.join("\n"), file: null, problem: null };
  }
  const reading = { ...readLines("", Infinity), passages: texts, found: texts.length, empty: 0 };
  return { text: "", file: { name: null, reading }, problem: null };
}

/**
 * @param {object} options @param {Source} options.source @param {string} options.label
 * @param {number} options.rows of the field
 * @param {string} [options.example] shown before there is input
 * @param {Node | null} [options.aside] shown beside the label
 * @param {boolean} [options.keepsTyped] whether typed lines beyond the limit are kept, so that the view rejects them
 * @param {(count: number, fileName: string | null) => Node} options.countNote shows the number of lines
 * @param {() => void} [options.onChange] called when the texts have changed
 * @param {() => {max: number, maxBytes: number}} options.limits lines of one request, bytes of a file; read again once
 *   the service has told its limits
 * @returns {{element: HTMLElement, reading: () => import("./files.js").Reading, write: (lines: string[]) => void,
 *   focus: () => void}} `write` replaces all input
 */
export function linesField(options) {
  const { source, label, rows, example = "", aside = null, keepsTyped = false } = options;
  const { countNote, limits, onChange } = options;
  const id = uniqueId("lines");
  const area = el("textarea", {
    id,
    rows,
    spellcheck: "false",
    "aria-describedby": `${id}-notes`,
    on: { input: typed, paste: pasted },
  });
  const title = el("label", { for: id }, label);
  const input = el("input", { type: "file", accept: ACCEPT, hidden: true, on: { change: () => read(input.files) } });
  const choose = smallButton(t("lines.choose"), () => input.click());
  const hint = el("span", { class: "note" });
  const card = el("div", { class: "file-card" });
  const notes = el("div", { id: `${id}-notes`, class: "stack tight", role: "status" });
  const element = el(
    "div",
    { class: "field lines-field", on: { dragover, dragleave, drop } },
    el("div", { class: "row" }, title, aside),
    area,
    card,
    el("div", { class: "row" }, choose, input, hint),
    notes,
  );
  const describeLater = debounce(describe, 200);
  draw();
  const limitsKnown = serviceLimits().then(draw, () => {}); // else the service checks its limits itself
  return { element, reading, write, focus: () => (source.file ? choose : area).focus() };

  function written() {
    return source.text ?? example;
  }

  function reading() {
    return source.file?.reading ?? readLines(written(), keepsTyped ? Infinity : limits().max);
  }

  function draw() {
    const { max } = limits();
    area.value = written();
    area.hidden = source.file !== null;
    card.hidden = source.file === null;
    if (source.file) title.removeAttribute("for");
    else title.setAttribute("for", id);
    fill(hint, Number.isFinite(max) ? t("lines.hint", { max }) : null);
    fill(card, source.file ? fileCard(source.file) : null);
    describe();
  }

  function describe() {
    const current = reading();
    fill(
      notes,
      source.problem ? el("p", { class: "note bad" }, problemText(source.problem)) : null,
      countNote(current.passages.length, source.file?.name ?? null),
      readingNotes(current).map((text) => el("p", { class: "note warn" }, text)),
    );
    onChange?.();
  }

  function typed() {
    source.text = area.value;
    source.problem = null;
    describeLater();
  }

  async function pasted(event) {
    const whole = largePaste(event, area);
    if (whole === null) return;
    await limitsKnown;
    take({ name: null, reading: readLines(whole, limits().max) });
    choose.focus(); // the field had the focus and is now hidden
  }

  function take(file) {
    source.file = file;
    source.problem = null;
    draw();
  }

  async function read(files) {
    const [file, ...others] = files; // before the wait, as a drop's list is only valid during its event
    if (!file) return;
    await limitsKnown;
    const { max, maxBytes } = limits();
    try {
      if (others.length) throw new FileProblem("many");
      fill(notes, el("p", { class: "note" }, t("lines.reading", { name: file.name })));
      take({ name: file.name, reading: await readFile(file, { maxPassages: max, maxBytes }) });
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      source.problem = error;
      describe();
    } finally {
      input.value = "";
    }
  }

  function fileCard({ name, reading: { passages } }) {
    const shown = passages.slice(0, PREVIEW_LINES).map((text) => el("li", {}, preview(text)));
    const further = passages.length - shown.length;
    return [
      el("p", { class: "label" }, name ?? t("lines.pasted")),
      el("ol", { class: "file-preview" }, shown),
      further ? el("p", { class: "note" }, t("lines.further", { count: further })) : null,
      el("div", { class: "row" }, smallButton(t("lines.remove"), remove), smallButton(t("lines.edit"), edit)),
    ];
  }

  function remove() {
    take(null);
    area.focus();
  }

  /** Joins texts to lines; line breaks in a text become spaces. */
  function edit() {
    write(reading().passages.map((text) => text.replace(/\s*[\r\n]+\s*/g, " ")));
    area.focus();
  }

  function write(lines) {
    source.text = lines.join("\n");
    take(null);
  }

  function dragover(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    element.classList.add("dropping");
  }

  function dragleave({ relatedTarget }) {
    if (!element.contains(relatedTarget)) element.classList.remove("dropping");
  }

  function drop(event) {
    element.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    read(event.dataTransfer.files);
  }
}

function preview(text) {
  return text.length > PREVIEW_CHARACTERS ? `${text.slice(0, PREVIEW_CHARACTERS)}…` : text;
}
