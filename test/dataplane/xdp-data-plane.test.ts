import assert from "node:assert/strict";
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";
import fc from "fast-check";
import { openMaps } from "../../src/dataplane/xdp/maps.ts";
import { mapPath } from "../../src/dataplane/xdp/load.ts";
import * as layout from "../../src/dataplane/xdp/layout.generated.ts";
import { NotRunningError, openXdpReader } from "../../src/dataplane/xdp/reader.ts";
import { readSlots } from "../../src/dataplane/xdp/stored.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import type { ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { DirectorState } from "../../src/model/state.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { Stopwatch } from "../support/starvation.ts";
import { macOf } from "./fake-network.ts";
import { kernelSchedulers } from "./kernel-schedulers.ts";
import { add, addService, cannotRun, edit, editService, PlaneFolder, real, remove, removeService } from "./planes.ts";
import { service, web } from "./planes.ts";

const options = { skip: cannotRun };

/** Services in an order of their own; real servers in the order of addition. */
function sorted(state: DirectorState): readonly VirtualService[] {
  return [...state.services].sort((a, b) => (printIdentity(a.identity) < printIdentity(b.identity) ? -1 : 1));
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 60_000; !condition(); await sleep(20)) {
    assert.ok(Date.now() < deadline, `waited for ${what}`);
  }
}

const identity: fc.Arbitrary<ServiceIdentity> = fc
  .tuple(
    fc.constantFrom("tcp" as const, "udp" as const),
    fc.constantFrom("10.10.10.53", "10.10.10.54", "fd00::53"),
    fc.constantFrom(0, 80, 443),
  )
  .map(([protocol, address, port]) => ({ kind: "address", protocol, address, port }));
const virtualService: fc.Arbitrary<VirtualService> = fc
  .record({
    identity,
    scheduler: fc.constantFrom("rr" as const, "wrr" as const, "wlc" as const, "lblc" as const),
    persistent: fc.boolean(),
    realServers: fc.uniqueArray(fc.record({ host: fc.integer({ min: 1, max: 20 }), weight: fc.nat(5) }), {
      selector: ({ host }) => host,
      maxLength: 12,
    }),
  })
  .map(({ identity, scheduler, persistent, realServers }) => {
    const ipv6 = identity.kind === "address" && identity.address.includes(":");
    return {
      identity,
      scheduler,
      schedulerFlags: [],
      ...(persistent ? { persistence: { timeout: 300, prefix: ipv6 ? 64 : 24 } } : {}),
      onePacket: false,
      realServers: realServers.map(({ host, weight }) =>
        real(ipv6 ? `fd00:1::${host.toString(16)}` : `10.1.0.${host}`, weight, 80),
      ),
    };
  });
const directorState: fc.Arbitrary<DirectorState> = fc.record({
  services: fc.uniqueArray(virtualService, { selector: ({ identity }) => printIdentity(identity), maxLength: 6 }),
});

test(
  "applying a plan reaches the desired state, a second plan is empty, and a new daemon reads the same",
  options,
  async () => {
    const folder = new PlaneFolder();
    await folder.open();
    await fc.assert(
      fc.asyncProperty(directorState, fc.nat(9), async (desired, restart) => {
        await folder.apply(...plan(desired, folder.plane.read()));
        if (restart === 0) await folder.open();
        assert.deepEqual(plan(desired, folder.plane.read()), []);
        const found = sorted(folder.plane.read());
        for (const [index, wanted] of sorted(desired).entries()) {
          const { realServers, ...attributes } = found[index] ?? wanted;
          const { realServers: wantedServers, ...wantedAttributes } = wanted;
          assert.deepEqual(attributes, wantedAttributes);
          assert.deepEqual(realServers.map(realServerKey).sort(), wantedServers.map(realServerKey).sort());
        }
      }),
      { numRuns: 60 },
    );
  },
);

