import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { frame, routed } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { cannotRun, directorMac, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

const firstMac = "02:00:00:00:01:01";

/** One real server behind an IPv4 and an IPv6 service, TCP and UDP. */
function oneRealServer(): Program {
  const program = openProgram();
  program.service({ realServers: [{ address: "192.168.200.102" }] });
  program.service({ protocol: "udp", realServers: [{ address: "192.168.200.102", mac: firstMac }] });
  program.service({ address: "fd00:53::1", realServers: [{ address: "fd00:200::102", mac: firstMac }] });
  program.service({
    address: "fd00:53::1",
    protocol: "udp",
    realServers: [{ address: "fd00:200::102", mac: firstMac }],
  });
  return program;
}

const v6 = { source: "2001:db8::1", destination: "fd00:53::1" } as const;

interface Case extends FrameSpec {
  readonly name: string;
  /** Cuts or spoils the frame after it was built. */
  readonly spoil?: (bytes: Buffer) => Buffer;
  readonly verdict: "TX" | "PASS" | "DROP";
  /** The counter of struct packet_counters that says why. */
  readonly counter?: string;
}

function patch(at: number, ...values: number[]): (bytes: Buffer) => Buffer {
  return (bytes) => {
    const copy = Buffer.from(bytes);
    copy.set(values, at);
    return copy;
  };
}

const forwarded: readonly Case[] = [
  { name: "a SYN over IPv4", verdict: "TX" },
  { name: "a SYN over IPv6", ...v6, verdict: "TX" },
  { name: "a SYN with data", payload: Buffer.from("GET / HTTP/1.0\r\n\r\n"), verdict: "TX" },
  { name: "a SYN and ACK", flags: "SA", verdict: "TX" },
  { name: "a SYN and FIN", flags: "SF", verdict: "TX" },
  { name: "a UDP datagram", protocol: "udp", verdict: "TX" },
  { name: "a UDP datagram over IPv6", ...v6, protocol: "udp", verdict: "TX" },
  { name: "a UDP datagram without payload's checksum", protocol: "udp", spoil: patch(40, 0, 0), verdict: "TX" },
  { name: "a wrong TCP checksum, untouched", spoil: patch(50, 0xde, 0xad), verdict: "TX" },
  { name: "source port 0", sourcePort: 0, verdict: "TX" },
  { name: "DSCP and ECN, untouched", tos: 0xbb, verdict: "TX" },
  { name: "an IPv6 traffic class, untouched", ...v6, tos: 0xbb, verdict: "TX" },
  { name: "the largest TTL", ttl: 255, verdict: "TX" },
  { name: "the least TTL that is left", ttl: 2, verdict: "TX" },
  { name: "without DF", fragment: 0, verdict: "TX" },
  { name: "the reserved flag", fragment: 0x8000, verdict: "TX" },
  { name: "the option NOP", options: [1, 1, 1, 1], verdict: "TX" },
  { name: "the option router alert", options: [148, 4, 0, 0], verdict: "TX" },
  { name: "the option record route", options: [7, 7, 4, 0, 0, 0, 0, 0], verdict: "TX" },
  { name: "a timestamp of a kind that nobody knows", options: [68, 8, 5, 2, 0, 0, 0, 0], verdict: "TX" },
  { name: "record route, and a timestamp", options: [7, 7, 4, 0, 0, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0], verdict: "TX" },
  { name: "40 bytes of options", options: Array.from({ length: 40 }, () => 1), verdict: "TX" },
  { name: "priority tag 0", vlans: [{ id: 0, priority: 5 }], verdict: "TX" },
  { name: "two priority tags 0", vlans: [{ id: 0, type: 0x88a8 }, { id: 0 }], verdict: "TX" },
  { name: "a source in 240/4", source: "240.1.2.3", verdict: "TX" },
  { name: "a link-local source", source: "169.254.1.1", verdict: "TX" },
  {
    name: "IPv6 hop-by-hop and destination options",
    ...v6,
    extensions: [
      { type: 0, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
      { type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
    ],
    verdict: "TX",
  },
  {
    name: "IPv6 hop-by-hop options behind other options",
    ...v6,
    extensions: [
      { type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
      { type: 0, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
    ],
    verdict: "TX",
  },
  { name: "an IPv6 routing header", ...v6, extensions: [{ type: 43, bytes: [0, 0, 4, 0, 0, 0, 0, 0] }], verdict: "TX" },
  { name: "an atomic fragment", ...v6, extensions: [{ type: 44, bytes: [0, 0, 0, 0, 1, 2, 3, 4] }], verdict: "TX" },
  { name: "padding behind the packet", spoil: (bytes) => Buffer.concat([bytes, Buffer.alloc(30)]), verdict: "TX" },
  { name: "a zero source MAC address", from: "00:00:00:00:00:00", verdict: "TX" },
];

const passed: readonly Case[] = [
  { name: "another port of the virtual address", destinationPort: 22, verdict: "PASS", counter: "pass_not_service" },
  { name: "another address", destination: "10.10.10.54", verdict: "PASS", counter: "pass_not_service" },
  { name: "destination port 0", destinationPort: 0, verdict: "PASS", counter: "pass_not_service" },
  {
    name: "ICMP to the virtual address",
    protocol: 1,
    transport: Buffer.alloc(8, 8),
    verdict: "PASS",
    counter: "pass_not_service",
  },
  { name: "GRE", protocol: 47, transport: Buffer.alloc(8), verdict: "PASS", counter: "pass_not_service" },
  {
    name: "ICMPv6",
    ...v6,
    protocol: 58,
    transport: Buffer.alloc(8, 128),
    verdict: "PASS",
    counter: "pass_not_service",
  },
  {
    name: "no next header",
    ...v6,
    protocol: 59,
    transport: Buffer.alloc(8),
    verdict: "PASS",
    counter: "pass_not_service",
  },
  {
    name: "mobility",
    ...v6,
    extensions: [{ type: 135, bytes: [0, 0, 0, 0, 0, 0, 0, 0] }],
    verdict: "PASS",
    counter: "pass_not_service",
  },
  { name: "ARP", etherType: 0x0806, verdict: "PASS", counter: "pass_not_ip" },
  { name: "a short frame", spoil: (bytes) => bytes.subarray(0, 14), verdict: "PASS", counter: "pass_malformed" },
  { name: "another host's frame", to: "02:00:00:00:00:99", verdict: "PASS", counter: "pass_other_mac" },
  { name: "a broadcast", to: "ff:ff:ff:ff:ff:ff", verdict: "PASS", counter: "pass_other_mac" },
  { name: "a multicast", to: "01:00:5e:00:00:01", verdict: "PASS", counter: "pass_other_mac" },
  { name: "a VLAN of nobody", vlans: [{ id: 7 }], verdict: "PASS", counter: "pass_other_vlan" },
  { name: "two VLAN tags", vlans: [{ id: 7, type: 0x88a8 }, { id: 8 }], verdict: "PASS", counter: "pass_other_vlan" },
  { name: "a wrong header checksum", spoil: patch(24, 0xde, 0xad), verdict: "PASS", counter: "pass_malformed" },
  { name: "version 5", spoil: patch(14, 0x55), verdict: "PASS", counter: "pass_malformed" },
  { name: "version 4 under IPv6's type", ...v6, spoil: patch(14, 0x40), verdict: "PASS", counter: "pass_malformed" },
  { name: "a header of 16 bytes", spoil: patch(14, 0x44), verdict: "PASS", counter: "pass_malformed" },
  { name: "a header beyond the packet", spoil: patch(16, 0, 24), verdict: "PASS" },
  { name: "a total length beyond the frame", spoil: patch(16, 0x10, 0), verdict: "PASS", counter: "pass_malformed" },
  {
    name: "a payload length beyond the frame",
    ...v6,
    spoil: patch(18, 0x10, 0),
    verdict: "PASS",
    counter: "pass_malformed",
  },
  { name: "loose source route", options: [131, 7, 4, 1, 2, 3, 4, 0], verdict: "PASS", counter: "pass_option" },
  { name: "strict source route", options: [1, 137, 7, 4, 1, 2, 3, 4], verdict: "PASS", counter: "pass_option" },
  { name: "an option of length 0", options: [68, 0, 0, 0], verdict: "PASS", counter: "pass_option" },
  { name: "an option longer than the header", options: [68, 9, 0, 0], verdict: "PASS", counter: "pass_option" },
  { name: "a timestamp without room", options: [68, 8, 6, 2, 0, 0, 0, 0], verdict: "PASS", counter: "pass_option" },
  {
    name: "record route twice",
    options: [7, 7, 4, 0, 0, 0, 0, 7, 7, 4, 0, 0, 0, 0],
    verdict: "PASS",
    counter: "pass_option",
  },
  {
    name: "a timestamp twice",
    options: [68, 8, 5, 0, 0, 0, 0, 0, 1, 68, 8, 5, 0, 0, 0, 0, 0],
    verdict: "PASS",
    counter: "pass_option",
  },
  { name: "a security label", options: [134, 6, 0, 0, 0, 1], verdict: "PASS", counter: "pass_option" },
  { name: "an ACK without a connection", flags: "A", verdict: "PASS", counter: "pass_no_connection" },
  { name: "a FIN without a connection", flags: "FA", verdict: "PASS", counter: "pass_no_connection" },
  { name: "a RST without a connection", flags: "R", verdict: "PASS", counter: "pass_no_connection" },
  { name: "a SYN and RST without a connection", flags: "SR", verdict: "PASS", counter: "pass_no_connection" },
  { name: "no flags without a connection", flags: "", verdict: "PASS", counter: "pass_no_connection" },
  { name: "source 0.0.0.0", source: "0.0.0.0", verdict: "PASS", counter: "pass_source_address" },
  { name: "a loopback source", source: "127.0.0.1", verdict: "PASS", counter: "pass_source_address" },
  { name: "a multicast source", source: "224.0.0.1", verdict: "PASS", counter: "pass_source_address" },
  { name: "a broadcast source", source: "255.255.255.255", verdict: "PASS", counter: "pass_source_address" },
  { name: "the director as source", source: "10.10.10.52", verdict: "PASS", counter: "pass_source_address" },
  { name: "::1 as source", ...v6, source: "::1", verdict: "PASS", counter: "pass_source_address" },
  { name: "an IPv6 multicast source", ...v6, source: "ff02::1", verdict: "PASS", counter: "pass_source_address" },
  {
    name: "a payload that ends in a fragment header",
    ...v6,
    extensions: [{ type: 44, bytes: [0, 0, 0, 8, 1, 2, 3, 4] }],
    spoil: patch(18, 0, 7),
    verdict: "PASS",
    counter: "pass_malformed",
  },
  { name: "a later fragment of nothing", fragment: 0x0010, verdict: "PASS", counter: "pass_fragment" },
  {
    name: "a TCP header cut short",
    transport: Buffer.from([0x9c, 0x40, 0, 80, 1, 2, 3, 4]),
    verdict: "DROP",
    counter: "drop_short_header",
  },
  {
    name: "a UDP header cut short",
    protocol: "udp",
    transport: Buffer.from([0x9c, 0x40, 0, 80]),
    verdict: "DROP",
    counter: "drop_short_header",
  },
  { name: "ports cut short", transport: Buffer.from([0x9c, 0x40]), verdict: "PASS", counter: "pass_malformed" },
];

describe("one packet without a connection", { skip: cannotRun }, () => {
  if (cannotRun !== false) return;
  const program = oneRealServer();
  program.ownAddress("10.10.10.52");
  beforeEach(() => program.reset());

  for (const test of forwarded) {
    it(`forwards ${test.name}, with new MAC addresses, a TTL less one, and nothing else changed`, () => {
      const sent = (test.spoil ?? ((bytes) => bytes))(frame(test));
      const { verdict, data } = program.run(sent);
      assert.equal(verdict, test.verdict);
      const wanted = routed(sent, firstMac, directorMac);
      assert.equal(data.toString("hex"), wanted.toString("hex"));
      assert.equal(program.slots().length, 1);
    });
  }
  for (const test of passed) {
    it(`does not forward ${test.name}, and counts the reason once`, () => {
      const sent = (test.spoil ?? ((bytes) => bytes))(frame(test));
      const { verdict, data } = program.run(sent);
      assert.equal(verdict, test.verdict);
      assert.equal(data.toString("hex"), sent.toString("hex"));
      assert.equal(program.slots().length, 0);
      const counted = Object.entries(program.counters()).filter(([, value]) => value !== 0n);
      assert.equal(counted.length, 1, JSON.stringify(counted.map(([name]) => name)));
      if (test.counter !== undefined) assert.deepEqual(counted, [[test.counter, 1n]]);
    });
  }
});

describe("a truncated frame", { skip: cannotRun }, () => {
  for (const [name, whole] of [
    ["IPv4", frame({ payload: Buffer.alloc(40), vlans: [{ id: 0 }], options: [1, 1, 1, 1] })],
    ["IPv6", frame({ ...v6, extensions: [{ type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }] })],
  ] as const) {
    it(`is never forwarded at any length (${name})`, () => {
      const program = oneRealServer();
      for (let length = 14; length < whole.length; length++) {
        const { verdict } = program.run(whole.subarray(0, length));
        assert.notEqual(verdict, "TX", `${length} bytes`);
        assert.notEqual(verdict, "ABORTED", `${length} bytes`);
      }
      assert.equal(program.run(whole).verdict, "TX");
    });
  }
});

describe("random bytes", { skip: cannotRun }, () => {
  it("in any field of a packet never make the program fail", () => {
    const program = oneRealServer();
    let seed = 20261122;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    const whole = [
      frame({ payload: Buffer.alloc(64) }),
      frame({ ...v6, payload: Buffer.alloc(64) }),
      frame({ vlans: [{ id: 0 }] }),
    ];
    for (let round = 0; round < 4000; round++) {
      const bytes = Buffer.from(whole[random(whole.length)] ?? []);
      for (let spoilt = random(4); spoilt >= 0; spoilt--) bytes[12 + random(60)] = random(256);
      const { verdict } = program.run(bytes);
      assert.notEqual(verdict, "ABORTED", bytes.toString("hex"));
    }
  });
});

describe("forwarding", { skip: cannotRun }, () => {
  it("drops, with a reason, what would leave by an interface that is not known", () => {
    const program = openProgram();
    const { realServers } = program.service({ realServers: [{ address: "192.168.200.102", ifindex: 77 }] });
    // No port 77 is in the device map, so the redirect is refused, and counted as what it is.
    assert.equal(program.run(frame()).verdict, "DROP");
    assert.equal(program.counters().drop_unresolved, 1n);
    assert.equal(program.packets(realServers[0] ?? 0), 0n);
  });

  it("leaves with the VLAN tag of the outgoing interface", () => {
    const program = openProgram();
    program.service({ realServers: [{ address: "192.168.200.102", vlan: 200 }] });
    const sent = frame();
    assert.equal(program.run(sent).data.toString("hex"), routed(sent, firstMac, directorMac, 200).toString("hex"));
  });

  it("serves a VLAN that has an interface, and takes its tag off or changes it", () => {
    const program = openProgram();
    program.interface(1, 7, directorMac);
    program.service({ realServers: [{ address: "192.168.200.102" }, { address: "192.168.200.103", vlan: 200 }] });
    const untagged = frame({ vlans: [{ id: 7, priority: 3 }] });
    assert.equal(
      program.run(untagged).data.toString("hex"),
      routed(untagged, "02:00:00:00:01:02", directorMac, 200).toString("hex"),
    );
    const changed = frame({ vlans: [{ id: 7 }], sourcePort: 40001 });
    assert.equal(program.run(changed).data.toString("hex"), routed(changed, firstMac, directorMac).toString("hex"));
  });

  it("leaves a VLAN of 802.1ad to the stack, though there is one of 802.1Q with its id", () => {
    const program = openProgram();
    program.interface(1, 7, directorMac);
    program.service({ realServers: [{ address: "192.168.200.102" }] });
    for (const vlans of [[{ id: 7, type: 0x88a8 }], [{ id: 0 }, { id: 7, type: 0x88a8 }]]) {
      assert.equal(program.run(frame({ vlans })).verdict, "PASS");
    }
    assert.equal(program.counters().pass_other_vlan, 2n);
  });

  it("leaves a packet for a local real server to the stack, untouched, with its connection", () => {
    const program = openProgram();
    const { realServers } = program.service({ realServers: [{ address: "127.0.0.1", local: true }] });
    const sent = frame({ ttl: 1 });
    const { verdict, data } = program.run(sent);
    assert.equal(verdict, "PASS");
    assert.deepEqual(data, sent);
    assert.equal(program.packets(realServers[0] ?? 0), 1n);
    assert.equal(program.slots().length, 1);
    assert.equal(program.run(frame({ flags: "A" })).verdict, "PASS");
    assert.equal(program.load(realServers[0] ?? 0).active, 1);
  });

  it("drops silently what is for a real server that was taken away, but opens a new connection elsewhere", () => {
    const program = openProgram();
    const { realServers } = program.service({
      scheduler: "wlc",
      realServers: [{ address: "192.168.200.102" }, { address: "192.168.200.103" }],
    });
    program.run(frame());
    const [first] = program.slots();
    const gone = first?.realServer ?? 0;
    program.setWeight(gone, 0, 1);
    program.setFlags(gone, 0);
    program.set({ resets_per_second: 0 });
    const ack = frame({ flags: "A" });
    assert.equal(program.run(ack).verdict, "DROP");
    assert.equal(program.counters().drop_real_server_gone, 1n);
    assert.equal(program.run(frame()).verdict, "TX");
    const [second] = program.slots();
    assert.equal(program.slots().length, 1);
    assert.notEqual(second?.realServer, gone);
    assert.ok(realServers.includes(second?.realServer ?? 0));
    assert.equal(program.load(gone).inactive, 0);
  });

  it("sends later fragments after the first one, and tells two datagrams apart", () => {
    const program = openProgram();
    program.service({
      protocol: "udp",
      realServers: [{ address: "192.168.200.102" }, { address: "192.168.200.103" }],
    });
    const datagrams = [1, 2].map((id) => {
      const whole = frame({ protocol: "udp", sourcePort: 5000 + id, id, payload: Buffer.alloc(32), fragment: 0x2000 });
      const rest = frame({ protocol: "udp", id, transport: Buffer.alloc(24, id), fragment: 5 });
      return { whole, rest };
    });
    const macs = datagrams.map(({ whole }) => program.run(whole).data.subarray(0, 6).toString("hex"));
    assert.equal(new Set(macs).size, 2);
    datagrams.forEach(({ rest }, i) => {
      const { verdict, data } = program.run(rest);
      assert.equal(verdict, "TX");
      assert.equal(data.subarray(0, 6).toString("hex"), macs[i]);
    });
    const v6fragment = (offset: number, more: number, bytes: Buffer) =>
      frame({
        ...v6,
        protocol: 17,
        extensions: [{ type: 44, bytes: [0, 0, offset >> 8, (offset & 0xf8) | more, 9, 9, 9, 9] }],
        transport: bytes,
      });
    program.service({ address: v6.destination, protocol: "udp", realServers: [{ address: "fd00:200::1" }] });
    const first = Buffer.concat([Buffer.from([0x13, 0x88, 0, 80, 0, 40, 0, 0]), Buffer.alloc(16)]);
    assert.equal(program.run(v6fragment(0, 1, first)).verdict, "TX");
    assert.equal(program.run(v6fragment(24, 0, Buffer.alloc(16))).verdict, "TX");
  });

  it("knows a later IPv6 fragment whatever header follows that of the fragment", () => {
    const program = openProgram();
    program.service({ address: v6.destination, protocol: "udp", realServers: [{ address: "fd00:200::1" }] });
    const options = [0, 0, 1, 4, 0, 0, 0, 0];
    const fragment = (offset: number, more: number) => [0, 0, offset >> 8, (offset & 0xf8) | more, 9, 9, 9, 9];
    const hopByHop = { type: 0, bytes: options };
    const first = frame({
      ...v6,
      protocol: 17,
      extensions: [hopByHop, { type: 44, bytes: fragment(0, 1) }, { type: 60, bytes: options }],
      transport: Buffer.from([0x13, 0x88, 0, 80, 0, 24, 0, 0]),
    });
    // Its fragment header names what the fragmented part begins with: destination options.
    const later = frame({
      ...v6,
      protocol: 60,
      extensions: [hopByHop, { type: 44, bytes: fragment(16, 0) }],
      transport: Buffer.alloc(16),
    });
    assert.equal(program.run(later).verdict, "PASS");
    assert.equal(program.run(first).verdict, "TX");
    assert.equal(program.run(later).verdict, "TX");
  });
});
