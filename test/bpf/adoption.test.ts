import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { listConnections } from "../../src/dataplane/xdp/connections.ts";
import { importConnections } from "../../src/dataplane/xdp/imports.ts";
import { serviceFlag, SLOTS_PER_LINE } from "../../src/dataplane/xdp/layout.generated.ts";
import { readServices, storedKey } from "../../src/dataplane/xdp/stored.ts";
import { printIdentity } from "../../src/model/service.ts";
import type { ServiceIdentity } from "../../src/model/service.ts";
import type { Connection } from "../../src/model/statistics.ts";
import { frame } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program, ServiceSpec } from "./program.ts";

const options = { skip: cannotRun };

function list(program: Program): Connection[] {
  return [...listConnections(program.maps, readServices(program.maps), {})];
}

async function give(program: Program, connections: Iterable<Connection>, replace = true) {
  const ids = new Map(
    readServices(program.maps).map(({ identity, members }) => [
      printIdentity(identity),
      new Map(members.map((member) => [storedKey(member), member.id])),
    ]),
  );
  const idsOf = (identity: ServiceIdentity) => ids.get(printIdentity(identity));
  return await importConnections(program.control, idsOf, connections, { replace });
}

/** What matters of a frame that was forwarded: to whom. */
function destination(program: Program, spec: FrameSpec): string {
  const { verdict, data } = program.run(frame(spec));
  return verdict === "TX" ? data.subarray(0, 6).toString("hex") : verdict;
}

const web: ServiceSpec = { realServers: [{ address: "192.168.200.102" }, { address: "192.168.200.103" }] };
const identity: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.53", port: 80 };
const established: Connection = {
  identity,
  client: "192.0.2.1",
  clientPort: 4000,
  virtualAddress: "10.10.10.53",
  virtualPort: 80,
  realServer: "192.168.200.103",
  realPort: 80,
  state: "ESTABLISHED",
  template: false,
  expiresIn: 900,
};
const packet: FrameSpec = { source: "192.0.2.1", sourcePort: 4000, flags: "A" };