for (const scheduler of ["rr", "wrr"] as const) {
  test(
    `packets of a ${scheduler} service go where the kernel sends them, across changes and restarts`,
    options,
    async () => {
      const folder = new PlaneFolder();
      await folder.open();
      await folder.apply(addService(service(scheduler)));
      const kernel = new kernelSchedulers[scheduler]();
      const name = (id: number) => (id === 0 ? "" : `10.1.0.${id}`);
      const present = new Set<number>();
      const step = fc.record({
        host: fc.integer({ min: 1, max: 6 }),
        weight: fc.constantFrom(0, 1, 2, 3, 4, 6),
        away: fc.boolean(),
        packets: fc.nat(12),
        restart: fc.nat(9),
      });
      const [steps] = fc.sample(fc.array(step, { minLength: 80, maxLength: 80 }), { numRuns: 1, seed: 4711 });
      for (const { host, weight, away, packets, restart } of steps ?? []) {
        if (!present.has(host)) {
          present.add(host);
          kernel.add(host, weight);
          await folder.apply(add(real(name(host), weight)));
        } else if (away) {
          present.delete(host);
          kernel.remove(host);
          await folder.apply(remove(name(host)));
        } else {
          kernel.edit(host, weight);
          await folder.apply(edit(real(name(host), weight)));
        }
        if (restart === 0) await folder.open();
        for (let packet = 0; packet < packets; packet++) {
          const expected = kernel.schedule();
          const fate = folder.connect();
          // Without a real server the client is told by ICMP, which leaves by the same interface.
          if (expected === 0) assert.ok(!/^10\.1\.0\./.test(fate));
          else assert.equal(fate, name(expected));
        }
      }
    },
  );
}

test("wlc takes the newest of equals, and the least loaded by weight", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(
    addService(service("wlc")),
    add(real("10.1.0.1")),
    add(real("10.1.0.2")),
    add(real("10.1.0.3", 2)),
  );
  const chosen = Array.from({ length: 8 }, () => folder.connect());
  assert.deepEqual(
    chosen.sort(),
    [..."11"]
      .map(() => "10.1.0.1")
      .concat(
        [..."22"].map(() => "10.1.0.2"),
        [..."3333"].map(() => "10.1.0.3"),
      ),
  );
  await folder.apply(add(real("10.1.0.4")));
  assert.equal(folder.connect(), "10.1.0.4");
  await folder.apply(edit(real("10.1.0.4", 0)));
  assert.notEqual(folder.connect(), "10.1.0.4");
});

test("a service that has no real server yet is there, and serves when one comes", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  for (const [index, scheduler] of (["rr", "wrr", "wlc", "lblc"] as const).entries()) {
    const identity = { ...web, port: 8000 + index };
    await folder.apply(addService(service(scheduler, identity)));
    assert.notEqual(folder.connect({ destinationPort: identity.port }), "10.1.0.1");
    await folder.apply(add(real("10.1.0.1", 1, identity.port), identity));
    assert.equal(folder.connect({ destinationPort: identity.port }), "10.1.0.1");
    await folder.apply(remove("10.1.0.1", identity, identity.port));
    assert.notEqual(folder.connect({ destinationPort: identity.port }), "10.1.0.1");
  }
});

test("many services are found, listed and taken over, and go again", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  const identities = Array.from({ length: 100 }, (_, index) => ({ ...web, port: 8000 + index }));
  const addAll = identities.flatMap((identity) => [
    addService(service("rr", identity)),
    add(real("10.1.0.1", 1, identity.port), identity),
  ]);
  await folder.apply(...addAll);
  const assertAll = () => {
    const found = folder.plane.read().services.map(({ identity }) => printIdentity(identity));
    assert.deepEqual(found.sort(), identities.map(printIdentity).sort());
    for (const { port } of identities) assert.equal(folder.connect({ destinationPort: port }), "10.1.0.1");
  };
  assertAll();
  await folder.open();
  assertAll();
  for (const identity of identities.splice(10)) await folder.apply(removeService(identity));
  assertAll();
  assert.notEqual(folder.connect({ destinationPort: 8099 }), "10.1.0.1");
});

test("a tree whose newest place is beyond its leaves is laid out anew, in the same order", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(addService(service("wlc")), add(real("10.1.0.1")), add(real("10.1.0.2")));
  for (let round = 0; round < 20; round++) {
    await folder.apply(remove("10.1.0.2"), add(real("10.1.0.3")));
    await folder.apply(remove("10.1.0.3"), add(real("10.1.0.2")));
  }
  const [found] = folder.plane.read().services;
  assert.deepEqual(
    found?.realServers.map(({ address }) => address),
    ["10.1.0.1", "10.1.0.2"],
  );
  const maps = openMaps(folder.native, folder.bpffs, false);
  const [record] = maps.services.readRange(1, 1);
  assert.ok((record?.tree_leaves ?? 0) <= 4, `${record?.tree_leaves} leaves for two real servers`);
  maps.close();
  assert.equal(folder.connect(), "10.1.0.2");
  assert.equal(folder.connect(), "10.1.0.1");
});

