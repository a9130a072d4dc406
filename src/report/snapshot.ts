import type { CheckDurations, RealServerHealth } from "../model/health.ts";
import type { PlaneStatistics } from "../model/statistics.ts";
import type { DaemonStatus } from "../control/protocol.ts";

/** Everything a report is made from, at one moment. Renderers are pure functions of it. */
export interface Snapshot {
  readonly at: Date;
  readonly planes: readonly PlaneStatistics[];
  /** Empty when the daemon is dead. */
  readonly health: readonly RealServerHealth[];
  readonly checks: readonly CheckDurations[];
  readonly daemon?: DaemonStatus;
}
