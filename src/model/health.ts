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
