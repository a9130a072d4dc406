import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { forceDown, transition, unknownHealth } from "../../src/health/transition.ts";
import type { HealthState } from "../../src/health/transition.ts";
import type { CheckResult } from "../../src/model/health.ts";

const good: CheckResult = { up: true, detail: "fine", durationMs: 1 };
const bad: CheckResult = { up: false, detail: "broken", durationMs: 1 };
const at = new Date(1000);

/** The states after each result, as letters: unknown, up, down; small if unchanged. */
function story(results: string, failureCount: number, start: HealthState = unknownHealth): string {
  let state = start;
  return [...results]
    .map((letter) => {
      const next = transition(state, letter === "+" ? good : bad, failureCount, at);
      state = next;
      const name = next.health.state === "up" ? "u" : "d";
      return next.changed ? name.toUpperCase() : name;
    })
    .join("");
}

describe("the transition of a real server's health", () => {
  const rows = [
    { name: "the first good check brings it up", results: "+++", failureCount: 1, states: "Uuu" },
    { name: "an unknown one goes down at its first failure", results: "--", failureCount: 3, states: "Dd" },
    { name: "one failure is enough with failurecount 1", results: "+-+", failureCount: 1, states: "UDU" },
    { name: "failures in a row count up to failurecount", results: "+---", failureCount: 3, states: "UuuD" },
    {
      name: "a success in between starts the count again",
      results: "+--+--+---",
      failureCount: 3,
      states: "UuuuuuuuuD",
    },
    { name: "one success brings it back at once", results: "+----+", failureCount: 3, states: "UuuDdU" },
  ] as const;
  for (const { name, results, failureCount, states } of rows) {
    test(name, () => assert.equal(story(results, failureCount), states));
  }

  test("it remembers since when, and the reason it went down for", () => {
    const down = transition(transition(unknownHealth, good, 1, new Date(1)), bad, 1, new Date(2));
    assert.deepEqual(down.health, { state: "down", since: new Date(2), reason: "broken" });
    const still = transition(down, { ...bad, detail: "other" }, 1, new Date(3));
    assert.equal(still.health, down.health);
  });

  test("maintenance takes it down whatever failurecount says", () => {
    const up = transition(unknownHealth, good, 5, at);
    const down = forceDown(up, "maintenance", at);
    assert.deepEqual([down.changed, down.health.state], [true, "down"]);
    assert.equal(forceDown(down, "maintenance", at).changed, false);
    assert.equal(transition(down, good, 5, at).changed, true);
  });

  test("it is down exactly if the last failures reach failurecount, or nothing was ever good", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1 }), fc.integer({ min: 1, max: 5 }), (results, failureCount) => {
        let state: HealthState = unknownHealth;
        for (const up of results) state = transition(state, up ? good : bad, failureCount, at);
        const lastGood = results.lastIndexOf(true);
        const failures = results.length - 1 - lastGood;
        assert.equal(state.health.state, lastGood === -1 || failures >= failureCount ? "down" : "up");
      }),
    );
  });

  test("changed is told exactly when the state becomes another one", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean()), fc.integer({ min: 1, max: 5 }), (results, failureCount) => {
        let state: HealthState = unknownHealth;
        for (const up of results) {
          const next = transition(state, up ? good : bad, failureCount, at);
          assert.equal(next.changed, next.health.state !== state.health.state);
          state = next;
        }
      }),
    );
  });
});

test("Damping: a real server that fails soon after it has recovered must pass its checks for as long", () => {
  const seconds = (count: number): Date => new Date(count * 1000);
  let state: HealthState = { health: { state: "up", since: seconds(0) }, failuresSinceUp: 0 };
  const step = (up: boolean, at: number): string => {
    state = transition(state, { up, detail: up ? "200 OK" : "refused", durationMs: 1 }, 1, seconds(at), 10_000);
    return state.health.state === "down" ? `down: ${state.health.reason}` : state.health.state;
  };
  assert.equal(step(false, 5), "down: refused", "the first failure is no flapping");
  assert.equal(step(true, 6), "up");
  assert.equal(step(false, 9), "down: refused");
  assert.equal(step(true, 10), "down: passes its checks, but is held back as it flaps");
  assert.equal(step(true, 19), "down: passes its checks, but is held back as it flaps");
  assert.equal(step(false, 19.5), "down: refused", "a failure begins the time anew");
  assert.equal(step(true, 20), "down: passes its checks, but is held back as it flaps");
  assert.equal(step(true, 30), "up");
  assert.equal(step(false, 41), "down: refused", "it has been up for long enough");
  assert.equal(step(true, 42), "up");
});

test("Without damping one good check is enough, however often it fails", () => {
  let state: HealthState = { health: { state: "up", since: new Date(0) }, failuresSinceUp: 0 };
  for (let round = 1; round < 10; round++) {
    state = transition(state, { up: round % 2 === 0, detail: "", durationMs: 1 }, 1, new Date(round));
    assert.equal(state.health.state, round % 2 === 0 ? "up" : "down");
  }
});
