import type { ServiceIdentity } from "./service.ts";

/** What a real server of one virtual service is known to be. */
export type Health =
  | { readonly state: "unknown" }
  | { readonly state: "up"; readonly since: Date }
  | { readonly state: "down"; readonly since: Date; readonly reason: string };

/** The outcome of one attempt. An unhealthy server is a result, not an exception. */
export type CheckResult =
  | { readonly up: true; readonly detail: string; readonly durationMs: number }
  | { readonly up: false; readonly detail: string; readonly durationMs: number };

/** What `xlb health`, the metrics and the reconciler see of one checked real server. */
export interface RealServerHealth {
  readonly identity: ServiceIdentity;
  readonly address: string;
  readonly port: number;
  readonly health: Health;
  /** `negotiate http`, `connect`, `ping`, `off` ... */
  readonly check: string;
  readonly failuresSinceUp: number;
  readonly failureCount: number;
  readonly last?: { readonly at: Date; readonly result: CheckResult };
}

/** Distribution of the duration of checks of one kind, seconds; buckets are cumulative. */
export interface CheckDurations {
  readonly check: string;
  /** Cumulative: checks that took `le` seconds or less, rising; the last, infinite bucket is `count`. */
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
  readonly count: number;
  readonly sum: number;
  readonly good: number;
  readonly bad: number;
}
