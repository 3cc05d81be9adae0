// Two minutes of /metrics: differences of counters give rates, histograms give quantiles.

import { readNumber } from "./metrics_text.js";

/** Length of the history. */
export const HISTORY_S = 120;
/** Window of quantiles. */
export const WINDOW_S = 10;
const COUNTER = /_(total|sum|count|bucket)$/;

/**
 * @typedef {import("./metrics_text.js").Sample} Sample
 * @typedef {object} Moment one poll
 * @property {number} time seconds
 * @property {number} seconds since the previous poll; 0 without a recent one, and thus without differences
 * @property {Map<string, Sample[]> | null} deltas increase of counters, by name; null: the poll failed
 * @property {Map<string, Sample[]>} gauges all other values
 * @property {Map<string, Map<string, number> | null>} cache results of `read`
 */

/** The polls of the last two minutes. */
export class History {
  constructor() {
    /** @type {Moment[]} */
    this.moments = [];
    /** Time of the last reset of a counter, or null. */
    this.restartedAt = null;
    this.before = null; // {time, values} of the last successful poll
  }

  /**
   * Adds the result of a poll. A new counter starts at 0; a decrease means a reset, so the increase is the value.
   * @param {number} time seconds
   * @param {Map<string, Sample[]>} metrics
   */
  push(time, metrics) {
    const values = new Map();
    const deltas = new Map();
    const gauges = new Map();
    const seconds = this.before && time - this.before.time <= WINDOW_S ? time - this.before.time : 0;
    for (const [name, samples] of metrics) {
      if (!COUNTER.test(name)) {
        gauges.set(name, samples);
        continue;
      }
      const grown = samples.map(({ labels, value }) => {
        const key = keyOf(name, labels);
        const was = this.before?.values.get(key) ?? 0;
        values.set(key, value);
        if (value < was && name.endsWith("_total")) this.restartedAt = time;
        return { labels, value: value < was ? value : value - was };
      });
      deltas.set(name, seconds ? grown : []);
    }
    this.before = { time, values };
    this.add({ time, seconds, deltas, gauges });
  }

  /**
   * Adds a failed poll, which leaves a gap.
   * @param {number} time seconds
   */
  miss(time) {
    this.add({ time, seconds: 0, deltas: null, gauges: new Map() });
  }

  add(moment) {
    this.moments.push({ ...moment, cache: new Map() });
    while (this.moments[0].time < moment.time - HISTORY_S - 1) this.moments.shift();
  }

  /**
   * The rate of a counter per second, summed by series; null if unknown.
   * @param {string} name @param {(labels: any) => string} series
   * @returns {Map<string, (number | null)[]>} series -> a number for each moment
   */
  rates(name, series) {
    return this.collect(`rates ${name}`, 0, (moment) => {
      if (!moment.seconds) return null;
      const sums = summed(moment.deltas.get(name) ?? [], series);
      return new Map([...sums].map(([key, sum]) => [key, sum / moment.seconds]));
    });
  }

  /** A gauge, summed by series. */
  gauge(name, series) {
    return this.collect(`gauge ${name}`, null, (moment) =>
      moment.deltas ? summed(moment.gauges.get(name) ?? [], series) : null,
    );
  }

  /**
   * The increase of one counter divided by that of others: an average or a share. Null if they did not increase.
   * @param {string} part @param {string[]} whole @param {(labels: any) => string} series
   */
  ratios(part, whole, series) {
    return this.collect(`ratios ${part}`, null, (moment) => {
      if (!moment.seconds) return null;
      const parts = summed(moment.deltas.get(part) ?? [], series);
      const wholes = summed(whole.flatMap((name) => moment.deltas.get(name) ?? []), series);
      const known = [...wholes].filter(([, sum]) => sum > 0);
      return new Map(known.map(([key, sum]) => [key, (parts.get(key) ?? 0) / sum]));
    });
  }

  /**
   * A quantile of a histogram over the last ten seconds before each moment.
   * @param {string} name without _bucket
   * @param {number} share 0.5: the median
   * @param {(labels: any) => string} series
   */
  quantiles(name, share, series) {
    const { moments } = this;
    return this.collect(`quantiles ${name} ${share}`, null, (moment, at) => {
      if (!moment.seconds) return null;
      const buckets = new Map(); // series -> upper end -> count
      for (let back = at; back >= 0 && moment.time - moments[back].time < WINDOW_S; back -= 1) {
        for (const { labels, value } of moments[back].deltas?.get(`${name}_bucket`) ?? []) {
          const key = series(labels);
          if (!buckets.has(key)) buckets.set(key, new Map());
          const ends = buckets.get(key);
          const end = readNumber(labels.le);
          ends.set(end, (ends.get(end) ?? 0) + value);
        }
      }
      const found = new Map();
      for (const [key, ends] of buckets) found.set(key, quantile(share, ends));
      return new Map([...found].filter(([, value]) => value !== null));
    });
  }

  /**
   * One value per moment for each series; `missing` if a successful poll lacks the series. Results are cached in the
   * moment under `key`.
   */
  collect(key, missing, read) {
    const results = this.moments.map((moment, at) => {
      if (!moment.cache.has(key)) moment.cache.set(key, read(moment, at));
      return moment.cache.get(key);
    });
    const names = new Set(results.flatMap((values) => (values ? [...values.keys()] : [])));
    const valuesOf = (name) => results.map((values) => (values ? (values.get(name) ?? missing) : null));
    return new Map([...names].map((name) => [name, valuesOf(name)]));
  }
}

/**
 * A quantile of a histogram, as in Prometheus' histogram_quantile: interpolated within a bucket, and the largest finite
 * bound if it lies beyond. Null if the histogram is empty.
 * @param {number} share
 * @param {Map<number, number>} ends upper end -> count up to it
 * @returns {number | null}
 */
export function quantile(share, ends) {
  const sorted = [...ends].sort(([a], [b]) => a - b);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (!(total > 0)) return null;
  const rank = share * total;
  const at = sorted.findIndex(([, count]) => count >= rank);
  const [end, count] = sorted[at];
  const [start, before] = at > 0 ? sorted[at - 1] : [0, 0];
  if (end === Infinity) return start;
  return start + (end - start) * ((rank - before) / (count - before));
}

function keyOf(name, labels) {
  return `${name} ${JSON.stringify(labels)}`;
}

/** Removes series that are always 0. */
export function busy(series) {
  return new Map([...series].filter(([, values]) => values.some((value) => value)));
}

function summed(samples, series) {
  const sums = new Map();
  for (const { labels, value } of samples) {
    const key = series(labels);
    sums.set(key, (sums.get(key) ?? 0) + value);
  }
  return sums;
}

/**
 * Keeps the `most` series with the largest sums, and adds the others up as `rest`.
 * @param {Map<string, (number | null)[]>} series @param {number} most @param {string} rest
 * @returns {Map<string, (number | null)[]>}
 */
export function largest(series, most, rest) {
  if (series.size <= most) return series;
  const total = (values) => values.reduce((sum, value) => sum + (value ?? 0), 0);
  const sorted = [...series].sort(([, a], [, b]) => total(b) - total(a));
  const others = sorted.slice(most - 1).map(([, values]) => values);
  const sum = others[0].map((_, at) => {
    const known = others.map((values) => values[at]).filter((value) => value !== null);
    return known.length ? known.reduce((a, b) => a + b) : null;
  });
  return new Map([...sorted.slice(0, most - 1), [rest, sum]]);
}
