// Vectors and tables as JSON and CSV files, with the service's exact numbers.

/** Characters that start a formula in a spreadsheet; Japanese Excel also accepts full-width ones. */
const FORMULA = /^[\s]*[=+\-@＝＋－＠\t\r]/;
/** Excel needs a byte order mark to read UTF-8. */
const BYTE_ORDER_MARK = "\ufeff";

/**
 * @typedef {object} Vectors
 * @property {string} model
 * @property {{text: string, side: string}[]} texts n of them; side is "query", "document" or ""
 * @property {Float32Array} vectors (n, width)
 * @property {number} width
 */

/**
 * The shortest decimal that parses to the same 32-bit number.
 * @param {number} value a number of a Float32Array
 * @returns {string}
 */
export function shortest(value) {
  for (let digits = 6; digits < 9; digits += 1) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return String(rounded);
  }
  return String(Number(value.toPrecision(9)));
}

/**
 * A CSV cell, quoted if necessary; a text that looks like a formula gets an apostrophe before it.
 * @param {string} text @returns {string}
 */
export function csvCell(text) {
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n']|^\s|\s$/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/**
 * The parts of a CSV file: a row for each text, its vector in columns d0, d1, ...
 * @param {Vectors} file @returns {Generator<string>}
 */
export function* csvParts({ texts, vectors, width }) {
  const names = Array.from({ length: width }, (_, column) => `d${column}`);
  yield `${BYTE_ORDER_MARK}${["number", "side", "text", ...names].join(",")}\r\n`;
  for (const [row, { text, side }] of texts.entries()) {
    yield `${[row + 1, csvCell(side), csvCell(text), ...numbers(vectors, row, width)].join(",")}\r\n`;
  }
}

/**
 * The parts of a JSON file.
 * @param {Vectors} file @returns {Generator<string>}
 */
export function* jsonParts({ model, texts, vectors, width }) {
  yield `{"model": ${JSON.stringify(model)}, "dimensions": ${width}, "data": [\n`;
  for (const [row, { text, side }] of texts.entries()) {
    const facts = JSON.stringify({ index: row, text, ...(side && { input_type: side }) });
    yield `${row ? ",\n" : ""}${facts.slice(0, -1)},"embedding":[${numbers(vectors, row, width).join(",")}]}`;
  }
  yield "\n]}\n";
}

/**
 * A CSV file of texts and numbers.
 * @param {(string | number)[][]} rows the first one has the names of the columns @returns {Blob}
 */
export function csvFile(rows) {
  const cell = (value) => (typeof value === "number" ? shortest(value) : csvCell(value));
  const lines = rows.map((row) => `${row.map(cell).join(",")}\r\n`);
  return new Blob([BYTE_ORDER_MARK, ...lines], { type: "text/csv" });
}

function numbers(vectors, row, width) {
  return Array.from(vectors.subarray(row * width, (row + 1) * width), shortest);
}

/**
 * Decodes numbers from the base64 of their little-endian bytes.
 * @param {string} text @returns {Float32Array}
 */
export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

/**
 * Downloads a file.
 * @param {string} name @param {Blob} blob
 */
export function save(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
