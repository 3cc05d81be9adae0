// Usage of each model from /metrics: requests since the start, recent tokens per second.

import { parseMetrics } from "./metrics_text.js";
import { ask } from "./service.js";

const EVERY_MS = 2000;
const WINDOW_MS = 10_000;

/**
 * Polls while the page is visible.
 * @param {(numbers: Map<string, {requests: number, tokensPerSecond: number | null}>) => void} onNumbers
 * @param {(problem: Error) => void} onProblem
 * @returns {() => void} ends it
 */
export function watchNumbers(onNumbers, onProblem) {
  const controller = new AbortController();
  let timer = 0;
  let seen = []; // {at, tokens: Map}, oldest first
  look();
  return () => {
    clearTimeout(timer);
    controller.abort();
  };

  async function look() {
    if (!document.hidden) {
      try {
        const { data } = await ask("metrics", { signal: controller.signal });
        if (controller.signal.aborted) return;
        onNumbers(read(data));
      } catch (problem) {
        if (controller.signal.aborted) return;
        seen = [];
        onProblem(problem);
      }
    }
    timer = setTimeout(look, EVERY_MS);
  }

  function read(text) {
    const metrics = parseMetrics(text, "service_");
    const requests = sums(metrics.get("service_requests_total"));
    const tokens = sums(metrics.get("service_computed_tokens_total"));
    const at = performance.now();
    seen = [...seen.filter((one) => at - one.at <= WINDOW_MS), { at, tokens }];
    const [first] = seen;
    const seconds = (at - first.at) / 1000;
    const names = new Set([...requests.keys(), ...tokens.keys()]);
    const numbersOf = (name) => ({ requests: requests.get(name) ?? 0, tokensPerSecond: rate(name) });
    return new Map([...names].map((name) => [name, numbersOf(name)]));

    function rate(name) {
      const more = (tokens.get(name) ?? 0) - (first.tokens.get(name) ?? 0);
      return seconds ? Math.max(0, more) / seconds : null; // a restarted server counts from 0
    }
  }
}

function sums(samples = []) {
  const sums = new Map();
  for (const { labels, value } of samples) sums.set(labels.model, (sums.get(labels.model) ?? 0) + value);
  return sums;
}
