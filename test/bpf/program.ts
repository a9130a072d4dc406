/** The data path alone: the loaded program over maps of its own, filled by hand, attached to nothing. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { encodeTunnel, familyNumbers, methodNumbers, plainTunnel } from "../../src/dataplane/xdp/codec.ts";
import { Control } from "../../src/dataplane/xdp/control.ts";
import { ReplyTable, writeStations } from "../../src/dataplane/xdp/endpoints.ts";
import type { Station } from "../../src/dataplane/xdp/endpoints.ts";
import {
  addressFamily,
  connectionExtra,
  connectionState,
  realServerFlag,
  scheduler,
  serviceFlag,
  serviceSlotKind,
  SLOTS_PER_LINE,
} from "../../src/dataplane/xdp/layout.generated.ts";
import type { PacketCounters, RealServerLoad, Settings } from "../../src/dataplane/xdp/layout.generated.ts";
import { ensureBpffs, freshKey, loadDirector, pinProgram, removePins } from "../../src/dataplane/xdp/load.ts";
import { encodeIndex, openMaps } from "../../src/dataplane/xdp/maps.ts";
import type { DirectorMaps } from "../../src/dataplane/xdp/maps.ts";
import { isWide } from "../../src/dataplane/xdp/trees.ts";
import { familyOf } from "../../src/model/service.ts";
import type { ForwardingMethod, Tunnel } from "../../src/model/service.ts";
import { loadNative } from "../../src/native.ts";
import { addressBytes, macBytes } from "../support/packet.ts";
import { LoadedMaps } from "./loaded-maps.ts";

export const directorMac = "02:00:00:00:00:01";
/** Loopback of the namespace: BPF_PROG_TEST_RUN's context without an interface of its own. */
export const ingress = 1;
export const verdicts = ["ABORTED", "DROP", "PASS", "TX", "REDIRECT"] as const;

export const objectPath = join(import.meta.dirname, "..", "..", "bpf", "director.bpf.o");

const defaultTableSlots = 1024;
/** As much as the tests need: what the product has takes longer to make and to clear. */
const services = 256;
const realServers = 2048;
const sizes = {
  ringMembers: 2 ** 12,
  treeNodes: 2 ** 13,
  entries: {
    services,
    service_states: services,
    ring_segments: services,
    real_servers: realServers,
    real_server_loads: realServers,
    real_server_histories: realServers,
    same_endpoints: realServers,
    tunnels: realServers,
  },
} as const;

/** False, or what is missing for packet tests. */
export const cannotRun =
  process.getuid?.() !== 0
    ? "loading BPF programs needs root"
    : !existsSync(objectPath) && "build/bpf/director.bpf.o is missing: run `make bpf`";

export interface RealServerSpec {
  readonly address: string;
  readonly weight?: number;
  readonly mac?: string;
  readonly ifindex?: number;
  readonly vlan?: number;
  readonly mtu?: number;
  readonly local?: boolean;
  readonly method?: ForwardingMethod;
  /** Default: the service's. */
  readonly port?: number;
  /** Of the method ipip; `source` is the outer source address. */
  readonly tunnel?: Partial<Tunnel> & { readonly source?: string };
  readonly fellow?: boolean;
  readonly resolved?: boolean;
}

export interface ServiceSpec {
  readonly address?: string;
  readonly port?: number;
  readonly protocol?: "tcp" | "udp" | "sctp";
  readonly scheduler?: "rr" | "wlc" | "lblc" | "lblcr" | "lc" | "sed" | "nq" | "fo" | "ovf";
  readonly onePacket?: boolean;
  readonly idleTimeout?: number;
  readonly limits?: { readonly perSecond: number; readonly perSource: number };
  readonly persistence?: { readonly timeout: number; readonly netmask: string };
  /** In the order of addition. */
  readonly realServers: readonly RealServerSpec[];
}

export interface Slot {
  readonly index: number;
  readonly state: string;
  readonly realServer: number;
  readonly age: number;
  /** Found no room in the line that its hash names, and lies in the neighbour. */
  readonly displaced: boolean;
}

function words(address: string): number[] {
  const bytes = Buffer.alloc(16);
  const given = addressBytes(address);
  given.copy(bytes, 16 - given.length);
  return [0, 4, 8, 12].map((at) => bytes.readUInt32BE(at));
}

export class Program {
  readonly maps: DirectorMaps;
  readonly control: Control;
  readonly #native = loadNative();
  readonly #bpffs: string;
  readonly #director;
  readonly #object;
  readonly #loaded: LoadedMaps;
  readonly #words: BigUint64Array;
  readonly #extras: DataView;
  readonly #untrackedLines: Uint32Array;
  /** Of every slot its word in the table's memory, by index. */
  readonly #indices: readonly number[];
  #replies: ReplyTable;
  readonly #stations: Station[] = [];
  #nextService = 1;
  #nextRealServer = 1;
  #nextRing = 0;
  #nextTree = 0;