test("a real server that was taken away comes back with its connections' counts", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(addService(service("wlc")), add(real("10.1.0.1")), add(real("10.1.0.2")));
  assert.equal(folder.connect({ source: "198.51.100.1", sourcePort: 5000 }), "10.1.0.2");
  const before = folder.plane.statistics().services[0];
  await folder.apply(remove("10.1.0.2"));
  assert.equal(folder.plane.statistics().services[0]?.packets, before?.packets);
  assert.equal([...folder.plane.connections({ realServer: "10.1.0.2" })].length, 1);
  await folder.open();
  await folder.apply(add(real("10.1.0.2")));
  const [, again] = folder.plane.statistics().services[0]?.realServers ?? [];
  assert.equal(again?.realServer.address, "10.1.0.2");
  assert.equal(again?.active, 1);
  assert.equal(again?.packets, 1n);
  assert.equal(folder.connect(), "10.1.0.1");
});

test("the counters of a real server that is gone stay with its service", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")));
  folder.connect({ source: "198.51.100.1", sourcePort: 5000, flags: "S" });
  const before = folder.plane.statistics().services[0];
  assert.equal(before?.connections, 1n);
  await folder.apply(remove("10.1.0.1"));
  // What the sweep does when the connection has expired.
  const maps = openMaps(folder.native, folder.bpffs, true);
  maps.loads.write(1, { active: 0, inactive: 0, persistent: 0, weight: 0 });
  const stop = new AbortController();
  const running = folder.plane.run(stop.signal);
  await until("the real server's id", () => maps.realServers.read(1).family === 0);
  stop.abort();
  await running;
  maps.close();
  const { connections, packets, bytes } = folder.plane.statistics().services[0] ?? {};
  assert.deepEqual([connections, packets, bytes], [before?.connections, before?.packets, before?.bytes]);
});

test("a service that is gone is not served, and its id is free once its connections have ended", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")));
  assert.equal(folder.connect(), "10.1.0.1");
  await folder.apply(removeService());
  assert.equal(folder.connect(), "verdict 2");
  assert.deepEqual(folder.plane.read().services, []);
  await folder.open();
  assert.deepEqual(folder.plane.read().services, []);
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")));
  assert.equal(folder.connect(), "10.1.0.1");
  const [again] = folder.plane.statistics().services;
  assert.deepEqual([again?.connections, again?.realServers[0]?.active], [1n, 2]);
});

test("live connections outlast a restart and a new program", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")), add(real("10.1.0.2")));
  const clients = Array.from({ length: 50 }, (_, index) => ({ source: "198.51.100.9", sourcePort: 3000 + index }));
  const before = clients.map((client) => folder.connect(client));
  const key = openMaps(folder.native, folder.bpffs, false);
  const secret = key.settings.read(0).key;
  key.close();
  const old = folder.native.programInfo(folder.native.programOpenPinned(join(folder.bpffs, "director")));
  await folder.open();
  assert.ok(folder.plane.adopted);
  const now = folder.native.programInfo(folder.native.programOpenPinned(join(folder.bpffs, "director")));
  assert.notEqual(now.id, old.id);
  assert.deepEqual(
    clients.map((client) => folder.send({ ...client, flags: "A" })),
    before,
  );
  const again = openMaps(folder.native, folder.bpffs, false);
  assert.deepEqual(again.settings.read(0).key, secret);
  again.close();
  const { tick } = { tick: () => folder.plane.statistics().table.sweepPasses };
  const passes = tick();
  await until("the new program's sweep", () => tick() > passes);
});

