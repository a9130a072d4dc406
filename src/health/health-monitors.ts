import type { ConfiguredService } from "../model/config.ts";
import type { RealServerHealth } from "../model/health.ts";
import type { Native } from "../native.ts";
import type { CheckDurations } from "../report/snapshot.ts";

export type HealthLog = (
  level: "debug" | "info" | "warn" | "error",
  fields: Readonly<Record<string, unknown>>,
  message: string,
) => void;

export interface HealthDeps {
  readonly native: Native;
  readonly log: HealthLog;
  /** Wall clock, milliseconds since 1970; the schedule itself runs on the monotonic clock. */
  readonly now: () => number;
  /** For `User-Agent: xlb/VERSION`. */
  readonly version: string;
}

export class HealthMonitors {
  constructor(_deps: HealthDeps) {}
  /** See the class comment; `maintenanceDir` is `Config.maintenanceDir`, "" for none. */
  update(_services: readonly ConfiguredService[], _seedUp: ReadonlySet<string>, _maintenanceDir = ""): void {}
  snapshot(): RealServerHealth[] { return []; }
  checkDurations(): CheckDurations[] { return []; }
  lagMs(): number { return 0; }
  onChange(_listener: () => void): void {}
  async run(_signal: AbortSignal): Promise<void> {}
}