  constructor(name: string, tableSlots = defaultTableSlots) {
    this.#bpffs = `/sys/fs/bpf/xlb-test-${name}-${process.pid}`;
    ensureBpffs(this.#native, this.#bpffs);
    const object = readFileSync(objectPath);
    const loaded = loadDirector(this.#native, { bpffs: this.#bpffs, object, tableSlots, ...sizes });
    this.#object = loaded.object;
    this.#director = loaded.director;
    this.control = new Control(this.#native, loaded.control);
    this.maps = openMaps(this.#native, this.#bpffs, true);
    // The open handles hold the maps, so that nothing stays behind of a test that is killed.
    removePins(this.#native, this.#bpffs);
    this.#loaded = new LoadedMaps(this.#native, this.#object);
    this.#words = new BigUint64Array(this.#memory("connections"));
    this.#extras = new DataView(this.#memory("connection_extras"));
    this.#untrackedLines = new Uint32Array(this.#memory("untracked_lines"));
    this.#indices = Array.from(
      { length: this.maps.connections.size },
      (_, index) => this.maps.connections.wordAt(index) / 2,
    );
    this.#replies = new ReplyTable(this.maps, this.control);
    this.#start();
  }

  #start(): void {
    this.control.sweep();
    this.interface(ingress, 0, directorMac);
  }

  /** As if loaded anew, with another secret; what takes seconds, on some machines, is not done again. */
  renew(): void {
    this.unpin();
    this.#loaded.restore();
    this.#replies = new ReplyTable(this.maps, this.control);
    this.#stations.length = 0;
    this.#nextService = 1;
    this.#nextRealServer = 1;
    this.#nextRing = 0;
    this.#nextTree = 0;
    this.set({ key: freshKey() });
    this.#start();
  }

  /** What is in every map, by the map's name. */
  contents(): Map<string, Buffer> {
    return this.#loaded.contents();
  }

  close(): void {
    this.maps.close();
    this.#loaded.close();
    this.#native.objectClose(this.#object);
    this.unpin();
  }

  interface(ifindex: number, vlan: number, mac: string, mtu = 1500): void {
    this.maps.interfaces.write((ifindex * 31 + vlan) & 255, { ifindex, vlan, mac: macBytes(mac), mtu });
  }

  ownAddress(address: string): void {
    const kind = address.includes(":") ? serviceSlotKind.SERVICE_SLOT_OWN_IPV6 : serviceSlotKind.SERVICE_SLOT_OWN_IPV4;
    this.control.putService({ address: words(address), port: 0, protocol: 0, kind, service: 0 });
  }

  /** Returns the ids of the real servers, in the order given. */
  service(spec: ServiceSpec): { service: number; realServers: number[] } {
    const id = this.#nextService++;
    const address = spec.address ?? "10.10.10.53";
    const ipv6 = address.includes(":");
    const port = spec.port ?? 80;
    const protocol = { tcp: 6, udp: 17, sctp: 132 }[spec.protocol ?? "tcp"];
    const chosen = spec.scheduler ?? "rr";
    const ids = spec.realServers.map(() => this.#nextRealServer++);
    const leaves = 2 ** Math.ceil(Math.log2(Math.max(1, ids.length)));
    const tree = this.#nextTree;
    this.#nextTree += 2 * leaves;
    const ring = this.#nextRing;
    this.#nextRing += ids.length;
    const tournament = new Uint32Array(leaves);
    spec.realServers.forEach((realServer, added) => {
      const index = ids[added] ?? 0;
      tournament[leaves - 1 - added] = index;
      this.maps.loads.write(index, { active: 0, inactive: 0, persistent: 0, weight: realServer.weight ?? 1 });
      this.maps.realServers.write(index, {
        next_hop_mac: macBytes(realServer.mac ?? `02:00:00:00:01:${(added + 1).toString(16).padStart(2, "0")}`),
        source_mac: macBytes(directorMac),
        ifindex: realServer.ifindex ?? ingress,
        vlan: realServer.vlan ?? 0,
        mtu: realServer.mtu ?? 1500,
        service: id,
        flags:
          realServerFlag.REAL_SERVER_AVAILABLE |
          (realServer.local === true ? realServerFlag.REAL_SERVER_LOCAL : 0) |
          (realServer.fellow === true ? realServerFlag.REAL_SERVER_FELLOW : 0) |
          (realServer.resolved === false || realServer.local === true ? 0 : realServerFlag.REAL_SERVER_RESOLVED),
        address: words(realServer.address),
        port: realServer.port ?? port,
        family: familyNumbers[familyOf(realServer.address)],
        method: methodNumbers[realServer.method ?? "gate"],
        leaf: added,
        upper_threshold: 0,
        lower_threshold: 0,
        idle_timeout: spec.idleTimeout ?? 0,
      });
      if (realServer.method === "ipip") this.#tunnel(index, realServer);
      if (realServer.method === "masq") {
        const endpoint = { protocol, address: realServer.address, port: port === 0 ? 0 : realServer.port || port };
        this.#replies.put(index, endpoint);
      }
    });
    spec.realServers.forEach(({ fellow, mac = "" }, added) => {
      if (fellow === true) this.#stations.push({ realServer: ids[added] ?? 0, service: id, mac: macBytes(mac) });
    });
    writeStations(this.maps, this.control, this.#stations);
    const weights = spec.realServers.map(({ weight = 1 }) => weight);
    const members = ids.filter((_, i) => (weights[i] ?? 0) > 0).reverse();
    this.maps.ringMembers.write(ring, Uint32Array.from(members));
    this.maps.ringSegments.write(id - 1, { end: members.length, first: ring, length: members.length, weight: 1 });
    this.maps.treeLeaves.write(tree / 2, tournament);
    const netmask = spec.persistence === undefined ? [0, 0, 0, 0] : words(spec.persistence.netmask);
    this.maps.services.write(id, {
      address: words(address),
      port,
      protocol,
      family: ipv6 ? addressFamily.FAMILY_IPV6 : addressFamily.FAMILY_IPV4,
      scheduler: scheduler[`SCHEDULER_${chosen.toUpperCase()}` as keyof typeof scheduler],
      flags:
        (spec.onePacket === true ? serviceFlag.SERVICE_ONE_PACKET : 0) |
        (isWide(leaves, weights) ? serviceFlag.SERVICE_WIDE_WEIGHTS : 0),
      scheduler_flags: 0,
      persistence_timeout: spec.persistence?.timeout ?? 0,
      persistence_netmask: netmask,
      ring_segment: id - 1,
      ring_segments: members.length > 0 ? 1 : 0,
      ring_length: members.length,
      tree,
      tree_leaves: chosen === "rr" ? 0 : leaves,
      spread: ring,
      spread_length: members.length,
      idle_timeout: spec.idleTimeout ?? 0,
      new_per_second: spec.limits?.perSecond ?? 0,
      new_per_source: spec.limits?.perSource ?? 0,
      retired_packets: 0n,
      retired_bytes: 0n,
      retired_connections: 0n,
      ring_cursor: 0n,
      ring_origin: 0,
    });
    if (chosen !== "rr") this.control.buildTree(id, this.maps.services.read(id));
    if (port === 0) this.set({ all_ports_services: 1 });
    if (port === 21) this.set({ ftp_services: 1 });
    if (spec.limits !== undefined) this.set({ limits: 1 });
    if (spec.idleTimeout !== undefined) this.set({ idle_timeouts: 1 });
    this.control.putService({
      address: words(address),
      port,
      protocol,
      kind: ipv6 ? serviceSlotKind.SERVICE_SLOT_IPV6 : serviceSlotKind.SERVICE_SLOT_IPV4,
      service: id,
    });
    return { service: id, realServers: ids };
  }

  #tunnel(id: number, { address, tunnel = {} }: RealServerSpec): void {
    const family = familyOf(address);
    const { source = family === "ipv6" ? "fd00:200::52" : "192.168.200.52", ...rest } = tunnel;
    this.maps.tunnels.write(id, encodeTunnel({ ...plainTunnel, ...rest }, family, source));
  }

  run(bytes: Uint8Array): { verdict: (typeof verdicts)[number]; data: Buffer } {
    const { verdict, data } = this.#native.programTestRun(this.#director, bytes, 1, ingress);
    const name = verdicts[verdict];
    assert.ok(name !== undefined, `verdict ${verdict}`);
    return { verdict: name, data };
  }

  set(settings: Partial<Settings>): void {
    this.maps.settings.write(0, { ...this.maps.settings.read(0), ...settings });
  }

  counters(): PacketCounters {
    return (this.maps.packetCounters.readRange(0, 1)[0] ?? []).reduce((sum, cpu) => {
      const names = Object.keys(sum) as (keyof PacketCounters)[];
      return Object.fromEntries(names.map((name) => [name, sum[name] + cpu[name]])) as unknown as PacketCounters;
    });
  }

  /** What the real server has sent through the director. */
  replies(realServer: number): bigint {
    return this.maps.replyCounters.sum(realServer).packets;
  }

  /** An interface that frames may leave by. */
  redirectTo(ifindex: number): void {
    const port = new Uint8Array(Uint32Array.of(ifindex, 0).buffer);
    this.#native.mapUpdate(this.maps.redirectPorts, encodeIndex(ifindex), port, 0);
  }

  packets(realServer: number): bigint {
    return this.maps.counters.sum(realServer).packets;
  }

  load(realServer: number): RealServerLoad {
    return this.maps.loads.read(realServer);
  }

  setWeight(realServer: number, weight: number, service?: number): void {
    this.maps.loads.write(realServer, { ...this.load(realServer), weight });
    if (service !== undefined) this.control.buildTree(service, this.maps.services.read(service));
  }

  setFlags(realServer: number, flags: number): void {
    this.maps.realServers.write(realServer, { ...this.maps.realServers.read(realServer), flags });
  }

  slots(): Slot[] {
    const tick = this.maps.sweep.read(0).tick;
    const names = Object.keys(connectionState);
    const found: Slot[] = [];
    this.#indices.forEach((at, index) => {
      const word = this.#words[at] ?? 0n;
      if (word === 0n) return;
      found.push({
        index,
        state: (names[Number((word >> 12n) & 31n)] ?? "?").replace("STATE_", ""),
        realServer: Number((word >> 17n) & 0xffffn),
        age: (tick - Number(word & 0xfffn)) & 0xfff,
        displaced: ((word >> 33n) & 1n) === 1n,
      });
    });
    return found;
  }

  /** Forgets every connection and every count; services stay. */
  reset(): void {
    this.#words.fill(0n);
    this.#untrackedLines.fill(0);
    this.maps.packetCounters.clear(0);
    for (let id = 1; id < this.#nextRealServer; id++) {
      this.maps.loads.write(id, { ...this.load(id), active: 0, inactive: 0, persistent: 0 });
      this.maps.counters.clear(id);
      this.maps.replyCounters.clear(id);
    }
  }

  /** Makes every connection so many seconds older, those without a slot, too. */
  age(seconds: number): void {
    this.#indices.forEach((at) => {
      const word = this.#words[at] ?? 0n;
      if (word === 0n) return;
      const tick = (Number(word & 0xfffn) - seconds) & 0xfff;
      this.#words[at] = (word & ~0xfffn) | BigInt(tick);
    });
    this.#ageExtras(seconds, (state) => state === "TEMPLATE");
    this.#untrackedLines.forEach((last, line) => {
      if (last !== 0) this.#untrackedLines[line] = last - seconds;
    });
  }

  /** The same for those that rest for long. */
  ageIdle(seconds: number): void {
    this.#ageExtras(seconds, (state) => state.endsWith("_IDLE"));
  }

  #ageExtras(seconds: number, chosen: (state: string) => boolean): void {
    for (const { index, state } of this.slots()) {
      if (!chosen(state)) continue;
      const at = index * connectionExtra.size + connectionExtra.fields.used.offset;
      this.#extras.setUint32(at, this.#extras.getUint32(at, true) - seconds, true);
    }
  }

  lines(): number {
    return this.maps.connections.size / SLOTS_PER_LINE;
  }

  #memory(name: "connections" | "connection_extras" | "untracked_lines"): ArrayBuffer {
    const handle = this.#native.objectMap(this.#object, name);
    try {
      return this.#native.mapMemory(handle, true);
    } finally {
      this.#native.mapClose(handle);
    }
  }

  /** The path that {@link repin} puts the program at. */
  get pinnedDirector(): string {
    return join(this.#bpffs, "director");
  }

  /** Replaces the pinned program, as a new daemon does. */
  repin(): void {
    ensureBpffs(this.#native, this.#bpffs);
    pinProgram(this.#native, this.#director, this.pinnedDirector);
  }

  unpin(): void {
    removePins(this.#native, this.#bpffs);
  }
}

let programs = 0;
/** Programs that nobody uses, by the size of their table. */
const idle = new Map<number, Program[]>();

/**
 * A program of its own for each test or story: loaded, or one that another test is done with, made new. It is the test's,
 * or the suite's, until that is over.
 */
export function openProgram(tableSlots = defaultTableSlots): Program {
  const ready = idle.get(tableSlots) ?? [];
  idle.set(tableSlots, ready);
  let program = ready.pop();
  if (program === undefined) program = new Program(`${++programs}`, tableSlots);
  else program.renew();
  const opened = program;
  after(() => {
    opened.unpin();
    ready.push(opened);
  });
  return opened;
}