test("a half-finished change of a daemon that died is finished by the next one", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")), add(real("10.1.0.2")));
  // The ring does not know of the second one, and a service has lost its slot.
  const maps = openMaps(folder.native, folder.bpffs, true);
  const [record] = maps.services.readRange(1, 1);
  assert.ok(record !== undefined);
  maps.services.write(1, { ...record, ring_length: 1 });
  maps.services.write(7, { ...record, port: 8080, ring_segments: 0, ring_length: 0, spread_length: 0 });
  maps.close();
  await folder.open();
  const fates = new Set(Array.from({ length: 4 }, () => folder.connect()));
  assert.deepEqual([...fates].sort(), ["10.1.0.1", "10.1.0.2"]);
  assert.deepEqual(
    folder.plane.read().services.map(({ identity }) => printIdentity(identity)),
    ["tcp:10.10.10.53:80"],
  );
});

test("the hash of a table's connections stays the same, whatever services come", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  const ftp: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.53", port: 21 };
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")), add(real("10.1.0.2")));
  const client = { source: "198.51.100.1", sourcePort: 5000 };
  const went = folder.connect(client);
  const persistent = { ...service("rr", ftp), persistence: { timeout: 300, prefix: 32 } };
  await folder.apply(addService(persistent), add(real("10.1.0.3"), ftp));
  await folder.open();
  assert.equal(folder.send({ ...client, flags: "A" }), went);
  const maps = openMaps(folder.native, folder.bpffs, false);
  assert.equal(maps.settings.read(0).tuple_hash, 1);
  maps.close();
});

/** Its connections lie where the hash of before layout 6 puts them. */
function makeOlderTable(folder: PlaneFolder): void {
  const maps = openMaps(folder.native, folder.bpffs, true);
  maps.settings.write(0, { ...maps.settings.read(0), tuple_hash: 0 });
  maps.close();
}

/** The maps as they are pinned by xlb of layout 5, which placed services otherwise; of 4 trees had another form and name. */
function makeOlder(folder: PlaneFolder, version: 4 | 5): void {
  const maps = openMaps(folder.native, folder.bpffs, true);
  const { service_slots: size, service_slots_used: used, ...settings } = maps.settings.read(0);
  maps.settings.write(0, { ...settings, layout_version: version, service_slots: used, service_slots_used: size });
  // In another order.
  const table = folder.native.mapOpenPinned(mapPath(folder.bpffs, "service_slots"));
  const memory = new Uint8Array(folder.native.mapMemory(table, true));
  const { size: slotSize } = layout.serviceSlot;
  const slots = Array.from({ length: size }, (_, place) => memory.slice((size + place) * slotSize).slice(0, slotSize));
  for (const [place, slot] of slots.reverse().entries()) memory.set(slot, (size + place) * slotSize);
  folder.native.mapClose(table);
  if (version === 4) {
    // Weights to 65535 were not wide.
    maps.services.write(1, { ...maps.services.read(1), flags: 0 });
    renameSync(mapPath(folder.bpffs, "trees"), join(folder.bpffs, "maps", "tree_nodes"));
    rmSync(mapPath(folder.bpffs, "untracked_lines"));
  }
  maps.close();
}

for (const version of [4, 5] as const) {
  test(`maps of layout ${version} are taken over, with their connections`, options, async () => {
    const folder = new PlaneFolder();
    await folder.open();
    makeOlderTable(folder);
    const dns: ServiceIdentity = { kind: "address", protocol: "udp", address: "10.10.10.53", port: 53 };
    await folder.apply(addService(service("wlc")), add(real("10.1.0.1", 60_000)), add(real("10.1.0.2", 60_000)));
    await folder.apply(add(real("10.1.0.3", 60_000)), addService(service("rr", dns)), add(real("10.1.0.1"), dns));
    const client = { source: "198.51.100.1", sourcePort: 5000 };
    assert.deepEqual(
      [folder.connect(client), folder.connect(), folder.connect(), folder.connect()],
      ["10.1.0.3", "10.1.0.2", "10.1.0.1", "10.1.0.3"],
    );
    makeOlder(folder, version);
    assert.equal(openXdpReader(folder.bpffs, folder.native).read().services.length, 2);
    await folder.open();
    assert.equal(folder.send({ ...client, flags: "A" }), "10.1.0.3");
    assert.deepEqual([folder.connect(), folder.connect()], ["10.1.0.2", "10.1.0.1"]);
    const maps = openMaps(folder.native, folder.bpffs, false);
    const settings = maps.settings.read(0);
    assert.deepEqual([settings.layout_version, settings.service_slots_used], [layout.LAYOUT_VERSION, 2]);
    assert.equal(settings.tuple_hash, 0, "connections stay where they are");
    assert.ok(((maps.services.read(1).flags ?? 0) & layout.serviceFlag.SERVICE_WIDE_WEIGHTS) !== 0);
    const untracked = folder.native.mapOpenPinned(mapPath(folder.bpffs, "untracked_lines"));
    assert.equal(folder.native.mapInfo(untracked).maxEntries, maps.connections.size / layout.SLOTS_PER_LINE);
    folder.native.mapClose(untracked);
    maps.close();
    assert.ok(!existsSync(join(folder.bpffs, "maps", "tree_nodes")));
  });
}

