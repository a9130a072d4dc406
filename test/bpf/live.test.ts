import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { frame } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { cannotRun, directorMac, ingress, openProgram } from "./program.ts";
import type { Program, RealServerSpec } from "./program.ts";

/** A source port a real server, so that each has live connections of both protocols and families. */
const realServers: readonly (Omit<RealServerSpec, "address"> & { readonly name: string })[] = [
  { name: "a neighbour" },
  { name: "one behind a VLAN", vlan: 9 },
  { name: "one behind an interface that frames cannot leave by", ifindex: 77 },
  { name: "one with a narrow way", mtu: 60 },
  { name: "one on this machine", local: true },
  { name: "one without a next hop", resolved: false },
  { name: "one behind a tunnel", method: "ipip" },
  { name: "a masqueraded one", method: "masq" },
  { name: "a fellow director", fellow: true, mac: "02:00:00:00:01:01" },
];

const families = [
  { name: "IPv4", real: "192.168.200.102", virtual: "10.10.10.53", source: "198.51.100.7" },
  { name: "IPv6", real: "fd00:200::102", virtual: "fd00:53::1", source: "2001:db8::7" },
] as const;

/**
 * A program with one service for each real server, family and protocol. `long`: another interface lies in the first
 * place of the ingress interface, so that every packet takes the long way.
 */
function openWith(long: boolean): Program {
  const program = openProgram();
  if (long) {
    program.interface(ingress + 256, 0, "02:00:00:00:00:77");
    program.maps.interfaces.write((ingress * 31 + 1) & 255, {
      ifindex: ingress,
      vlan: 0,
      mac: Uint8Array.from(directorMac.split(":"), (byte) => parseInt(byte, 16)),
      mtu: 1500,
    });
  }
  for (const [index, realServer] of realServers.entries()) {
    for (const { real, virtual } of families) {
      for (const protocol of ["tcp", "udp"] as const) {
        program.service({
          address: virtual,
          port: 80 + index,
          protocol,
          realServers: [{ ...realServer, address: real }],
        });
      }
    }
  }
  return program;
}

/** An IPv4 ICMP error's identification counts those of the CPU that it was made on, and that may be any. */
function withoutIdentification(data: Buffer): Buffer {
  const isError = data.length >= 34 && data.readUInt16BE(12) === 0x0800 && data[14] === 0x45 && data[23] === 1;
  return isError ? Buffer.from(data).fill(0, 18, 20).fill(0, 24, 26) : data;
}

/** What a packet has left behind; slots are compared without their places, which the secret of each table decides. */
function trace(program: Program, bytes: Uint8Array): object {
  const { verdict, data } = program.run(bytes);
  const ids = realServers.flatMap((_, index) => [1, 2, 3, 4].map((nth) => 4 * index + nth));
  return {
    verdict,
    data: withoutIdentification(data).toString("hex"),
    counters: program.counters(),
    packets: ids.map((id) => program.packets(id)),
    bytes: ids.map((id) => program.maps.counters.sum(id).bytes),
    loads: ids.map((id) => program.load(id)),
    slots: program
      .slots()
      .map(({ state, realServer, age }) => `${realServer} ${state} ${age < 30 ? "fresh" : "old"}`)
      .sort(),
  };
}

describe("a packet of a live connection", { skip: cannotRun }, () => {
  const short = openWith(false);
  const long = openWith(true);

  function same(bytes: Uint8Array): void {
    const expected = trace(long, bytes);
    assert.deepEqual(trace(short, bytes), expected);
  }

  function open(spec: FrameSpec): void {
    if (spec.protocol === "tcp") same(frame({ ...spec, flags: "S" }));
    same(frame({ ...spec, flags: "A" }));
  }

  for (const [index, { name }] of realServers.entries()) {
    for (const family of families) {
      for (const protocol of ["tcp", "udp"] as const) {
        it(`fares the same by the short way and the long one: ${family.name}, ${protocol}, to ${name}`, () => {
          const { source, virtual: destination } = family;
          const spec: FrameSpec = { source, destination, destinationPort: 80 + index, protocol, flags: "A" };
          open(spec);
          same(frame(spec));
          same(frame({ ...spec, payload: Buffer.alloc(1400, 7) }));
          same(frame({ ...spec, ttl: 1 }));
          same(frame({ ...spec, ttl: 2 }));
          for (const program of [short, long]) program.age(60);
          same(frame(spec));
        });
      }
    }
  }

  it("fares the same by both ways whatever its bytes are", () => {
    const specs = families.flatMap(({ source, virtual: destination }) =>
      (["tcp", "udp"] as const).map((protocol): FrameSpec => ({ source, destination, protocol, flags: "A" })),
    );
    const change = fc.record({ at: fc.nat(77), value: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.constantFrom(...specs),
        fc.array(change, { maxLength: 2 }),
        fc.integer({ min: -20, max: 40 }),
        (spec, changes, longer) => {
          open(spec);
          const whole = frame({ ...spec, payload: Buffer.alloc(24) });
          const bytes = Buffer.concat([whole, Buffer.alloc(40)]).subarray(0, whole.length + longer);
          for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value;
          same(bytes);
        },
      ),
      { numRuns: 300 },
    );
  });
});
