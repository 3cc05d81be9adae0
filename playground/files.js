// Reads passages from .txt, .csv, .tsv and .jsonl files incrementally, and counts everything that it skips.

import { breathe } from "./dom.js";
import { Rows, delimiterOf } from "./csv.js";

const COLUMNS = ["text", "passage", "document", "content"];
const FORMATS = { txt: "txt", csv: "csv", tsv: "csv", jsonl: "jsonl", ndjson: "jsonl" };
const PIECE_BYTES = 128 * 1024;
const SLICE_MS = 20;

/** File types for a file chooser. */
export const ACCEPT = Object.keys(FORMATS)
  .map((ending) => `.${ending}`)
  .join(",");

/** A rejected file; `reason` says why: "none" means no passage, "many" more than one file. */
export class FileProblem extends Error {
  /** @param {"type" | "size" | "closed" | "binary" | "none" | "many"} reason */
  constructor(reason, facts = {}) {
    super(reason);
    this.name = "FileProblem";
    this.reason = reason;
    this.facts = facts;
  }
}

/**
 * @typedef {Object} Reading the content of a text or a file
 * @property {string[]} passages at most `maxPassages`
 * @property {number} found total number of passages
 * @property {number} leftOut passages beyond the limit
 * @property {number} empty lines or cells without text
 * @property {number} unreadable lines that are not JSON, or have no text
 * @property {number | null} firstUnreadable its line, from 1
 * @property {number} columns of a table's first row
 * @property {number} wide rows with more cells than the first one
 * @property {number | null} unclosed line of an unclosed quote
 * @property {string | null} column name of the column with the passages; null: the first one
 * @property {string | null} encoding null for UTF-8
 * @property {"txt" | "csv" | "jsonl"} format
 */

/**
 * Reads the passages of a file; throws FileProblem if it has none.
 * @param {File} file @param {{maxPassages: number, maxBytes: number}} limits @returns {Promise<Reading>}
 */
export async function readFile(file, { maxPassages, maxBytes }) {
  const format = FORMATS[file.name.toLowerCase().split(".").pop()];
  if (!format) throw new FileProblem("type", { name: file.name });
  if (file.size > maxBytes) throw new FileProblem("size", { name: file.name, bytes: file.size, limit: maxBytes });
  const bytes = new Uint8Array(await content(file));
  for (const encoding of encodings(bytes)) {
    const collector = new Collector(format, maxPassages);
    if (!(await decode(bytes, encoding, new READERS[format](collector)))) continue;
    if (!collector.reading.found) throw new FileProblem("none", { name: file.name, reading: collector.reading });
    return { ...collector.reading, encoding: encoding === "utf-8" ? null : encoding };
  }
  throw new FileProblem("binary", { name: file.name });
}

async function content(file) {
  try {
    return await file.arrayBuffer();
  } catch {
    throw new FileProblem("closed", { name: file.name }); // deleted since it was chosen, or a folder
  }
}

/**
 * Reads the passages of a text, one per line.
 * @param {string} text @param {number} maxPassages @returns {Reading}
 */
export function readLines(text, maxPassages) {
  const collector = new Collector("txt", maxPassages);
  const reader = new PlainReader(collector);
  reader.push(text);
  reader.end();
  return { ...collector.reading, encoding: null };
}

/** Encodings to try: Unicode by byte order mark, else UTF-8, then those of Japanese and western spreadsheets. */
function encodings(bytes) {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return ["utf-16le"];
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return ["utf-16be"];
  return bytes.subarray(0, PIECE_BYTES).includes(0) ? [] : ["utf-8", "shift_jis", "windows-1252"];
}

/** Feeds the reader; returns false if the bytes are not in this encoding. */
async function decode(bytes, encoding, reader) {
  const decoder = new TextDecoder(encoding, { fatal: true });
  let since = performance.now();
  for (let at = 0; at <= bytes.length; at += PIECE_BYTES) {
    const text = decoded(decoder, bytes.subarray(at, at + PIECE_BYTES), at + PIECE_BYTES <= bytes.length);
    if (text === null) return false;
    reader.push(text);
    if (performance.now() - since > SLICE_MS) {
      await breathe();
      since = performance.now();
    }
  }
  reader.end();
  return true;
}

