import type { RealServerHealth } from "../model/health.ts";
import type { PlaneStatistics } from "../model/statistics.ts";
import type { DaemonStatus } from "../control/protocol.ts";

/** Distribution of the duration of checks of one kind, seconds. */
export interface CheckDurations {
  readonly check: string;
  /** Cumulative: checks that took `le` seconds or less, rising; the last, infinite bucket is `count`. */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
  readonly count: number;
  readonly sum: number;
  readonly good: number;
  readonly bad: number;
}

/** Everything a report is made from, at one moment. Renderers are pure functions of it. */
export interface Snapshot {
  readonly at: Date;
  readonly planes: readonly PlaneStatistics[];
  /** Empty when the daemon is dead. */
  readonly health: readonly RealServerHealth[];
  readonly checks: readonly CheckDurations[];
  readonly daemon?: DaemonStatus;
}
