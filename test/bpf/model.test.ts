import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import fc from "fast-check";
import { frame } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

/**
 * The connection table as one would write it without a thought of speed: every connection an object, every rule a
 * sentence. What real server a new connection gets is the scheduler's affair and taken over from the real table.
 */
interface ModelConnection {
  state: string;
  server: number;
  /** Seconds since its last packet, as far as the table notes them. */
  age: number;
}

const timeouts: Readonly<Record<string, number>> = {
  ESTABLISHED: 900,
  SYN_RECV: 60,
  FIN_WAIT: 120,
  TIME_WAIT: 120,
  CLOSE: 10,
};

/** tcp_state_active() of the kernel's ip_vs_proto_tcp.c. */
const activeStates: ReadonlySet<string> = new Set(["SYN_RECV", "ESTABLISHED"]);

/** The kernel's INPUT-ONLY rows for the states that a client alone can reach. */
const transitions: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  S: {
    SYN_RECV: "SYN_RECV",
    ESTABLISHED: "ESTABLISHED",
    FIN_WAIT: "SYN_RECV",
    TIME_WAIT: "SYN_RECV",
    CLOSE: "SYN_RECV",
  },
  A: {
    SYN_RECV: "ESTABLISHED",
    ESTABLISHED: "ESTABLISHED",
    FIN_WAIT: "FIN_WAIT",
    TIME_WAIT: "TIME_WAIT",
    CLOSE: "CLOSE",
  },
  FA: { SYN_RECV: "TIME_WAIT", ESTABLISHED: "FIN_WAIT", FIN_WAIT: "FIN_WAIT", TIME_WAIT: "TIME_WAIT", CLOSE: "CLOSE" },
  R: { SYN_RECV: "SYN_RECV", ESTABLISHED: "CLOSE", FIN_WAIT: "CLOSE", TIME_WAIT: "CLOSE", CLOSE: "CLOSE" },
};

type Operation =
  | { readonly kind: "packet"; readonly client: number; readonly flags: "S" | "A" | "FA" | "R" }
  | { readonly kind: "wait"; readonly seconds: number }
  | { readonly kind: "remove"; readonly server: number }
  | { readonly kind: "restore"; readonly server: number }
  | { readonly kind: "weight"; readonly server: number; readonly weight: number };

const clients = 12;
const servers = 4;

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({
      kind: fc.constant("packet" as const),
      client: fc.nat(clients - 1),
      flags: fc.constantFrom("S" as const, "A" as const, "A" as const, "FA" as const, "R" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), seconds: fc.constantFrom(1, 7, 33, 95, 500) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove" as const), server: fc.nat(servers - 1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restore" as const), server: fc.nat(servers - 1) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("weight" as const), server: fc.nat(servers - 1), weight: fc.nat(2) }),
  },
);

class Model {
  readonly connections = new Map<number, ModelConnection>();
  readonly available: boolean[] = Array.from({ length: servers }, () => true);
  readonly weights: number[] = Array.from({ length: servers }, () => 1);

  /** What becomes of the packet: goes on to a server, opens a connection, is reset, dropped, or none of ours. */
  packet(
    client: number,
    flags: string,
  ): { kind: "forward"; server: number } | { kind: "open" | "reset" | "drop" | "pass" } {
    const connection = this.connections.get(client);
    if (connection === undefined) return { kind: flags === "S" ? "open" : "pass" };
    const { state, server } = connection;
    const gone = this.available[server] !== true;
    const closed = state === "TIME_WAIT" || state === "CLOSE";
    const holdsItsPort = state === "FIN_WAIT" && this.weights[server] === 0;
    if (flags === "S" && (gone || closed || holdsItsPort)) return { kind: "open" };
    if (gone) {
      if (flags !== "A" && flags !== "FA") return { kind: "drop" };
      this.connections.delete(client);
      return { kind: "reset" };
    }
    const next = transitions[flags]?.[state] ?? state;
    // A tick of an established connection is written every four seconds, others every second.
    const noted = next !== state || connection.age >= (state === "ESTABLISHED" && flags === "A" ? 4 : 1);
    connection.state = next;
    if (noted) connection.age = 0;
    return { kind: "forward", server };
  }