function decoded(decoder, bytes, stream) {
  try {
    return decoder.decode(bytes, { stream });
  } catch {
    return null;
  }
}

/** Collects passages and counts everything else. */
class Collector {
  constructor(format, maxPassages) {
    this.max = maxPassages;
    this.reading = {
      passages: /** @type {string[]} */ ([]),
      found: 0,
      leftOut: 0,
      empty: 0,
      unreadable: 0,
      firstUnreadable: null,
      columns: 0,
      wide: 0,
      unclosed: null,
      column: null,
      format,
    };
  }

  take(text) {
    const reading = this.reading;
    if (!text.trim()) {
      reading.empty += 1;
      return;
    }
    reading.found += 1;
    if (reading.passages.length < this.max) reading.passages.push(text);
    else reading.leftOut += 1;
  }

  unreadable(line) {
    this.reading.unreadable += 1;
    this.reading.firstUnreadable ??= line;
  }
}

/** Splits pieces of text into lines, with any line ending. */
class LineReader {
  constructor(collector) {
    this.collector = collector;
    this.rest = "";
    this.line = 0;
  }

  push(piece) {
    const text = this.rest + piece;
    const whole = text.endsWith("\r") ? text.slice(0, -1) : text; // \n may follow in the next piece
    const lines = whole.split(/\r\n|\n|\r/);
    this.rest = lines.pop() + text.slice(whole.length);
    for (const line of lines) this.read(line);
  }

  end() {
    if (this.rest) this.read(this.rest);
  }

  read(line) {
    this.line += 1;
    /** @type {any} */ (this).take(line); // of the subclass
  }
}

class PlainReader extends LineReader {
  take(line) {
    this.collector.take(line.trim());
  }
}

class JSONReader extends LineReader {
  take(line) {
    if (!line.trim()) {
      this.collector.take("");
      return;
    }
    const text = textOf(parsed(line));
    if (text === null) this.collector.unreadable(this.line);
    else this.collector.take(text);
  }
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

/** The text of a JSON line: the value itself, or that of the first key for texts. */
function textOf(value) {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object") return null;
  const name = COLUMNS.find((column) => typeof value[column] === "string");
  return name ? value[name] : null;
}

class TableReader {
  constructor(collector) {
    this.collector = collector;
    this.rows = null;
    this.width = 0;
    this.column = 0;
  }

  push(piece) {
    if (!this.rows && !piece) return;
    this.rows ??= new Rows(delimiterOf(piece), (cells) => this.read(cells));
    this.rows.push(piece);
  }

  end() {
    this.rows?.end();
    this.collector.reading.unclosed = this.rows?.unclosed ?? null;
  }

  read(cells) {
    if (!this.width && cells.some((cell) => cell.trim())) {
      this.width = this.collector.reading.columns = cells.length;
      if (this.header(cells)) return;
    }
    if (cells.length > this.width) this.collector.reading.wide += 1;
    this.collector.take(cells[this.column] ?? "");
  }

  /** Whether the first row is a header with a column for texts. */
  header(cells) {
    const names = cells.map((cell) => cell.trim().toLowerCase());
    const name = COLUMNS.find((column) => names.includes(column));
    if (!name) return false;
    this.column = names.indexOf(name);
    this.collector.reading.column = cells[this.column].trim();
    return true;
  }
}

const READERS = { txt: PlainReader, csv: TableReader, jsonl: JSONReader };

/** A longer pasted text is not put into the field, which would freeze the page. */
const LARGE_PASTE = 50_000;

/**
 * @param {ClipboardEvent} event @param {HTMLTextAreaElement} area
 * @returns {string | null} the text of the field if the paste was stopped as too large; else null
 */
export function largePaste(event, area) {
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (text.length < LARGE_PASTE) return null;
  event.preventDefault();
  return area.value.slice(0, area.selectionStart) + text + area.value.slice(area.selectionEnd);
}
