/**
 * What the data path wraps, taken out by the kernel's own tunnel devices: ipip, sit, ip6tnl, gre, ip6gre and fou, in a
 * guest that plays the real server. It has to answer what comes through a tunnel exactly as what comes by itself.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Tunnel } from "../../src/model/service.ts";
import { cannotRun, openProgram } from "../bpf/program.ts";
import type { Program } from "../bpf/program.ts";
import { guest } from "../support/guest.ts";
import { frame, macBytes, routed } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { directorMac as realServerMac, playToKernel } from "./play.ts";

const skip = cannotRun || (guest.unavailable() ?? false);
const routerMac = "02:00:00:00:00:99";
const director = { ipv4: "192.168.200.52", ipv6: "fd00:200::52" } as const;
/** The second of each family expects checksums of GRE: a kernel's tunnel has them always or never. */
const realServers = {
  ipv4: ["192.168.200.102", "192.168.200.103"],
  ipv6: ["fd00:200::102", "fd00:200::103"],
} as const;
const virtual = { ipv4: "10.10.10.53", ipv6: "fd00:53::1" } as const;
const client6 = { source: "2001:db8::1", destination: virtual.ipv6 } as const;

type Outer = keyof typeof director;

const devices = (["ipv4", "ipv6"] as const).flatMap((outer) => {
  const [plain, summed] = realServers[outer];
  const ends = (local: string): string => `local ${local} remote ${director[outer]}`;
  if (outer === "ipv4") {
    return [
      `link add in4 type ipip ${ends(plain)}`,
      `link add in6 type sit ${ends(plain)}`,
      `link add gre4 type gre ${ends(plain)}`,
      `link add sum4 type gre ${ends(summed)} icsum`,
      "fou add port 6080 gue",
    ];
  }
  return [
    `link add any6 type ip6tnl mode any ${ends(plain)}`,
    `link add gre6 type ip6gre ${ends(plain)}`,
    `link add sum6 type ip6gre ${ends(summed)} icsum`,
    "fou add port 6080 gue -6",
  ];
});

const network = [
  ...Object.values(realServers)
    .flat()
    .map((address) => `address add ${address}${address.includes(":") ? "/64 dev eth0 nodad" : "/24 dev eth0"}`),
  ...Object.values(virtual).map((address) => `address add ${address} dev lo`),
  `neighbour add 192.168.200.1 lladdr ${routerMac} dev eth0`,
  `neighbour add fd00:200::1 lladdr ${routerMac} dev eth0`,
  "route add default via 192.168.200.1",
  "route add default via fd00:200::1",
  ...devices,
  ...["in4", "in6", "gre4", "sum4", "any6", "gre6", "sum6"].map((link) => `link set ${link} up`),
];

const packets: readonly (FrameSpec & { readonly name: string })[] = [
  { name: "a SYN" },
  { name: "a datagram", protocol: "udp", payload: Buffer.alloc(33, 2) },
  { name: "a datagram without DF", protocol: "udp", fragment: 0, payload: Buffer.alloc(1000, 7), tos: 0xb8 },
  { name: "IP options", options: [1, 1, 1, 1] },
  { name: "a SYN over IPv6", ...client6 },
  { name: "a datagram over IPv6", ...client6, protocol: "udp", payload: Buffer.alloc(1001, 3), tos: 0x2b },
  { name: "an IPv6 extension header", ...client6, extensions: [{ type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }] },
];

const tunnels: readonly Tunnel[] = [
  { type: "ipip", port: 0, checksum: "none" },
  { type: "gue", port: 6080, checksum: "none" },
  { type: "gue", port: 6080, checksum: "full" },
  { type: "gre", port: 0, checksum: "none" },
  { type: "gre", port: 0, checksum: "full" },
];

/** Each way over a port of its own, with the same services on it. */
function serve(program: Program, port: number, outer: Outer, tunnel: Tunnel): void {
  const address = realServers[outer][tunnel.type === "gre" && tunnel.checksum === "full" ? 1 : 0];
  const servers = [
    { address, method: "ipip" as const, mac: realServerMac, tunnel: { ...tunnel, source: director[outer] } },
  ];
  for (const own of Object.values(virtual)) {
    for (const protocol of ["tcp", "udp"] as const) {
      program.service({ address: own, port, protocol, realServers: servers });
    }
  }
}

interface Case {
  readonly name: string;
  readonly wrapped: Buffer;
  /** The same packet as it comes by itself. */
  readonly bare: Buffer;
  /** The last byte of `wrapped` is under a checksum of the tunnel's. */
  readonly summed: boolean;
}

function cases(): Case[] {
  const program = openProgram();
  return (["ipv4", "ipv6"] as const).flatMap((outer, family) =>
    tunnels.flatMap((tunnel, index) => {
      const destinationPort = 8000 + family * 100 + index;
      serve(program, destinationPort, outer, tunnel);
      const summed = tunnel.checksum === "full";
      return packets.map((packet) => {
        const sent = frame({ ...packet, destinationPort });
        const { verdict, data } = program.run(sent);
        const name = `${packet.name} by ${tunnel.type}${summed ? " with a checksum" : ""} over ${outer}`;
        assert.equal(verdict, "TX", name);
        return { name, wrapped: data, bare: routed(sent, realServerMac, routerMac), summed };
      });
    }),
  );
}

/** Without the link addresses, and of IPv4 without the identification that the answering kernel counts up. */
function answer(frames: readonly Buffer[] | undefined): string[] {
  return (frames ?? [])
    .filter((bytes) => bytes.subarray(0, 6).equals(macBytes(routerMac)))
    .map((bytes) => {
      const packet = Buffer.from(bytes.subarray(14));
      if ((packet[0] ?? 0) >> 4 === 4) {
        packet.writeUInt16BE(0, 4);
        packet.writeUInt16BE(0, 10);
      }
      return packet.toString("hex");
    });
}

describe("the kernel's own tunnel devices", { skip, timeout: 300_000 }, () => {
  it("take out what was wrapped, and refuse it damaged", async () => {
    const all = cases();
    const steps = all.flatMap(({ wrapped, bare }) => {
      const damaged = Buffer.from(wrapped);
      const last = damaged.length - 1;
      damaged[last] = (damaged[last] ?? 0) ^ 0x55;
      const beheaded = Buffer.from(wrapped);
      // The header checksum of IPv4.
      beheaded.writeUInt16BE(beheaded.readUInt16BE(24) ^ 1, 24);
      return [wrapped, bare, damaged, beheaded].map((bytes) => ({ kind: "frame", bytes }) as const);
    });
    const [answers = []] = await playToKernel([{ network, modules: ["fou"], steps }]);
    for (const [index, { name, summed }] of all.entries()) {
      const [through, bare, damaged, beheaded] = answers.slice(index * 4, index * 4 + 4).map(answer);
      assert.equal(bare?.length, 1, `${name}: the packet by itself has one answer`);
      assert.deepEqual(through, bare, name);
      if (summed) assert.deepEqual(damaged, [], `${name}, damaged`);
      if (name.endsWith("ipv4")) assert.deepEqual(beheaded, [], `${name}, its outer header damaged`);
    }
  });
});
