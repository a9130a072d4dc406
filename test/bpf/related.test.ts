import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { addressBytes, checksum, frame, macBytes, routed } from "../support/packet.ts";
import { icmp, transportChecksum } from "../support/transport.ts";
import { cannotRun, directorMac } from "./program.ts";
import { gatewayMac, inRoutedNamespace, openRoutedProgram, outMac } from "./routed.ts";

const realMac = "02:00:00:00:01:01";
const ipv4 = { client: "192.0.2.1", virtual: "10.10.10.53", router: "203.0.113.9", real: "192.168.200.102" } as const;
const ipv6 = { client: "2001:db8::1", virtual: "fd00:53::1", router: "2001:db8:9::9", real: "fd00:200::102" } as const;
type Plan = Readonly<Record<keyof typeof ipv4, string>>;

/** An error to `destination`, about `quote`. */
function error(plan: Plan, message: readonly [number, number, number], quote: Buffer, destination: string): Buffer {
  const source = plan.router;
  const v6 = source.includes(":");
  const transport = icmp(...message, quote, v6 ? { source, destination } : undefined);
  return frame({ source, destination, protocol: v6 ? 58 : 1, transport });
}

/** What the virtual address has sent to the client, as far as a router quotes it. */
function quoted({ client, virtual }: Plan, bytes: number, destinationPort = 40000): Buffer {
  const answer = frame({ source: virtual, destination: client, sourcePort: 80, destinationPort, flags: "SA" });
  return answer.subarray(14, 14 + (client.includes(":") ? 40 : 20) + bytes);
}