test("maps of another layout are refused by name, and left alone", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  const settings = folder.native.mapOpenPinned(mapPath(folder.bpffs, "settings"));
  new Uint32Array(folder.native.mapMemory(settings, true))[0] = 99;
  folder.native.mapClose(settings);
  await assert.rejects(folder.open(), new RegExp(`layout version 99, this xlb has ${layout.LAYOUT_VERSION}`));
  assert.throws(
    () => openXdpReader(folder.bpffs, folder.native),
    new RegExp(`layout version 99, this xlb reads ${layout.LAYOUT_VERSION}`),
  );
  assert.equal(folder.native.mapInfo(folder.native.mapOpenPinned(mapPath(folder.bpffs, "settings"))).maxEntries, 1);
});

test("a reader says so when no director is running, and reads one without its daemon", options, async () => {
  const folder = new PlaneFolder();
  assert.throws(() => openXdpReader(folder.bpffs, folder.native), NotRunningError);
  await folder.open();
  await folder.apply(addService(service("wlc")), add(real("10.1.0.1")));
  folder.connect({ source: "198.51.100.9", sourcePort: 3000 });
  folder.plane.close();
  const reader = openXdpReader(folder.bpffs, folder.native);
  assert.deepEqual(reader.read().services[0]?.realServers, [real("10.1.0.1")]);
  const [connection] = reader.connections({ client: "198.51.100.0/24", state: "SYN_RECV" });
  assert.ok(connection !== undefined);
  const { expiresIn, ...rest } = connection;
  assert.deepEqual(rest, {
    identity: web,
    client: "198.51.100.9",
    clientPort: 3000,
    virtualAddress: "10.10.10.53",
    virtualPort: 80,
    realServer: "10.1.0.1",
    realPort: 80,
    state: "SYN_RECV",
    template: false,
  });
  assert.ok(expiresIn > 50 && expiresIn <= 60, `expires in ${expiresIn} s`);
  assert.deepEqual([...reader.connections({ client: "198.51.101.0/24" })], []);
  assert.deepEqual([...reader.connections({ realServer: "10.1.0.1:81" })], []);
  const statistics = reader.statistics();
  assert.equal(statistics.services[0]?.realServers[0]?.nextHop, "02:00:0a:01:00:01 on lo");
  assert.equal(statistics.table.size, 2 ** 14);
  reader.close();
});

test("a persistence template is listed with its network", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(
    addService(service("rr", web, { persistence: { timeout: 300, prefix: 24 } })),
    add(real("10.1.0.1")),
    add(real("10.1.0.2")),
  );
  const first = folder.connect({ source: "198.51.100.9" });
  assert.equal(folder.connect({ source: "198.51.100.77" }), first);
  const [template] = [...folder.plane.connections({})].filter((connection) => connection.template);
  assert.equal(template?.client, "198.51.100.0");
  assert.equal(template?.state, "NONE");
  assert.ok((template?.expiresIn ?? 0) > 290);
  assert.equal(
    folder.plane.statistics().services[0]?.realServers.reduce((sum, { persistent }) => sum + persistent, 0),
    1,
  );
});

test("connections of IPv6 clients are listed with their whole addresses", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  const ipv6: ServiceIdentity = { kind: "address", protocol: "tcp", address: "fd00::53", port: 80 };
  await folder.apply(addService(service("wlc", ipv6)), add(real("fd00:1::2"), ipv6));
  folder.send({ source: "2001:db8:1:2:3:4:5:6", sourcePort: 3000, destination: "fd00::53", flags: "S" });
  const [connection] = folder.plane.connections({ service: ipv6, client: "2001:db8:1::/48" });
  assert.equal(connection?.client, "2001:db8:1:2:3:4:5:6");
  assert.equal(connection?.virtualAddress, "fd00::53");
  assert.equal(connection?.realServer, "fd00:1::2");
});

