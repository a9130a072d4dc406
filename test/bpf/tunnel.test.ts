import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { describe, it } from "node:test";
import { addressBytes, checksum, frame, macBytes, routed } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { transportChecksum } from "../support/transport.ts";
import type { Tunnel } from "../../src/model/service.ts";
import { cannotRun, directorMac, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

const v6 = { source: "2001:db8::1", destination: "fd00:53::1" } as const;
const real = { ipv4: "192.168.200.102", ipv6: "fd00:200::102" } as const;
const source = { ipv4: "192.168.200.52", ipv6: "fd00:200::52" } as const;
const realMac = "02:00:00:00:01:01";

type Family = keyof typeof real;

/** IPv4 and IPv6 services, TCP and UDP, whose one real server is reached by a tunnel over `outer`. */
function tunnelTo(outer: Family, tunnel: Partial<Tunnel> = {}, more: object = {}): Program {
  const program = openProgram();
  const realServers = [{ address: real[outer], method: "ipip" as const, mac: realMac, tunnel, ...more }];
  for (const address of ["10.10.10.53", v6.destination]) {
    for (const protocol of ["tcp", "udp"] as const) program.service({ address, protocol, realServers });
  }
  return program;
}

interface Outer {
  readonly ip: Buffer;
  /** Behind the outer IP header. */
  readonly payload: Buffer;
}

/** Takes off the link header and the outer IP header, having checked what is the same in every tunnel. */
function unwrap(data: Buffer, sent: Buffer, outer: Family, link = 14): Outer {
  assert.deepEqual(data.subarray(0, 12), Buffer.concat([macBytes(realMac), macBytes(directorMac)]));
  const ip = data.subarray(link, link + (outer === "ipv4" ? 20 : 40));
  const payload = data.subarray(link + ip.length);
  const inner = sent.subarray(sent.readUInt16BE(12) === 0x8100 ? 18 : 14);
  const innerV6 = (inner[0] ?? 0) >> 4 === 6;
  const tos = innerV6 ? (inner.readUInt16BE(0) >> 4) & 255 : (inner[1] ?? 0);
  const wantedTos = (tos & 3) === 3 ? (tos & ~3) | 2 : tos;
  const ttl = ((innerV6 ? inner[7] : inner[8]) ?? 0) - 1;
  if (outer === "ipv4") {
    assert.equal(data.readUInt16BE(link - 2), 0x0800);
    assert.equal(ip[0], 0x45);
    assert.equal(ip[1], wantedTos);
    assert.equal(ip.readUInt16BE(2), data.length - link);
    const df = innerV6 ? 0 : inner.readUInt16BE(6) & 0x4000;
    assert.equal(ip.readUInt16BE(6), df);
    if (df !== 0) assert.equal(ip.readUInt16BE(4), 0, "no identification with DF");
    assert.equal(ip[8], ttl);
    assert.equal(checksum(ip), 0);
    assert.deepEqual(ip.subarray(12), Buffer.concat([addressBytes(source.ipv4), addressBytes(real.ipv4)]));
  } else {
    assert.equal(data.readUInt16BE(link - 2), 0x86dd);
    assert.equal(ip.readUInt32BE(0), (0x60000000 | (wantedTos << 20)) >>> 0, "the flow label is 0");
    assert.equal(ip.readUInt16BE(4), payload.length);
    assert.equal(ip[7], ttl);
    assert.deepEqual(ip.subarray(8), Buffer.concat([addressBytes(source.ipv6), addressBytes(real.ipv6)]));
  }
  return { ip, payload };
}

/** The packet as it is inside: the TTL one less, else untouched. */
function inside(sent: Buffer): Buffer {
  return routed(sent, realMac, directorMac).subarray(14);
}

const packets: readonly (FrameSpec & { readonly name: string })[] = [
  { name: "a SYN", payload: Buffer.alloc(7, 1) },
  { name: "DSCP and congestion", tos: 0xbb },
  { name: "no DF", fragment: 0, tos: 0x02 },
  { name: "the least TTL", ttl: 2 },
  { name: "UDP", protocol: "udp", payload: Buffer.alloc(33, 2) },
  { name: "IP options", options: [1, 1, 1, 1] },
  { name: "a VLAN tag of priority", vlans: [{ id: 0, priority: 5 }] },
  { name: "a SYN over IPv6", ...v6, tos: 0x2b },
  { name: "UDP over IPv6", ...v6, protocol: "udp", payload: Buffer.alloc(1001, 3) },
  {
    name: "an IPv6 extension header",
    ...v6,
    extensions: [{ type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }],
  },
];

describe("ipip", { skip: cannotRun }, () => {
  for (const outer of ["ipv4", "ipv6"] as const) {
    for (const packet of packets) {
      it(`wraps ${packet.name} into ${outer}`, () => {
        const program = tunnelTo(outer);
        const sent = frame(packet);
        const { verdict, data } = program.run(sent);
        assert.equal(verdict, "TX");
        const { ip, payload } = unwrap(data, sent, outer);
        assert.equal(ip[outer === "ipv4" ? 9 : 6], packet.source === undefined ? 4 : 41);
        assert.equal(payload.toString("hex"), inside(sent).toString("hex"));
      });
    }
  }

  it("leaves with the VLAN tag of the outgoing interface", () => {
    const program = tunnelTo("ipv4", {}, { vlan: 200 });
    const sent = frame();
    const { data } = program.run(sent);
    assert.equal(data.readUInt32BE(12), 0x810000c8);
    assert.deepEqual(unwrap(data, sent, "ipv4", 18).payload, inside(sent));
    const tagged = frame({ vlans: [{ id: 0 }], flags: "A" });
    assert.deepEqual(unwrap(program.run(tagged).data, tagged, "ipv4", 18).payload, inside(tagged));
  });

  it("wraps every fragment by itself, the later ones after the first", () => {
    const program = tunnelTo("ipv4");
    const first = frame({ protocol: "udp", payload: Buffer.alloc(64), fragment: 0x2000, id: 7 });
    const later = frame({ protocol: 17, transport: Buffer.alloc(40, 9), fragment: 9, id: 7 });
    assert.equal(program.run(later).verdict, "PASS");
    for (const sent of [first, later]) {
      assert.deepEqual(unwrap(program.run(sent).data, sent, "ipv4").payload, inside(sent));
    }
    assert.equal(program.counters().forward_fragment, 2n);
  });

  it("counts what it was sent, not what it has sent", () => {
    const program = openProgram();
    const { realServers } = program.service({ realServers: [{ address: real.ipv4, method: "ipip", mac: realMac }] });
    program.run(frame());
    assert.equal(program.packets(realServers[0] ?? 0), 1n);
  });

  it("waits for the address that it sends from", () => {
    const program = tunnelTo("ipv4", {}, { tunnel: { source: "0.0.0.0" } });
    assert.equal(program.run(frame()).verdict, "DROP");
    assert.equal(program.counters().drop_unresolved, 1n);
  });
});

describe("gue", { skip: cannotRun }, () => {
  for (const outer of ["ipv4", "ipv6"] as const) {
    for (const checksumKind of ["none", "full", "remote"] as const) {
      for (const packet of packets) {
        it(`wraps ${packet.name} into UDP over ${outer}, checksum ${checksumKind}`, () => {
          const program = tunnelTo(outer, { type: "gue", port: 6080, checksum: checksumKind });
          const sent = frame(packet);
          const { data } = program.run(sent);
          const { ip, payload } = unwrap(data, sent, outer);
          assert.equal(ip[outer === "ipv4" ? 9 : 6], 17);
          const port = payload.readUInt16BE(0);
          assert.ok(port >= 32768 && port <= 60999, String(port));
          assert.equal(payload.readUInt16BE(2), 6080);
          assert.equal(payload.readUInt16BE(4), payload.length);
          if (checksumKind === "full") assert.equal(transportChecksum(Buffer.concat([ip, payload])), 0);
          else assert.equal(payload.readUInt16BE(6), 0);
          assert.equal(payload.readUInt32BE(8), packet.source === undefined ? 0x00040000 : 0x00290000);
          assert.deepEqual(payload.subarray(12), inside(sent));
        });
      }
    }
  }

  it("takes its source port from the flow, so that flows spread and packets of one stay together", () => {
    const program = tunnelTo("ipv4", { type: "gue", port: 6080 });
    const portOf = (spec: FrameSpec) => program.run(frame(spec)).data.readUInt16BE(34);
    const ports = Array.from({ length: 20 }, (_, i) => portOf({ sourcePort: 1000 + i }));
    assert.ok(new Set(ports).size > 15);
    assert.deepEqual(
      ports,
      Array.from({ length: 20 }, (_, i) => portOf({ sourcePort: 1000 + i, flags: "A" })),
    );
    const first = portOf({ protocol: "udp", payload: Buffer.alloc(64), fragment: 0x2000, id: 7 });
    assert.equal(portOf({ protocol: 17, transport: Buffer.alloc(40), fragment: 9, id: 7 }), first);
  });
});

describe("gre", { skip: cannotRun }, () => {
  for (const outer of ["ipv4", "ipv6"] as const) {
    for (const checksumKind of ["none", "full"] as const) {
      for (const packet of packets) {
        it(`wraps ${packet.name} over ${outer}, checksum ${checksumKind}`, () => {
          const program = tunnelTo(outer, { type: "gre", checksum: checksumKind });
          const sent = frame(packet);
          const { ip, payload } = unwrap(program.run(sent).data, sent, outer);
          assert.equal(ip[outer === "ipv4" ? 9 : 6], 47);
          const full = checksumKind === "full";
          assert.equal(payload.readUInt16BE(0), full ? 0x8000 : 0);
          assert.equal(payload.readUInt16BE(2), packet.source === undefined ? 0x0800 : 0x86dd);
          if (full) assert.equal(checksum(payload), 0);
          assert.deepEqual(payload.subarray(full ? 8 : 4), inside(sent));
        });
      }
    }
  }
});

describe("a packet that is too big for the tunnel", { skip: cannotRun }, () => {
  const overheads: readonly [name: string, outer: Family, tunnel: Partial<Tunnel>, ipv4: number, ipv6: number][] = [
    ["ipip", "ipv4", {}, 1480, 1480],
    ["ipip", "ipv6", {}, 1460, 1460],
    ["gue", "ipv4", { type: "gue", port: 6080 }, 1468, 1468],
    ["gue", "ipv6", { type: "gue", port: 6080 }, 1448, 1448],
    ["gue with a checksum", "ipv4", { type: "gue", port: 6080, checksum: "full" }, 1468, 1468],
    ["gre", "ipv4", { type: "gre" }, 1476, 1476],
    ["gre with a checksum", "ipv4", { type: "gre", checksum: "full" }, 1472, 1472],
    ["gre", "ipv6", { type: "gre" }, 1456, 1456],
    ["gre with a checksum", "ipv6", { type: "gre", checksum: "full" }, 1452, 1452],
  ];
  for (const [name, outer, tunnel, ipv4, ipv6] of overheads) {
    it(`is answered with what ${name} over ${outer} has room for`, () => {
      const program = tunnelTo(outer, tunnel);
      for (const [spec, mtu, header] of [
        [{}, ipv4, 40],
        [v6, ipv6, 60],
      ] as const) {
        const fits = frame({ ...spec, payload: Buffer.alloc(mtu - header) });
        assert.deepEqual(unwrap(program.run(fits).data, fits, outer).payload.subarray(-mtu), inside(fits));
        const { verdict, data } = program.run(frame({ ...spec, payload: Buffer.alloc(mtu - header + 1) }));
        assert.equal(verdict, "TX");
        const at = "source" in spec ? 54 : 34;
        assert.deepEqual([...data.subarray(at, at + 2)], "source" in spec ? [2, 0] : [3, 4]);
        assert.equal(data.readUInt32BE(at + 4), mtu);
      }
      assert.equal(program.counters().icmp_too_big, 2n);
    });
  }

  it("is answered no more often than the limit allows, and dropped else", () => {
    const program = tunnelTo("ipv4");
    program.set({ icmp_per_second: 3 });
    const sent = Array.from({ length: 50 }, (_, i) => frame({ sourcePort: 1024 + i, payload: Buffer.alloc(1460) }));
    const verdicts = sent.map((bytes) => program.run(bytes).verdict);
    const answered = verdicts.filter((verdict) => verdict === "TX").length;
    // Each CPU has a limit of its own, and the clock stands still.
    assert.ok(answered >= 3 && answered <= 3 * availableParallelism(), `${answered} answers`);
    const { icmp_too_big, drop_too_big } = program.counters();
    assert.deepEqual([icmp_too_big, drop_too_big], [BigInt(answered), BigInt(50 - answered)]);
    assert.equal(verdicts.filter((verdict) => verdict === "DROP").length, 50 - answered);
  });
});
