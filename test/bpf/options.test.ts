import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { frame } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program, ServiceSpec } from "./program.ts";

const two = [{ address: "192.168.200.102" }, { address: "192.168.200.103" }];

function withService(spec: Partial<ServiceSpec> = {}): { program: Program; real: number; other: number } {
  const program = openProgram();
  const { realServers } = program.service({ realServers: two, ...spec });
  return { program, real: realServers[1] ?? 0, other: realServers[0] ?? 0 };
}

/** An SCTP packet whose chunks have these types and four bytes of value each. */
function sctp(...types: readonly number[]): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(40000, 0);
  header.writeUInt16BE(80, 2);
  const chunks = types.map((type) => Buffer.from([type, 0, 0, 8, 0, 0, 0, 0]));
  return frame({ protocol: 132, transport: Buffer.concat([header, ...chunks]) });
}

const INIT = 1;
const ABORT = 6;
const SHUTDOWN = 7;
const SHUTDOWN_ACK = 8;
const COOKIE_ECHO = 10;
const DATA = 0;

describe("SCTP", { skip: cannotRun }, () => {
  const histories: readonly { readonly chunks: readonly (readonly number[])[]; readonly state: string }[] = [
    { chunks: [[INIT]], state: "SCTP_INIT1" },
    { chunks: [[INIT], [INIT]], state: "SCTP_INIT" },
    { chunks: [[INIT], [COOKIE_ECHO]], state: "SCTP_ESTABLISHED" },
    { chunks: [[INIT], [COOKIE_ECHO, DATA]], state: "SCTP_ESTABLISHED" },
    { chunks: [[INIT], [COOKIE_ECHO, ABORT]], state: "SCTP_CLOSED" },
    { chunks: [[INIT], [COOKIE_ECHO], [SHUTDOWN]], state: "SCTP_SHUTDOWN_RECEIVED" },
    { chunks: [[INIT], [COOKIE_ECHO], [SHUTDOWN_ACK]], state: "SCTP_CLOSED" },
    { chunks: [[INIT], [COOKIE_ECHO], [200]], state: "SCTP_ESTABLISHED" },
    { chunks: [[INIT], [COOKIE_ECHO], []], state: "SCTP_ESTABLISHED" },
  ];
  for (const { chunks, state } of histories) {
    it(`is ${state} after the chunks ${chunks.map((types) => types.join("+") || "none").join(", ")}`, () => {
      const { program, real } = withService({ protocol: "sctp" });
      for (const types of chunks) assert.equal(program.run(sctp(...types)).verdict, "TX");
      assert.deepEqual(
        program.slots().map((slot) => slot.state),
        [state],
      );
      const active = state === "SCTP_ESTABLISHED" ? 1 : 0;
      assert.deepEqual([program.load(real).active, program.load(real).inactive], [active, 1 - active]);
    });
  }

  it("is passed to the stack without a connection, unless it is an INIT or sloppy", () => {
    const { program } = withService({ protocol: "sctp" });
    assert.equal(program.run(sctp(COOKIE_ECHO)).verdict, "PASS");
    assert.equal(program.run(sctp()).verdict, "DROP");
    program.set({ sloppy_sctp: 1 });
    assert.equal(program.run(sctp(ABORT)).verdict, "PASS");
    assert.equal(program.run(sctp(COOKIE_ECHO)).verdict, "TX");
    assert.equal(program.slots()[0]?.state, "SCTP_ESTABLISHED");
  });

  it("opens anew after the old association is closed", () => {
    const { program } = withService({ protocol: "sctp" });
    for (const types of [[INIT], [COOKIE_ECHO], [ABORT]]) program.run(sctp(...types));
    program.run(sctp(INIT));
    assert.deepEqual(
      program.slots().map(({ state }) => state),
      ["SCTP_INIT1"],
    );
  });
});

describe("one-packet scheduling", { skip: cannotRun }, () => {
  it("sends every datagram to the next real server and remembers none", () => {
    const { program, real, other } = withService({ protocol: "udp", onePacket: true });
    for (let i = 0; i < 10; i++) assert.equal(program.run(frame({ protocol: "udp" })).verdict, "TX");
    assert.deepEqual(program.slots(), []);
    assert.deepEqual([program.packets(real), program.packets(other)], [5n, 5n]);
    assert.equal(program.load(real).inactive, 0);
  });

  it("means nothing to TCP", () => {
    const { program } = withService({ onePacket: true });
    program.run(frame());
    assert.equal(program.slots().length, 1);
  });
});

