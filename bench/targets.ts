/** The programs under test: the director as the product loads it, and what it is measured by. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openMaps } from "../src/dataplane/xdp/maps.ts";
import type { DirectorMaps } from "../src/dataplane/xdp/maps.ts";
import type { Network, Resolution } from "../src/dataplane/xdp/network.ts";
import { openXdpDataPlane } from "../src/dataplane/xdp/xdp-data-plane.ts";
import type { XdpDataPlane } from "../src/dataplane/xdp/xdp-data-plane.ts";
import type { Change } from "../src/model/change.ts";
import type { Scheduler, ServiceIdentity } from "../src/model/service.ts";
import type { Native, ProgramHandle } from "../src/native.ts";
import { directorMac, realAddress, realMac, servicePort, virtualAddress } from "./traffic.ts";
import type { Traffic } from "./traffic.ts";

/** One program under test, loaded and with its services. */
export interface Target {
  readonly name: string;
  readonly program: ProgramHandle;
  /** Whether it remembers connections, so that a run needs them opened before. */
  readonly stateful: boolean;
  /** Counters of things that should not have happened, or cost more; empty for most. */
  remarks(): Readonly<Record<string, number>>;
  close(): void;
}

/** Loopback of the namespace, which BPF_PROG_TEST_RUN gives as the interface that the packet came in by. */
const ingress = 1;
/** Slots of the director's table, and entries of the usual design's map. */
export const connectionCapacity = 2 ** 21;
const ringPlaces = 65537;

function bytesOf(name: string): Buffer {
  return readFileSync(join(import.meta.dirname, "..", "bench-bpf", name));
}

export function generatorBytes(): Buffer {
  return bytesOf("generator.bpf.o");
}

const quiet = { info() {}, warn() {}, error() {} };
const noRemarks = () => ({});

/** The least that a balancer does: parses, and sends the packet back. */
export function openFloor(native: Native): Target {
  return openLeast(native, "floor", "reflect", 1);
}

/** The least that remembering a connection costs: the floor, and one line of a memory as large as the director's table. */
export function openOneLine(native: Native): Target {
  return openLeast(native, "one line", "touch", connectionCapacity / 8);
}

function openLeast(native: Native, name: string, program: "reflect" | "touch", lines: number): Target {
  const object = native.objectOpen(bytesOf("usual.bpf.o"), program);
  for (const other of ["reflect", "touch", "usual"]) native.objectSetAutoload(object, other, other === program);
  native.objectSetMaxEntries(object, "lines", lines);
  native.objectLoad(object);
  return {
    name,
    program: native.objectProgram(object, program),
    stateful: false,
    remarks: noRemarks,
    close: () => native.objectClose(object),
  };
}

/** The usual design (usual.bpf.c), with `realServers` behind every service. */
export function openUsual(native: Native, traffic: Traffic, realServers: number): Target {
  const object = native.objectOpen(bytesOf("usual.bpf.o"), "usual");
  for (const other of ["reflect", "touch"]) native.objectSetAutoload(object, other, false);
  native.objectSetMaxEntries(object, `${traffic.family}_connections`, connectionCapacity);
  native.objectLoad(object);
  const services = native.objectMap(object, "virtual_services");
  for (let service = 0; service < traffic.services; service++) {
    native.mapUpdate(services, serviceKey(traffic, service), new Uint8Array(4), 0);
  }
  const servers = new Uint8Array(realServers * 32);
  for (let index = 0; index < realServers; index++) {
    servers.set(realMac(index), index * 32);
    servers.set(directorMac, index * 32 + 6);
  }
  native.mapWriteRange(native.objectMap(object, "servers"), 0, servers);
  // Neighbouring places have different servers, as a consistent hash leaves them.
  const ring = Uint32Array.from({ length: ringPlaces }, (_, place) => Math.imul(place, 0x9e3779b1) >>> 8);
  for (const [place, hash] of ring.entries()) ring[place] = hash % realServers;
  native.mapWriteRange(native.objectMap(object, "ring"), 0, new Uint8Array(ring.buffer));
  return {
    name: "usual",
    program: native.objectProgram(object, "usual"),
    stateful: true,
    remarks: noRemarks,
    close: () => native.objectClose(object),
  };
}

