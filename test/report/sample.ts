/** A fixed snapshot: every kind of line that a report can have. */
import type { DaemonStatus } from "../../src/control/protocol.ts";
import type { PacketCounters } from "../../src/dataplane/xdp/layout.generated.ts";
import type { RealServerHealth } from "../../src/model/health.ts";
import type { RealServer, ServiceIdentity } from "../../src/model/service.ts";
import type { Connection, PlaneStatistics, RealServerStatistics } from "../../src/model/statistics.ts";
import type { Snapshot } from "../../src/report/snapshot.ts";

export const at = new Date("2025-03-01T12:00:00Z");

export const tutorial: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.53", port: 80 };
export const dns: ServiceIdentity = { kind: "address", protocol: "udp", address: "2001:db8::53", port: 53 };
const marked: ServiceIdentity = { kind: "mark", mark: 7, family: "ipv6" };

export function realServer(address: string, port: number, weight = 1): RealServer {
  return { address, port, method: "gate", weight, upperThreshold: 0, lowerThreshold: 0 };
}

const noReplies = { packetsOut: 0n, bytesOut: 0n };

function statistics(server: RealServer, connections: bigint, packets: bigint, bytes: bigint): RealServerStatistics {
  const counts = { active: Number(connections % 1000n), inactive: Number(packets % 100n), persistent: 1 };
  return {
    realServer: server,
    ...counts,
    nextHop: "eth1 02:00:00:00:00:01",
    connections,
    packets,
    bytes,
    ...noReplies,
  };
}

/** Its replies pass the director. */
const translated: RealServer = { ...realServer("2001:db8:1:2:3:4:5:6", 53, 65535), method: "masq" };
const replies = { packetsOut: 888_888_888n, bytesOut: 7_777_777_777n };

const plane: PlaneStatistics = {
  plane: "xdp",
  interfaces: [
    { name: "eth0", ifindex: 2, mode: "native", reason: "" },
    { name: "eth1", ifindex: 3, mode: "generic", reason: "the driver has no native XDP" },
  ],
  table: {
    size: 2097152,
    live: 4711,
    liveByState: { ESTABLISHED: 4000, SYN_RECV: 0, FIN_WAIT: 700, TEMPLATE: 11 },
    sweepNanoseconds: 2_500_000_000n,
    sweepPasses: 60n,
  },
  packets: {
    pass_not_ip: 12n,
    pass_not_service: 9_007_199_254_740_993n,
    pass_other_mac: 0n,
    pass_other_vlan: 0n,
    pass_malformed: 0n,
    pass_no_connection: 8n,
    pass_source_address: 0n,
    pass_option: 0n,
    pass_fragment: 0n,
    pass_directed: 0n,
    pass_icmp: 0n,
    drop_short_header: 0n,
    drop_no_real_server: 5n,
    drop_real_server_gone: 0n,
    drop_unresolved: 0n,
    drop_time_exceeded: 0n,
    drop_too_big: 0n,
    drop_rewrite: 0n,
    drop_service_limit: 0n,
    drop_source_limit: 0n,
    icmp_unreachable: 2n,
    icmp_time_exceeded: 0n,
    icmp_too_big: 0n,
    reset_real_server_gone: 0n,
    forward_untracked: 3n,
    forward_fragment: 1n,
    forward_icmp: 2n,
    expired: 289n,
    victim_expired: 0n,
    victim_closing: 0n,
    victim_half_open: 4n,
    hold_fragment: 6n,
  } satisfies PacketCounters,
  services: [
    {
      service: {
        identity: tutorial,
        scheduler: "lblc",
        schedulerFlags: [],
        persistence: { timeout: 100, prefix: 32 },
        onePacket: false,
        realServers: [realServer("192.168.200.102", 80), realServer("192.168.200.103", 80, 0)],
      },
      plane: "xdp",
      realServers: [
        statistics(realServer("192.168.200.102", 80), 1_234n, 99_999_999n, 123_456_789_012n),
        { ...statistics(realServer("192.168.200.103", 80, 0), 0n, 0n, 0n), nextHop: "unresolved" },
        { ...statistics(realServer("127.0.0.1", 80), 0n, 0n, 0n), nextHop: "local" },
      ],
      connections: 1_234n,
      packets: 99_999_999n,
      bytes: 123_456_789_012n,
      ...noReplies,
    },
    {
      service: {
        identity: dns,
        scheduler: "mh",
        schedulerFlags: ["mh-fallback", "mh-port"],
        onePacket: true,
        realServers: [translated],
      },
      plane: "xdp",
      realServers: [{ ...statistics(translated, 100_000_000n, 999_999_999n, 9_007_199_254_740_993n), ...replies }],
      connections: 100_000_000n,
      packets: 999_999_999n,
      bytes: 9_007_199_254_740_993n,
      ...replies,
    },
    {
      service: {
        identity: marked,
        scheduler: "wlc",
        schedulerFlags: [],
        persistence: { timeout: 360, prefix: 64 },
        onePacket: false,
        realServers: [],
      },
      plane: "xdp",
      realServers: [],
      connections: 0n,
      packets: 0n,
      bytes: 0n,
      ...noReplies,
    },
  ],
};

