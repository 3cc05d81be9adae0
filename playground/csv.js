// An incremental parser of delimited text: quoted fields, doubled quotes, line breaks in quotes.

const DELIMITERS = [",", ";", "\t"];

/**
 * The delimiter: the most frequent candidate in the first row, outside quotes. "" if there is only one column, so that
 * commas in later rows are part of the text.
 * @param {string} text the beginning of the file
 */
export function delimiterOf(text) {
  const counts = new Map(DELIMITERS.map((each) => [each, 0]));
  let quoted = false;
  let seen = false;
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    else if (!quoted && (character === "\n" || character === "\r")) {
      if (seen) break;
    } else if (!quoted && counts.has(character)) counts.set(character, (counts.get(character) ?? 0) + 1);
    seen ||= character.trim() !== "";
  }
  const [best, count] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
  return count ? best : "";
}

/** Calls `onRow(cells)` for each row. A quote counts at the start of a cell only. */
export class Rows {
  /**
   * @param {string} delimiter one character, or "" for one column
   * @param {(cells: string[]) => void} onRow
   */
  constructor(delimiter, onRow) {
    this.onRow = onRow;
    this.special = delimiter ? new RegExp(`[\\r\\n${delimiter}]`, "g") : /[\r\n]/g;
    this.rest = "";
    this.cells = [];
    this.quoted = null; // the text so far of an open quote
    this.closed = null; // the text of a closed quote, until its cell ends
    this.line = 1;
    this.opened = 0;
    /** The line of an unclosed quote, known at the end. */
    this.unclosed = null;
  }

  /** @param {string} piece */
  push(piece) {
    this.rest = this.#read(this.rest + piece, false);
  }

  /** Ends the text. */
  end() {
    this.rest = this.#read(this.rest, true);
    if (this.quoted !== null) {
      this.unclosed = this.opened;
      this.closed = this.quoted;
      this.quoted = null;
    }
    if (this.closed !== null || this.rest || this.cells.length) this.#cell(this.rest, true);
    this.rest = "";
  }

  /** Parses complete cells and returns the rest, which may continue in the next piece. */
  #read(text, last) {
    let at = 0;
    while (at < text.length) {
      const next = this.quoted === null ? this.#plain(text, at, last) : this.#inQuotes(text, at, last);
      if (next < 0) break;
      at = next;
    }
    return text.slice(at);
  }

  #inQuotes(text, at, last) {
    const quote = text.indexOf('"', at);
    const upTo = quote < 0 ? text.length : quote;
    if (quote >= 0 && quote + 1 === text.length && !last) {
      if (quote === at) return -1;
      this.#keep(text.slice(at, quote));
      return quote;
    }
    this.#keep(text.slice(at, upTo));
    if (quote < 0) return text.length;
    if (text[quote + 1] === '"') {
      this.quoted += '"';
      return quote + 2;
    }
    this.closed = this.quoted;
    this.quoted = null;
    return quote + 1;
  }

  #plain(text, at, last) {
    if (text[at] === '"' && this.closed === null) {
      this.quoted = "";
      this.opened = this.line;
      return at + 1;
    }
    this.special.lastIndex = at;
    const found = this.special.exec(text);
    if (!found) return -1;
    const character = found[0];
    if (character === "\r" && found.index + 1 === text.length && !last) return -1;
    const isRow = character === "\n" || character === "\r";
    this.#cell(text.slice(at, found.index), isRow);
    if (isRow) this.line += 1;
    return found.index + (character === "\r" && text[found.index + 1] === "\n" ? 2 : 1);
  }

  #keep(text) {
    this.quoted += text;
    this.line += text.split("\n").length - 1;
  }

  #cell(text, isRow) {
    this.cells.push(this.closed === null ? text : this.closed + text);
    this.closed = null;
    if (!isRow) return;
    const cells = this.cells;
    this.cells = [];
    this.onRow(cells);
  }
}