describe("connections of another data plane", options, () => {
  const services: readonly ServiceSpec[] = [
    web,
    { ...web, scheduler: "wlc", port: 81 },
    { ...web, protocol: "udp", port: 53 },
    { ...web, protocol: "sctp", port: 3868 },
    { ...web, port: 443, persistence: { timeout: 300, netmask: "255.255.255.0" } },
    { ...web, port: 0, address: "10.10.10.54", persistence: { timeout: 60, netmask: "255.255.255.255" } },
    { address: "fd00:53::1", realServers: [{ address: "fd00:200::1" }, { address: "fd00:200::2" }] },
    {
      address: "fd00:53::2",
      realServers: [{ address: "fd00:200::1" }, { address: "fd00:200::2" }],
      persistence: { timeout: 100, netmask: "ffff:ffff:ffff:ffff::" },
    },
  ];

  it("become the slots, details, links and counts that packets would have made", async () => {
    const program = openProgram(4096);
    const ids = services.flatMap((service) => program.service(service).realServers);
    const flows: FrameSpec[] = [];
    for (let host = 1; host <= 40; host++) {
      const source = `192.0.2.${host}`;
      for (const destinationPort of [80, 81, 443]) flows.push({ source, destinationPort });
      flows.push({ source, destinationPort: 53, protocol: "udp" });
      flows.push({ source, destinationPort: 1000 + host, destination: "10.10.10.54" });
      for (const to of ["fd00:53::1", "fd00:53::2"]) flows.push({ source: `2001:db8::${host}`, destination: to });
    }
    for (const flow of flows) destination(program, flow);
    // Half of the TCP ones go on, a few end. Of datagrams nobody can tell whether one came or more.
    for (const [index, flow] of flows.entries()) {
      if (flow.protocol === "udp") {
        destination(program, flow);
        continue;
      }
      if (index % 2 === 0) destination(program, { ...flow, flags: "A" });
      if (index % 8 === 0) destination(program, { ...flow, flags: "FA" });
    }
    program.age(7);
    const before = { list: list(program), slots: program.slots(), loads: ids.map((id) => program.load(id)) };
    assert.ok(before.list.some(({ template }) => template));
    assert.ok(new Set(before.list.map(({ state }) => state)).size >= 5);
    program.reset();
    const order = [...before.list].sort((a, b) => Number(b.template) - Number(a.template));
    const report = await give(program, order);
    assert.deepEqual(report, { taken: before.list.length, strange: 0, homeless: 0 });
    const key = (connection: Connection) => JSON.stringify(connection);
    assert.deepEqual(list(program).map(key).sort(), before.list.map(key).sort());
    assert.deepEqual(
      ids.map((id) => program.load(id)),
      before.loads,
    );
    // A template's tick is of no use.
    const shape = (slots: typeof before.slots) =>
      slots.map(({ index, state, realServer, age }) =>
        [Math.floor(index / SLOTS_PER_LINE), state, realServer, state === "TEMPLATE" ? 0 : age].join(),
      );
    assert.deepEqual(shape(program.slots()).sort(), shape(before.slots).sort());
    // None of them is a new connection, and none is opened twice.
    for (const flow of flows) destination(program, { ...flow, flags: "A" });
    assert.equal(program.slots().length, before.slots.length);
    // Everything ends: links let their templates go.
    program.age(1000);
    program.control.sweep();
    program.control.sweep();
    program.control.sweep();
    assert.deepEqual(program.slots(), []);
    for (const id of ids) assert.deepEqual(program.load(id), { active: 0, inactive: 0, persistent: 0, weight: 1 });
  });

  it("go on at their real server, packet by packet, and are not counted as new ones", async () => {
    const program = openProgram();
    const { realServers } = program.service(web);
    assert.equal(destination(program, packet), "PASS", "in mid-flow nobody knows it");
    await give(program, [established]);
    for (let i = 0; i < 3; i++) assert.equal(destination(program, packet), "020000000102");
    assert.deepEqual(program.load(realServers[1] ?? 0), { active: 1, inactive: 0, persistent: 0, weight: 1 });
    assert.equal(program.maps.counters.sum(realServers[1] ?? 0).connections, 0n);
    destination(program, { ...packet, flags: "FA" });
    assert.deepEqual(
      program.slots().map(({ state }) => state),
      ["FIN_WAIT"],
    );
  });

  it("keep what is left of their time, also when they have rested for long", async () => {
    const program = openProgram();
    const { realServers } = program.service(web);
    await give(program, [{ ...established, expiresIn: 10 }]);
    program.age(9);
    program.control.sweep();
    assert.equal(program.slots().length, 1);
    program.age(3);
    program.control.sweep();
    assert.equal(program.slots().length, 0);

    // It has rested since long before the machine was started.
    const timeout = program.maps.settings.read(0).timeout.with(1, 0x70000000);
    program.set({ timeout });
    await give(program, [{ ...established, expiresIn: 100 }]);
    assert.deepEqual(
      program.slots().map(({ state }) => state),
      ["ESTABLISHED_IDLE"],
    );
    assert.equal(list(program)[0]?.expiresIn, 100);
    assert.deepEqual(program.load(realServers[1] ?? 0), { active: 1, inactive: 0, persistent: 0, weight: 1 });
    program.ageIdle(99);
    program.control.sweep();
    assert.equal(program.slots().length, 1);
    program.ageIdle(3);
    program.control.sweep();
    assert.deepEqual(program.slots(), []);
    assert.deepEqual(program.load(realServers[1] ?? 0), { active: 0, inactive: 0, persistent: 0, weight: 1 });
  });

  it("that are here already become as given, or stay as they are", async () => {
    const program = openProgram();
    const { realServers } = program.service({ ...web, scheduler: "wlc" });
    await give(program, [established]);
    const closing = { ...established, state: "FIN_WAIT", expiresIn: 100 };
    assert.equal((await give(program, [closing], false)).taken, 1);
    assert.equal(program.slots()[0]?.state, "ESTABLISHED");
    await give(program, [closing]);
    assert.deepEqual(program.load(realServers[1] ?? 0), { active: 0, inactive: 1, persistent: 0, weight: 1 });
    await give(program, [{ ...established, realServer: "192.168.200.102" }]);
    assert.deepEqual(
      realServers.map((id) => program.load(id)),
      [
        { active: 1, inactive: 0, persistent: 0, weight: 1 },
        { active: 0, inactive: 0, persistent: 0, weight: 1 },
      ],
    );
    assert.equal(program.slots().length, 1);
    // The tree has seen each step: the other one is the next.
    assert.equal(destination(program, { ...packet, sourcePort: 1, flags: "S" }), "020000000102");
  });

  it("are left out, and counted so, without a real server, a service or a state of their protocol", async () => {
    const program = openProgram();
    program.service(web);
    const report = await give(program, [
      { ...established, realServer: "192.168.200.199" },
      { ...established, identity: { ...identity, port: 81 } },
      { ...established, identity: { kind: "mark", mark: 7, family: "ipv4" } },
      { ...established, state: "S-SENT" },
      established,
    ]);
    assert.deepEqual(report, { taken: 1, strange: 4, homeless: 0 });
    assert.equal(program.slots().length, 1);
  });

  it("for which a full table has no room displace no live one, and are counted so", async () => {
    const program = openProgram(16);
    program.service(web);
    const many = Array.from({ length: 24 }, (_, index) => ({ ...established, clientPort: 1000 + index }));
    assert.deepEqual(await give(program, many), { taken: 16, strange: 0, homeless: 8 });
    assert.equal(program.slots().length, 16);
  });

  it("by a template keep it alive, and let it go when they end", async () => {
    const program = openProgram();
    const { realServers } = program.service({ ...web, persistence: { timeout: 100, netmask: "255.255.255.0" } });
    const template = {
      ...established,
      client: "192.0.2.0",
      clientPort: 0,
      state: "NONE",
      template: true,
      expiresIn: 1,
    };
    await give(program, [template, established]);
    const real = realServers[1] ?? 0;
    assert.deepEqual(program.load(real), { active: 1, inactive: 0, persistent: 1, weight: 1 });
    program.age(50);
    program.control.sweep();
    assert.equal(program.load(real).persistent, 1, "its connection holds it");
    assert.equal(destination(program, { ...packet, source: "192.0.2.99", flags: "S" }), "020000000102");
    program.age(2000);
    program.control.sweep();
    program.control.sweep();
    assert.deepEqual(program.load(real), { active: 0, inactive: 0, persistent: 0, weight: 1 });
  });
});

