// Where the passages come from: lines that are typed or pasted, a file that is chosen or dropped, or an example.

import { debounce, el, fill, smallButton, uniqueId } from "./dom.js";
import { ACCEPT, FileProblem, largePaste, readFile, readLines } from "./files.js";
import { bytes, number, t } from "./i18n.js";
import { SAMPLES } from "./samples.js";

const PREVIEW_PASSAGES = 3;
const PREVIEW_CHARACTERS = 160;

/**
 * @typedef {{text: string, file: {name: string, reading: import("./files.js").Reading} | null,
 *   problem: FileProblem | null}} Source what the reader gave; kept by the view
 */

/**
 * @param {{source: Source, limits: () => {maxDocuments: number, maxBodyBytes: number},
 *   limitsKnown: () => Promise<void>, onSample: (sample: {query: string, passages: string[]}) => void}} options
 * @returns {{element: HTMLElement, reading: () => import("./files.js").Reading, draw: () => void, focus: () => void}}
 */
export function passagesField({ source, limits, limitsKnown, onSample }) {
  const id = uniqueId("passages");
  const area = el("textarea", {
    id,
    rows: "8",
    "aria-describedby": `${id}-notes`,
    value: source.text,
    on: { input: typed, paste: pasted },
  });
  const label = el("label", { for: id }, t("rerank.passages"));
  const input = el("input", { type: "file", accept: ACCEPT, hidden: true, on: { change: () => read(input.files) } });
  const hint = el("span", { class: "note" });
  const card = el("div", { class: "file-card" });
  const notes = el("div", { id: `${id}-notes`, class: "stack tight", role: "status" });
  const element = el(
    "div",
    { class: "field passages-field", on: { dragover, dragleave, drop } },
    el("div", { class: "row" }, label, samples()),
    area,
    card,
    el("div", { class: "row" }, button("rerank.choose", () => input.click()), input, hint),
    notes,
  );
  const count = debounce(describe, 200);
  draw();
  return { element, reading, draw, focus: () => (source.file ? element.querySelector("button") : area).focus() };

  function reading() {
    return source.file?.reading ?? readLines(source.text, limits().maxDocuments);
  }

  function draw() {
    area.value = source.text;
    area.hidden = source.file !== null;
    card.hidden = source.file === null;
    if (source.file) label.removeAttribute("for");
    else label.setAttribute("for", id);
    fill(hint, Number.isFinite(limits().maxDocuments) ? t("rerank.fileHint", { max: limits().maxDocuments }) : null);
    fill(card, source.file ? fileCard(source.file) : null);
    describe();
  }

  function describe() {
    const lines = source.problem ? [problemText(source.problem)] : readingNotes(reading(), source.file?.name, limits());
    fill(notes, lines.map((line, at) => el("p", { class: source.problem || at ? "note warn" : "note" }, line)));
  }

  function typed() {
    source.text = area.value;
    source.problem = null;
    count();
  }

  function pasted(event) {
    const whole = largePaste(event, area);
    if (whole === null) return;
    limitsKnown().then(() => take({ name: null, reading: readLines(whole, limits().maxDocuments) }));
  }

  function take(file) {
    source.file = file;
    source.problem = null;
    draw();
  }

  async function read(files) {
    await limitsKnown();
    const { maxDocuments, maxBodyBytes } = limits();
    try {
      if (files.length > 1) throw new FileProblem("many");
      const [file] = files;
      fill(notes, el("p", { class: "note" }, t("rerank.reading", { name: file.name })));
      take({ name: file.name, reading: await readFile(file, { maxPassages: maxDocuments, maxBytes: maxBodyBytes }) });
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      source.problem = error;
      describe();
    } finally {
      input.value = "";
    }
  }

  function fileCard({ name, reading: { passages } }) {
    const shown = passages.slice(0, PREVIEW_PASSAGES).map((text) => el("li", {}, preview(text)));
    return [
      el("p", { class: "label" }, name ?? t("rerank.pasted")),
      el("ol", { class: "file-preview" }, shown),
      passages.length > shown.length
        ? el("p", { class: "note" }, t("rerank.furtherPassages", { count: passages.length - shown.length }))
        : null,
      el("div", { class: "row" }, button("rerank.removeFile", remove), button("rerank.editFile", edit)),
    ];
  }

  function remove() {
    take(null);
    area.focus();
  }

  /** As lines: a passage's own line breaks become spaces. */
  function edit() {
    source.text = source.file.reading.passages.map((text) => text.replace(/\s*[\r\n]+\s*/g, " ")).join("\n");
    remove();
  }

  function samples() {
    return el(
      "span",
      { class: "row samples" },
      el("span", { class: "note" }, t("rerank.example")),
      SAMPLES.map((sample) => {
        const on = { click: () => sampled(sample) };
        return el("button", { type: "button", class: "button small", lang: sample.lang, on }, sample.name);
      }),
    );
  }

  function sampled(sample) {
    source.text = sample.passages.join("\n");
    take(null);
    onSample(sample);
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

function button(key, click) {
  return smallButton(t(key), click);
}

function preview(text) {
  return text.length > PREVIEW_CHARACTERS ? `${text.slice(0, PREVIEW_CHARACTERS)}…` : text;
}

function problemText({ reason, facts }) {
  if (reason === "none" && facts.reading.unreadable) {
    return t("rerank.file.unreadable", { count: facts.reading.unreadable, line: facts.reading.firstUnreadable });
  }
  const { bytes: size = 0, limit = 0 } = facts;
  return t(`rerank.file.${reason}`, { name: facts.name, size: bytes(size), limit: bytes(limit) });
}

/** What was read, first; then whatever was not. */
function readingNotes(reading, name, { maxDocuments }) {
  const { found, leftOut, empty, unreadable, wide, unclosed, column, columns, encoding, format } = reading;
  const used = found - leftOut;
  const notes = [name ? t("rerank.count.file", { count: used, name }) : t("rerank.count", { count: used })];
  if (leftOut) notes.push(t("rerank.leftOut", { found, max: maxDocuments, leftOut }));
  if (unreadable) notes.push(t("rerank.file.unreadable", { count: unreadable, line: reading.firstUnreadable }));
  if (unclosed) notes.push(t("rerank.file.unclosed", { line: unclosed }));
  if (wide) notes.push(t("rerank.file.wide", { count: wide }));
  if (format === "csv") notes.push(column ? t("rerank.file.column", { column }) : t("rerank.file.first", { columns }));
  if (encoding) notes.push(t("rerank.file.encoding", { encoding }));
  if (empty && (name || found)) notes.push(t("rerank.empty", { count: number(empty) }));
  return notes;
}
