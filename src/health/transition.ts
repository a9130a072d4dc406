import type { CheckResult, Health } from "../model/health.ts";

/** What is remembered of one real server of one virtual service. */
export interface HealthState {
  readonly health: Health;
  /** Failures in a row since the last good check; stays as it is once the real server is down. */
  readonly failuresSinceUp: number;
}

export type Transition = HealthState & { readonly changed: boolean };

export const unknownHealth: HealthState = { health: { state: "unknown" }, failuresSinceUp: 0 };

/**
 * Takes one result into account. `failureCount` failures in a row take an up real server down; one success brings it
 * up; an unknown one goes down at its first failure, as nothing speaks for it (ldirectord 4.12 counts likewise, on the
 * way down only). `changed` tells whether the state (unknown, up, down) is another one now.
 */
export function transition(before: HealthState, result: CheckResult, failureCount: number, at: Date): Transition {
  if (result.up) {
    if (before.health.state === "up") return { health: before.health, failuresSinceUp: 0, changed: false };
    return { health: { state: "up", since: at }, failuresSinceUp: 0, changed: true };
  }
  if (before.health.state === "down") return { ...before, changed: false };
  const failuresSinceUp = before.failuresSinceUp + 1;
  if (before.health.state === "up" && failuresSinceUp < failureCount) {
    return { health: before.health, failuresSinceUp, changed: false };
  }
  return { health: { state: "down", since: at, reason: result.detail }, failuresSinceUp, changed: true };
}

/** Takes a real server down whatever its counter says, as maintenance does. */
export function forceDown(before: HealthState, reason: string, at: Date): Transition {
  if (before.health.state === "down" && before.health.reason === reason) return { ...before, changed: false };
  return {
    health: { state: "down", since: before.health.state === "down" ? before.health.since : at, reason },
    failuresSinceUp: before.failuresSinceUp,
    changed: before.health.state !== "down",
  };
}
