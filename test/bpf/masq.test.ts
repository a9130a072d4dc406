import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { listConnections } from "../../src/dataplane/xdp/connections.ts";
import { readServices } from "../../src/dataplane/xdp/stored.ts";
import { addressBytes, checksum, frame, routed } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { crc32c, icmp, sctp, transportChecksum } from "../support/transport.ts";
import { cannotRun, directorMac } from "./program.ts";
import type { Program } from "./program.ts";
import { gatewayMac, inRoutedNamespace, openRoutedProgram, outMac } from "./routed.ts";

const realMac = "02:00:00:00:01:01";

const families = {
  IPv4: { client: "192.0.2.1", virtual: "10.10.10.53", real: "192.168.200.102" },
  IPv6: { client: "2001:db8::1", virtual: "fd00:53::1", real: "fd00:200::102" },
} as const;

type Addresses = (typeof families)[keyof typeof families];

function isIpv6(address: string): boolean {
  return address.includes(":");
}

/** Services at port 80 of both families, whose real server listens at 8080; UDP and SCTP, too. */
function mapped(): { program: Program; ids: Record<string, number> } {
  const program = openRoutedProgram();
  const ids: Record<string, number> = {};
  for (const { virtual, real } of Object.values(families)) {
    for (const protocol of ["tcp", "udp", "sctp"] as const) {
      const realServers = [{ address: real, port: 8080, method: "masq" as const, mac: realMac }];
      ids[`${protocol} ${virtual}`] = program.service({ address: virtual, protocol, realServers }).realServers[0] ?? 0;
    }
  }
  return { program, ids };
}

/** The IP packet of a frame. */
function packetOf(data: Buffer): Buffer {
  return data.subarray(data.readUInt16BE(12) === 0x8100 ? 18 : 14);
}

/** A client's packet as the real server gets it. */
function request({ client, virtual, real }: Addresses, spec: FrameSpec): { sent: Buffer; wanted: Buffer } {
  const sent = frame({ source: client, destination: virtual, ...spec });
  const { vlans: _vlans, ...rest } = spec;
  const wanted = frame({ source: client, destination: real, destinationPort: 8080, ...rest });
  return { sent, wanted: routed(wanted, realMac, directorMac) };
}

/** A real server's packet as the client gets it. */
function answer({ client, virtual, real }: Addresses, spec: FrameSpec): { sent: Buffer; wanted: Buffer } {
  const ports = { destinationPort: 40000, ...spec };
  const sent = frame({ source: real, destination: client, sourcePort: 8080, ...ports });
  const wanted = frame({ source: virtual, destination: client, sourcePort: 80, ...ports });
  return { sent, wanted: routed(wanted, gatewayMac, outMac) };
}

const packets: readonly (FrameSpec & { readonly name: string; readonly only?: "IPv4" | "IPv6" })[] = [
  { name: "a SYN" },
  { name: "a SYN with data of odd length", payload: Buffer.alloc(7, 1) },
  { name: "DSCP and congestion", tos: 0xbb },
  { name: "UDP", protocol: "udp", payload: Buffer.alloc(33, 2) },
  { name: "IP options", options: [1, 1, 1, 1], only: "IPv4" },
  { name: "no DF", fragment: 0, only: "IPv4" },
  { name: "an extension header", extensions: [{ type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] }], only: "IPv6" },
];

