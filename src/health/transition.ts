import type { CheckResult, Health } from "../model/health.ts";

/** What is remembered of one real server of one virtual service. */
export interface HealthState {
  readonly health: Health;
  /** Failures in a row since the last good check; stays as it is once the real server is down. */
  readonly failuresSinceUp: number;
  /** When it came up again after it had been down; undefined if it never did. */
  readonly recoveredAt?: Date;
  /** It went down again soon after it came up: since when it has been passing its checks, once it does. */
  readonly flapping?: { readonly goodSince?: Date };
}

export type Transition = HealthState & { readonly changed: boolean };

export const unknownHealth: HealthState = { health: { state: "unknown" }, failuresSinceUp: 0 };

/**
 * Takes one result into account. `failureCount` failures in a row take an up real server down; one success brings it
 * up; an unknown one goes down at its first failure, as nothing speaks for it (ldirectord 4.12 counts likewise, on the
 * way down only). `changed` tells whether the state (unknown, up, down) is another one now.
 *
 * With `dampMs` above 0 a real server that goes down within this time after it has come up again must pass its checks
 * for this time before it is up once more.
 */
export function transition(
  before: HealthState,
  result: CheckResult,
  failureCount: number,
  at: Date,
  dampMs = 0,
): Transition {
  const { health, recoveredAt, flapping } = before;
  if (result.up) {
    if (health.state === "up") return { ...before, failuresSinceUp: 0, changed: false };
    if (health.state === "unknown") return { health: { state: "up", since: at }, failuresSinceUp: 0, changed: true };
    const goodSince = flapping?.goodSince ?? at;
    if (flapping !== undefined && at.getTime() - goodSince.getTime() < dampMs) {
      const reason = "passes its checks, but is held back as it flaps";
      return { ...before, health: { ...health, reason }, flapping: { goodSince }, changed: false };
    }
    return { health: { state: "up", since: at }, failuresSinceUp: 0, recoveredAt: at, changed: true };
  }
  if (health.state === "down") {
    if (flapping?.goodSince === undefined) return { ...before, changed: false };
    return { ...before, health: { ...health, reason: result.detail }, flapping: {}, changed: false };
  }
  const failuresSinceUp = before.failuresSinceUp + 1;
  if (health.state === "up" && failuresSinceUp < failureCount) return { ...before, failuresSinceUp, changed: false };
  const isFlapping = recoveredAt !== undefined && at.getTime() - recoveredAt.getTime() < dampMs;
  const down = { health: { state: "down", since: at, reason: result.detail }, failuresSinceUp, changed: true } as const;
  return isFlapping ? { ...down, flapping: {} } : down;
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