/** `struct service_key` of usual.bpf.c: 4 words of address, IPv4 in the first, port and protocol. */
function serviceKey(traffic: Traffic, service: number): Uint8Array {
  const key = Buffer.alloc(20);
  if (traffic.family === "ipv6") {
    key.set([0xfd, 0, 1, 0]);
    key.writeUInt16BE(service, 14);
  } else {
    key.set([10, 100]);
    key.writeUInt16BE(service, 2);
  }
  key.writeUInt16BE(servicePort, 16);
  key.writeUInt16LE(traffic.protocol === "tcp" ? 6 : 17, 18);
  return key;
}

export interface DirectorOptions {
  readonly name: string;
  readonly scheduler: Scheduler;
  /** Behind every service; weights are 1 to 4 in turn. */
  readonly realServers: number;
  /** Folder of the pins, its own. */
  readonly bpffs: string;
}

export interface DirectorTarget extends Target {
  readonly maps: DirectorMaps;
}

/** The director, loaded and filled by the product's own data plane and attached to nothing. */
export async function openDirector(
  native: Native,
  traffic: Traffic,
  options: DirectorOptions,
): Promise<DirectorTarget> {
  const { scheduler, realServers, bpffs } = options;
  mkdirSync(bpffs, { recursive: true });
  const network = new StillNetwork();
  const planeOptions = { bpffs, tableSlots: connectionCapacity };
  const plane = await openXdpDataPlane(planeOptions, { native, network, log: quiet });
  try {
    await fill(plane, network, traffic, scheduler, realServers);
    const maps = openMaps(native, bpffs, true);
    // As if attached to the interface that the packets come in by: frames for another address are not ours.
    maps.interfaces.write(ingress * 31, { ifindex: ingress, vlan: 0, mac: directorMac, mtu: 1500 });
    const program = native.programOpenPinned(join(bpffs, "director"));
    return {
      name: options.name,
      program,
      stateful: true,
      maps,
      remarks: () => remarksOf(maps),
      close: () => {
        native.programClose(program);
        maps.close();
        plane.destroy();
      },
    };
  } catch (cause) {
    plane.destroy();
    throw cause;
  }
}

async function fill(
  plane: XdpDataPlane,
  network: StillNetwork,
  traffic: Traffic,
  scheduler: Scheduler,
  realServers: number,
): Promise<void> {
  const { family, protocol, services } = traffic;
  const changes: Change[] = [];
  for (let service = 0; service < services; service++) {
    const address = virtualAddress(family, service);
    const identity: ServiceIdentity = { kind: "address", protocol, address, port: servicePort };
    changes.push({
      kind: "add-service",
      service: { identity, scheduler, schedulerFlags: [], onePacket: false, realServers: [] },
    });
    for (let i = 0; i < realServers; i++) {
      const index = service * realServers + i;
      network.add(realAddress(family, index), realMac(index));
      changes.push({
        kind: "add-real-server",
        identity,
        realServer: {
          address: realAddress(family, index),
          port: servicePort,
          method: "gate",
          weight: 1 + (i % 4),
          upperThreshold: 0,
          lowerThreshold: 0,
        },
      });
    }
  }
  for (const { error } of await plane.apply(changes)) if (error !== undefined) throw error;
}

function remarksOf(maps: DirectorMaps): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const counters of maps.packetCounters.readRange(0, 1).flat()) {
    for (const [name, value] of Object.entries(counters)) {
      if (typeof value === "bigint" && value > 0n) totals[name] = (totals[name] ?? 0) + Number(value);
    }
  }
  return totals;
}

/** A network in which nothing happens: every real server is resolved and reached by the interface packets came by. */
class StillNetwork implements Network {
  readonly #macs = new Map<string, Uint8Array>();

  add(address: string, mac: Uint8Array): void {
    this.#macs.set(address, mac);
  }

  interfaces(): readonly [] {
    return [];
  }

  ownAddresses(): readonly string[] {
    return [];
  }

  resolve(address: string): Resolution {
    const mac = this.#macs.get(address);
    if (mac === undefined) return { kind: "unresolved", reason: "not a real server of this run" };
    return { kind: "resolved", hop: { ifindex: ingress, vlan: 0, mtu: 1500, sourceMac: directorMac, mac } };
  }

  watch(): void {}

  derive(): readonly [] {
    return [];
  }

  onChange(): void {}

  async run(): Promise<void> {}

  close(): void {}
}