describe("a template that was taken over", options, () => {
  it("has proved itself, and gives way to no flood", async () => {
    const program = openProgram(16);
    program.service({ ...web, persistence: { timeout: 100, netmask: "255.255.255.255" } });
    await give(program, [{ ...established, clientPort: 0, state: "NONE", template: true, expiresIn: 90 }]);
    for (let host = 1; host <= 250; host++) program.run(frame({ ...packet, source: `198.51.100.${host}`, flags: "S" }));
    assert.ok(program.counters().victim_half_open > 200n);
    const kept = list(program).filter(({ template, client }) => template && client === established.client);
    assert.deepEqual(
      kept.map(({ realServer }) => realServer),
      [established.realServer],
    );
  });
});

describe("a service that goes to another plane", options, () => {
  it("leaves new connections to the stack, while those that are here go on", async () => {
    const program = openProgram();
    const { service } = program.service(web);
    await give(program, [established]);
    const record = program.maps.services.read(service);
    program.maps.services.write(service, { ...record, flags: record.flags | serviceFlag.SERVICE_LEAVING });
    assert.equal(destination(program, packet), "020000000102");
    assert.equal(destination(program, { ...packet, sourcePort: 1, flags: "S" }), "PASS");
    assert.equal(destination(program, { ...packet, sourcePort: 1, flags: "A" }), "PASS");
    // A port that is used again: its old slot must not catch the new connection's packets.
    destination(program, { ...packet, flags: "R" });
    assert.equal(destination(program, { ...packet, flags: "S" }), "PASS");
    assert.equal(destination(program, { ...packet, flags: "A" }), "PASS");
    assert.deepEqual(program.slots(), []);
    program.maps.services.write(service, record);
    assert.match(destination(program, { ...packet, sourcePort: 1, flags: "S" }), /^0200000001/);
  });
});
