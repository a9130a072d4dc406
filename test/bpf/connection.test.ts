import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { listConnections } from "../../src/dataplane/xdp/connections.ts";
import { freshKey } from "../../src/dataplane/xdp/load.ts";
import { serviceSlotKind, SLOTS_PER_LINE } from "../../src/dataplane/xdp/layout.generated.ts";
import { readServices } from "../../src/dataplane/xdp/stored.ts";
import { frame } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program, ServiceSpec } from "./program.ts";

function oneService(tableSlots?: number, more: object = {}): { program: Program; real: number; other: number } {
  const program = openProgram(tableSlots);
  const { realServers } = program.service({
    realServers: [{ address: "192.168.200.102" }, { address: "192.168.200.103" }],
    ...more,
  });
  return { program, real: realServers[1] ?? 0, other: realServers[0] ?? 0 };
}

/** The states of net/netfilter/ipvs/ip_vs_proto_tcp.c that a one-way connection meets, by the flags sent. */
const histories: readonly { readonly flags: readonly string[]; readonly state: string; readonly active: number }[] = [
  { flags: ["S"], state: "SYN_RECV", active: 1 },
  { flags: ["S", "S"], state: "SYN_RECV", active: 1 },
  { flags: ["S", "R"], state: "SYN_RECV", active: 1 },
  { flags: ["S", "A"], state: "ESTABLISHED", active: 1 },
  { flags: ["S", "PA"], state: "ESTABLISHED", active: 1 },
  { flags: ["S", "A", "S"], state: "ESTABLISHED", active: 1 },
  { flags: ["S", "A", "FA"], state: "FIN_WAIT", active: 0 },
  { flags: ["S", "A", "FA", "A"], state: "FIN_WAIT", active: 0 },
  { flags: ["S", "A", "FA", "S"], state: "SYN_RECV", active: 1 },
  { flags: ["S", "A", "R"], state: "CLOSE", active: 0 },
  { flags: ["S", "A", "RA", "A"], state: "CLOSE", active: 0 },
  { flags: ["S", "A", "FA", "R"], state: "CLOSE", active: 0 },
  { flags: ["S", "FA"], state: "TIME_WAIT", active: 0 },
  { flags: ["S", "FA", "A"], state: "TIME_WAIT", active: 0 },
  { flags: ["S", "P"], state: "CLOSE", active: 0 },
  { flags: ["S", "A", ""], state: "CLOSE", active: 0 },
];

describe("the state of a connection", { skip: cannotRun }, () => {
  for (const { flags, state, active } of histories) {
    it(`is ${state} after ${flags.map((letters) => letters || "no flags").join(", ")}`, () => {
      const { program, real } = oneService();
      for (const letters of flags) assert.equal(program.run(frame({ flags: letters })).verdict, "TX");
      const [slot, ...rest] = program.slots();
      assert.deepEqual(rest, []);
      assert.equal(slot?.state, state);
      assert.equal(slot?.realServer, real);
      const load = program.load(real);
      assert.equal(load.active, active);
      assert.equal(load.inactive, 1 - active);
      assert.equal(program.packets(real), BigInt(flags.length));
    });
  }

  for (const { flags, state } of histories) {
    // Linux before autumn 2026 takes the first of these headers for TCP's.
    it(`is ${state} after ${flags.map((letters) => letters || "no flags").join(", ")} behind IPv6 extension headers`, () => {
      const { program } = oneService(undefined, {
        address: "fd00:53::1",
        realServers: [{ address: "fd00:200::1" }],
      });
      const spec = {
        source: "2001:db8::1",
        destination: "fd00:53::1",
        extensions: [
          { type: 51, bytes: [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1] },
          { type: 43, bytes: [0, 0, 4, 0, 0, 0, 0, 0] },
        ],
      };
      for (const letters of flags) assert.equal(program.run(frame({ ...spec, flags: letters })).verdict, "TX");
      assert.deepEqual(
        program.slots().map((slot) => slot.state),
        [state],
      );
    });
  }

  it("of UDP is one, and inactive", () => {
    const program = openProgram();
    const { realServers } = program.service({ protocol: "udp", realServers: [{ address: "192.168.200.102" }] });
    for (let i = 0; i < 3; i++) program.run(frame({ protocol: "udp" }));
    assert.deepEqual(
      program.slots().map(({ state }) => state),
      ["UDP"],
    );
    assert.deepEqual(program.load(realServers[0] ?? 0), { active: 0, inactive: 1, persistent: 0, weight: 1 });
  });

  it("is not touched by a packet whose TCP header is cut short, which is forwarded", () => {
    const { program } = oneService();
    program.run(frame());
    const short = frame({ transport: Buffer.from([0x9c, 0x40, 0, 80, 1, 2, 3, 4]) });
    assert.equal(program.run(short).verdict, "TX");
    assert.equal(program.slots()[0]?.state, "SYN_RECV");
  });
});

