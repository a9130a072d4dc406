/** Fragments whose first one comes late: what the program gives to user space, and what user space does with it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FragmentAddresses } from "../../src/dataplane/xdp/endpoints.ts";
import { HeldFragments } from "../../src/dataplane/xdp/held-fragments.ts";
import { HELD_FRAME_MAX, fragmentRecord } from "../../src/dataplane/xdp/layout.generated.ts";
import { loadNative } from "../../src/native.ts";
import { waitFor } from "../support/lab.ts";
import { frame } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { cannotRun, ingress, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

const native = loadNative();

const families = {
  IPv4: { virtual: "10.10.10.53", server: "192.168.200.102", client: "10.1.2.3", other: "10.10.10.99" },
  IPv6: { virtual: "fd00:10::53", server: "fd00:200::102", client: "fd00:1::3", other: "fd00:10::99" },
} as const;

/** A fragment of 24 bytes; `at` counts bytes. */
function cut(spec: FrameSpec & { readonly source: string }, id: number, at: number, more: boolean): Buffer {
  if (!spec.source.includes(":")) return frame({ ...spec, id, fragment: (at / 8) | (more ? 0x2000 : 0) });
  const header = [0, 0, at >> 8, (at & 255) | (more ? 1 : 0), 0, 0, id >> 8, id & 255];
  return frame({ ...spec, extensions: [{ type: 44, bytes: header }] });
}

/** `first`, and the `later` one that ends the datagram; of another text for each `tag`. */
function datagram(way: { source: string; destination: string }, ports: Partial<FrameSpec> = {}, tag = 0) {
  const id = ++newest;
  return {
    first: cut({ ...way, protocol: "udp", payload: Buffer.alloc(16, tag), ...ports }, id, 0, true),
    later: cut({ ...way, protocol: 17, transport: Buffer.alloc(24, tag) }, id, 24, false),
  };
}

/** The records in the ring buffer: the frames of those that are held, `first` for those that tell of a first one. */
class Records {
  readonly #ring;

  constructor({ maps }: Program) {
    this.#ring = native.ringOpen(maps.heldFragments);
  }

  read(): ("first" | Buffer)[] {
    return native.ringRead(this.#ring, 10_000).map((record) => {
      const { ifindex, length } = fragmentRecord.decode(record);
      if (ifindex === 0) return "first";
      assert.equal(ifindex, ingress);
      return record.subarray(fragmentRecord.size).subarray(0, length);
    });
  }

  close(): void {
    native.ringClose(this.#ring);
  }
}

/** With a service by gate on port 80 and one by masq to 8080 on port 81. */
function openDirector(family: keyof typeof families): Program {
  const { virtual, server } = families[family];
  const program = openProgram();
  const spec = { address: virtual, protocol: "udp" } as const;
  program.service({ ...spec, port: 80, realServers: [{ address: server }] });
  program.service({ ...spec, port: 81, realServers: [{ address: server, method: "masq", port: 8080 }] });
  new FragmentAddresses(native, program.maps).write([virtual, server]);
  return program;
}

/** As after a start, with so much room; packets of earlier tests have other identifications. */
function start(program: Program, room: number): void {
  program.reset();
  program.set({ fragment_room: room });
}

/** An identification that no packet has had. */
let newest = 0;