  wait(seconds: number): void {
    for (const [client, connection] of this.connections) {
      connection.age += seconds;
      if (connection.age > (timeouts[connection.state] ?? 0)) this.connections.delete(client);
    }
  }

  count(server: number): { active: number; inactive: number } {
    const all = [...this.connections.values()].filter((connection) => connection.server === server);
    const active = all.filter(({ state }) => activeStates.has(state)).length;
    return { active, inactive: all.length - active };
  }
}

/** One service over a table of its own for each run of the property. */
class Table {
  readonly ids: readonly number[];
  readonly #program: Program;
  readonly #service: number;
  readonly #flags: number;

  constructor(program: Program) {
    this.#program = program;
    const { service, realServers } = program.service({
      scheduler: "wlc",
      realServers: Array.from({ length: servers }, (_, i) => ({ address: `192.168.200.${i + 2}` })),
    });
    this.ids = realServers;
    this.#service = service;
    this.#flags = program.maps.realServers.read(realServers[0] ?? 0).flags;
  }

  start(): void {
    this.#program.reset();
    for (const server of this.ids.keys()) this.setServer(server, true, 1);
  }

  packet(client: number, flags: string): string {
    return this.#program.run(frame({ sourcePort: 2000 + client, flags })).verdict;
  }

  /** Of a client that has a connection. */
  find(client: number): { state: string; server: number } | undefined {
    for (const { index, state, realServer } of this.#program.slots()) {
      if (this.#program.maps.connections.detail(index).client_port === 2000 + client) {
        return { state, server: this.ids.indexOf(realServer) };
      }
    }
    return undefined;
  }

  /** Also what has passed of real time since the last call, which is returned with it. */
  wait(seconds: number): number {
    const before = this.#program.maps.sweep.read(0).tick;
    this.#program.age(seconds);
    this.#program.control.sweep();
    return seconds + this.#program.maps.sweep.read(0).tick - before;
  }

  /** As the control plane does it: weight and tree first, then the flag. */
  setServer(server: number, available: boolean, weight: number): void {
    const id = this.ids[server] ?? 0;
    this.#program.setFlags(id, available ? this.#flags : 0);
    this.#program.setWeight(id, available ? weight : 0, this.#service);
  }

  state(): { connections: string[]; loads: { active: number; inactive: number }[] } {
    const connections = this.#program.slots().map(({ index, state, realServer }) => {
      const port = this.#program.maps.connections.detail(index).client_port;
      return `${port - 2000} ${state} ${this.ids.indexOf(realServer)}`;
    });
    const loads = this.ids.map((id) => {
      const { active, inactive } = this.#program.load(id);
      return { active, inactive };
    });
    return { connections: connections.sort(), loads };
  }
}

const verdictOf = { open: "TX", forward: "TX", reset: "TX", drop: "DROP", pass: "PASS" } as const;

function play(table: Table, operations: readonly Operation[]): void {
  const model = new Model();
  table.start();
  for (const [step, operation] of operations.entries()) {
    switch (operation.kind) {
      case "packet": {
        const { client, flags } = operation;
        const { kind } = model.packet(client, flags);
        const verdict = table.packet(client, flags);
        if (kind === "open") {
          const found = table.find(client);
          // Nobody to choose: an ICMP error goes out, and a connection that ended has ended or rests as it was.
          const nobody = !model.available.some((available, i) => available && (model.weights[i] ?? 0) > 0);
          assert.equal(verdict, "TX", `step ${step}`);
          if (nobody) break;
          assert.equal(found?.state, "SYN_RECV", `step ${step}`);
          assert.ok(model.available[found.server] === true && (model.weights[found.server] ?? 0) > 0, `step ${step}`);
          model.connections.set(client, { ...found, age: 0 });
        } else {
          assert.equal(verdict, verdictOf[kind], `step ${step}: ${JSON.stringify(operation)}`);
        }
        break;
      }
      case "wait":
        model.wait(table.wait(operation.seconds));
        break;
      case "remove":
      case "restore":
        model.available[operation.server] = operation.kind === "restore";
        table.setServer(operation.server, operation.kind === "restore", model.weights[operation.server] ?? 0);
        break;
      case "weight":
        model.weights[operation.server] = operation.weight;
        table.setServer(operation.server, model.available[operation.server] === true, operation.weight);
    }
    const connections = [...model.connections].map(([client, { state, server }]) => `${client} ${state} ${server}`);
    const loads = table.ids.map((_, server) => model.count(server));
    assert.deepEqual(table.state(), { connections: connections.sort(), loads }, `after step ${step}`);
  }
}

