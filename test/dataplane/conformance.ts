/** What every data plane promises, as tests: in memory, on XDP, on the kernel's IPVS, and of several as one. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { DataPlane } from "../../src/dataplane/data-plane.ts";
import type { Change } from "../../src/model/change.ts";
import { printIdentity } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { DirectorState } from "../../src/model/state.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { add, addService, edit, editService, real, remove, removeService, service, web } from "./planes.ts";

export interface ConformanceOptions {
  /** False, or why it cannot run here. */
  readonly skip: string | false;
  /** A plane without a service; the one before may still be open, and is not used any more. */
  open(): Promise<DataPlane>;
  /** A second one over the tables of the first, as a restarted daemon has it; absent: they end with it. */
  reopen?(): Promise<DataPlane>;
  /** What the plane takes beside what all of them take. */
  readonly services?: readonly VirtualService[];
}

const web6: ServiceIdentity = { kind: "address", protocol: "tcp", address: "fd00::53", port: 80 };
const dns: ServiceIdentity = { kind: "address", protocol: "udp", address: "10.10.10.53", port: 53 };

/** With its real servers, whose order in a table is none of the difference. */
function sorted({ services }: DirectorState): unknown {
  const byKey = (a: string, b: string) => (a < b ? -1 : 1);
  return services
    .map((each) => ({ ...each, realServers: [...each.realServers].sort((a, b) => byKey(a.address, b.address)) }))
    .sort((a, b) => byKey(printIdentity(a.identity), printIdentity(b.identity)));
}