if (inRoutedNamespace(import.meta.filename, cannotRun)) {
  describe("masq", () => {
    const { program, ids } = mapped();
    for (const [family, addresses] of Object.entries(families)) {
      for (const { name, only, ...spec } of packets) {
        if (only !== undefined && only !== family) continue;
        it(`sends ${name} over ${family} to the real server's address and port, and the reply back`, () => {
          program.reset();
          const there = request(addresses, spec);
          const { verdict, data } = program.run(there.sent);
          assert.equal(verdict, "TX");
          assert.equal(data.toString("hex"), there.wanted.toString("hex"));
          const back = answer(addresses, { flags: "SA", ...spec });
          const reply = program.run(back.sent);
          assert.equal(reply.verdict, "REDIRECT");
          assert.equal(reply.data.toString("hex"), back.wanted.toString("hex"));
        });
      }

      it(`keeps the port for a real server without one over ${family}, and shows where its connections go`, () => {
        const program = openRoutedProgram();
        const { client, virtual: address, real } = addresses;
        program.service({ address, realServers: [{ address: real, port: 0, method: "masq", mac: realMac }] });
        const { data } = program.run(frame({ source: client, destination: address }));
        assert.deepEqual(data, routed(frame({ source: client, destination: real }), realMac, directorMac));
        const back = { source: real, destination: client, sourcePort: 80, destinationPort: 40000, flags: "SA" };
        const reply = program.run(frame(back));
        assert.deepEqual(reply.data, routed(frame({ ...back, source: address }), gatewayMac, outMac));
        const [connection] = listConnections(program.maps, readServices(program.maps), {});
        assert.deepEqual([connection?.realServer, connection?.realPort], [real, 80]);
      });

      it(`takes a VLAN's tag off and puts another one on, over ${family}`, () => {
        const program = openRoutedProgram();
        program.interface(1, 7, directorMac);
        const { client, virtual: address, real } = addresses;
        const realServers = [{ address: real, port: 8080, method: "masq" as const, mac: realMac, vlan: 9 }];
        for (const protocol of ["tcp", "udp", "sctp"] as const) program.service({ address, protocol, realServers });
        const vlans = [{ id: 7, priority: 3 }];
        const init = Buffer.from([1, 0, 0, 8, 1, 2, 3, 4]);
        const associate = (sourcePort: number, destinationPort: number) => ({
          protocol: 132,
          transport: sctp(sourcePort, destinationPort, init),
        });
        const sent: [Buffer, Buffer][] = packets
          .filter(({ only = family }) => only === family)
          .map((packet) => {
            const { sent, wanted } = request(addresses, { ...packet, vlans });
            return [sent, wanted];
          });
        const ends = { source: client, destination: address };
        const wanted = frame({ ...ends, destination: real, ...associate(40000, 8080) });
        sent.push([frame({ ...ends, ...associate(40000, 80), vlans }), routed(wanted, realMac, directorMac)]);
        for (const [bytes, there] of sent) {
          const { verdict, data } = program.run(bytes);
          assert.equal(verdict, "TX");
          assert.equal(data.readUInt32BE(12), 0x81000009);
          assert.equal(packetOf(data).toString("hex"), packetOf(there).toString("hex"));
        }
        for (const { name: _name, only = family, ...packet } of packets) {
          if (only !== family) continue;
          const back = answer(addresses, { flags: "SA", ...packet, vlans });
          const reply = program.run(back.sent);
          assert.equal(reply.verdict, "REDIRECT");
          const { wanted } = answer(addresses, { flags: "SA", ...packet });
          assert.equal(reply.data.readUInt16BE(12), isIpv6(real) ? 0x86dd : 0x0800);
          assert.equal(packetOf(reply.data).toString("hex"), packetOf(wanted).toString("hex"));
        }
      });

      it(`sends on SCTP without a chunk, if its header is whole, over ${family}`, () => {
        program.reset();
        const { client, virtual, real } = addresses;
        const there = { source: client, destination: virtual, protocol: 132 };
        const back = { source: real, destination: client, protocol: 132 };
        program.run(frame({ ...there, transport: sctp(40000, 80, Buffer.from([1, 0, 0, 4])) }));
        for (const rest of [0, 1, 2, 3]) {
          const nothing = Buffer.alloc(rest, 7);
          const { verdict, data } = program.run(frame({ ...there, transport: sctp(40000, 80, nothing) }));
          assert.equal(verdict, "TX");
          const wanted = frame({ ...there, destination: real, transport: sctp(40000, 8080, nothing) });
          assert.equal(data.toString("hex"), routed(wanted, realMac, directorMac).toString("hex"));
          const reply = program.run(frame({ ...back, transport: sctp(8080, 40000, nothing) }));
          assert.equal(reply.verdict, "REDIRECT");
          const answered = frame({ ...back, source: virtual, transport: sctp(80, 40000, nothing) });
          assert.equal(reply.data.toString("hex"), routed(answered, gatewayMac, outMac).toString("hex"));
        }
        assert.equal(program.slots()[0]?.state, "SCTP_INIT1", "no chunk, no change");
        const whole = sctp(40000, 80, Buffer.alloc(0));
        for (const length of [4, 8, 11]) {
          assert.equal(program.run(frame({ ...there, transport: whole.subarray(0, length) })).verdict, "DROP");
        }
        assert.equal(program.counters().drop_short_header, 3n);
        for (const length of [0, 1, 3]) {
          const bytes = frame({ ...there, transport: whole.subarray(0, length) });
          assert.deepEqual(program.run(bytes), { verdict: "PASS", data: bytes });
        }
      });

      it(`leaves a wrong checksum wrong over ${family}`, () => {
        program.reset();
        const { sent, wanted } = request(addresses, {});
        const at = sent.length - 4;
        sent.writeUInt16BE((sent.readUInt16BE(at) + 1) & 0xffff, at);
        const { data } = program.run(sent);
        assert.notEqual(transportChecksum(packetOf(data)), 0);
        assert.equal(data.readUInt16BE(at), (wanted.readUInt16BE(at) + 1) & 0xffff);
      });

      it(`leaves UDP without a checksum without one over ${family}`, () => {
        program.reset();
        const { sent } = request(addresses, { protocol: "udp", payload: Buffer.alloc(8) });
        sent.writeUInt16BE(0, sent.length - 10);
        assert.equal(program.run(sent).data.readUInt16BE(sent.length - 10), 0);
      });

      it(`knows a UDP flow for one that lives by its first answer over ${family}`, () => {
        program.reset();
        program.run(request(addresses, { protocol: "udp" }).sent);
        const states = () => program.slots().map(({ state }) => state);
        assert.deepEqual(states(), ["UDP_NEW"]);
        const { sent, wanted } = answer(addresses, { protocol: "udp" });
        assert.equal(packetOf(program.run(sent).data).toString("hex"), packetOf(wanted).toString("hex"));
        assert.deepEqual(states(), ["UDP"]);
      });

      for (const length of [1, 4, 100, 1000]) {
        it(`adapts SCTP's checksum over ${family}, ${length} bytes behind the header`, () => {
          program.reset();
          const init = Buffer.concat([Buffer.from([1, 0, 0, length]), Buffer.alloc(length - 1, 0x5a)]);
          const { client, virtual, real } = addresses;
          const ends = { source: client, destination: virtual, protocol: 132 };
          const { verdict, data } = program.run(frame({ ...ends, transport: sctp(40000, 80, init) }));
          assert.equal(verdict, "TX");
          const wanted = frame({ ...ends, destination: real, transport: sctp(40000, 8080, init) });
          assert.equal(data.toString("hex"), routed(wanted, realMac, directorMac).toString("hex"));
          const spoilt = sctp(40000, 80, init);
          spoilt[9] = (spoilt[9] ?? 0) ^ 1;
          const bad = packetOf(program.run(frame({ ...ends, transport: spoilt })).data).subarray(-spoilt.length);
          const sum = bad.readUInt32LE(8);
          bad.writeUInt32LE(0, 8);
          assert.notEqual(sum, crc32c(bad), "what was wrong stays wrong");
        });
      }

      it(`drops a header cut short over ${family}`, () => {
        program.reset();
        const { client, virtual } = addresses;
        program.run(request(addresses, {}).sent);
        const short = frame({
          source: client,
          destination: virtual,
          transport: Buffer.from([0x9c, 0x40, 0, 80, 1, 2, 3, 4]),
        });
        assert.equal(program.run(short).verdict, "DROP");
        assert.equal(program.counters().drop_short_header, 1n);
      });

      it(`follows both directions of a connection over ${family}`, () => {
        program.reset();
        const states = (
          [
            ["request", "S", "SYN_RECV"],
            ["answer", "SA", "SYN_RECV"],
            ["request", "A", "ESTABLISHED"],
            ["answer", "A", "ESTABLISHED"],
            ["answer", "FA", "FIN_WAIT"],
            ["request", "FA", "TIME_WAIT"],
            ["answer", "A", "TIME_WAIT"],
          ] as const
        ).map(([direction, flags, wanted]) => {
          program.run((direction === "request" ? request : answer)(addresses, { flags }).sent);
          return [program.slots()[0]?.state, wanted];
        });
        assert.deepEqual(
          states.map(([state]) => state),
          states.map(([, wanted]) => wanted),
        );
        assert.equal(program.slots().length, 1, "one slot serves both directions");
      });

      it(`closes at the real server's RST over ${family}`, () => {
        program.reset();
        program.run(request(addresses, {}).sent);
        program.run(answer(addresses, { flags: "RA" }).sent);
        assert.equal(program.slots()[0]?.state, "CLOSE");
      });

      it(`sends later fragments after the first, both ways, over ${family}`, () => {
        program.reset();
        const { client, virtual, real } = addresses;
        const pieces = (source: string, destination: string, ports: FrameSpec): Buffer[] => {
          const v6 = isIpv6(source);
          const header = (offset: number, more: number) => ({
            extensions: [{ type: 44, bytes: [0, 0, offset >> 8, (offset & 0xf8) | more, 9, 9, 9, 9] }],
          });
          const whole = frame({ source, destination, protocol: "udp", payload: Buffer.alloc(40, 7), ...ports });
          const datagram = whole.subarray(v6 ? 54 : 34);
          return [
            frame({
              source,
              destination,
              protocol: 17,
              id: 5,
              transport: datagram.subarray(0, 24),
              ...(v6 ? header(0, 1) : { fragment: 0x2000 }),
            }),
            frame({
              source,
              destination,
              protocol: 17,
              id: 5,
              transport: datagram.subarray(24),
              ...(v6 ? header(24, 0) : { fragment: 3 }),
            }),
          ];
        };
        const there = pieces(client, virtual, {});
        const thereWanted = pieces(client, real, { destinationPort: 8080 });
        there.forEach((sent, i) => {
          const { verdict, data } = program.run(sent);
          assert.equal(verdict, "TX");
          assert.deepEqual(data, routed(thereWanted[i] ?? sent, realMac, directorMac));
        });
        const back = pieces(real, client, { sourcePort: 8080, destinationPort: 40000 });
        const backWanted = pieces(virtual, client, { sourcePort: 80, destinationPort: 40000 });
        back.forEach((sent, i) => {
          const { verdict, data } = program.run(sent);
          assert.equal(verdict, "REDIRECT");
          assert.deepEqual(data, routed(backWanted[i] ?? sent, gatewayMac, outMac));
        });
      });

      it(`tells the client of a TTL used up, and leaves that of a reply to the stack, over ${family}`, () => {
        program.reset();
        const { data } = program.run(request(addresses, { ttl: 1 }).sent);
        assert.deepEqual(addressOf(data, "source"), addressBytes(addresses.virtual));
        const reply = answer(addresses, { ttl: 1 }).sent;
        assert.deepEqual(program.run(reply), { verdict: "PASS", data: reply });
      });
    }

    it("counts both directions apart", () => {
      program.reset();
      const id = ids["tcp 10.10.10.53"] ?? 0;
      for (const flags of ["S", "A", "A"]) program.run(request(families.IPv4, { flags }).sent);
      for (const flags of ["SA", "A"]) program.run(answer(families.IPv4, { flags }).sent);
      assert.equal(program.packets(id), 3n);
      assert.equal(program.replies(id), 2n);
    });

    it("passes what comes from a real server and belongs to no connection", () => {
      program.reset();
      const { sent } = answer(families.IPv4, { flags: "SA" });
      assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
      assert.equal(program.counters().pass_not_service, 1n);
    });

    it("leaves to the stack what is wrong with a reply's header, and a fragment's", () => {
      program.reset();
      const { client, virtual, real } = families.IPv4;
      const spoilt = (bytes: Buffer): Buffer => {
        const copy = Buffer.from(bytes);
        copy[24] = (copy[24] ?? 0) ^ 1;
        return copy;
      };
      program.run(request(families.IPv4, {}).sent);
      const sourceRoute = { options: [0x83, 7, 4, 10, 0, 0, 9] };
      const first = { source: client, destination: virtual, protocol: "udp", id: 9, fragment: 0x2000 } as const;
      const later = { ...first, protocol: 17, fragment: 2, transport: Buffer.alloc(24) } as const;
      assert.equal(program.run(frame({ ...first, payload: Buffer.alloc(8) })).verdict, "TX");
      for (const sent of [
        spoilt(answer(families.IPv4, { flags: "SA" }).sent),
        answer(families.IPv4, { flags: "SA", ...sourceRoute }).sent,
        spoilt(frame(later)),
        frame({ ...later, ...sourceRoute }),
      ]) {
        assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
      }
      assert.deepEqual([program.counters().pass_malformed, program.counters().pass_option], [2n, 2n]);
      assert.equal(program.run(frame(later)).verdict, "TX");
      assert.deepEqual(addressOf(program.run(frame(later)).data, "destination"), addressBytes(real));
    });

    it("finds whose reply it is where services share a real server", () => {
      const program = openRoutedProgram();
      const virtuals = ["10.10.10.53", "10.10.10.54", "10.10.10.55"];
      for (const address of virtuals) {
        program.service({
          address,
          realServers: [{ address: "192.168.200.102", port: 8080, method: "masq", mac: realMac }],
        });
      }
      virtuals.forEach((virtual, i) => {
        program.run(request({ ...families.IPv4, virtual: virtual as "10.10.10.53" }, { sourcePort: 40000 + i }).sent);
      });
      virtuals.forEach((virtual, i) => {
        const { data } = program.run(answer(families.IPv4, { flags: "SA", destinationPort: 40000 + i }).sent);
        assert.deepEqual(addressOf(data, "source"), addressBytes(virtual));
      });
    });

    it("maps no port of a service of all ports", () => {
      const program = openRoutedProgram();
      program.service({
        port: 0,
        persistence: { timeout: 60, netmask: "255.255.255.255" },
        realServers: [{ address: "192.168.200.102", port: 8080, method: "masq", mac: realMac }],
      });
      const { data } = program.run(frame({ destinationPort: 443 }));
      assert.equal(data.readUInt16BE(36), 443);
      const reply = program.run(
        frame({
          source: "192.168.200.102",
          destination: "192.0.2.1",
          sourcePort: 443,
          destinationPort: 40000,
          flags: "SA",
        }),
      );
      assert.equal(reply.verdict, "REDIRECT");
      assert.deepEqual(addressOf(reply.data, "source"), addressBytes("10.10.10.53"));
      assert.equal(reply.data.readUInt16BE(34), 443);
    });

    it("has the stack cut what is too long and may be cut, and tells the client of what may not", () => {
      const program = openRoutedProgram();
      program.service({
        realServers: [{ address: "192.168.200.102", port: 8080, method: "masq", mac: realMac, mtu: 1400 }],
      });
      const payload = Buffer.alloc(1420);
      const { data } = program.run(frame({ payload }));
      assert.deepEqual([...data.subarray(34, 36)], [3, 4]);
      assert.equal(data.readUInt32BE(38), 1400);
      const cut = program.run(frame({ payload, fragment: 0, ttl: 9 }));
      assert.equal(cut.verdict, "PASS");
      assert.deepEqual(addressOf(cut.data, "destination"), addressBytes("192.168.200.102"));
      assert.equal(cut.data[22], 9, "the stack counts the TTL down");
      assert.equal(checksum(cut.data.subarray(14, 34)), 0);
    });
  });

  describe("ICMP errors of a masqueraded connection", () => {
    const kinds = {
      IPv4: [
        ["unreachable", 3, 1, 0],
        ["fragmentation needed", 3, 4, 1400],
        ["time exceeded", 11, 0, 0],
        ["source quench", 4, 0, 0],
      ],
      IPv6: [
        ["unreachable", 1, 3, 0],
        ["too big", 2, 0, 1300],
        ["time exceeded", 3, 0, 0],
        ["parameter problem", 4, 1, 40],
      ],
    } as const;
    const { program } = mapped();
    const router = { IPv4: "203.0.113.9", IPv6: "2001:db8:9::9" } as const;
    for (const family of ["IPv4", "IPv6"] as const) {
      const { client, virtual, real } = families[family];
      const ipv6 = family === "IPv6";
      const message = (type: number, code: number, word: number, quote: Buffer, destination: string, source: string) =>
        frame({
          source,
          destination,
          protocol: ipv6 ? 58 : 1,
          transport: icmp(type, code, word, quote, ipv6 ? { source, destination } : undefined),
        });
      const header = ipv6 ? 40 : 20;
      for (const [name, type, code, word] of kinds[family]) {
        for (const quoted of [4, 8, 20]) {
          it(`go to the real server: ${name} over ${family}, ${quoted} bytes quoted`, () => {
            program.reset();
            program.run(request(families[family], {}).sent);
            const quoteOf = (source: string, sourcePort: number) =>
              frame({ source, destination: client, sourcePort, destinationPort: 40000, flags: "SA" }).subarray(
                14,
                14 + header + Math.min(quoted, 16),
              );
            const sent = message(type, code, word, quoteOf(virtual, 80), virtual, router[family]);
            const wanted = message(type, code, word, quoteOf(real, 8080), real, router[family]);
            const { verdict, data } = program.run(sent);
            assert.equal(verdict, "TX");
            assert.equal(data.toString("hex"), routed(wanted, realMac, directorMac).toString("hex"));
            assert.equal(program.counters().forward_icmp, 1n);
          });

          it(`go to the client: ${name} over ${family}, ${quoted} bytes quoted`, () => {
            program.reset();
            program.run(request(families[family], {}).sent);
            const quoteOf = (destination: string, destinationPort: number) =>
              frame({ source: client, destination, destinationPort }).subarray(14, 14 + header + Math.min(quoted, 16));
            const sent = message(type, code, word, quoteOf(real, 8080), client, "192.168.200.102".replace(/.*/, real));
            const wanted = message(type, code, word, quoteOf(virtual, 80), client, virtual);
            const { verdict, data } = program.run(sent);
            assert.equal(verdict, "REDIRECT");
            assert.equal(data.toString("hex"), routed(wanted, gatewayMac, outMac).toString("hex"));
          });
        }
      }

      it(`of an unknown connection go where the hash says, over ${family}`, () => {
        program.reset();
        const quote = frame({ source: virtual, destination: client, sourcePort: 80 }).subarray(14, 14 + header + 8);
        const { verdict, data } = program.run(
          message(ipv6 ? 2 : 3, ipv6 ? 0 : 4, 1400, quote, virtual, router[family]),
        );
        assert.equal(verdict, "TX");
        assert.deepEqual(addressOf(data, "destination"), addressBytes(real));
        assert.equal(program.slots().length, 0);
      });
    }

    it("of IPv4 with a wrong checksum go to the stack, untouched", () => {
      program.reset();
      program.run(request(families.IPv4, {}).sent);
      const quote = frame({ source: "10.10.10.53", destination: "192.0.2.1", sourcePort: 80, destinationPort: 40000 });
      const transport = icmp(3, 1, 0, quote.subarray(14, 42));
      transport[2] = (transport[2] ?? 0) ^ 1;
      const sent = frame({ source: "203.0.113.9", protocol: 1, transport });
      assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
    });

    it("of IPv4 with a wrong checksum about a packet to the real server are dropped, not routed to the client", () => {
      program.reset();
      program.run(request(families.IPv4, {}).sent);
      const { client, real } = families.IPv4;
      const quote = frame({ source: client, destination: real, sourcePort: 40000, destinationPort: 8080 });
      const transport = icmp(3, 1, 0, quote.subarray(14, 42));
      transport[2] = (transport[2] ?? 0) ^ 1;
      assert.equal(program.run(frame({ source: real, destination: client, protocol: 1, transport })).verdict, "DROP");
      assert.equal(program.counters().drop_rewrite, 1n);
    });
  });
}

function addressOf(data: Buffer, which: "source" | "destination"): Buffer {
  const packet = packetOf(data);
  const [at, length] = (packet[0] ?? 0) >> 4 === 6 ? [8, 16] : [12, 4];
  const from = at + (which === "source" ? 0 : length);
  return packet.subarray(from, from + length);
}
