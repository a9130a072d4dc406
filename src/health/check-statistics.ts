import type { CheckDurations, CheckResult } from "../model/health.ts";

/** Upper bounds of the duration buckets, seconds. */
const bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

interface Histogram {
  readonly counts: number[];
  count: number;
  sum: number;
  good: number;
  bad: number;
}

/** Durations and outcomes of checks, by kind of check. */
export class CheckStatistics {
  readonly #histograms = new Map<string, Histogram>();

  add(check: string, result: CheckResult): void {
    let histogram = this.#histograms.get(check);
    if (histogram === undefined) {
      histogram = { counts: bounds.map(() => 0), count: 0, sum: 0, good: 0, bad: 0 };
      this.#histograms.set(check, histogram);
    }
    const seconds = result.durationMs / 1000;
    const bucket = bounds.findIndex((le) => seconds <= le);
    if (bucket !== -1) histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1;
    histogram.count += 1;
    histogram.sum += seconds;
    if (result.up) histogram.good += 1;
    else histogram.bad += 1;
  }

  /** Buckets are cumulative, as in Prometheus; the one without a bound is `count`. */
  durations(): CheckDurations[] {
    return [...this.#histograms].map(([check, { counts, count, sum, good, bad }]) => {
      let below = 0;
      const buckets = bounds.map((le, index) => ({ le, count: (below += counts[index] ?? 0) }));
      return { check, buckets, count, sum, good, bad };
    });
  }
}

const seconds = 60;

/** The worst value of the last minute, kept by the second; times are on a monotonic clock, milliseconds. */
export class WorstOfLastMinute {
  readonly #worst = new Float64Array(seconds);
  readonly #second = new Float64Array(seconds).fill(-1);

  add(value: number, atMs: number): void {
    const second = Math.floor(atMs / 1000);
    const slot = second % seconds;
    if (this.#second[slot] !== second) {
      this.#second[slot] = second;
      this.#worst[slot] = 0;
    }
    this.#worst[slot] = Math.max(this.#worst[slot] ?? 0, value);
  }

  worst(atMs: number): number {
    const oldest = Math.floor(atMs / 1000) - seconds;
    return this.#worst.reduce(
      (worst, value, slot) => ((this.#second[slot] ?? -1) > oldest ? Math.max(worst, value) : worst),
      0,
    );
  }
}