export function conformance(name: string, options: ConformanceOptions): void {
  const { skip } = options;

  async function applyAll(plane: DataPlane, ...changes: readonly Change[]): Promise<void> {
    for (const { error } of await plane.apply(changes)) if (error !== undefined) throw error;
  }

  void describe(`the plane ${name}`, () => {
    test("has no service at first", { skip }, async () => {
      const plane = await options.open();
      assert.deepEqual(plane.read(), { services: [] });
      assert.deepEqual([...plane.connections({})], []);
      assert.deepEqual(plane.statistics().services, []);
    });

    test("reads back what was applied, real servers in the order of their addition", { skip }, async () => {
      const plane = await options.open();
      const wanted: VirtualService[] = [
        { ...service("wlc", web), realServers: [real("10.1.0.2", 3), real("10.1.0.1"), real("10.1.0.3", 0)] },
        { ...service("wrr", web6, { persistence: { timeout: 600, prefix: 64 } }), realServers: [real("fd00:1::2")] },
        { ...service("rr", dns, { persistence: { timeout: 60, prefix: 24 } }), realServers: [] },
        ...(options.services ?? []),
      ];
      await applyAll(plane, ...plan({ services: wanted }, { services: [] }));
      const byKey = new Map(plane.read().services.map((each) => [printIdentity(each.identity), each]));
      assert.equal(byKey.size, wanted.length);
      for (const each of wanted) assert.deepEqual(byKey.get(printIdentity(each.identity)), each);
      assert.deepEqual(plan({ services: wanted }, plane.read()), []);
    });

    test("takes every change twice", { skip }, async () => {
      const plane = await options.open();
      const changes = [addService(service("rr")), add(real("10.1.0.1", 1)), add(real("10.1.0.2", 1))];
      await applyAll(plane, ...changes, ...changes);
      assert.equal(plane.read().services[0]?.realServers.length, 2);
      await applyAll(plane, remove("10.1.0.2"), remove("10.1.0.2"));
      assert.deepEqual(plane.read().services[0]?.realServers, [real("10.1.0.1")]);
      await applyAll(plane, removeService(), removeService(), remove("10.1.0.1"));
      assert.deepEqual(plane.read(), { services: [] });
    });

    test("edits services and keeps their real servers", { skip }, async () => {
      const plane = await options.open();
      await applyAll(plane, addService(service("rr")), add(real("10.1.0.1")));
      const edited = service("wlc", web, { persistence: { timeout: 77, prefix: 24 } });
      await applyAll(plane, editService(edited));
      assert.deepEqual(plane.read().services, [{ ...edited, realServers: [real("10.1.0.1")] }]);
      await applyAll(plane, editService(service("wrr")), edit(real("10.1.0.1", 65_535)));
      assert.deepEqual(plane.read().services, [{ ...service("wrr"), realServers: [real("10.1.0.1", 65_535)] }]);
      await applyAll(plane, edit(real("10.1.0.1", 0)));
      assert.equal(plane.read().services[0]?.realServers[0]?.weight, 0);
    });

    test("says which change it cannot apply, and applies the others", { skip }, async () => {
      const plane = await options.open();
      const results = await plane.apply([
        addService(service("rr")),
        edit(real("10.1.0.9")),
        add(real("10.1.0.1"), dns),
        editService(service("rr", dns)),
        add(real("10.1.0.1")),
      ]);
      assert.deepEqual(
        results.map(({ error }) => error !== undefined),
        [false, true, true, true, false],
      );
      assert.deepEqual(plane.read().services, [{ ...service("rr"), realServers: [real("10.1.0.1")] }]);
    });

    test("gets from any state to any other by a plan, and then needs none", { skip }, async () => {
      const plane = await options.open();
      const realServer: fc.Arbitrary<RealServer> = fc
        .tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom(0, 1, 3, 100))
        .map(([host, weight]) => real(`10.1.0.${host}`, weight));
      const virtualService = (identity: ServiceIdentity): fc.Arbitrary<VirtualService[]> =>
        fc.oneof(
          fc.constant<VirtualService[]>([]),
          fc
            .tuple(
              fc.constantFrom("rr", "wrr", "wlc", "lblc", "nq"),
              fc.constantFrom(undefined, 60, 300),
              fc.uniqueArray(realServer, { selector: ({ address }) => address, maxLength: 4 }),
            )
            .map(([scheduler, timeout, realServers]): VirtualService[] => {
              const persistence = timeout === undefined ? {} : { persistence: { timeout, prefix: 32 } };
              return [{ ...service(scheduler, identity, persistence), realServers }];
            }),
        );
      const state: fc.Arbitrary<DirectorState> = fc
        .tuple(virtualService(web), virtualService(dns))
        .map((services) => ({ services: services.flat() }));
      await fc.assert(
        fc.asyncProperty(state, async (desired) => {
          await applyAll(plane, ...plan(desired, plane.read()));
          assert.deepEqual(sorted(plane.read()), sorted(desired));
          assert.deepEqual(plan(desired, plane.read()), []);
        }),
        { numRuns: 25 },
      );
    });

    test("sets timeouts, and leaves those that are 0", { skip }, async () => {
      const plane = await options.open();
      plane.setTimeouts({ tcp: 1000, tcpFin: 100, udp: 200 });
      plane.setTimeouts({ tcp: 0, tcpFin: 110, udp: 0 });
      assert.deepEqual(plane.timeouts(), { tcp: 1000, tcpFin: 110, udp: 200 });
      plane.setTimeouts({ tcp: 900, tcpFin: 120, udp: 300 });
    });

    test("has statistics of each service and real server, and sets them to zero", { skip }, async () => {
      const plane = await options.open();
      await applyAll(plane, addService(service("rr")), add(real("10.1.0.1")), addService(service("rr", dns)));
      const { services } = plane.statistics();
      const of = (identity: ServiceIdentity) =>
        services.find((each) => printIdentity(each.service.identity) === printIdentity(identity));
      assert.equal(services.length, 2);
      const [realServer] = of(web)?.realServers ?? [];
      assert.deepEqual(realServer?.realServer, real("10.1.0.1"));
      assert.deepEqual([realServer?.active, realServer?.inactive, realServer?.persistent], [0, 0, 0]);
      assert.deepEqual([of(web)?.connections, of(web)?.packets, of(web)?.bytes], [0n, 0n, 0n]);
      assert.deepEqual(of(dns)?.realServers, []);
      plane.zero();
      plane.zero(web);
      assert.throws(() => plane.zero(web6), /service/);
    });

    test(
      "goes on as it was under another daemon",
      { skip: skip || (!options.reopen && "this plane lives in memory alone") },
      async () => {
        const plane = await options.open();
        await applyAll(plane, addService(service("wlc")), add(real("10.1.0.1", 2)));
        const before = plane.read();
        const next = await options.reopen?.();
        assert.deepEqual(next?.read(), before);
        await applyAll(next, removeService());
      },
    );

    test("ends its run with the signal", { skip }, async () => {
      const plane = await options.open();
      const ending = new AbortController();
      const running = plane.run(ending.signal);
      ending.abort();
      await running;
      await plane.run(AbortSignal.abort());
    });
  });
}