describe("a connection", { skip: cannotRun }, () => {
  it("keeps its real server whatever comes and goes", () => {
    const { program } = oneService();
    for (let port = 1000; port < 1050; port++) program.run(frame({ sourcePort: port }));
    const before = new Map(program.slots().map(({ index, realServer }) => [index, realServer]));
    for (let port = 1000; port < 1050; port++) program.run(frame({ sourcePort: port, flags: "A" }));
    assert.deepEqual(new Map(program.slots().map(({ index, realServer }) => [index, realServer])), before);
  });

  it("goes on when its real server is quiescent, which gets no new ones", () => {
    const { program, real } = oneService(1024, { scheduler: "wlc" });
    const used = program.run(frame()).data.subarray(0, 6).toString("hex");
    program.setWeight(real, 0, 1);
    assert.equal(
      program
        .run(frame({ flags: "A" }))
        .data.subarray(0, 6)
        .toString("hex"),
      used,
    );
    for (let port = 1000; port < 1010; port++) {
      assert.notEqual(
        program
          .run(frame({ sourcePort: port }))
          .data.subarray(0, 6)
          .toString("hex"),
        used,
      );
    }
  });

  it("in TIME_WAIT or CLOSE makes room for a new one by the next SYN", () => {
    for (const last of ["FA", "P"]) {
      const { program, real, other } = oneService();
      program.run(frame());
      program.run(frame({ flags: last }));
      program.run(frame());
      const [slot, ...rest] = program.slots();
      assert.deepEqual(rest, []);
      assert.equal(slot?.state, "SYN_RECV");
      assert.equal(slot?.realServer, other, "round robin has moved on");
      assert.deepEqual(program.load(real), { active: 0, inactive: 0, persistent: 0, weight: 1 });
      assert.deepEqual(program.load(other), { active: 1, inactive: 0, persistent: 0, weight: 1 });
    }
  });

  it("expires when its state's time is over, and gives its counts back", () => {
    const { program, real, other } = oneService();
    program.run(frame({ sourcePort: 1 }));
    program.run(frame({ sourcePort: 2 }));
    program.run(frame({ sourcePort: 2, flags: "A" }));
    program.age(50);
    program.control.sweep();
    assert.equal(program.slots().length, 2, "60 s are not over yet");
    program.age(12);
    program.control.sweep();
    assert.deepEqual(
      program.slots().map(({ state }) => state),
      ["ESTABLISHED"],
    );
    assert.equal(program.load(real).active, 0);
    assert.equal(program.load(other).active, 1);
    program.age(840);
    program.control.sweep();
    assert.deepEqual(program.slots(), []);
    assert.equal(program.load(other).active, 0);
    assert.equal(program.counters().expired, 2n);
  });

  it("lives on with every packet", () => {
    const { program } = oneService();
    program.run(frame());
    program.run(frame({ flags: "A" }));
    for (let i = 0; i < 10; i++) {
      program.age(890);
      program.control.sweep();
      program.run(frame({ flags: "A" }));
    }
    assert.equal(program.slots()[0]?.age, 0);
  });
});

