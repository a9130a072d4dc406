import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { printChange } from "../../src/model/change.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { DirectorState } from "../../src/model/state.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";
import { identity, real } from "./samples.ts";

/** The tables without their order, for comparison. */
function content({ services }: DirectorState): Record<string, unknown> {
  return Object.fromEntries(
    services.map((service) => [
      printIdentity(service.identity),
      {
        ...service,
        realServers: Object.fromEntries(service.realServers.map((entry) => [realServerKey(entry), entry])),
      },
    ]),
  );
}

function hasServer(state: DirectorState, key: string): boolean {
  const service = state.services.find((candidate) => printIdentity(candidate.identity) === key);
  return service?.realServers.some(({ weight }) => weight > 0) === true;
}

/** Few addresses, so that desired and actual states overlap. */
const identities: fc.Arbitrary<ServiceIdentity> = fc
  .tuple(
    fc.constantFrom("tcp" as const, "udp" as const),
    fc.constantFrom("10.0.0.1", "10.0.0.2", "fd00::1"),
    fc.constantFrom(80, 443),
  )
  .map(([protocol, address, port]) => ({ kind: "address", protocol, address, port }));
const realServers: fc.Arbitrary<RealServer> = fc.record(
  {
    address: fc.constantFrom("10.0.1.1", "10.0.1.2", "10.0.1.3", "127.0.0.1"),
    port: fc.constantFrom(80, 8080),
    method: fc.constantFrom("gate" as const, "masq" as const, "ipip" as const),
    weight: fc.integer({ min: 0, max: 3 }),
    upperThreshold: fc.constantFrom(0, 5),
    lowerThreshold: fc.constantFrom(0, 2),
  },
  { noNullPrototype: true },
);
const services: fc.Arbitrary<VirtualService> = fc
  .record({
    identity: identities,
    scheduler: fc.constantFrom("rr" as const, "wlc" as const),
    schedulerFlags: fc.constantFrom([], ["sh-port"], ["sh-fallback", "sh-port"]),
    persistence: fc.constantFrom(undefined, { timeout: 100, prefix: 32 }, { timeout: 100, prefix: 24 }),
    onePacket: fc.boolean(),
    realServers: fc.uniqueArray(realServers, { selector: realServerKey, maxLength: 5 }),
  })
  .map(({ persistence, ...service }) => (persistence === undefined ? service : { ...service, persistence }));
const states: fc.Arbitrary<DirectorState> = fc.record({
  services: fc.uniqueArray(services, { selector: ({ identity }) => printIdentity(identity), maxLength: 6 }),
});

test("Planning and applying reaches the desired state, and then nothing is left to do", () => {
  fc.assert(
    fc.property(states, states, (actual, desired) => {
      const plane = new MemoryDataPlane(actual);
      for (const change of plan(desired, plane.read())) assert.equal(plane.applyOne(change), undefined);
      assert.deepEqual(content(plane.read()), content(desired));
      assert.deepEqual(plan(desired, plane.read()), []);
    }),
    { numRuns: 500 },
  );
});

test("A service that had and will have a real server to choose is never without one", () => {
  fc.assert(
    fc.property(states, states, (actual, desired) => {
      const plane = new MemoryDataPlane(actual);
      const guarded = desired.services
        .map((service) => printIdentity(service.identity))
        .filter((key) => hasServer(actual, key) && hasServer(desired, key));
      for (const change of plan(desired, plane.read())) {
        plane.applyOne(change);
        for (const key of guarded) assert.ok(hasServer(plane.read(), key), `${key} after ${printChange(change)}`);
      }
    }),
    { numRuns: 500 },
  );
});

test("Applying a plan twice is as applying it once", () => {
  fc.assert(
    fc.property(states, states, (actual, desired) => {
      const plane = new MemoryDataPlane(actual);
      const changes = plan(desired, actual);
      for (const change of [...changes, ...changes]) plane.applyOne(change);
      assert.deepEqual(content(plane.read()), content(desired));
    }),
  );
});

test("Adding and raising come before lowering and removing", () => {
  const service = { identity, scheduler: "rr", schedulerFlags: [], onePacket: false } as const;
  const actual = { services: [{ ...service, realServers: [real("10.0.1.1", 3), real("10.0.1.2"), real("10.0.1.3")] }] };
  const desired = {
    services: [{ ...service, realServers: [real("10.0.1.1"), real("10.0.1.3", 2), real("10.0.1.4")] }],
  };
  assert.deepEqual(plan(desired, actual).map(printChange), [
    "edit-real-server tcp:10.10.10.53:80 10.0.1.3:80 gate weight 2",
    "add-real-server tcp:10.10.10.53:80 10.0.1.4:80 gate weight 1",
    "edit-real-server tcp:10.10.10.53:80 10.0.1.1:80 gate weight 1",
    "remove-real-server tcp:10.10.10.53:80 10.0.1.2:80",
  ]);
});

test("The order of real servers is no difference", () => {
  const service = { identity, scheduler: "rr", schedulerFlags: [], onePacket: false } as const;
  const [a, b] = [real("10.0.1.1"), real("10.0.1.2")];
  assert.deepEqual(
    plan({ services: [{ ...service, realServers: [a, b] }] }, { services: [{ ...service, realServers: [b, a] }] }),
    [],
  );
});

test("A tunnel and a persistence engine are differences", () => {
  const service = { identity, scheduler: "rr", schedulerFlags: [], onePacket: false } as const;
  const plain = { ...real("10.0.1.1"), method: "ipip" } as const;
  const gue = { ...plain, tunnel: { type: "gue", port: 6080, checksum: "none" } } as const;
  const other = { ...plain, tunnel: { type: "gue", port: 6080, checksum: "full" } } as const;
  const actual = { services: [{ ...service, realServers: [gue] }] };
  for (const realServer of [plain, other]) {
    const changes = plan({ services: [{ ...service, realServers: [realServer] }] }, actual);
    assert.deepEqual(changes, [{ kind: "edit-real-server", identity, realServer }]);
  }
  assert.deepEqual(
    plan({ services: [{ ...service, persistenceEngine: "sip", realServers: [gue] }] }, actual).map(({ kind }) => kind),
    ["edit-service"],
  );
});