if (inRoutedNamespace(import.meta.filename, cannotRun)) {
  describe("an ICMP error about a connection", () => {
    const program = openRoutedProgram();
    for (const { virtual, real } of [ipv4, ipv6]) {
      program.service({ address: virtual, realServers: [{ address: real, mac: realMac }] });
      program.service({ address: virtual, port: 81, realServers: [] });
    }
    beforeEach(() => {
      program.reset();
    });

    for (const plan of [ipv4, ipv6]) {
      const v6 = plan === ipv6;
      const family = v6 ? "IPv6" : "IPv4";
      const kinds = v6 ? [0, 1, 2, 3, 4, 5, 127] : [3, 4, 11];
      for (const type of kinds) {
        it(`of type ${type} goes to the real server as it is, over ${family}`, () => {
          program.run(frame({ source: plan.client, destination: plan.virtual }));
          for (const bytes of [4, 8, 20]) {
            for (const destination of [plan.virtual, v6 ? "fd00:10::52" : "10.10.10.52"]) {
              const sent = error(plan, [type, 0, 1400], quoted(plan, bytes), destination);
              const { verdict, data } = program.run(sent);
              assert.equal(verdict, "TX");
              assert.equal(data.toString("hex"), routed(sent, realMac, directorMac).toString("hex"));
            }
          }
          assert.equal(program.counters().forward_icmp, 6n);
        });
      }

      it(`is passed if it tells of none, or cannot be read, over ${family}`, () => {
        program.run(frame({ source: plan.client, destination: plan.virtual }));
        const type = v6 ? 1 : 3;
        const request = frame({ source: plan.client, destination: plan.virtual }).subarray(14);
        const notOurs = frame({ source: plan.virtual, destination: plan.client, sourcePort: 8888 }).subarray(14);
        for (const sent of [
          error(plan, [type, 0, 0], quoted(plan, 3), plan.virtual),
          error(plan, [type, 0, 0], request, plan.virtual),
          error(plan, [type, 0, 0], notOurs, plan.virtual),
          error(plan, [v6 ? 128 : 8, 0, 0], quoted(plan, 8), plan.virtual),
          error(plan, [v6 ? 135 : 5, 0, 0], quoted(plan, 8), plan.virtual),
        ]) {
          assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
        }
      });

      it(`of an unknown connection goes where the hash says, and without a real server to the stack, over ${family}`, () => {
        const sent = error(plan, [v6 ? 2 : 3, v6 ? 0 : 4, 1400], quoted(plan, 8, 12345), plan.virtual);
        assert.equal(program.run(sent).data.toString("hex"), routed(sent, realMac, directorMac).toString("hex"));
        assert.equal(program.slots().length, 0);
        const none = frame({ source: plan.virtual, destination: plan.client, sourcePort: 81 }).subarray(14);
        assert.equal(program.run(error(plan, [v6 ? 1 : 3, 0, 0], none, plan.virtual)).verdict, "PASS");
      });

      it(`of an unknown connection is passed unless it is for the address that has sent what it quotes, over ${family}`, () => {
        const quote = quoted(plan, 8, 12345);
        const sent = error(plan, [v6 ? 2 : 3, v6 ? 0 : 4, 1400], quote, v6 ? "fd00:10::52" : "10.10.10.52");
        assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
      });

      it(`from a source that cannot be is passed, over ${family}`, () => {
        program.run(frame({ source: plan.client, destination: plan.virtual }));
        for (const source of v6 ? ["ff02::1", "::1"] : ["224.0.0.1", "127.0.0.1", "255.255.255.255"]) {
          const transport = icmp(
            v6 ? 1 : 3,
            0,
            0,
            quoted(plan, 8),
            v6 ? { source, destination: plan.virtual } : undefined,
          );
          const sent = frame({ source, destination: plan.virtual, protocol: v6 ? 58 : 1, transport });
          assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
        }
        assert.equal(program.counters().pass_source_address, v6 ? 2n : 3n);
      });

      it(`whose TTL is used up is dropped, and never answered, over ${family}`, () => {
        program.run(frame({ source: plan.client, destination: plan.virtual }));
        const sent = error(plan, [v6 ? 1 : 3, 0, 0], quoted(plan, 8), plan.virtual);
        sent[v6 ? 21 : 22] = 1;
        if (!v6) {
          sent.writeUInt16BE(0, 24);
          sent.writeUInt16BE(checksum(sent.subarray(14, 34)), 24);
        }
        assert.equal(program.run(sent).verdict, "DROP");
      });
    }
  });

  describe("an ICMP error about a tunnel", () => {
    const program = openRoutedProgram();
    const source = { ipv4: "192.168.200.52", ipv6: "fd00:200::52" };
    const services: readonly { plan: Plan; port: number; outer: "ipv4" | "ipv6"; type: "ipip" | "gue" | "gre" }[] = [
      { plan: ipv4, port: 80, outer: "ipv4", type: "ipip" },
      { plan: ipv6, port: 80, outer: "ipv6", type: "ipip" },
      { plan: ipv4, port: 82, outer: "ipv6", type: "ipip" },
      { plan: ipv6, port: 82, outer: "ipv4", type: "ipip" },
      { plan: ipv4, port: 83, outer: "ipv4", type: "gue" },
      { plan: ipv6, port: 84, outer: "ipv6", type: "gre" },
    ];
    const ids = services.map(({ plan, port, outer, type }) => {
      const tunnel = { type, port: type === "gue" ? 6080 : 0 };
      const address = outer === "ipv4" ? ipv4.real : ipv6.real;
      const realServers = [{ address, method: "ipip" as const, mac: realMac, tunnel }];
      return program.service({ address: plan.virtual, port, realServers }).realServers[0] ?? 0;
    });
    for (const [index, { plan, port, outer, type }] of services.entries()) {
      const v6 = plan === ipv6;
      const overhead = (outer === "ipv6" ? 40 : 20) + { ipip: 0, gue: 12, gre: 4 }[type];
      const wrapped = (): Buffer => {
        const { data } = program.run(frame({ source: plan.client, destination: plan.virtual, destinationPort: port }));
        return data.subarray(14);
      };
      const about = (message: readonly [number, number, number]) =>
        error(outer === "ipv6" ? ipv6 : ipv4, message, wrapped(), source[outer]);
      const answered = (data: Buffer): { type: number; code: number; word: number; quote: Buffer } => {
        assert.deepEqual(data.subarray(0, 12), Buffer.concat([macBytes(gatewayMac), macBytes(outMac)]));
        const packet = data.subarray(14);
        const header = v6 ? 40 : 20;
        const addresses = Buffer.concat([addressBytes(plan.virtual), addressBytes(plan.client)]);
        assert.deepEqual(v6 ? packet.subarray(8, 40) : packet.subarray(12, 20), addresses);
        const body = packet.subarray(header);
        if (v6) assert.equal(transportChecksum(packet), 0);
        else assert.equal(checksum(packet.subarray(0, 20)) + checksum(body), 0);
        return { type: body[0] ?? 0, code: body[1] ?? 0, word: body.readUInt32BE(4), quote: body.subarray(8) };
      };
      const name = `${type} over ${outer} with ${v6 ? "IPv6" : "IPv4"} inside`;

      it(`tells the client what its packet met: ${name}`, () => {
        const sent = about(outer === "ipv6" ? [1, 0, 0] : [3, 0, 0]);
        const { verdict, data } = program.run(sent);
        assert.equal(verdict, "REDIRECT");
        const { type: told, code, quote } = answered(data);
        const same = v6 === (outer === "ipv6");
        assert.deepEqual([told, code], same ? [v6 ? 1 : 3, 0] : v6 ? [1, 3] : [3, 1]);
        const inner = routed(
          frame({ source: plan.client, destination: plan.virtual, destinationPort: port }),
          realMac,
          directorMac,
        ).subarray(14);
        assert.equal(quote.toString("hex"), inner.toString("hex"));
      });

      it(`tells the client how much fits, and remembers it: ${name}`, () => {
        const { data } = program.run(about(outer === "ipv6" ? [2, 0, 1400] : [3, 4, 1400]));
        const { type: told, code, word } = answered(data);
        assert.deepEqual([told, code, word], [v6 ? 2 : 3, v6 ? 0 : 4, Math.max(1400 - overhead, v6 ? 1280 : 0)]);
        assert.equal(program.maps.tunnels.read(ids[index] ?? 0).path_mtu, 1400);
        const long = frame({
          source: plan.client,
          destination: plan.virtual,
          destinationPort: port,
          flags: "A",
          payload: Buffer.alloc(1400 - overhead - (v6 ? 60 : 40) + 1),
        });
        assert.equal(program.run(long).data.readUInt32BE((v6 ? 54 : 34) + 4), 1400 - overhead);
      });
    }

    it("is passed if it is not for the one who has sent the tunnel's packet, and nothing is learnt of it", () => {
      const quote = program.run(frame()).data.subarray(14);
      const sent = error(ipv4, [3, 4, 1200], quote, "192.168.200.53");
      assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
      assert.notEqual(program.maps.tunnels.read(ids[0] ?? 0).path_mtu, 1200);
    });

    it("is passed if it comes from a source that cannot be, and nobody is told of it", () => {
      const quote = program.run(frame()).data.subarray(14);
      const sent = error({ ...ipv4, router: "127.0.0.1" }, [3, 0, 0], quote, source.ipv4);
      assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
    });

    it("tells nobody of it over the limit, but remembers it", () => {
      const [id = 0] = ids;
      program.set({ icmp_per_second: 0 });
      const wrapped = program.run(frame()).data.subarray(14);
      assert.equal(program.run(error(ipv4, [3, 4, 1300], wrapped, source.ipv4)).verdict, "DROP");
      program.set({ icmp_per_second: 1_000_000 });
      assert.equal(program.maps.tunnels.read(id).path_mtu, 1300);
    });

    it("is passed if it names another real server, or its checksum is wrong", () => {
      const { data } = program.run(frame());
      const other = Buffer.from(data.subarray(14));
      other[19] = 99;
      const spoilt = error(ipv4, [3, 0, 0], data.subarray(14), source.ipv4);
      spoilt[36] = (spoilt[36] ?? 0) ^ 1;
      for (const sent of [error(ipv4, [3, 0, 0], other, source.ipv4), spoilt]) {
        assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
      }
    });
  });

  describe("two directors that are real servers of each other", () => {
    const fellowMac = "02:00:00:00:00:77";
    const fellow = "192.168.200.77";
    const program = openRoutedProgram();
    program.service({
      realServers: [
        { address: fellow, mac: fellowMac, fellow: true },
        { address: "192.168.200.52", local: true },
      ],
    });
    program.service({ address: "10.10.10.54", realServers: [{ address: fellow, mac: fellowMac }] });
    beforeEach(() => {
      program.reset();
    });

    it("do not direct again what the other has sent, with a connection and without", () => {
      const mine = Array.from({ length: 4 }, (_, i) => frame({ sourcePort: 1000 + i }));
      const verdicts = mine.map((sent) => program.run(sent).verdict);
      assert.deepEqual([...verdicts].sort(), ["PASS", "PASS", "TX", "TX"]);
      for (const sourcePort of [1000, 1001, 1002, 1003, 2000]) {
        const sent = frame({ from: fellowMac, sourcePort });
        assert.deepEqual(program.run(sent), { verdict: "PASS", data: sent });
      }
      assert.equal(program.slots().length, 4);
      assert.ok(program.counters().pass_directed >= 3n);
    });

    it("serve each other as clients, and services that the other is alone for", () => {
      const verdicts = Array.from(
        { length: 4 },
        (_, i) => program.run(frame({ from: fellowMac, source: fellow, sourcePort: 3000 + i })).verdict,
      );
      assert.deepEqual([...verdicts].sort(), ["PASS", "PASS", "TX", "TX"]);
      assert.equal(program.counters().pass_directed, 0n);
      assert.equal(program.run(frame({ from: fellowMac, destination: "10.10.10.54" })).verdict, "TX");
    });
  });
}
