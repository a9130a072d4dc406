import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { addressBytes, checksum, frame, macBytes, routed } from "../support/packet.ts";
import { cannotRun, directorMac, openProgram } from "./program.ts";

const clientMac = "02:00:00:00:00:02";

/** Checks an IPv4 error to the client down to the last byte; returns the quoted bytes. */
function assertIpv4Error(data: Buffer, type: number, code: number, word: number, link = 14): Buffer {
  assert.deepEqual(data.subarray(0, 6), macBytes(clientMac));
  assert.deepEqual(data.subarray(6, 12), macBytes(directorMac));
  const ip = data.subarray(link, link + 20);
  assert.equal(ip[0], 0x45);
  assert.equal(ip[1], 0xc0);
  assert.equal(ip.readUInt16BE(2), data.length - link);
  assert.equal(ip.readUInt16BE(6), 0);
  assert.equal(ip[9], 1);
  assert.equal(checksum(ip), 0);
  assert.deepEqual(ip.subarray(12, 16), addressBytes("10.10.10.53"));
  assert.deepEqual(ip.subarray(16, 20), addressBytes("192.0.2.1"));
  const icmp = data.subarray(link + 20);
  assert.equal(icmp[0], type);
  assert.equal(icmp[1], code);
  assert.equal(icmp.readUInt32BE(4), word);
  assert.equal(checksum(icmp), 0);
  return icmp.subarray(8);
}

function assertIpv6Error(data: Buffer, type: number, code: number, word: number): Buffer {
  const ip = data.subarray(14, 54);
  assert.equal(ip.readUInt32BE(0), 0x60000000);
  assert.equal(ip.readUInt16BE(4), data.length - 54);
  assert.equal(ip[6], 58);
  assert.deepEqual(ip.subarray(8, 24), addressBytes("fd00:53::1"));
  assert.deepEqual(ip.subarray(24, 40), addressBytes("2001:db8::1"));
  const icmp = data.subarray(54);
  const length = Buffer.alloc(8);
  length.writeUInt32BE(icmp.length, 0);
  length[7] = 58;
  assert.equal(checksum(ip.subarray(8, 40), length, icmp), 0);
  assert.equal(icmp[0], type);
  assert.equal(icmp[1], code);
  assert.equal(icmp.readUInt32BE(4), word);
  return icmp.subarray(8);
}

const v6 = { source: "2001:db8::1", destination: "fd00:53::1" } as const;

