import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { DirectorState } from "../../src/model/state.ts";
import { planWithin, targetOf } from "../../src/reconcile/plan-scope.ts";
import type { Scope } from "../../src/reconcile/plan-scope.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";

/** Few services and real servers, so that what is there, was there and is wanted overlap. */
const realServers: fc.Arbitrary<RealServer> = fc.record(
  {
    address: fc.constantFrom("10.0.1.1", "10.0.1.2", "10.0.1.3"),
    port: fc.constant(80),
    method: fc.constantFrom("gate" as const, "masq" as const),
    weight: fc.integer({ min: 0, max: 2 }),
    upperThreshold: fc.constant(0),
    lowerThreshold: fc.constant(0),
  },
  { noNullPrototype: true },
);
const services: fc.Arbitrary<VirtualService> = fc.record(
  {
    identity: fc
      .constantFrom(80, 81, 82)
      .map((port): ServiceIdentity => ({ kind: "address", protocol: "tcp", address: "10.0.0.1", port })),
    scheduler: fc.constantFrom("rr" as const, "wlc" as const),
    schedulerFlags: fc.constant([]),
    onePacket: fc.constant(false),
    realServers: fc.uniqueArray(realServers, { selector: realServerKey, maxLength: 3 }),
  },
  { noNullPrototype: true },
);
const states: fc.Arbitrary<DirectorState> = fc.record({
  services: fc.uniqueArray(services, { selector: ({ identity }) => printIdentity(identity), maxLength: 3 }),
});

function keysOf({ services: all }: DirectorState): string[] {
  return all.map(({ identity }) => printIdentity(identity));
}

/** What a service is, without the order of its real servers; undefined if it is not there. */
function contentOf(state: DirectorState, key: string): unknown {
  const service = state.services.find(({ identity }) => printIdentity(identity) === key);
  if (service === undefined) return undefined;
  return {
    ...service,
    realServers: Object.fromEntries(service.realServers.map((each) => [realServerKey(each), each])),
  };
}

function applied(actual: DirectorState, desired: DirectorState, scope: Scope): DirectorState {
  const plane = new MemoryDataPlane(actual);
  for (const change of planWithin(desired, plane.read(), scope)) assert.equal(plane.applyOne(change), undefined);
  return plane.read();
}

const nothing: Scope = {
  asserted: { services: [] },
  failed: new Set(),
  own: new Set(),
  thorough: false,
  readdQuiescent: false,
};

test("A thorough round makes what is wanted as it is wanted, and leaves what others have made", () => {
  fc.assert(
    fc.property(states, states, states, fc.boolean(), (actual, desired, asserted, readdQuiescent) => {
      const scope = { ...nothing, asserted, readdQuiescent, own: new Set(keysOf(asserted)), thorough: true };
      const after = applied(actual, desired, scope);
      for (const key of keysOf(desired)) assert.deepEqual(contentOf(after, key), contentOf(desired, key));
      for (const key of keysOf(actual).filter((each) => !keysOf(desired).includes(each))) {
        const expected = scope.own.has(key) ? undefined : contentOf(actual, key);
        assert.deepEqual(contentOf(after, key), expected);
      }
      assert.deepEqual(planWithin(desired, after, scope), []);
    }),
    { numRuns: 500 },
  );
});

test("A round in which nothing new is wanted touches no service that is there, whatever was done to it by hand", () => {
  fc.assert(
    fc.property(states, states, (actual, desired) => {
      const own = new Set(keysOf(desired));
      const after = applied(actual, desired, { ...nothing, asserted: desired, own });
      for (const key of keysOf(actual)) assert.deepEqual(contentOf(after, key), contentOf(actual, key));
      for (const key of keysOf(desired).filter((each) => !keysOf(actual).includes(each))) {
        assert.deepEqual(contentOf(after, key), contentOf(desired, key));
      }
    }),
    { numRuns: 500 },
  );
});

test("Where nothing was done by hand every round reaches what is wanted", () => {
  fc.assert(
    fc.property(states, states, (before, desired) => {
      const scope = { ...nothing, asserted: before, own: new Set([...keysOf(before), ...keysOf(desired)]) };
      const after = applied(before, desired, scope);
      assert.deepEqual(keysOf(after).sort(), keysOf(desired).sort());
      for (const key of keysOf(desired)) assert.deepEqual(contentOf(after, key), contentOf(desired, key));
    }),
    { numRuns: 500 },
  );
});

test("What failed is tried again, though nothing new is wanted", () => {
  fc.assert(
    fc.property(states, states, (actual, desired) => {
      const own = new Set([...keysOf(actual), ...keysOf(desired)]);
      const all = planWithin(desired, actual, { ...nothing, own, thorough: true });
      const failed = new Set(all.map(targetOf));
      assert.deepEqual(planWithin(desired, actual, { ...nothing, asserted: desired, own, failed }), all);
    }),
  );
});
