// The charts of the live view.

import { bytes, number, t } from "./i18n.js";
import { busy } from "./live_history.js";

const whole = (value) => number(value, value > 0 && value < 10 ? 1 : 0);
const percent = (value) => `${number(100 * value, value > 0 && value < 0.1 ? 1 : 0)} %`;
const seconds = (value) => {
  if (value >= 1) return t("live.unit.s", { value: number(value, value < 10 ? 2 : 0) });
  return t("live.unit.ms", { value: number(value * 1000, value > 0 && value < 0.01 ? 1 : 0) });
};

const byModel = ({ model }) => model;
const byRoute = ({ route }) => route;
const byCode = ({ code }) => code;
const byAnswer = ({ route, status }) => `${route} ${status}`;

const LATENCY = "service_request_seconds";
/** Routes that are polled by machines, and the page's own files. */
const QUIET = /^\/(livez|readyz|healthz|health|metrics|playground.*)$/;

/** Without the series of quiet routes. */
function loud(series) {
  return new Map([...series].filter(([name]) => !QUIET.test(name.split(" ")[0])));
}

/**
 * `name` is the key of the title; `read` takes the numbers from a History; `format` writes one.
 * @type {{name: string, read: (history: import("./live_history.js").History) => Map<string, (number | null)[]>,
 *   format: (value: number) => string}[]}
 */
export const CHARTS = [
  {
    name: "requests",
    format: whole,
    read: (history) => busy(loud(history.rates("service_requests_total", byAnswer))),
  },
  { name: "p50", format: seconds, read: (history) => loud(history.quantiles(LATENCY, 0.5, byRoute)) },
  { name: "p99", format: seconds, read: (history) => loud(history.quantiles(LATENCY, 0.99, byRoute)) },
  { name: "queue", format: whole, read: (history) => history.gauge("service_queue_tokens", byModel) },
  { name: "age", format: seconds, read: (history) => history.gauge("service_queue_age_seconds", byModel) },
  { name: "tokens", format: whole, read: (history) => history.rates("service_computed_tokens_total", byModel) },
  { name: "texts", format: whole, read: (history) => history.rates("service_computed_texts_total", byModel) },
  {
    name: "batch_texts",
    format: whole,
    read: (history) => history.ratios("service_batch_texts_sum", ["service_batch_texts_count"], byModel),
  },
  {
    name: "batch_tokens",
    format: whole,
    read: (history) => history.ratios("service_batch_tokens_sum", ["service_batch_tokens_count"], byModel),
  },
  {
    name: "padding",
    format: percent,
    read: (history) =>
      history.ratios(
        "service_padding_tokens_total",
        ["service_padding_tokens_total", "service_computed_tokens_total"],
        byModel,
      ),
  },
  { name: "errors", format: whole, read: (history) => busy(history.rates("service_errors_total", byCode)) },
  { name: "memory", format: bytes, read: (history) => busy(history.gauge("service_model_bytes", byModel)) },
];