describe("an ICMP error from the virtual address", { skip: cannotRun }, () => {
  for (const size of [0, 1, 7, 100, 499, 1400]) {
    it(`tells that the TTL is used up, quoting at most 576 bytes of ${size} of payload`, () => {
      const program = openProgram();
      program.service({ realServers: [{ address: "192.168.200.102" }] });
      const sent = frame({ ttl: 1, payload: Buffer.alloc(size, 0xa5) });
      const { verdict, data } = program.run(sent);
      assert.equal(verdict, "TX");
      const quote = assertIpv4Error(data, 11, 0, 0);
      assert.deepEqual(quote, sent.subarray(14, 14 + 548));
      assert.equal(program.counters().icmp_time_exceeded, 1n);
      assert.equal(program.slots().length, 1, "the connection is made all the same");
    });

    it(`tells that the hop limit is used up, quoting at most 1280 bytes of ${size} of payload`, () => {
      const program = openProgram();
      program.service({ address: v6.destination, realServers: [{ address: "fd00:200::1" }] });
      const sent = frame({ ...v6, ttl: 0, payload: Buffer.alloc(size, 0x5a) });
      const { verdict, data } = program.run(sent);
      assert.equal(verdict, "TX");
      assert.deepEqual(assertIpv6Error(data, 3, 0, 0), sent.subarray(14, 14 + 1232));
    });
  }

  it("tells that the port is unreachable when no real server has a weight, or none is there", () => {
    const program = openProgram();
    program.service({ realServers: [{ address: "192.168.200.102", weight: 0 }] });
    program.service({ protocol: "udp", scheduler: "wlc", realServers: [] });
    program.service({ address: v6.destination, realServers: [] });
    const syn = frame();
    assert.deepEqual(assertIpv4Error(program.run(syn).data, 3, 3, 0), syn.subarray(14));
    const datagram = frame({ protocol: "udp", payload: Buffer.from("query") });
    assert.deepEqual(assertIpv4Error(program.run(datagram).data, 3, 3, 0), datagram.subarray(14));
    const six = frame(v6);
    assert.deepEqual(assertIpv6Error(program.run(six).data, 1, 4, 0), six.subarray(14));
    assert.equal(program.counters().icmp_unreachable, 3n);
    assert.deepEqual(program.slots(), []);
  });

  it("goes back in the frame's VLAN, without its priority", () => {
    const program = openProgram();
    program.interface(1, 7, directorMac);
    program.service({ realServers: [] });
    program.service({ address: v6.destination, realServers: [] });
    const tags = [
      { vlans: [{ id: 7, priority: 3 }], header: 18 },
      { vlans: [{ id: 0, priority: 5 }, { id: 7 }], header: 22 },
      { vlans: [{ id: 7 }, { id: 0, priority: 5 }], header: 22 },
    ];
    for (const { vlans, header } of tags) {
      const sent = frame({ vlans });
      const { data } = program.run(sent);
      assert.equal(data.toString("hex", 12, 18), "810000070800");
      assert.deepEqual(assertIpv4Error(data, 3, 3, 0, 18), sent.subarray(header));
      assert.equal(program.run(frame({ ...v6, vlans })).data.toString("hex", 12, 18), "8100000786dd");
    }
    for (const vlans of [[{ id: 0, priority: 5 }], [{ id: 0, type: 0x88a8 }, { id: 0 }]]) {
      const sent = frame({ vlans });
      const bare = sent.subarray(14 + 4 * vlans.length);
      assert.deepEqual(assertIpv4Error(program.run(sent).data, 3, 3, 0), bare);
      assert.equal(program.run(frame({ ...v6, vlans })).data.toString("hex", 12, 14), "86dd");
    }
  });

  it("tells the MTU of the way to the real server, whether the packet may be cut or not", () => {
    const program = openProgram();
    program.service({ realServers: [{ address: "192.168.200.102", mtu: 1400 }] });
    program.service({ address: v6.destination, realServers: [{ address: "fd00:200::1", mtu: 1400 }] });
    const payload = Buffer.alloc(1440);
    const sent = frame({ payload });
    const forwarded = routed(sent, clientMac, directorMac);
    assert.deepEqual(assertIpv4Error(program.run(sent).data, 3, 4, 1400), forwarded.subarray(14, 14 + 548));
    assertIpv6Error(program.run(frame({ ...v6, payload: Buffer.alloc(1400) })).data, 2, 0, 1400);
    assertIpv4Error(program.run(frame({ payload, fragment: 0 })).data, 3, 4, 1400);
    assert.equal(program.counters().icmp_too_big, 3n);
  });

  it("is not sent more often than its limit allows", () => {
    const program = openProgram();
    program.service({ realServers: [] });
    program.maps.settings.write(0, { ...program.maps.settings.read(0), icmp_per_second: 5 });
    const verdicts = Array.from({ length: 50 }, (_, i) => program.run(frame({ sourcePort: 1024 + i })).verdict);
    // Two CPUs, each with a limit of its own, and the clock stands still: no sweep moves it.
    assert.ok(verdicts.filter((verdict) => verdict === "TX").length <= 10);
    const { icmp_unreachable, drop_no_real_server } = program.counters();
    assert.equal(icmp_unreachable + drop_no_real_server, 50n);
  });

  it("tells the MTU also when others have used up what may be sent", () => {
    const program = openProgram();
    program.service({ port: 81, realServers: [] });
    program.service({ realServers: [{ address: "192.168.200.102", mtu: 1400 }] });
    program.maps.settings.write(0, { ...program.maps.settings.read(0), icmp_per_second: 5 });
    for (let port = 1024; port < 1074; port++) program.run(frame({ sourcePort: port, destinationPort: 81 }));
    assert.ok(program.counters().drop_no_real_server > 0n);
    const tooBig = frame({ payload: Buffer.alloc(1460) });
    for (let i = 0; i < 5; i++) assertIpv4Error(program.run(tooBig).data, 3, 4, 1400);
    for (let i = 0; i < 50; i++) program.run(tooBig);
    assert.ok(program.counters().drop_too_big > 0n);
  });
});