describe("a full table", { skip: cannotRun }, () => {
  const slots = 16;

  /** Fills both lines with connections in one state. */
  function fill(program: Program, flags: readonly string[]): void {
    for (let port = 1; program.slots().length < slots; port++) {
      for (const letters of flags) program.run(frame({ sourcePort: port, flags: letters }));
    }
  }

  it("never gives up an established connection: the new one is forwarded without a slot, always the same way", () => {
    const { program } = oneService(slots);
    fill(program, ["S", "A"]);
    const before = program.slots();
    const syn = program.run(frame({ source: "198.51.100.7" }));
    assert.equal(syn.verdict, "TX");
    const ack = program.run(frame({ source: "198.51.100.7", flags: "A" }));
    assert.equal(ack.verdict, "TX");
    assert.deepEqual(ack.data.subarray(0, 6), syn.data.subarray(0, 6));
    assert.deepEqual(program.slots(), before);
    assert.equal(program.counters().forward_untracked, 2n);
  });

  it("gives up half open connections, the oldest first", () => {
    const { program } = oneService(slots);
    fill(program, ["S"]);
    program.age(5);
    const kept = program.slots();
    program.run(frame({ source: "198.51.100.7" }));
    program.run(frame({ source: "198.51.100.8" }));
    assert.equal(program.slots().filter(({ age }) => age >= 5).length, kept.length - 2);
    assert.equal(program.counters().victim_half_open, 2n);
  });

  it("leaves to chance which goes of those that came in the same second", () => {
    for (const swept of [false, true]) {
      const { program } = oneService(slots);
      fill(program, ["S"]);
      // It knows that it is full, and takes this for a flood.
      if (swept) program.control.sweep();
      const rounds = 200;
      let there = 0;
      for (let round = 0; round < rounds; round++) {
        const mine = frame({ source: "198.51.100.7", sourcePort: 1000 + round, flags: "S" });
        program.run(mine);
        // In its place or, likelier, in one of fifteen others.
        program.run(frame({ source: "198.51.100.8", sourcePort: 1000 + round, flags: "S" }));
        const { expired, victim_half_open: before } = program.counters();
        program.run(mine);
        if (program.counters().victim_half_open === before) there++;
        assert.equal(expired, 0n);
      }
      assert.ok(there > rounds * 0.75, `${there} of ${rounds} outlived the next SYN`);
    }
  });

  it("gives up closing connections before half open ones, and expired ones before both", () => {
    const { program } = oneService(slots);
    fill(program, ["S"]);
    const [first, second] = [1, 2];
    program.run(frame({ sourcePort: first, flags: "A" }));
    program.run(frame({ sourcePort: first, flags: "FA" }));
    program.run(frame({ source: "198.51.100.7" }));
    assert.equal(program.counters().victim_closing, 1n);
    program.age(59);
    for (let port = 1; port < 40; port++) if (port !== second) program.run(frame({ sourcePort: port, flags: "A" }));
    program.age(2);
    program.run(frame({ source: "198.51.100.9" }));
    assert.equal(program.counters().victim_expired, 1n);
  });

  it("takes a few half-open connections for no flood, and gives up closing ones", () => {
    const { program } = oneService(slots);
    for (let port = 1; port <= 3; port++) program.run(frame({ sourcePort: port }));
    for (let port = 4; port <= slots; port++) {
      for (const flags of ["S", "A", "FA"]) program.run(frame({ sourcePort: port, flags }));
    }
    program.control.sweep();
    program.run(frame({ source: "198.51.100.7" }));
    const { victim_closing, victim_half_open } = program.counters();
    assert.deepEqual({ victim_closing, victim_half_open }, { victim_closing: 1n, victim_half_open: 0n });
  });

  it("that is not crowded yet gives up none, even where all are half open", () => {
    const { program } = oneService(slots);
    for (let port = 1; port <= slots; port++) {
      program.run(frame({ sourcePort: port }));
      if (port === (slots * 3) / 4) program.control.sweep();
    }
    assert.equal(program.slots().length, slots);
    assert.equal(program.counters().victim_half_open, 0n);
  });

  it("in a flood has each in the line that the short way looks in, and gives up half-open ones alone", () => {
    const { program, real, other } = oneService(1024);
    const established = 200;
    for (const flags of ["S", "A"]) {
      for (let port = 1000; port < 1000 + established; port++) program.run(frame({ sourcePort: port, flags }));
    }
    function flood(client: number): void {
      for (let port = 1000; port < 10_000; port++) {
        program.run(frame({ source: `198.51.100.${client}`, sourcePort: port }));
      }
    }
    flood(1);
    assert.ok(program.slots().some(({ displaced }) => displaced));
    program.control.sweep();
    flood(2);
    flood(3);
    const kept = program.slots();
    assert.equal(kept.filter(({ state }) => state === "ESTABLISHED").length, established);
    // Lines of which established connections have more than half are as they were.
    assert.ok(kept.filter(({ displaced }) => displaced).length < kept.length / 50);
    for (const id of [real, other]) {
      assert.equal(program.load(id).active, kept.filter(({ realServer }) => realServer === id).length);
      assert.equal(program.load(id).inactive, 0);
    }
  });

  it("keeps counts that are the sum of its slots", () => {
    const { program, real, other } = oneService(slots);
    for (let round = 0; round < 400; round++) {
      const flags = ["S", "A", "FA", "R"][round % 7] ?? "S";
      program.run(frame({ sourcePort: 1 + (round % 53), flags }));
    }
    for (const id of [real, other]) {
      const mine = program.slots().filter(({ realServer }) => realServer === id);
      const active = mine.filter(({ state }) => state === "ESTABLISHED" || state === "SYN_RECV").length;
      assert.equal(program.load(id).active, active);
      assert.equal(program.load(id).inactive, mine.length - active);
    }
  });
});