describe("FTP", { skip: cannotRun }, () => {
  const control: FrameSpec = { destinationPort: 21 };

  it("with persistence takes the data connections of its clients along", () => {
    const { program } = withService({ port: 21, persistence: { timeout: 300, netmask: "255.255.255.255" } });
    const to = (spec: FrameSpec) => program.run(frame(spec)).data.subarray(0, 6).toString("hex");
    const server = to(control);
    for (const destinationPort of [20, 1024, 54321]) assert.equal(to({ destinationPort }), server);
    assert.equal(program.run(frame({ destinationPort: 1023 })).verdict, "PASS");
  });

  it("without persistence leaves other ports alone", () => {
    const { program } = withService({ port: 21 });
    assert.equal(program.run(frame(control)).verdict, "TX");
    assert.equal(program.run(frame({ destinationPort: 54321 })).verdict, "PASS");
  });

  it("never has a connection from port 20 scheduled", () => {
    const { program } = withService();
    assert.equal(program.run(frame({ sourcePort: 20 })).verdict, "PASS");
    assert.equal(program.run(frame({ sourcePort: 0 })).verdict, "TX");
  });
});

describe("a SYN on a connection that closes", { skip: cannotRun }, () => {
  const close = (program: Program) => {
    for (const flags of ["S", "A", "FA"]) program.run(frame({ flags }));
  };
  const server = (program: Program) => program.slots()[0]?.realServer;

  it("goes on with it in FIN_WAIT, as in the kernel with conn_reuse_mode=1", () => {
    const { program, real } = withService();
    close(program);
    program.run(frame());
    assert.equal(server(program), real);
  });

  it("opens a new one in FIN_WAIT with conn_reuse_mode=2, or when its real server is quiescent", () => {
    const reuse = withService();
    reuse.program.set({ conn_reuse_mode: 2 });
    close(reuse.program);
    reuse.program.run(frame());
    assert.equal(server(reuse.program), reuse.other);
    const quiescent = withService();
    close(quiescent.program);
    quiescent.program.setWeight(quiescent.real, 0);
    quiescent.program.run(frame());
    assert.equal(server(quiescent.program), quiescent.other);
  });

  it("goes on with a closed one only with conn_reuse_mode=0", () => {
    for (const [mode, stays] of [
      [0, true],
      [1, false],
    ] as const) {
      const { program, real } = withService();
      program.set({ conn_reuse_mode: mode });
      for (const flags of ["S", "A", "R", "S"]) program.run(frame({ flags }));
      assert.equal(server(program) === real, stays);
    }
  });
});

describe("expire_nodest_conn", { skip: cannotRun }, () => {
  it("0 drops a SYN and a datagram of a real server that was taken away", () => {
    for (const protocol of ["tcp", "udp"] as const) {
      const { program, real } = withService({ protocol });
      program.set({ expire_nodest_conn: 0 });
      program.run(frame({ protocol }));
      program.setFlags(real, 0);
      assert.equal(program.run(frame({ protocol })).verdict, "DROP");
      assert.equal(program.counters().drop_real_server_gone, 1n);
    }
  });

  it("2 ends connections of quiescent real servers at a SYN or a datagram", () => {
    for (const protocol of ["tcp", "udp"] as const) {
      const { program, real, other } = withService({ protocol });
      program.run(frame({ protocol }));
      program.setWeight(real, 0);
      program.run(frame({ protocol }));
      assert.equal(program.slots()[0]?.realServer, real, "1 lets them go on");
      program.set({ expire_nodest_conn: 2 });
      program.run(frame({ protocol }));
      assert.deepEqual(
        program.slots().map(({ realServer }) => realServer),
        [other],
      );
    }
  });
});

describe("expire_quiescent_template", { skip: cannotRun }, () => {
  it("lets a client of a quiescent real server go elsewhere", () => {
    const { program, real, other } = withService({ persistence: { timeout: 300, netmask: "255.255.255.255" } });
    const open = (sourcePort: number) => {
      program.run(frame({ sourcePort }));
      return program.slots().filter(({ state }) => state !== "TEMPLATE");
    };
    open(2000);
    program.setWeight(real, 0);
    program.maps.ringMembers.write(0, Uint32Array.of(other, other));
    assert.deepEqual(
      open(2001).map(({ realServer }) => realServer),
      [real, real],
    );
    program.set({ expire_quiescent_template: 1 });
    const servers = open(2002).map(({ realServer }) => realServer);
    assert.deepEqual(servers.sort(), [other, real, real].sort());
    // The old connections end, and do not count on the template that is there now. It may lie before its connection.
    program.age(4000);
    for (let pass = 0; pass < 2; pass++) program.control.sweep();
    assert.deepEqual(program.slots(), []);
    assert.deepEqual([program.load(real).persistent, program.load(other).persistent], [0, 0]);
  });
});

