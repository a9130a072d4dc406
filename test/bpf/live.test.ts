import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { realServerFlag } from "../../src/dataplane/xdp/layout.generated.ts";
import type { Settings } from "../../src/dataplane/xdp/layout.generated.ts";
import { frame, macBytes } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { cannotRun, directorMac, ingress, openProgram } from "./program.ts";
import type { Program, RealServerSpec, ServiceSpec } from "./program.ts";

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

/** Another interface lies in the first place of the ingress interface, so that every packet takes the long way. */
function takeLongWay(program: Program): void {
  program.interface(ingress + 256, 0, "02:00:00:00:00:77");
  program.maps.interfaces.write((ingress * 31 + 1) & 255, {
    ifindex: ingress,
    vlan: 0,
    mac: macBytes(directorMac),
    mtu: 1500,
  });
}

/** A program with one service for each real server, family and protocol; `long`: its packets take the long way. */
function openWith(long: boolean): Program {
  const program = openProgram();
  if (long) takeLongWay(program);
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

/** What a packet may open a connection of: with every kind of question that comes before, and with none. */
const openings: readonly Omit<ServiceSpec, "realServers">[] = [
  ...(["rr", "wlc", "lc", "sed", "nq", "fo", "ovf", "lblc", "lblcr"] as const).map((scheduler) => ({ scheduler })),
  { onePacket: true },
  { persistence: { timeout: 300, netmask: "255.255.255.255" } },
];
const clients = {
  IPv4: ["198.51.100.7", "198.51.100.8", "203.0.113.9", "127.0.0.1", "224.0.0.5", "10.10.10.1"],
  IPv6: ["2001:db8::7", "2001:db8::8", "2001:db8:1::9", "::1", "ff02::5", "fd00::1"],
} as const;
/** As long as Ethernet's shortest frames have it; shorter ones take the long way. */
const padding = Buffer.alloc(18);
/** Of so few slots, so that lines overflow and no slot is to be had. */
const tableSlots = 32;
const weights = [1, 3, 70_000, 0];
const realServerCount = openings.length * families.length * 2 * weights.length;
const { REAL_SERVER_RESOLVED: resolved } = realServerFlag;
const available = resolved | realServerFlag.REAL_SERVER_AVAILABLE;

function openOpenings(long: boolean): Program {
  const program = openProgram(tableSlots);
  if (long) takeLongWay(program);
  program.ownAddress("10.10.10.1");
  program.ownAddress("fd00::1");
  for (const [index, opening] of openings.entries()) {
    for (const { real, virtual } of families) {
      for (const protocol of ["tcp", "udp"] as const) {
        program.service({
          ...opening,
          address: virtual,
          port: 80 + index,
          protocol,
          realServers: weights.map((weight, nth) => ({ address: real.replace(/102$/, `${101 + nth}`), weight })),
        });
      }
    }
  }
  return program;
}

type Step =
  | {
      readonly kind: "packets";
      readonly opening: number;
      readonly family: (typeof families)[number];
      readonly protocol: "tcp" | "udp";
      readonly flags: string;
      readonly client: number;
      readonly port: number;
      readonly count: number;
    }
  | { readonly kind: "weight"; readonly realServer: number; readonly weight: number }
  | { readonly kind: "flags"; readonly realServer: number; readonly available: boolean }
  | { readonly kind: "settings"; readonly settings: Partial<Settings> };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("packets" as const),
      opening: fc.nat(openings.length - 1),
      family: fc.constantFrom(...families),
      protocol: fc.constantFrom("tcp", "udp"),
      flags: fc.constantFrom("S", "S", "S", "SP", "A", "FA", "R", "SA"),
      client: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(5) }),
      port: fc.constantFrom(20, 1024, 1025),
      count: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 20 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("weight" as const),
      realServer: fc.integer({ min: 1, max: realServerCount }),
      weight: fc.nat(4),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("flags" as const),
      realServer: fc.integer({ min: 1, max: realServerCount }),
      available: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("settings" as const),
      settings: fc.record({ expire_nodest_conn: fc.nat(2), conn_reuse_mode: fc.nat(3), sloppy_tcp: fc.nat(1) }),
    }),
  },
);

describe("a packet that opens a connection", { skip: cannotRun }, () => {
  const short = openOpenings(false);
  const long = openOpenings(true);
  /** Both tables have one secret, and so the same places. */
  const { key } = short.maps.settings.read(0);
  const ids = Array.from({ length: realServerCount }, (_, index) => index + 1);

  function after(program: Program, steps: readonly Step[]): object {
    program.reset();
    // What is answered so often a second depends on when the second begins.
    program.set({ key, icmp_per_second: 0, resets_per_second: 0 });
    const seen: object[] = [];
    for (const step of steps) {
      if (step.kind === "weight")
        program.setWeight(step.realServer, step.weight, Math.ceil(step.realServer / weights.length));
      if (step.kind === "flags") program.setFlags(step.realServer, step.available ? available : resolved);
      if (step.kind === "settings") program.set(step.settings);
      if (step.kind !== "packets") continue;
      const { family, protocol, flags, opening, client, port, count } = step;
      for (let nth = 0; nth < count; nth++) {
        const { verdict, data } = program.run(
          frame({
            source: clients[family.name][client] ?? "",
            sourcePort: port + 16 * nth,
            destination: family.virtual,
            destinationPort: 80 + opening,
            protocol,
            flags,
            payload: padding,
          }),
        );
        seen.push({ verdict, data: withoutIdentification(data).toString("hex") });
      }
    }
    return {
      seen,
      counters: program.counters(),
      packets: ids.map((id) => program.packets(id)),
      loads: ids.map((id) => program.load(id)),
      slots: program.slots().map(({ index, state, realServer }) => `${index} ${realServer} ${state}`),
    };
  }

  it("opens the same one by the short way and the long one", () => {
    fc.assert(
      fc.property(fc.nat(openings.length - 1), fc.array(step, { minLength: 1, maxLength: 30 }), (most, steps) => {
        const mostly = steps.map((step, nth) =>
          step.kind === "packets" && nth % 4 > 0 ? { ...step, opening: most } : step,
        );
        assert.deepEqual(after(short, mostly), after(long, mostly));
      }),
      { numRuns: 200 },
    );
  });

  it("finds one that lies in the neighbour of its line", () => {
    const program = openProgram(128);
    const realServers = [101, 102, 103].map((last) => ({ address: `192.168.200.${last}` }));
    program.service({ address: "10.10.10.53", protocol: "udp", realServers });
    const send = () => {
      for (let port = 1024; port < 1134; port++) {
        program.run(
          frame({
            protocol: "udp",
            source: "198.51.100.7",
            sourcePort: port,
            destination: "10.10.10.53",
            payload: padding,
          }),
        );
      }
      return program.slots().map(({ index, realServer }) => `${index} ${realServer}`);
    };
    const opened = send();
    assert.ok(opened.length > 80, `${opened.length} connections`);
    assert.deepEqual(send(), opened);
  });
});