describe("a connection of a single datagram", { skip: cannotRun }, () => {
  const client = "198.51.100.7";

  function udpService(tableSlots: number, spec: Partial<ServiceSpec> = {}) {
    const program = openProgram(tableSlots);
    const datagrams = program.service({ protocol: "udp", realServers: [{ address: "192.168.200.102" }], ...spec });
    const segments = program.service({ realServers: [{ address: "192.168.200.103" }] });
    const send = (sourcePort: number, source = client) => program.run(frame({ protocol: "udp", source, sourcePort }));
    const states = () => program.slots().map(({ state }) => state);
    return { program, udp: datagrams.realServers[0] ?? 0, tcp: segments.realServers[0] ?? 0, send, states };
  }

  it("is like any of UDP to who looks, and is one with the second", () => {
    const { program, udp, send, states } = udpService(1024);
    for (const state of ["UDP_NEW", "UDP"]) {
      program.age(10);
      assert.equal(send(5000).verdict, "TX");
      program.age(20);
      assert.deepEqual(states(), [state]);
      const [connection, ...others] = [...listConnections(program.maps, readServices(program.maps), {})];
      assert.deepEqual([connection?.state, connection?.expiresIn, others], ["UDP", 280, []]);
      assert.deepEqual(program.load(udp), { active: 0, inactive: 1, persistent: 0, weight: 1 });
    }
    program.control.sweep();
    assert.equal(program.maps.sweep.read(0).live, 1);
  });

  it("rests as long as any of UDP", () => {
    for (const [seconds, spec] of [
      [300, {}],
      [50, { idleTimeout: 50 }],
    ] as const) {
      const { program, send, states } = udpService(1024, spec);
      send(5000);
      program.age(seconds);
      program.control.sweep();
      assert.deepEqual(states(), ["UDP_NEW"]);
      program.age(1);
      program.control.sweep();
      assert.deepEqual(states(), []);
    }
  });

  for (const swept of [false, true]) {
    it(`gives way in a full table${swept ? " that knows it is" : ""}, and no other of UDP does`, () => {
      const { program, udp, tcp, send } = udpService(64);
      const count = (...wanted: string[]) => program.slots().filter(({ state }) => wanted.includes(state)).length;
      const [assured, others] = [12, 300];
      for (let i = 0; i < 2; i++) for (let port = 1; port <= assured; port++) send(port);
      for (let port = 1000; count("UDP_NEW") < 64 - assured; port++) send(port);
      if (swept) program.control.sweep();
      const before = program.slots();
      const { forward_untracked: untracked } = program.counters();
      for (let port = 3000; port < 3000 + others; port++) send(port);
      assert.deepEqual(program.slots(), before, "datagrams take the place of none");
      assert.equal(program.counters().forward_untracked - untracked, BigInt(others));

      for (let port = 1000; port < 2000; port++) program.run(frame({ source: "203.0.113.9", sourcePort: port }));
      assert.equal(program.counters().forward_untracked - untracked, BigInt(others), "every SYN has a slot");
      assert.deepEqual([count("UDP"), count("UDP_NEW", "SYN_RECV")], [assured, 64 - assured]);
      assert.ok(count("SYN_RECV") > 40, `${count("SYN_RECV")} of ${64 - assured} are of SYNs`);
      assert.deepEqual(program.load(tcp), { active: count("SYN_RECV"), inactive: 0, persistent: 0, weight: 1 });
      assert.equal(program.load(udp).inactive, count("UDP", "UDP_NEW"));
    });
  }
});