describe("sloppy_tcp", { skip: cannotRun }, () => {
  it("opens a connection with any segment but a RST", () => {
    const { program, real } = withService();
    program.set({ sloppy_tcp: 1 });
    assert.equal(program.run(frame({ flags: "RA" })).verdict, "PASS");
    assert.equal(program.run(frame({ flags: "PA" })).verdict, "TX");
    assert.equal(program.slots()[0]?.state, "ESTABLISHED");
    assert.deepEqual([program.load(real).active, program.load(real).inactive], [1, 0]);
    program.run(frame({ flags: "R" }));
    assert.deepEqual([program.load(real).active, program.load(real).inactive], [0, 1]);
  });
});

describe("limits of new connections", { skip: cannotRun }, () => {
  it("of a service drop what is above them, and leave live connections alone", () => {
    const { program } = withService({ limits: { perSecond: 10, perSource: 0 } });
    const verdicts = Array.from({ length: 30 }, (_, i) => program.run(frame({ sourcePort: 2000 + i })).verdict);
    assert.equal(verdicts.filter((verdict) => verdict === "TX").length, 10);
    assert.equal(program.counters().drop_service_limit, 20n);
    assert.equal(program.run(frame({ sourcePort: 2000, flags: "A" })).verdict, "TX");
    program.maps.sweep.read(0);
  });

  it("of a source count each IPv4 address and each IPv6 /64 by itself", () => {
    for (const [address, sources] of [
      ["10.10.10.53", ["192.0.2.1", "192.0.2.2"]],
      ["2001:db8::53", ["2001:db8:0:1::1", "2001:db8:0:2::1"]],
    ] as const) {
      const ipv6 = address.includes(":");
      const { program } = withService({
        address,
        realServers: [{ address: ipv6 ? "2001:db8:1::2" : "192.168.200.102" }],
        limits: { perSecond: 0, perSource: 5 },
      });
      for (const source of sources) {
        const verdicts = Array.from(
          { length: 8 },
          (_, i) => program.run(frame({ source, destination: address, sourcePort: 2000 + i })).verdict,
        );
        assert.equal(verdicts.filter((verdict) => verdict === "TX").length, 5, source);
      }
      assert.equal(program.counters().drop_source_limit, 6n);
      const neighbour = program.run(
        frame({ source: ipv6 ? "2001:db8:0:1::2" : "192.0.2.3", destination: address }),
      ).verdict;
      assert.equal(neighbour, ipv6 ? "DROP" : "TX");
    }
  });
});

describe("a connection that rests", { skip: cannotRun }, () => {
  const timeouts = (program: Program, seconds: number) => {
    const { timeout } = program.maps.settings.read(0);
    program.set({ timeout: timeout.map((value) => (value >= 300 ? seconds : value)) });
  };

  it("lives as long as its timeout says, however long that is", () => {
    for (const protocol of ["tcp", "udp"] as const) {
      const { program, real } = withService({ protocol });
      timeouts(program, 20_000);
      program.run(frame({ protocol }));
      if (protocol === "tcp") program.run(frame({ flags: "A" }));
      const active = protocol === "tcp" ? 1 : 0;
      program.age(3000);
      program.control.sweep();
      assert.match(program.slots()[0]?.state ?? "", /_IDLE$/);
      assert.equal(program.load(real).active, active);
      program.ageIdle(16_900);
      program.control.sweep();
      assert.equal(program.slots().length, 1);
      program.ageIdle(200);
      program.control.sweep();
      assert.deepEqual(program.slots(), []);
      assert.deepEqual([program.load(real).active, program.load(real).inactive], [0, 0]);
    }
  });

  it("is awake again with its next packet", () => {
    const { program, real } = withService();
    timeouts(program, 20_000);
    for (const flags of ["S", "A"]) program.run(frame({ flags }));
    program.age(3000);
    program.control.sweep();
    assert.equal(program.slots()[0]?.state, "ESTABLISHED_IDLE");
    assert.equal(program.run(frame({ flags: "PA" })).verdict, "TX");
    assert.deepEqual([program.slots()[0]?.state, program.slots()[0]?.age], ["ESTABLISHED", 0]);
    assert.deepEqual([program.load(real).active, program.load(real).inactive], [1, 0]);
    program.run(frame({ flags: "FA" }));
    assert.deepEqual([program.load(real).active, program.load(real).inactive], [0, 1]);
  });

  it("ends by its service's own timeout if there is one", () => {
    const { program } = withService({ idleTimeout: 30 });
    for (const flags of ["S", "A"]) program.run(frame({ flags }));
    program.age(29);
    program.control.sweep();
    assert.equal(program.slots().length, 1);
    program.age(2);
    program.control.sweep();
    assert.deepEqual(program.slots(), []);
  });
});
