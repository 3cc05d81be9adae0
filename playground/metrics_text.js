/** A parser of Prometheus's text format, which GET /metrics returns. */

/** @typedef {{labels: Object<string, string>, value: number}} Sample */

const NAME = /[A-Za-z_:][\w:]*/y;
const LABEL = /\s*([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?/y;
const VALUE = /\s*(\S+)/y;
const ESCAPES = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/**
 * All samples by metric name, in the order of the text; invalid lines are skipped.
 *
 * Histograms are not combined: their samples have the names ending in _bucket (with the label le), _sum and _count.
 * @param {string} text
 * @param {string} [prefix] only metrics whose names start with it
 * @returns {Map<string, Sample[]>}
 */
export function parseMetrics(text, prefix = "") {
  const metrics = new Map();
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    if (text[start] !== "#" && text.startsWith(prefix, start)) {
      addSample(metrics, text.slice(start, end).trim());
    }
    start = end + 1;
  }
  return metrics;
}

function addSample(metrics, line) {
  NAME.lastIndex = 0;
  const name = NAME.exec(line)?.[0];
  if (!name) return;
  let at = NAME.lastIndex;
  const labels = {};
  if (line[at] === "{") {
    at += 1;
    for (LABEL.lastIndex = at; ; at = LABEL.lastIndex) {
      const found = LABEL.exec(line);
      if (!found) break;
      labels[found[1]] = unescape(found[2]);
    }
    while (line[at] === " ") at += 1;
    if (line[at] !== "}") return;
    at += 1;
  }
  VALUE.lastIndex = at;
  const value = readNumber(VALUE.exec(line)?.[1]);
  if (value === null) return;
  const samples = metrics.get(name);
  if (samples) samples.push({ labels, value });
  else metrics.set(name, [{ labels, value }]);
}

function unescape(text) {
  return text.includes("\\") ? text.replace(/\\[n"\\]/g, (found) => ESCAPES[found]) : text;
}

/**
 * Parses a number in Prometheus's format, including +Inf and NaN; null if invalid.
 * @param {string | undefined} text @returns {number | null}
 */
export function readNumber(text) {
  if (text === undefined) return null;
  const infinite = /^([+-]?)inf(inity)?$/i.exec(text);
  if (infinite) return infinite[1] === "-" ? -Infinity : Infinity;
  if (/^nan$/i.test(text)) return NaN;
  const value = Number(text);
  return Number.isNaN(value) ? null : value;
}