describe("the connection table's hash", { skip: cannotRun }, () => {
  /** How many of 128 lines 256 connections lie in. */
  function linesUsed(program: Program, tuple: (value: number) => { source: string; sourcePort?: number }): number {
    for (let value = 0; value < 256; value++) program.run(frame({ sourcePort: 5000, ...tuple(value) }));
    const lines = new Set(program.slots().map(({ index }) => Math.floor(index / SLOTS_PER_LINE)));
    program.reset();
    return lines.size;
  }

  it("spreads clients that follow each other over the lines, whatever the key", () => {
    const { program } = oneService(1024);
    const { key } = program.maps.settings.read(0);
    // Before layout 6 the clients of a network shared 41 lines with this one.
    const weak = [0x7d4a960f4fea4d78n, 0x2dc15d719effb40dn, 0xd7f59e926d96e87an, 0x11ffd1cc51280029n];
    for (const words of [weak, key, ...Array.from({ length: 40 }, freshKey)]) {
      program.set({ key: words });
      for (const tuple of [
        (value: number) => ({ source: `192.0.2.${value}` }),
        (value: number) => ({ source: `192.0.${value}.2` }),
        (value: number) => ({ source: "192.0.2.9", sourcePort: 5000 + value }),
        (value: number) => ({ source: `192.0.2.${value}`, sourcePort: 5000 + value }),
        (value: number) => ({ source: `192.0.2.${1 + (value % 200)}`, sourcePort: 5000 + value }),
      ]) {
        const used = linesUsed(program, tuple);
        // By chance 111, and fewer than 90 with one key of millions.
        assert.ok(used >= 90, `${tuple} ${used} lines with ${words.map((word) => word.toString(16)).join(" ")}`);
      }
    }
  });

  it("is the older one in a table from before layout 6", () => {
    const { program } = oneService(1024);
    const places = (tupleHash: number): number[] => {
      program.set({ tuple_hash: tupleHash });
      for (let port = 1024; port < 1124; port++) program.run(frame({ sourcePort: port }));
      const found = program.slots().map(({ index }) => index);
      for (let port = 1024; port < 1124; port++) program.run(frame({ sourcePort: port, flags: "A" }));
      assert.equal(program.slots().filter(({ state }) => state === "ESTABLISHED").length, 100);
      program.reset();
      return found;
    };
    assert.notDeepEqual(places(0), places(1));
  });
});

