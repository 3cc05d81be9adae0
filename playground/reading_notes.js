// Notes about a text or file that was read, such as skipped lines.

import { bytes, number, t } from "./i18n.js";

/**
 * Why a file was rejected.
 * @param {import("./files.js").FileProblem} problem @returns {string}
 */
export function problemText({ reason, facts }) {
  if (reason === "none" && facts.reading.unreadable) return unreadable(facts.reading);
  const { bytes: size = 0, limit = 0 } = facts;
  return t(`lines.file.${reason}`, { name: facts.name, size: bytes(size), limit: bytes(limit) });
}

/**
 * One sentence for each kind of skipped or changed content.
 * @param {import("./files.js").Reading} reading @returns {string[]}
 */
export function readingNotes(reading) {
  const { passages, found, leftOut, empty, wide, unclosed, column, columns, encoding, format } = reading;
  const notes = [];
  if (leftOut) notes.push(t("lines.leftOut", { found, max: passages.length, leftOut }));
  if (reading.unreadable) notes.push(unreadable(reading));
  if (unclosed) notes.push(t("lines.file.unclosed", { line: unclosed }));
  if (wide) notes.push(t("lines.file.wide", { count: wide }));
  if (format === "csv") notes.push(column ? t("lines.file.column", { column }) : t("lines.file.first", { columns }));
  if (encoding) notes.push(t("lines.file.encoding", { encoding }));
  if (empty && found) notes.push(t("lines.empty", { count: number(empty) }));
  return notes;
}

function unreadable({ unreadable: count, firstUnreadable: line }) {
  return t("lines.file.unreadable", { count, line });
}