export const health: readonly RealServerHealth[] = [
  {
    identity: tutorial,
    address: "192.168.200.102",
    port: 80,
    health: { state: "up", since: new Date("2025-03-01T10:00:00Z") },
    check: "negotiate http",
    failuresSinceUp: 0,
    failureCount: 3,
    last: { at: new Date("2025-03-01T11:59:58Z"), result: { up: true, detail: "200 OK", durationMs: 2.4 } },
  },
  {
    identity: tutorial,
    address: "192.168.200.103",
    port: 80,
    health: { state: "down", since: new Date("2025-03-01T11:00:00Z"), reason: "connection refused" },
    check: "negotiate http",
    failuresSinceUp: 5,
    failureCount: 3,
    last: {
      at: new Date("2025-03-01T11:59:59Z"),
      result: { up: false, detail: "no answer\x1b[31m\r\nwithin 5 s", durationMs: 5000 },
    },
  },
  {
    identity: tutorial,
    address: "192.168.200.104",
    port: 80,
    health: { state: "unknown" },
    check: "connect",
    failuresSinceUp: 0,
    failureCount: 1,
  },
  {
    identity: dns,
    address: "2001:db8:1:2:3:4:5:6",
    port: 53,
    health: { state: "up", since: new Date("2025-02-28T12:00:00Z") },
    check: "negotiate dns",
    failuresSinceUp: 0,
    failureCount: 1,
    last: { at: new Date("2025-03-01T11:59:57Z"), result: { up: true, detail: "", durationMs: 0.6 } },
  },
];

const daemon: DaemonStatus = {
  pid: 4711,
  version: "0.1.0",
  startedAt: new Date("2025-02-27T09:58:57Z"),
  configFile: "/etc/ha.d/ldirectord.cf",
  stateDir: "/run/xlb",
  bpffs: "/sys/fs/bpf/xlb",
  metrics: "127.0.0.1:9820",
  configLoadedAt: new Date("2025-02-27T09:58:57Z"),
  lastReload: { at: new Date("2025-03-01T11:30:00Z"), ok: false, message: "line 3: unknown directive" },
  reloads: 2,
  reloadFailures: 1,
  notActive: [{ service: "fwm:7", reason: "needs the kernel's IPVS" }],
  failedChanges: ["add-service tcp:10.0.0.1:80 rr"],
  rounds: 17,
  interfaces: [],
  planes: [
    { plane: "xdp", state: "active", reason: "" },
    { plane: "ipvs", state: "failed", reason: "Linux 6.12 has no IPVS" },
  ],
  placements: ["tcp:10.0.0.8:80", "fwm:8", "fwm:9", "fwm:10", "fwm:11", "fwm:12", "fwm:13"].map((service) => ({
    service,
    plane: "ipvs",
    reason: service === "tcp:10.0.0.8:80" ? "interface eth9: native mode was refused" : "XDP does not see marks",
  })),
  moves: [
    {
      at: new Date("2025-02-27T10:00:00Z"),
      from: "ipvs",
      to: "xdp",
      services: ["tcp:10.10.10.53:80"],
      connections: 200,
      left: 0,
      seconds: 0.25,
    },
    {
      at: new Date("2025-03-01T11:40:00Z"),
      from: "xdp",
      to: "ipvs",
      services: ["tcp:10.0.0.8:80", "tcp:10.0.0.8:443"],
      connections: 4711,
      left: 3,
      seconds: 1.5,
    },
  ],
  moveTotals: [
    { from: "ipvs", to: "xdp", moves: 1, failures: 0, services: 1, connections: 200, left: 0, seconds: 0.25 },
    { from: "xdp", to: "ipvs", moves: 12, failures: 1, services: 24, connections: 50_000, left: 3, seconds: 9.5 },
  ],
  moving: { from: "ipvs", to: "xdp", connections: 1500 },
  checkLagMs: 12,
};

export const snapshot: Snapshot = {
  at,
  planes: [plane],
  health,
  checks: [
    {
      check: "negotiate http",
      buckets: [
        { le: 0.005, count: 7 },
        { le: 1, count: 8 },
      ],
      count: 10,
      sum: 10.25,
      good: 8,
      bad: 2,
    },
    { check: "connect", buckets: [], count: 0, sum: 0, good: 0, bad: 0 },
  ],
  daemon,
};

/** What is left when the daemon is dead and nothing is configured. */
export const { daemon: _, ...withoutDaemon }: Snapshot = { ...snapshot, health: [], checks: [] };

export const connections: readonly Connection[] = [
  {
    identity: tutorial,
    client: "192.0.2.7",
    clientPort: 40000,
    virtualAddress: "10.10.10.53",
    virtualPort: 80,
    realServer: "192.168.200.102",
    realPort: 80,
    state: "ESTABLISHED",
    template: false,
    expiresIn: 898,
  },
  {
    identity: tutorial,
    client: "192.0.2.7",
    clientPort: 0,
    virtualAddress: "10.10.10.53",
    virtualPort: 80,
    realServer: "192.168.200.102",
    realPort: 80,
    state: "NONE",
    template: true,
    expiresIn: 61,
  },
  {
    identity: dns,
    client: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    clientPort: 65535,
    virtualAddress: "2001:db8::53",
    virtualPort: 53,
    realServer: "2001:db8:1:2:3:4:5:6",
    realPort: 53,
    state: "UDP",
    template: false,
    expiresIn: 300,
  },
];
