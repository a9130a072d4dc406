/**
 * `make bench-planes`: packets a second through this kernel by plain forwarding, by its IPVS with `gate` and by the XDP
 * plane, in one run. Runs in a network namespace of its own (the director's), with one more for the client and one for
 * the real server on either side.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { openNetwork } from "../src/dataplane/xdp/netlink-network.ts";
import { openXdpDataPlane } from "../src/dataplane/xdp/xdp-data-plane.ts";
import type { ServiceIdentity } from "../src/model/service.ts";
import { loadNative } from "../src/native.ts";

const built = join(import.meta.dirname, "..");
const native = loadNative();
const client = `xlb-planes-client-${process.pid}`;
const server = `xlb-planes-server-${process.pid}`;
const bpffs = `/sys/fs/bpf/xlb-planes-${process.pid}`;

const virtualAddress = "10.10.10.53";
const realAddress = "10.2.0.2";
const port = 9;
const flows = 1000;
const directorMac = "02:00:00:00:01:01";
/** Not of the real server's interface, whose stack drops what comes at once. */
const foreignMac = "02:00:00:00:02:99";

function run(command: string): string {
  const [file = "", ...words] = command.split(" ");
  return execFileSync(file, words, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function setUp(): void {
  for (const [namespace, near, far, address] of [
    [client, "client0", "wire0", "10.1.0.1/24"],
    [server, "server0", "wire1", "10.2.0.1/24"],
  ] as const) {
    run(`ip netns add ${namespace}`);
    run(`ip link add ${near} type veth peer name ${far} netns ${namespace}`);
    run(`ip addr add ${address} dev ${near}`);
    run(`ip link set ${near} up`);
    run(`ip -n ${namespace} link set ${far} up`);
    // Without it frames of drivers do not pass a veth.
    for (const enter of ["", `ip netns exec ${namespace} `]) {
      run(`${enter}ethtool -K ${enter === "" ? near : far} gro on tx off`);
    }
  }
  run(`ip link set client0 address ${directorMac}`);
  run(`ip link set lo up`);
  run(`ip neigh replace ${realAddress} lladdr ${foreignMac} dev server0 nud permanent`);
  run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.client0.rp_filter=0");
}

function tearDown(): void {
  for (const namespace of [client, server]) {
    try {
      run(`ip netns delete ${namespace}`);
    } catch {
      // It was not made.
    }
  }
}

/** What has come to the real server. */
function arrived(): number {
  const [link] = JSON.parse(run(`ip -n ${server} -s -json link show wire1`)) as {
    stats64: { rx: { packets: number } };
  }[];
  return link?.stats64.rx.packets ?? 0;
}

interface Measured {
  /** Of a packet that came to the real server. */
  readonly nanoseconds: number;
  /** Which part of the packets came to the real server. */
  readonly share: number;
}

function flood(seconds: number): Measured {
  const program = `${join(built, "bench-bpf", "flood")} ${join(built, "bench-bpf", "flood.bpf.o")}`;
  const before = arrived();
  const told = run(
    `ip netns exec ${client} ${program} wire0 ${directorMac} 10.1.0.2 ${virtualAddress} ${port} ${flows} ${seconds}`,
  );
  const [packets = 0, nanoseconds = 0] = told.trim().split(" ").map(Number);
  const through = arrived() - before;
  return { nanoseconds: nanoseconds / through, share: through / packets };
}

interface Way {
  readonly name: string;
  /** Calls `measure` while packets go this way. */
  readonly by: (measure: () => void) => Promise<void>;
}

const identity: ServiceIdentity = { kind: "address", protocol: "udp", address: virtualAddress, port };

async function byXdp(measure: () => void): Promise<void> {
  const silent = (): void => {};
  const log = { info: silent, warn: silent, error: silent };
  const network = await openNetwork(native, { debug: silent, info: silent, warn: silent });
  const plane = await openXdpDataPlane(
    { bpffs, interfaces: ["client0", "server0"], mode: "native", tableSlots: 2 ** 18 },
    { native, network, log },
  );
  const ending = new AbortController();
  const running = Promise.all([network.run(ending.signal), plane.run(ending.signal)]);
  run(`ip addr add ${virtualAddress}/32 dev lo`);
  try {
    const results = await plane.apply([
      {
        kind: "add-service",
        service: { identity, scheduler: "rr", schedulerFlags: [], onePacket: false, realServers: [] },
      },
      {
        kind: "add-real-server",
        identity,
        realServer: { address: realAddress, port, method: "gate", weight: 1, upperThreshold: 0, lowerThreshold: 0 },
      },
    ]);
    for (const { error } of results) if (error !== undefined) throw error;
    measure();
  } finally {
    run(`ip addr del ${virtualAddress}/32 dev lo`);
    plane.destroy();
    ending.abort();
    await running;
    network.close();
  }
}

const ways: readonly Way[] = [
  {
    name: "plain forwarding",
    by: async (measure) => {
      run(`ip route add ${virtualAddress} via ${realAddress}`);
      measure();
      run(`ip route del ${virtualAddress}`);
    },
  },
  {
    name: "kernel IPVS, gate",
    by: async (measure) => {
      run(`ipvsadm -A -u ${virtualAddress}:${port} -s rr`);
      run(`ipvsadm -a -u ${virtualAddress}:${port} -r ${realAddress} -g`);
      run(`ip addr add ${virtualAddress}/32 dev lo`);
      measure();
      run(`ip addr del ${virtualAddress}/32 dev lo`);
      run("ipvsadm -C");
    },
  },
  { name: "xlb, native XDP, gate", by: byXdp },
];

function hasIpvs(): boolean {
  try {
    run("modprobe ip_vs_rr");
  } catch {
    // Built in, or not there.
  }
  return existsSync("/proc/net/ip_vs");
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function print(name: string, nanoseconds: readonly number[], forwarding: number): void {
  const middle = median(nanoseconds);
  const cells = [
    name.padEnd(24),
    (1e9 / middle).toFixed(0).padStart(12),
    (forwarding / middle).toFixed(2).padStart(21),
    `${Math.min(...nanoseconds).toFixed(0)}-${Math.max(...nanoseconds).toFixed(0)}`.padStart(15),
  ];
  process.stdout.write(`${cells.join(" ")}\n`);
}

async function bench(rounds: number, seconds: number): Promise<void> {
  const present = ways.filter(({ name }) => hasIpvs() || !name.startsWith("kernel IPVS"));
  if (present.length < ways.length) process.stderr.write("bench-planes: this kernel has no IPVS, which is left out\n");
  const found = new Map<Way, number[]>(present.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [way, results] of found) {
      await way.by(() => {
        // Connections are open, and caches warm.
        flood(1);
        const { nanoseconds, share } = flood(seconds);
        if (share < 0.5) throw new Error(`${way.name}: only ${(share * 100).toFixed(0)} % of the packets came through`);
        results.push(nanoseconds);
      });
    }
  }
  const forwarding = median(found.get(present[0]!) ?? []);
  process.stdout.write(`Linux ${release()}, one CPU at work; ${rounds} rounds\n`);
  process.stdout.write("                            packets/s   ratio to forwarding   least-most ns\n");
  for (const [way, results] of found) print(way.name, results, forwarding);
}

const program = new Command("bench-planes")
  .description("Packets a second by plain forwarding, by the kernel's IPVS and by the XDP plane (root).")
  .option("--rounds <number>", "how often every way is measured", "3")
  .option("--seconds <number>", "how long each time", "3")
  .parse();
const { rounds, seconds } = program.opts<{ rounds: string; seconds: string }>();
setUp();
try {
  await bench(Number(rounds), Number(seconds));
} finally {
  tearDown();
}