test("a service for all ports is found behind one with the port", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  const any: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.53", port: 0 };
  assert.equal(folder.connect({ destinationPort: 81 }), "verdict 2");
  await folder.apply(
    addService(service("rr")),
    add(real("10.1.0.1")),
    addService({ ...service("rr", any), persistence: { timeout: 300, prefix: 32 } }),
    add(real("10.1.0.2", 1, 0), any),
  );
  assert.equal(folder.connect({ destinationPort: 81 }), "10.1.0.2");
  assert.equal(folder.connect(), "10.1.0.1");
  await folder.apply(removeService(any));
  assert.equal(folder.connect({ destinationPort: 81 }), "verdict 2");
});

test("next hops follow the network, and each move is told once", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  const other: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.54", port: 80 };
  folder.network.resolutions.set("10.1.0.1", { kind: "unresolved", reason: "no answer" });
  await folder.apply(
    addService(service("rr")),
    add(real("10.1.0.1")),
    addService(service("rr", other)),
    add(real("10.1.0.1"), other),
  );
  assert.deepEqual(folder.network.watched, ["10.1.0.1"]);
  assert.equal(folder.plane.statistics().services[0]?.realServers[0]?.nextHop, "unresolved");
  const stop = new AbortController();
  const running = folder.plane.run(stop.signal);
  const moveTo = (host: number) => {
    const mac = Uint8Array.from([2, 0, 10, 9, 9, host]);
    const hop = { ifindex: 1, vlan: 0, mtu: 1500, sourceMac: mac, mac };
    folder.network.resolutions.set("10.1.0.1", { kind: "resolved", hop });
    folder.network.changed();
    return until("the next hop", () => folder.connect() === `10.9.9.${host}`);
  };
  await moveTo(1);
  assert.equal(folder.connect({ destination: "10.10.10.54" }), "10.9.9.1");
  await moveTo(2);
  folder.network.resolutions.set("10.1.0.1", { kind: "unresolved", reason: "no answer" });
  folder.network.changed();
  await until("the loss", () => folder.log.some((line) => line.includes("lost")));
  await moveTo(3);
  assert.deepEqual(
    folder.log.filter((line) => line.includes("the way to")),
    [
      "the way to real server 10.1.0.1 has changed: MAC 02:00:0a:09:09:01 by interface 1 -> MAC 02:00:0a:09:09:02 by interface 1",
      "the way to real server 10.1.0.1 is lost: no answer",
      "the way to real server 10.1.0.1 is found again: MAC 02:00:0a:09:09:03 by interface 1",
    ],
  );
  folder.network.resolutions.set("10.1.0.1", { kind: "local" });
  folder.network.changed();
  await until("the local one", () => folder.connect() === "verdict 2");
  assert.equal(folder.plane.statistics().services[0]?.realServers[0]?.nextHop, "local");
  stop.abort();
  await running;
});

test("own addresses and outgoing interfaces are known to the data path", options, async () => {
  const folder = new PlaneFolder();
  folder.network.own = ["10.10.10.52", "10.10.10.53", "fd00::52"];
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")));
  const maps = openMaps(folder.native, folder.bpffs, false);
  const own = () =>
    [...readSlots(maps)].filter(
      ({ slot: { kind } }) =>
        kind === layout.serviceSlotKind.SERVICE_SLOT_OWN_IPV4 || kind === layout.serviceSlotKind.SERVICE_SLOT_OWN_IPV6,
    ).length;
  assert.equal(own(), 3);
  assert.equal(folder.native.mapKeys(maps.redirectPorts).readUInt32LE(0), 1);
  folder.network.own = ["10.10.10.53"];
  await folder.open();
  assert.equal(own(), 1);
  maps.close();
});

