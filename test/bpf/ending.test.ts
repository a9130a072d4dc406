import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checksum, frame } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

/** An established connection whose real server was taken away, and no other one left; in a program that is new. */
function orphan(spec: FrameSpec = {}, program: Program = openProgram()): { program: Program; gone: number } {
  const address = spec.destination ?? "10.10.10.53";
  const ipv6 = address.includes(":");
  const { realServers, service } = program.service({
    address,
    realServers: [{ address: ipv6 ? "2001:db8:1::2" : "192.168.200.102" }],
  });
  const gone = realServers[0] ?? 0;
  program.run(frame(spec));
  program.run(frame({ ...spec, flags: "A" }));
  assert.equal(program.load(gone).active, 1);
  program.setWeight(gone, 0, service);
  program.setFlags(gone, 0);
  return { program, gone };
}

interface Reset {
  readonly source: string;
  readonly destination: string;
  readonly ports: readonly [number, number];
  readonly sequence: number;
  readonly flags: number;
}

/** Reads a RST and verifies every checksum in it. */
function readReset(data: Buffer, l2 = 14): Reset {
  const ipv6 = data.readUInt8(l2) >> 4 === 6;
  const header = ipv6 ? 40 : 20;
  const [from, to] = ipv6 ? [l2 + 8, l2 + 24] : [l2 + 12, l2 + 16];
  const size = ipv6 ? 16 : 4;
  const tcp = data.subarray(l2 + header, l2 + header + 20);
  const length = ipv6 ? data.readUInt16BE(l2 + 4) : data.readUInt16BE(l2 + 2) - 20;
  assert.equal(length, 20);
  if (!ipv6) assert.equal(checksum(data.subarray(l2, l2 + 20)), 0, "IPv4 checksum");
  const tail = Buffer.from([0, 0, 0, 20, 0, 0, 0, 6]);
  assert.equal(checksum(data.subarray(from, to + size), tail, tcp), 0, "TCP checksum");
  return {
    source: data.subarray(from, from + size).toString("hex"),
    destination: data.subarray(to, to + size).toString("hex"),
    ports: [tcp.readUInt16BE(0), tcp.readUInt16BE(2)],
    sequence: tcp.readUInt32BE(4),
    flags: tcp[13] ?? 0,
  };
}

/** A TCP segment with an acknowledgement number of its own, checksum right. */
function acknowledging(spec: FrameSpec, acknowledgement: number): Buffer {
  const bytes = frame({ ...spec, flags: "A" });
  const tcp = bytes.length - 20 - (spec.payload?.length ?? 0);
  bytes.writeUInt32BE(acknowledgement, tcp + 8);
  const old = bytes.readUInt16BE(tcp + 16);
  bytes.writeUInt16BE(checksum(Buffer.from([~old >> 8, ~old]), bytes.subarray(tcp + 8, tcp + 12)), tcp + 16);
  return bytes;
}

describe("a connection whose real server was taken away", { skip: cannotRun }, () => {
  it("ends by a RST with the sequence number that the client expects", () => {
    const { program, gone } = orphan();
    const { verdict, data } = program.run(acknowledging({ payload: Buffer.from("hello!!") }, 0xcafe0001));
    assert.equal(verdict, "TX");
    assert.equal(data.subarray(0, 12).toString("hex"), "020000000002020000000001");
    assert.deepEqual(readReset(data), {
      source: "0a0a0a35",
      destination: "c0000201",
      ports: [80, 40000],
      sequence: 0xcafe0001,
      flags: 4,
    });
    assert.deepEqual(program.slots(), []);
    assert.equal(program.load(gone).active, 0);
    assert.equal(program.counters().reset_real_server_gone, 1n);
    assert.equal(program.run(frame({ flags: "A" })).verdict, "PASS", "what comes after it is the stack's");
  });

  it("ends likewise over IPv6, with VLAN tags, with IP options, and with segments of any length", () => {
    const ipv6 = { source: "2001:db8::1", destination: "2001:db8::53" };
    const { program } = orphan(ipv6);
    const six = program.run(acknowledging({ ...ipv6, payload: Buffer.alloc(1400, 7) }, 5));
    assert.equal(six.verdict, "TX");
    assert.equal(readReset(six.data).sequence, 5);
    program.renew();
    orphan({}, program);
    const options = program.run(acknowledging({ options: [1, 1, 1, 1] }, 6));
    assert.equal(readReset(options.data).sequence, 6);
    for (const length of [1, 2, 3, 491, 492, 493, 1004, 1460]) {
      program.renew();
      orphan({}, program);
      const { verdict, data } = program.run(acknowledging({ payload: Buffer.alloc(length, length) }, length));
      assert.equal(verdict, "TX", `${length} bytes`);
      assert.equal(readReset(data).sequence, length);
      assert.ok(data.length <= 60);
    }
  });

  it("is never answered when the segment is not sound", () => {
    const broken = acknowledging({ payload: Buffer.from("hello") }, 1);
    broken.writeUInt8((broken.at(-1) ?? 0) ^ 1, broken.length - 1);
    const segments: readonly Buffer[] = [broken, frame({ flags: "" }), frame({ flags: "RA" }), frame({ flags: "P" })];
    const program = openProgram();
    for (const segment of segments) {
      program.renew();
      orphan({}, program);
      assert.equal(program.run(segment).verdict, "DROP");
      assert.equal(program.counters().drop_real_server_gone, 1n);
      assert.equal(program.slots().length, 1);
    }
  });

  it("is not answered by a fragment, nor more often than allowed, nor when that is off", () => {
    const { program } = orphan();
    assert.equal(program.run(frame({ flags: "A", fragment: 0x2000, payload: Buffer.alloc(12) })).verdict, "DROP");
    program.renew();
    orphan({}, program);
    program.set({ resets_per_second: 0 });
    assert.equal(program.run(frame({ flags: "A" })).verdict, "DROP");
    program.renew();
    const { realServers, service } = program.service({ realServers: [{ address: "192.168.200.102" }] });
    const ports = Array.from({ length: 20 }, (_, i) => 2000 + i);
    for (const sourcePort of ports) program.run(frame({ sourcePort }));
    program.setWeight(realServers[0] ?? 0, 0, service);
    program.setFlags(realServers[0] ?? 0, 0);
    program.set({ resets_per_second: 5 });
    for (const sourcePort of ports) program.run(frame({ sourcePort, flags: "A" }));
    const { reset_real_server_gone, drop_real_server_gone } = program.counters();
    // Each CPU has a limit of its own.
    assert.ok(reset_real_server_gone >= 5n && reset_real_server_gone <= 10n, String(reset_real_server_gone));
    assert.equal(reset_real_server_gone + drop_real_server_gone, 20n);
  });

  it("that speaks UDP moves to another real server at once", () => {
    const program = openProgram();
    const { realServers, service } = program.service({
      protocol: "udp",
      realServers: [{ address: "192.168.200.102" }, { address: "192.168.200.103" }],
    });
    const datagram = frame({ protocol: "udp" });
    program.run(datagram);
    const gone = program.slots()[0]?.realServer ?? 0;
    program.setWeight(gone, 0, service);
    program.setFlags(gone, 0);
    program.maps.ringMembers.write(0, Uint32Array.from(realServers.map((id) => (id === gone ? 3 - gone : id))));
    assert.equal(program.run(datagram).verdict, "TX");
    assert.deepEqual(
      program.slots().map(({ realServer }) => realServer),
      realServers.filter((id) => id !== gone),
    );
    assert.equal(program.load(gone).inactive, 0);
  });
});