describe("a flood at a persistent service", { skip: cannotRun }, () => {
  const slots = 1024;
  const persistence = { timeout: 3600, netmask: "255.255.255.255" };

  function flood(program: Program, from: number, count: number): void {
    for (let i = from; i < from + count; i++) {
      program.run(frame({ source: `198.${18 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}` }));
    }
  }

  function templates(program: Program): number {
    return program.slots().filter(({ state }) => state === "TEMPLATE").length;
  }

  it("leaves no templates behind that take the place of others, and none of those that got through", () => {
    const { program, real, other } = oneService(slots, { persistence });
    const clients = Array.from({ length: 60 }, (_, i) => `192.0.2.${1 + i}`);
    const visit = (source: string) =>
      ["S", "A", "R"].map((flags) => program.run(frame({ source, flags })).data.toString("hex", 0, 6))[0];
    const before = new Map(clients.map((source) => [source, visit(source)]));
    program.age(11);
    program.control.sweep();
    assert.deepEqual([program.slots().length, templates(program)], [clients.length, clients.length]);

    // A first wave fills it, and its connections are forgotten before anyone knows how full it is.
    flood(program, 0, 600);
    program.age(61);
    program.control.sweep();
    for (let i = 0; i < 10; i++) {
      flood(program, 1000 + i * 3000, 3000);
      program.control.sweep();
    }
    flood(program, 100_000, 10_000);
    const { forward_untracked: untracked } = program.counters();
    assert.ok(untracked < 100n, `${untracked} were forwarded without a slot`);
    // Not in the order of the first time, in which turns alone would send them there.
    for (const source of clients.filter((_, i) => i % 3 !== 0)) assert.equal(visit(source), before.get(source), source);
    for (const id of [real, other]) {
      const own = program.slots().filter(({ realServer }) => realServer === id);
      const persistent = own.filter(({ state }) => state === "TEMPLATE").length;
      const active = own.filter(({ state }) => state === "SYN_RECV").length;
      const inactive = own.length - persistent - active;
      assert.deepEqual(program.load(id), { active, inactive, persistent, weight: 1 });
    }
  });

  it("costs a template nobody got through by its place only when there is no other", () => {
    const { program } = oneService(slots, { persistence });
    flood(program, 0, 200);
    program.age(61);
    program.control.sweep();
    assert.deepEqual([program.slots().length, templates(program)], [200, 200], "there is room for all");
    for (let wave = 0; wave < 20; wave++) {
      flood(program, 1000 + wave * 500, 500);
      program.control.sweep();
    }
    assert.deepEqual(
      program.slots().filter(({ age }) => age > 60),
      [],
      "they were in the way of others",
    );
  });

  it("keeps the templates of datagrams, of which nobody can say who got through", () => {
    const program = openProgram(slots);
    const { realServers } = program.service({
      protocol: "udp",
      persistence,
      realServers: [{ address: "192.168.200.102" }],
    });
    program.service({ persistence, realServers: [{ address: "192.168.200.103" }] });
    for (let host = 1; host <= 50; host++) program.run(frame({ source: `192.0.2.${host}`, protocol: "udp" }));
    program.age(301);
    program.control.sweep();
    flood(program, 0, 5000);
    program.control.sweep();
    flood(program, 5000, 5000);
    assert.equal(program.load(realServers[0] ?? 0).persistent, 50);
    const kept = program.slots().filter(({ realServer }) => realServer === realServers[0]);
    assert.deepEqual(new Set(kept.map(({ state }) => state)), new Set(["TEMPLATE"]));
    assert.equal(kept.length, 50);
  });
});

describe("persistence", { skip: cannotRun }, () => {
  const persistence = { timeout: 100, netmask: "255.255.255.0" };

  it("sends a client's network to one real server, by a template that is not a connection", () => {
    const { program } = oneService(1024, { persistence });
    const macs = new Set<string>();
    for (let host = 1; host < 20; host++) {
      macs.add(
        program
          .run(frame({ source: `192.0.2.${host}` }))
          .data.subarray(0, 6)
          .toString("hex"),
      );
    }
    assert.equal(macs.size, 1);
    assert.equal(program.slots().filter(({ state }) => state === "TEMPLATE").length, 1);
    const elsewhere = program
      .run(frame({ source: "192.0.3.1" }))
      .data.subarray(0, 6)
      .toString("hex");
    assert.ok(!macs.has(elsewhere));
  });

  it("outlives its time while a connection of it lives, and goes after", () => {
    const { program, real } = oneService(1024, { persistence });
    program.run(frame());
    program.run(frame({ flags: "A" }));
    program.age(150);
    program.control.sweep();
    assert.equal(program.load(real).persistent, 1);
    program.run(frame({ flags: "R" }));
    program.age(12);
    program.control.sweep();
    program.control.sweep();
    assert.deepEqual(program.slots(), []);
    assert.deepEqual(program.load(real), { active: 0, inactive: 0, persistent: 0, weight: 1 });
  });

  it("holds to a real server of weight 0, but not to one that was taken away", () => {
    const { program, real } = oneService(1024, { persistence });
    const mac = program.run(frame()).data.subarray(0, 6).toString("hex");
    program.setWeight(real, 0);
    assert.equal(
      program
        .run(frame({ sourcePort: 2 }))
        .data.subarray(0, 6)
        .toString("hex"),
      mac,
    );
    program.setFlags(real, 0);
    assert.notEqual(
      program
        .run(frame({ sourcePort: 3 }))
        .data.subarray(0, 6)
        .toString("hex"),
      mac,
    );
    assert.equal(program.load(real).persistent, 0);
  });

  it("works for IPv6 networks", () => {
    const { program } = oneService(1024, {
      address: "fd00:53::1",
      realServers: [{ address: "fd00:200::1" }, { address: "fd00:200::2" }],
      persistence: { timeout: 100, netmask: "ffff:ffff:ffff:ffff::" },
    });
    const to = (source: string) =>
      program
        .run(frame({ source, destination: "fd00:53::1" }))
        .data.subarray(0, 6)
        .toString("hex");
    assert.equal(to("2001:db8::1"), to("2001:db8::ffff"));
    assert.notEqual(to("2001:db8::1"), to("2001:db8:0:1::1"));
  });
});