test("what the plane cannot do it refuses, change by change", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  const mark: ServiceIdentity = { kind: "mark", mark: 7, family: "ipv4" };
  const results = await folder.plane.apply([
    addService(service("rr")),
    addService(service("rr", mark)),
    add(real("10.1.0.1"), { ...web, port: 82 } as ServiceIdentity),
    edit(real("10.1.0.1")),
    remove("10.1.0.1"),
    add(real("10.1.0.2")),
  ]);
  assert.deepEqual(
    results.map(({ error }) => error?.message ?? ""),
    [
      "",
      "XDP does not see firewall marks",
      "there is no service tcp:10.10.10.53:82",
      "tcp:10.10.10.53:80 has no real server 10.1.0.1:80",
      "",
      "",
    ],
  );
  assert.equal(folder.connect(), "10.1.0.2");
});

test("a scheduler can be changed while packets come", options, async () => {
  const folder = new PlaneFolder();
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")), add(real("10.1.0.2")));
  for (const scheduler of ["wlc", "wrr", "lblc", "rr"] as const) {
    await folder.apply(editService(service(scheduler)));
    assert.equal(folder.plane.read().services[0]?.scheduler, scheduler);
    assert.match(folder.connect(), /^10\.1\.0\.[12]$/);
  }
});

test("1,000 services with 10 real servers each are applied in a few seconds", options, async (context) => {
  const folder = new PlaneFolder({ ringMembers: 2 ** 21, treeNodes: 2 ** 20 });
  await folder.open();
  const changes = Array.from({ length: 1000 }, (_, index) => {
    const of: ServiceIdentity = {
      kind: "address",
      protocol: "tcp",
      address: `10.10.${index >> 8}.${index & 255}`,
      port: 80,
    };
    const scheduler = (["rr", "wrr", "wlc", "lblc"] as const)[index % 4] ?? "rr";
    return [
      addService(service(scheduler, of)),
      ...Array.from({ length: 10 }, (_, host) =>
        add(real(`10.${20 + host}.${index >> 8}.${index & 255}`, 1 + host), of),
      ),
    ];
  }).flat();
  const measure = async (name: string, work: () => unknown) => {
    const watch = new Stopwatch();
    await work();
    const used = watch.usedMs();
    context.diagnostic(`${name}: ${used.toFixed(0)} ms of a processor`);
    assert.ok(used < 10_000, `${name} took ${used} ms of a processor`);
  };
  await measure("apply 11,000 changes", () => folder.apply(...changes));
  await measure("read", () => folder.plane.read());
  await measure("statistics", () => folder.plane.statistics());
  await measure("restart over them", () => folder.open());
  assert.equal(folder.plane.read().services.length, 1000);
  await measure("quiesce 1,000 real servers", () =>
    folder.apply(
      ...changes
        .filter((change) => change.kind === "add-real-server" && change.realServer.weight === 10)
        .map((change) =>
          change.kind === "add-real-server" ? edit({ ...change.realServer, weight: 0 }, change.identity) : change,
        ),
    ),
  );
  await measure("remove all", () =>
    folder.apply(
      ...changes.flatMap((change) => (change.kind === "add-service" ? removeService(change.service.identity) : [])),
    ),
  );
  assert.deepEqual(folder.plane.read().services, []);
});

test("listing two million slots takes well under a second", options, async (context) => {
  const folder = new PlaneFolder({ tableSlots: 2 ** 21 });
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")));
  for (let client = 0; client < 1000; client++) folder.connect();
  const watch = new Stopwatch();
  const found = [...folder.plane.connections({})].length;
  const used = watch.usedMs();
  context.diagnostic(`${used.toFixed(0)} ms of a processor for 2^21 slots`);
  assert.equal(found, 1000);
  assert.ok(used < 1000, `${used} ms of a processor`);
});

test("an interface that is gone before its event is told has not refused the program", options, async () => {
  const folder = new PlaneFolder();
  const gone = { name: "gone0", ifindex: 2 ** 30, mac: macOf("10.0.0.1"), mtu: 1500, addresses: [] };
  folder.network.present = [{ ...gone, up: true, running: true, loopback: false }];
  await folder.open();
  await folder.apply(addService(service("rr")), add(real("10.1.0.1")));
  assert.deepEqual(folder.plane.interfaces(), []);
  assert.deepEqual(
    folder.log.filter((line) => /gone0|no redirection/.test(line)),
    [],
  );
});