for (const family of ["IPv4", "IPv6"] as const) {
  const { virtual, server, client, other } = families[family];
  const way = { source: client, destination: virtual };

  describe(`a later fragment before its first one, ${family}`, { skip: cannotRun }, () => {
    const program = openDirector(family);

    it("is given to user space as it came, and forwarded when it comes again after the first one", () => {
      start(program, 10);
      const records = new Records(program);
      const { first, later } = datagram(way);
      assert.equal(program.run(later).verdict, "DROP");
      assert.deepEqual(records.read(), [later]);
      assert.equal(program.run(first).verdict, "TX");
      assert.deepEqual(records.read(), ["first"]);
      assert.equal(program.run(later).verdict, "TX");
      assert.equal(program.run(first).verdict, "TX");
      assert.deepEqual(records.read(), []);
      const { hold_fragment, forward_fragment, pass_fragment } = program.counters();
      assert.deepEqual([hold_fragment, forward_fragment, pass_fragment], [1n, 3n, 0n]);
      records.close();
    });

    it("tells of a first one only where some wait, and of each packet by itself", () => {
      start(program, 10);
      const records = new Records(program);
      const [a, b] = [datagram(way, {}, 1), datagram(way, {}, 2)];
      for (const each of [a.later, b.later, a.later]) assert.equal(program.run(each).verdict, "DROP");
      assert.equal(program.run(datagram(way).first).verdict, "TX");
      assert.equal(program.run(b.first).verdict, "TX");
      assert.deepEqual(records.read(), [a.later, b.later, a.later, "first"]);
      assert.equal(program.run(a.first).verdict, "TX");
      assert.deepEqual(records.read(), ["first"]);
      records.close();
    });

    it("is the stack's where user space has no room, so that a flood ends there", () => {
      start(program, 128);
      const records = new Records(program);
      const verdicts = Array.from({ length: 250 }, () => program.run(datagram(way).later).verdict);
      assert.equal(verdicts.filter((verdict) => verdict === "DROP").length, 128);
      assert.equal(verdicts.filter((verdict) => verdict === "PASS").length, 122);
      assert.equal(records.read().length, 128);
      const { hold_fragment, pass_fragment } = program.counters();
      assert.deepEqual([hold_fragment, pass_fragment], [128n, 122n]);
      records.close();
    });

    it("is the stack's if it is of nobody's address, of ICMP, or too long to be kept", () => {
      start(program, 10);
      const records = new Records(program);
      const long = { ...way, protocol: 17, transport: Buffer.alloc(HELD_FRAME_MAX) };
      const icmp = { ...way, protocol: family === "IPv6" ? 58 : 1, transport: Buffer.alloc(24) };
      assert.equal(program.run(datagram({ ...way, destination: other }).later).verdict, "PASS");
      assert.equal(program.run(cut(icmp, ++newest, 24, false)).verdict, "PASS");
      assert.equal(program.run(cut(long, ++newest, 24, false)).verdict, "PASS");
      assert.deepEqual(records.read(), []);
      assert.equal(program.counters().pass_fragment, 3n);
      records.close();
    });

    it("follows a first one that is the stack's", () => {
      start(program, 10);
      const records = new Records(program);
      const elsewhere = { destinationPort: 9 };
      const before = datagram(way, elsewhere);
      assert.equal(program.run(before.first).verdict, "PASS");
      assert.equal(program.run(before.later).verdict, "PASS");
      assert.deepEqual(records.read(), []);
      const after = datagram(way, elsewhere);
      assert.equal(program.run(after.later).verdict, "DROP");
      assert.equal(program.run(after.first).verdict, "PASS");
      assert.deepEqual(records.read(), [after.later, "first"]);
      assert.equal(program.run(after.later).verdict, "PASS");
      records.close();
    });

    it("waits also if it is a masqueraded real server's reply, or a packet that is none", () => {
      start(program, 10);
      const records = new Records(program);
      assert.equal(
        program.run(frame({ ...way, protocol: "udp", sourcePort: 4000, destinationPort: 81 })).verdict,
        "TX",
      );
      const back = { source: server, destination: client };
      const reply = datagram(back, { sourcePort: 8080, destinationPort: 4000 });
      assert.equal(program.run(reply.later).verdict, "DROP");
      program.run(reply.first);
      assert.deepEqual(records.read(), [reply.later, "first"]);
      assert.equal(program.counters().forward_fragment, 1n);
      program.run(reply.later);
      assert.equal(program.counters().forward_fragment, 2n);
      // By a port of its own, past the service.
      const own = datagram(back, { sourcePort: 8080, destinationPort: 4001 });
      assert.equal(program.run(own.first).verdict, "PASS");
      assert.equal(program.run(own.later).verdict, "PASS");
      assert.deepEqual(records.read(), []);
      records.close();
    });
  });

  describe(`held fragments, ${family}`, { skip: cannotRun }, () => {
    const program = openDirector(family);

    /** With what the program would meet again, in place of the interface. */
    function hold() {
      const met: Buffer[] = [];
      program.repin();
      const handle = native.programOpenPinned(program.pinnedDirector);
      const receive = (_: unknown, bytes: Uint8Array, ifindex: number): void => {
        assert.equal(ifindex, ingress);
        met.push(Buffer.from(bytes));
        program.run(bytes);
      };
      const held = new HeldFragments({
        native: { ...native, programReceive: receive },
        maps: program.maps,
        program: handle,
        log: { warn: (message) => assert.fail(message) },
      });
      const close = (): void => {
        held.close();
        native.programClose(handle);
      };
      return { held, met, close };
    }

    it("come again when the first one has come, in the order of their arrival", async () => {
      start(program, 0);
      const { held, met, close } = hold();
      held.accept(true);
      const { first } = datagram(way);
      const later = [1, 2, 3].map((tag) =>
        cut({ ...way, protocol: 17, transport: Buffer.alloc(24, tag) }, newest, 24, false),
      );
      for (const each of [...later, first]) program.run(each);
      await waitFor("the three", () => met.length === 3);
      assert.deepEqual(met, later);
      assert.equal(program.counters().forward_fragment, 4n);
      close();
    });

    it("are the stack's when the first one has not come in time, and those behind them, too", async () => {
      start(program, 0);
      const { held, met, close } = hold();
      held.accept(true);
      const { first, later } = datagram(way);
      program.run(later);
      await waitFor("the end of its time", () => met.length === 1);
      assert.equal(program.run(later).verdict, "PASS");
      assert.equal(program.counters().pass_fragment, 2n);
      assert.equal(program.run(first).verdict, "TX");
      assert.equal(program.run(later).verdict, "TX");
      close();
    });

    it("are given up at the end, and what a reader that was killed has left is taken over", () => {
      start(program, 2);
      const [a, b] = [datagram(way, {}, 1), datagram(way, {}, 2)];
      program.run(a.later);
      program.run(b.later);
      program.run(b.first);
      const { met, close } = hold();
      close();
      assert.deepEqual(met, [b.later, a.later]);
      const { pass_fragment, forward_fragment } = program.counters();
      assert.deepEqual([pass_fragment, forward_fragment], [1n, 2n]);
      assert.equal(program.run(datagram(way).later).verdict, "PASS", "nobody makes room");
    });

    it("have room again when the interval is over, until they are told not to come", async () => {
      start(program, 0);
      const { held, close } = hold();
      held.accept(true);
      const next = () => program.run(datagram(way).later).verdict;
      const flood = Array.from({ length: 150 }, next);
      assert.equal(flood.filter((verdict) => verdict === "DROP").length, 128);
      await waitFor("room", () => next() === "DROP");
      held.accept(false);
      assert.equal(next(), "PASS");
      close();
    });
  });
}

describe("addresses of fragments", { skip: cannotRun }, () => {
  const { maps } = openProgram();

  it("are written as they differ, also from those of an earlier daemon", () => {
    const keys = () => native.mapKeys(maps.fragmentAddresses).length / 16;
    const addresses = new FragmentAddresses(native, maps);
    addresses.write(["10.10.10.53", "fd00:10::53", "10.10.10.53"]);
    assert.equal(keys(), 2);
    new FragmentAddresses(native, maps).write(["fd00:10::53", "10.10.10.54"]);
    assert.equal(keys(), 2);
    new FragmentAddresses(native, maps).write([]);
    assert.equal(keys(), 0);
  });
});