describe("a service for all ports", { skip: cannotRun }, () => {
  it("serves nobody without persistence, as the kernel", () => {
    const program = openProgram();
    program.service({ port: 0, realServers: [{ address: "192.168.200.102" }] });
    assert.equal(program.run(frame({ destinationPort: 8080 })).verdict, "PASS");
  });

  it("takes any port of its address, and another service of that address takes its own", () => {
    const program = openProgram();
    program.service({
      port: 0,
      persistence: { timeout: 300, netmask: "255.255.255.255" },
      realServers: [{ address: "192.168.200.102", mac: "02:00:00:00:02:01" }],
    });
    program.service({ port: 443, realServers: [{ address: "192.168.200.103", mac: "02:00:00:00:02:02" }] });
    const to = (destinationPort: number) => program.run(frame({ destinationPort })).data.subarray(0, 6).toString("hex");
    assert.equal(to(0), "020000000201");
    assert.equal(to(8080), "020000000201");
    assert.equal(to(443), "020000000202");
  });

  for (const [family, source, address, realServer] of [
    ["IPv4", "192.0.2.9", "10.10.10.53", "192.168.200"],
    ["IPv6", "2001:db8::9", "fd00:53::1", "fd00:200:"],
  ] as const) {
    it(`keeps its connections when a service of one port comes beside it, and that one's end when it goes, ${family}`, () => {
      const program = openProgram();
      const prefix = family === "IPv4" ? "." : ":";
      const { realServers: ofAll } = program.service({
        address,
        port: 0,
        persistence: { timeout: 300, netmask: family === "IPv4" ? "255.255.255.255" : "ffff:ffff:ffff:ffff::" },
        realServers: [{ address: `${realServer}${prefix}102`, mac: "02:00:00:00:02:01" }],
      });
      const send = (sourcePort: number, flags: string) => {
        const spec = { source, destination: address, sourcePort, destinationPort: 443, flags };
        const { verdict, data } = program.run(frame(spec));
        return verdict === "TX" ? data.toString("hex", 0, 6) : verdict;
      };
      for (const flags of ["S", "A"]) assert.equal(send(5000, flags), "020000000201");
      const { service, realServers: ofOne } = program.service({
        address,
        port: 443,
        realServers: [{ address: `${realServer}${prefix}103`, mac: "02:00:00:00:02:02" }],
      });
      for (const flags of ["A", "PA", "S"]) assert.equal(send(5000, flags), "020000000201", flags);
      for (const flags of ["S", "A"]) assert.equal(send(5001, flags), "020000000202", flags);
      const loads = () => [...ofAll, ...ofOne].map((id) => program.load(id).active);
      assert.deepEqual(loads(), [1, 1]);

      // It closes, and the same port opens the next one: by the service that the port has now.
      for (const flags of ["FA", "A"]) assert.equal(send(5000, flags), "020000000201", flags);
      program.age(121);
      program.control.sweep();
      for (const flags of ["S", "A"]) assert.equal(send(5000, flags), "020000000202", flags);
      assert.deepEqual(loads(), [0, 2]);

      // The service goes, and its real server with it: the connections end, and new ones are the other's.
      const { address: words, port, protocol } = program.maps.services.read(service);
      const kind = family === "IPv4" ? serviceSlotKind.SERVICE_SLOT_IPV4 : serviceSlotKind.SERVICE_SLOT_IPV6;
      program.control.deleteService({ address: [...words], port, protocol, kind, service });
      program.setFlags(ofOne[0] ?? 0, 0);
      assert.equal(send(5001, "S"), "020000000201");
      assert.equal(send(5000, "A"), "020000000002", "an RST to the client");
      assert.deepEqual(loads(), [1, 0]);
    });
  }
});
