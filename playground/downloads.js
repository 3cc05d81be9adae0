// Vectors as files: JSON and CSV with the service's own numbers, every one of them exact.

/** What a spreadsheet takes for the start of a formula; full-width ones too, as Japanese Excel reads those. */
const FORMULA = /^[\s]*[=+\-@＝＋－＠\t\r]/;
/** Excel reads UTF-8 only where a file begins so. */
const BYTE_ORDER_MARK = "\ufeff";

/**
 * @typedef {object} Vectors
 * @property {string} model
 * @property {{text: string, side: string}[]} texts n of them; side is "query", "document" or ""
 * @property {Float32Array} vectors (n, width)
 * @property {number} width
 */

/**
 * The shortest decimal that reads back as the same 32-bit number.
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
 * A cell: quoted where it must be; a text that a spreadsheet would compute gets an apostrophe before it.
 * @param {string} text
 * @returns {string}
 */
export function csvCell(text) {
  const harmless = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n']|^\s|\s$/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

/**
 * The parts of a CSV file: a row for each text, its vector in columns d0, d1, ...
 * @param {Vectors} file
 * @returns {Generator<string>}
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
 * @param {Vectors} file
 * @returns {Generator<string>}
 */
export function* jsonParts({ model, texts, vectors, width }) {
  yield `{"model": ${JSON.stringify(model)}, "dimensions": ${width}, "data": [\n`;
  for (const [row, { text, side }] of texts.entries()) {
    const facts = JSON.stringify({ index: row, text, ...(side && { input_type: side }) });
    yield `${row ? ",\n" : ""}${facts.slice(0, -1)},"embedding":[${numbers(vectors, row, width).join(",")}]}`;
  }
  yield "\n]}\n";
}

function numbers(vectors, row, width) {
  return Array.from(vectors.subarray(row * width, (row + 1) * width), shortest);
}

/**
 * Numbers from the base64 of their little-endian bytes.
 * @param {string} text
 * @returns {Float32Array}
 */
export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

/**
 * Hands a file to the reader.
 * @param {string} name
 * @param {Blob} blob
 */
export function save(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