describe("the connection table", { skip: cannotRun }, () => {
  it("is what its model is, after any sequence of packets, waits and changed real servers", () => {
    const table = new Table(openProgram());
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 120 }), (operations) => play(table, operations)),
      { numRuns: 60 },
    );
  });

  /** Services of 8 real servers each, for {@link race}. */
  function raceable(tableSlots?: number): Program {
    const program = openProgram(tableSlots);
    const realServers = Array.from({ length: 8 }, (_, i) => ({ address: `192.168.200.${i + 2}` }));
    program.service({ scheduler: "wlc", realServers });
    program.service({
      port: 443,
      realServers,
      persistence: { timeout: 300, netmask: "255.255.255.255" },
    });
    program.repin();
    return program;
  }

  const packets = 60_000;
  async function race(program: Program, seed: number, clients: number, ports = "80,443"): Promise<void> {
    const racer = join(import.meta.dirname, "racer.js");
    const args = [racer, program.pinnedDirector, `${seed}`, `${packets}`, ports, `${clients}`];
    await promisify(execFile)(process.execPath, args);
  }

  /** The counts are those of the slots; and everything ends, templates last. */
  function assertWhole(program: Program): void {
    const slots = program.slots();
    for (let id = 1; id <= 16; id++) {
      const own = slots.filter(({ realServer }) => realServer === id);
      const active = own.filter(({ state }) => activeStates.has(state)).length;
      const persistent = own.filter(({ state }) => state === "TEMPLATE").length;
      const { active: a, inactive, persistent: p } = program.load(id);
      assert.deepEqual([a, inactive, p], [active, own.length - active - persistent, persistent], `real server ${id}`);
    }
    for (let round = 0; round < 3; round++) {
      program.age(4000);
      program.control.sweep();
    }
    assert.deepEqual(program.slots(), []);
    for (let id = 1; id <= 16; id++) {
      const { active, inactive, persistent } = program.load(id);
      assert.deepEqual([active, inactive, persistent], [0, 0, 0], `real server ${id}`);
    }
  }

  it("stays whole when two CPUs open, change and close the same connections at once", async (t) => {
    const program = raceable();
    // The fewer the clients, the more often two CPUs meet in one slot.
    await Promise.all([race(program, 1, 64), race(program, 2, 64)]);
    await Promise.all([race(program, 3, 4), race(program, 4, 4), race(program, 5, 4)]);
    const slots = program.slots();
    t.diagnostic(`${5 * packets} packets, ${slots.length} slots in use`);
    // No connection twice.
    const keys = slots.map(({ index, state }) => {
      const { client, client_port: port, virtual_port: virtual } = program.maps.connections.detail(index);
      return `${state === "TEMPLATE" ? "template" : "connection"} ${client} ${port} ${virtual}`;
    });
    assert.deepEqual(keys.sort(), [...new Set(keys)].sort());
    assertWhole(program);
  });

  it("stays whole when two CPUs displace each other's connections in a flood, beside the sweep", async (t) => {
    const program = raceable(64);
    const over = new AbortController();
    const sweeping = (async () => {
      while (!over.signal.aborted) {
        program.control.sweep();
        await pause(1);
      }
    })();
    // Templates are never displaced: those of few clients only.
    await race(program, 1, 4);
    await Promise.all([race(program, 2, 400, "80"), race(program, 3, 400, "80")]);
    await Promise.all([race(program, 4, 60, "80"), race(program, 5, 60, "80")]);
    over.abort();
    await sweeping;
    const { victim_half_open: displaced } = program.counters();
    t.diagnostic(`${5 * packets} packets, ${displaced} half-open connections displaced`);
    assert.ok(displaced > 1000n);
    assertWhole(program);
  });
});
