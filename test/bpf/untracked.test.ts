import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { frame } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program, ServiceSpec } from "./program.ts";

/** The smallest table. */
const slots = 16;

/** A TCP service beside datagrams that fill the table, and a SYN that has found no slot. */
function withoutSlot(spec: Partial<ServiceSpec> = {}): Story {
  const program = openProgram(slots);
  const servers = [{ address: "192.168.200.102" }, { address: "192.168.200.103" }];
  const { realServers } = program.service({ realServers: servers, ...spec });
  program.service({ protocol: "udp", port: 53, realServers: [{ address: "192.168.200.104" }] });
  for (let port = 1; program.slots().length < slots; port++) {
    // Of a single one it would take the place.
    for (let i = 0; i < 2; i++) program.run(frame({ protocol: "udp", sourcePort: port, destinationPort: 53 }));
  }
  const client = { source: "198.51.100.7" };
  const syn = program.run(frame(client));
  assert.equal(syn.verdict, "TX");
  return {
    program,
    realServers,
    send: (flags) => {
      const { verdict, data } = program.run(frame({ ...client, flags }));
      if (verdict === "TX") assert.deepEqual(data.subarray(0, 6), syn.data.subarray(0, 6));
      return verdict;
    },
  };
}

interface Story {
  readonly program: Program;
  readonly realServers: readonly number[];
  /** Another segment of the connection: where it goes is where the SYN went. Returns the verdict. */
  send(flags: string): string;
}

describe("a TCP connection without a slot", { skip: cannotRun }, () => {
  it("goes on when there is room again, and gets a slot by its next segments", () => {
    const { program, realServers, send } = withoutSlot();
    assert.equal(send("A"), "TX");
    program.age(301);
    program.control.sweep();
    assert.deepEqual(program.slots(), []);
    // What ends it needs no slot.
    assert.deepEqual(["R", "FA"].map(send), ["TX", "TX"]);
    assert.deepEqual(program.slots(), []);
    for (const state of ["SYN_RECV", "ESTABLISHED"]) {
      assert.equal(send("A"), "TX");
      const [slot, ...rest] = program.slots();
      assert.deepEqual(rest, []);
      assert.equal(slot?.state, state);
      assert.deepEqual(realServers.map((id) => program.load(id).active).sort(), [0, 1]);
    }
    assert.equal(program.counters().forward_untracked, 4n);
  });

  it("may rest as long as any, and no longer", () => {
    for (const [rest, more] of [
      [900, {}],
      [400, { idleTimeout: 400 }],
    ] as const) {
      const { program, send } = withoutSlot(more);
      program.age(301);
      program.control.sweep();
      program.age(rest - 301 - 20);
      assert.equal(send("R"), "TX");
      program.age(rest - 20);
      assert.equal(send("R"), "TX");
      program.age(rest + 1);
      assert.deepEqual(["R", "A"].map(send), ["PASS", "PASS"]);
      assert.deepEqual(program.slots(), []);
    }
  });
});
