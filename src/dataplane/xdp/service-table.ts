/**
 * The writer of services and real servers. What is desired of a service is collected over a batch of changes and then
 * written once, in an order in which packets meet it whole at every moment: real servers before the ring or tree that
 * names them, those before the service's slot; what goes away in the opposite order.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { Native } from "../../native.ts";
import type { Change } from "../../model/change.ts";
import { familyOf, printIdentity, realServerKey } from "../../model/service.ts";
import type { Family, RealServer, Scheduler, ServiceIdentity, Tunnel, VirtualService } from "../../model/service.ts";
import type { ApplyResult, Handover } from "../data-plane.ts";
import {
  addressText,
  addressWords,
  encodeSchedulerFlags,
  encodeTunnel,
  familyFromNumber,
  familyNumbers,
  macText,
  methodNumbers,
  netmaskWords,
  plainTunnel,
  protocolNumbers,
  schedulerNumbers,
} from "./codec.ts";
import type { Control } from "./control.ts";
import { FragmentAddresses, ReplyTable, writeStations } from "./endpoints.ts";
import type { Station } from "./endpoints.ts";
import { IdAllocator, RegionAllocator } from "./ids.ts";
import type { Region } from "./ids.ts";
import * as layout from "./layout.generated.ts";
import type { DirectorMaps } from "./maps.ts";
import type { Resolution } from "./network.ts";
import { ringSchedulers, spreadTable } from "./rings.ts";
import type { Member, Ring, RingOrigin, RingScheduler } from "./rings.ts";
import { readCounters } from "./statistics.ts";
import { readServices, readSlots, toVirtualService, weightIn } from "./stored.ts";
import type { StoredRealServer } from "./stored.ts";
import { isWide, leafOf, leavesFor, nodesOf } from "./trees.ts";

const { REAL_SERVER_AVAILABLE, REAL_SERVER_FELLOW, REAL_SERVER_LOCAL, REAL_SERVER_RESOLVED } = layout.realServerFlag;

/** A real server that was taken away keeps its id this long at least: a packet may be on its way to it; milliseconds. */
const lingerMs = 2000;
/** And so long while lblc or lblcr hold it: it comes back to its place. The kernel's trash keeps it without end. */
const heldMs = 24 * 60 * 60 * 1000;
/** Services written before the event loop has its turn. */
const servicesPerTurn = 50;

/** The words of a struct real_server_load. */
const loadWords = layout.realServerLoad.size / 4;
const weightWord = layout.realServerLoad.fields.weight.offset / 4;
/** The 64-bit words of a struct service_state. */
const stateWords = layout.serviceState.size / 8;
const retiredRepliesWord = layout.serviceState.fields.retired_replies.offset / 8;
const retiredReplyBytesWord = layout.serviceState.fields.retired_reply_bytes.offset / 8;
const stickyWord = layout.serviceState.fields.sticky.offset / 4;
const scheduledWord = layout.serviceState.fields.scheduled.offset / 4;
const roundWord = layout.serviceState.fields.replicas_round.offset / 4;
const restartedWord = layout.serviceState.fields.restarted.offset / 4;
/** The words of a struct real_server_history. */
const historyWords = layout.realServerHistory.size / 4;
const lastWeightWord = layout.realServerHistory.fields.last_weight.offset / 4;
const replicaRoundWord = layout.realServerHistory.fields.replicas_round.offset / 4;

/** A real server of one service. */
interface Real {
  readonly id: number;
  readonly key: string;
  readonly address: string;
  readonly port: number;
  /** Of its service. */
  readonly family: Family;
  /** What lies in the map. */
  record: layout.RealServer;
  /** Of the method ipip. */
  tunnel: Tunnel;
  /** The address that packets to it leave from; undefined: not known. */
  source: string | undefined;
  /** Wanted; the map follows when the service is written. */
  weight: number;
  /** The last weight that was not 0; once taken away, the weight it had then. */
  lastWeight: number;
  /** Its thresholds allow more than before: it is not overloaded until the next connection. */
  relieved: boolean;
  /** When it was taken away, milliseconds of the monotonic clock. */
  removedAt: number;
}

interface Service {
  readonly id: number;
  readonly key: string;
  readonly identity: ServiceIdentity & { readonly kind: "address" };
  /** Wanted. */
  wanted: Omit<VirtualService, "identity" | "realServers">;
  /** By endpoint, in the order of addition. */
  readonly members: Map<string, Real>;
  /** Taken away; kept while connections last, and taken back with their counts. */
  readonly lingering: Map<string, Real>;
  /** Place of the next real server in the order of addition. */
  nextOrder: number;
  /** What lies in the map. */
  record: layout.Service;
  slotted: boolean;
  /** Taken away. */
  removed: boolean;
  /** What round robin remembers, while changes are collected; else undefined, as only the cursor knows. */
  origin: RingOrigin | undefined;
  /** Ids that the spread table was made of. */
  spreadOf: string;
  /** Wanted and map differ. */
  dirty: boolean;
}

interface Allocators {
  readonly segments: RegionAllocator;
  readonly ringMembers: RegionAllocator;
  readonly treeNodes: RegionAllocator;
}

/** The places in the maps that a service's record names. */
interface ServiceRegions {
  readonly segments: Region;
  readonly members: Region;
  readonly spread: Region;
  readonly tree: Region;
}

/** What is to be written beside the record; an absent spread table stays as it is. */
interface Structures {
  readonly spread: { readonly table: Uint32Array; readonly region: Region } | undefined;
  readonly ring: { readonly ring: Ring; readonly members: Region; readonly segments: Region } | undefined;
  readonly tree: { readonly leaves: number; readonly fresh: boolean; readonly region: Region } | undefined;
}

export interface ServiceTableDeps {
  readonly native: Native;
  readonly maps: DirectorMaps;
  readonly control: Control;
  /** The next hop of an address, as it is known now. */
  resolve(address: string): Resolution;
  /** For messages. */
  interfaceName(ifindex: number): string;
  /** A real server's MAC address has changed, or its way to it. */
  onNextHop(message: string): void;
}

export class ServiceTable {
  readonly #deps: ServiceTableDeps;
  readonly #services = new Map<string, Service>();
  readonly #serviceIds: IdAllocator;
  readonly #realServerIds: IdAllocator;
  readonly #allocators: Allocators;
  /** Addresses of real servers that were resolved once, and are not at present. */
  readonly #lost = new Set<string>();
  readonly #loads: Uint32Array;
  readonly #cursors: BigUint64Array;
  readonly #states: Uint32Array;
  readonly #histories: Uint32Array;
  readonly #replies: ReplyTable;
  readonly #fragmentAddresses: FragmentAddresses;

  /** Takes over what lies in the maps. What a daemon that died left half done is finished by {@link repair}. */
  constructor(deps: ServiceTableDeps) {
    this.#deps = deps;
    const { maps } = deps;
    this.#loads = new Uint32Array(maps.loads.memory);
    this.#cursors = new BigUint64Array(maps.serviceStates.memory);
    this.#states = new Uint32Array(maps.serviceStates.memory);
    this.#histories = new Uint32Array(maps.histories.memory);
    this.#replies = new ReplyTable(maps, deps.control);
    this.#fragmentAddresses = new FragmentAddresses(deps.native, maps);
    const usedIds: number[] = [];
    for (const stored of readServices(maps)) {
      const service: Service = {
        id: stored.id,
        key: printIdentity(stored.identity),
        identity: stored.identity as Service["identity"], // a stored service has an address
        wanted: toVirtualService(stored),
        members: new Map(),
        lingering: new Map(),
        nextOrder: (stored.members.at(-1)?.record.leaf ?? -1) + 1,
        record: stored.record,
        slotted: stored.slotted,
        removed: !stored.slotted,
        origin: undefined,
        spreadOf: "",
        dirty: !stored.slotted,
      };
      for (const found of stored.members) this.#adopt(service, found, service.members);
      for (const found of stored.lingering) this.#adopt(service, found, service.lingering);
      usedIds.push(...[...stored.members, ...stored.lingering].map(({ id }) => id));
      this.#services.set(service.key, service);
    }
    const services = [...this.#services.values()];
    this.#serviceIds = new IdAllocator(
      layout.MAX_SERVICES,
      services.map(({ id }) => id),
    );
    this.#realServerIds = new IdAllocator(layout.MAX_REAL_SERVERS, usedIds);
    const regions = services.map(({ record }) => this.#regionsOf(record));
    this.#allocators = {
      segments: new RegionAllocator(
        maps.ringSegments.entries,
        regions.map(({ segments }) => segments),
      ),
      ringMembers: new RegionAllocator(
        maps.ringMembers.entries,
        regions.flatMap(({ members, spread }) => [members, spread]),
      ),
      treeNodes: new RegionAllocator(
        nodesOf(maps.treeLeaves.entries),
        regions.map(({ tree }) => tree),
      ),
    };
  }

  #adopt(service: Service, { id, record, realServer }: StoredRealServer, into: Map<string, Real>): void {
    const key = realServerKey(realServer);
    into.set(key, {
      id,
      key,
      address: realServer.address,
      port: realServer.port,
      family: familyOf(service.identity.address),
      record,
      tunnel: realServer.tunnel ?? plainTunnel,
      source: storedSource(this.#deps.maps, id, record),
      weight: realServer.weight,
      lastWeight: this.#histories[id * historyWords + lastWeightWord] ?? 0,
      relieved: false,
      removedAt: performance.now(),
    });
  }

  /** Makes rings, trees and slots agree with the records of services and real servers; writes only what does not. */
  async repair(): Promise<void> {
    const { maps, control } = this.#deps;
    const byId = new Map([...this.#services.values()].map((service) => [service.id, service]));
    for (const { slot } of [...readSlots(maps)]) {
      if (isServiceSlot(slot) && !byId.has(slot.service)) control.deleteService(slot);
    }
    for (const service of byId.values()) {
      for (const real of [...service.members.values(), ...service.lingering.values()]) this.#writeReply(service, real);
    }
    this.#replies.repair();
    for (const service of this.#services.values()) {
      if (service.removed) continue;
      const spread = spreadMembers(service);
      if (sameWords(maps.ringMembers.read(service.record.spread, service.record.spread_length), spreadTable(spread))) {
        service.spreadOf = idsOf(spread);
      } else {
        this.#touch(service);
      }
      // A daemon that died meanwhile has left it half way to another plane.
      const leaving = (service.record.flags & layout.serviceFlag.SERVICE_LEAVING) !== 0;
      if (leaving || !this.#isWhole(service)) this.#touch(service);
    }
    await this.#writeAll();
    this.#writeFragmentAddresses();
    this.#updateFlags();
  }

  /** Whether ring or tree name exactly the members that are to be scheduled. */
  #isWhole(service: Service): boolean {
    const { maps } = this.#deps;
    const { record } = service;
    const scheduler = ringScheduler(service);
    if (scheduler !== undefined) {
      const ring = scheduler.ring(newestFirst(service));
      const segments = maps.ringSegments.readRange(record.ring_segment, record.ring_segments);
      const first = segments[0]?.first ?? 0;
      const members = maps.ringMembers.read(first, this.#regionsOf(record).members.length);
      return (
        record.ring_length === ring.length &&
        sameWords(members, Uint32Array.from(ring.members)) &&
        segments.length === ring.segments.length &&
        ring.segments.every((segment, index) => {
          const found = segments[index];
          return (
            found !== undefined &&
            found.end === segment.end &&
            found.first === segment.first + first &&
            found.weight === segment.weight
          );
        })
      );
    }
    const leaves = maps.treeLeaves.read(record.tree / 2, record.tree_leaves);
    const placed = [...service.members.values()].every((real) => real.record.leaf < record.tree_leaves);
    const { flags } = attributesOf(service, record.tree_leaves);
    return placed && flags === record.flags && sameWords(leaves, leavesOf(service, record.tree_leaves));
  }

  /** Applies in order; the maps are written once for each service that changed. */
  async apply(changes: readonly Change[], handover?: Handover): Promise<readonly ApplyResult[]> {
    const results: { change: Change; error?: Error }[] = [];
    const touched = new Map<string, { error?: Error }[]>();
    for (const change of changes) {
      const result: { change: Change; error?: Error } = { change };
      results.push(result);
      try {
        const key = printIdentity("service" in change ? change.service.identity : change.identity);
        this.#collect(change);
        const of = touched.get(key);
        if (of === undefined) touched.set(key, [result]);
        else of.push(result);
      } catch (error) {
        result.error = asError(error);
      }
    }
    const failures = await this.#writeAll(handover);
    for (const [key, error] of failures) for (const result of touched.get(key) ?? []) result.error ??= error;
    this.#writeFellows();
    this.#writeFragmentAddresses();
    this.#updateFlags();
    return results;
  }

  /** Whether new connections go to the stack; the next change of the service ends that, too. */
  setLeaving(services: readonly ServiceIdentity[], leaving: boolean): void {
    const { SERVICE_LEAVING } = layout.serviceFlag;
    for (const identity of services) {
      const service = this.#services.get(printIdentity(identity));
      if (service === undefined || service.removed) continue;
      const { flags } = service.record;
      this.#writeRecord(service, {
        ...service.record,
        flags: leaving ? flags | SERVICE_LEAVING : flags & ~SERVICE_LEAVING,
      });
    }
  }

  /** By endpoint the ids of a service's real servers; undefined: the service is not here. */
  realServerIds(identity: ServiceIdentity): ReadonlyMap<string, number> | undefined {
    const service = this.#services.get(printIdentity(identity));
    if (service === undefined || service.removed) return undefined;
    return new Map([...service.members].map(([key, { id }]) => [key, id]));
  }

  /** Sets the counters of one service or of all to 0. Throws if there is no such service. */
  zero(identity?: ServiceIdentity): void {
    const key = identity === undefined ? undefined : printIdentity(identity);
    const services = [...this.#services.values()].filter((service) => !service.removed);
    const chosen = services.filter((service) => key === undefined || service.key === key);
    if (key !== undefined && chosen.length === 0) throw new Error(`there is no service ${key}`);
    for (const service of chosen) {
      for (const real of [...service.members.values(), ...service.lingering.values()]) {
        this.#clearCounters(real.id);
      }
      this.#cursors[service.id * stateWords + retiredRepliesWord] = 0n;
      this.#cursors[service.id * stateWords + retiredReplyBytesWord] = 0n;
      this.#writeRecord(service, {
        ...service.record,
        retired_connections: 0n,
        retired_packets: 0n,
        retired_bytes: 0n,
      });
    }
  }

  #clearCounters(id: number): void {
    this.#deps.maps.counters.clear(id);
    this.#deps.maps.replyCounters.clear(id);
  }

  // --- collecting what is wanted

  #collect(change: Change): void {
    switch (change.kind) {
      case "add-service":
      case "edit-service":
        return this.#putService(change.service, change.kind === "add-service");
      case "remove-service":
        return this.#removeService(change.identity);
      case "add-real-server":
        return this.#putRealServer(change.identity, change.realServer, true);
      case "edit-real-server":
        return this.#putRealServer(change.identity, change.realServer, false);
      case "remove-real-server": {
        const service = this.#services.get(printIdentity(change.identity));
        const real = service?.members.get(realServerKey(change));
        if (service !== undefined && real !== undefined) this.#removeRealServer(service, real);
      }
    }
  }

  #putService(wanted: VirtualService, add: boolean): void {
    const { identity } = wanted;
    const key = printIdentity(identity);
    if (identity.kind !== "address") throw new Error("XDP does not see firewall marks");
    let service = this.#services.get(key);
    if (service === undefined || service.removed) {
      if (!add) throw new Error(`there is no service ${key}`);
      service ??= this.#newService(identity, key);
      this.#touch(service);
      service.removed = false;
      service.origin = 0;
      // A service that comes back is a new one for whoever reads its counters, as in the kernel.
      service.record = { ...service.record, retired_connections: 0n, retired_packets: 0n, retired_bytes: 0n };
      this.#cursors[service.id * stateWords + retiredRepliesWord] = 0n;
      this.#cursors[service.id * stateWords + retiredReplyBytesWord] = 0n;
      for (const real of service.lingering.values()) this.#clearCounters(real.id);
    } else {
      this.#touch(service);
      if (service.wanted.scheduler !== wanted.scheduler) {
        service.origin = ringSchedulers[wanted.scheduler]?.started(service.members.values()) ?? 0;
      }
    }
    const { identity: _identity, realServers: _realServers, ...attributes } = wanted;
    service.wanted = attributes;
  }

  #newService(identity: Service["identity"], key: string): Service {
    const id = this.#serviceIds.take();
    if (id === undefined) throw new Error(`no more than ${layout.MAX_SERVICES - 1} services fit into the tables`);
    this.#cursors.fill(0n, id * stateWords, (id + 1) * stateWords);
    const service: Service = {
      id,
      key,
      identity,
      wanted: { scheduler: "rr", schedulerFlags: [], onePacket: false },
      members: new Map(),
      lingering: new Map(),
      nextOrder: 0,
      record: layout.service.decode(new Uint8Array(layout.service.size)),
      slotted: false,
      removed: false,
      origin: 0,
      spreadOf: "",
      dirty: true,
    };
    this.#services.set(key, service);
    return service;
  }

  #removeService(identity: ServiceIdentity): void {
    const service = this.#services.get(printIdentity(identity));
    if (service === undefined || service.removed) return;
    this.#touch(service);
    for (const real of [...service.members.values()]) this.#removeRealServer(service, real);
    service.removed = true;
  }

  #putRealServer(identity: ServiceIdentity, wanted: RealServer, add: boolean): void {
    const service = this.#services.get(printIdentity(identity));
    if (service === undefined || service.removed) throw new Error(`there is no service ${printIdentity(identity)}`);
    const key = realServerKey(wanted);
    let real = service.members.get(key);
    if (real === undefined && !add) throw new Error(`${service.key} has no real server ${key}`);
    this.#touch(service);
    const added = real === undefined;
    if (real === undefined) {
      real = service.lingering.get(key) ?? this.#newRealServer(service, wanted, key);
      real.record = { ...real.record, leaf: service.nextOrder++ };
      service.lingering.delete(key);
      service.members.set(key, real);
    }
    real.weight = wanted.weight;
    if (added || wanted.weight !== 0) real.lastWeight = wanted.weight;
    const { upper_threshold: upper } = real.record;
    if (wanted.upperThreshold === 0 || wanted.upperThreshold > upper) real.relieved = true;
    real.tunnel = wanted.tunnel ?? plainTunnel;
    real.record = {
      ...real.record,
      method: methodNumbers[wanted.method],
      upper_threshold: wanted.upperThreshold,
      lower_threshold: wanted.lowerThreshold,
    };
    this.#membersChanged(service);
  }

  #newRealServer(service: Service, { address, port }: RealServer, key: string): Real {
    const id = this.#realServerIds.take();
    if (id === undefined) {
      throw new Error(`no more than ${layout.MAX_REAL_SERVERS - 1} real servers fit into the tables`);
    }
    this.#loads.fill(0, id * loadWords, (id + 1) * loadWords);
    this.#histories.fill(0, id * historyWords, (id + 1) * historyWords);
    this.#clearCounters(id);
    const record: layout.RealServer = {
      ...layout.realServer.decode(new Uint8Array(layout.realServer.size)),
      service: service.id,
      address: addressWords(address),
      port,
      family: familyNumbers[address.includes(":") ? "ipv6" : "ipv4"],
    };
    const family = familyOf(service.identity.address);
    const known = { id, key, address, port, family, record, tunnel: plainTunnel, source: undefined };
    return { ...known, weight: 0, lastWeight: 0, relieved: true, removedAt: 0 };
  }

  #removeRealServer(service: Service, real: Real): void {
    this.#touch(service);
    const scheduler = ringScheduler(service);
    service.origin = scheduler?.removed(service.origin ?? 0, real.id, () => newestFirst(service)) ?? 0;
    service.members.delete(real.key);
    service.lingering.set(real.key, real);
    real.lastWeight = real.weight;
    real.weight = 0;
    real.removedAt = performance.now();
    this.#membersChanged(service);
  }

  #membersChanged(service: Service): void {
    service.origin = ringScheduler(service)?.changed(service.origin ?? 0, service.members.values()) ?? 0;
  }

  /** Before the first change of a batch: what the cursor has come to is remembered in the kernel's terms. */
  #touch(service: Service): void {
    service.dirty = true;
    if (service.origin !== undefined) return;
    const { ring_cursor: ringCursor, ring_origin: origin } = service.record;
    const cursor = this.#cursors[service.id * stateWords] ?? 0n;
    const restarted = this.#states[service.id * 2 * stateWords + restartedWord] === 1;
    service.origin = ringScheduler(service)?.recall(newestFirst(service), cursor, ringCursor, origin, restarted) ?? 0;
  }

  // --- writing it

  /** By service key: why it could not be written. It stays to be written with the next batch. */
  async #writeAll(handover?: Handover): Promise<Map<string, Error>> {
    const failures = new Map<string, Error>();
    const arriving: Service[] = [];
    let written = 0;
    for (const service of [...this.#services.values()]) {
      if (!service.dirty) continue;
      try {
        if (service.removed) this.#writeRemoval(service);
        else await this.#write(service);
        service.dirty = false;
        service.origin = undefined;
        if (!service.slotted && !service.removed) {
          if (handover === undefined) this.#reveal(service);
          else arriving.push(service);
        }
      } catch (error) {
        service.dirty = true;
        failures.set(service.key, asError(error));
      }
      if (++written % servicesPerTurn === 0) await nextTurn();
    }
    if (handover !== undefined && arriving.length > 0) await this.#welcome(arriving, handover, failures);
    return failures;
  }

  /** Services of another plane: their connections are here before packets meet them. */
  async #welcome(arriving: readonly Service[], handover: Handover, failures: Map<string, Error>): Promise<void> {
    let failure: unknown;
    try {
      await handover.arrived(arriving.map(({ identity }) => identity));
    } catch (error) {
      failure = error;
    }
    for (const service of arriving) {
      try {
        if (failure !== undefined) throw asError(failure);
        this.#reveal(service);
      } catch (error) {
        this.#touch(service);
        failures.set(service.key, asError(error));
      }
    }
  }

  /** From here on packets find the service. */
  #reveal(service: Service): void {
    this.#raiseFlags(service);
    this.#deps.control.putService(slotOf(service));
    service.slotted = true;
  }

  async #write(service: Service): Promise<void> {
    const structures = await this.#prepare(service);
    const { control } = this.#deps;
    const { ring, tree } = structures;

    // Weights that rise first; those that become 0 when nothing leads to the real server any more.
    const silenced: Real[] = [];
    for (const real of service.members.values()) {
      this.#writeRealServer(service, real);
      if (real.weight > 0) this.#writeWeight(real);
      else if (this.#weightOf(real) !== 0) silenced.push(real);
    }
    const departed = [...service.lingering.values()].filter(isAvailable);

    const old = this.#regionsOf(service.record);
    const fields = {
      ...attributesOf(service, tree?.leaves),
      ...this.#writeSpread(service, structures.spread),
      ...(ring === undefined ? noRing : this.#writeRing(service, ring)),
      ...(tree === undefined ? noTree : this.#writeTree(service, tree)),
    };
    const begins = !service.slotted || service.record.scheduler !== fields.scheduler;
    this.#writeRecord(service, { ...service.record, ...fields });
    if (begins) this.#beginScheduling(service);
    // Without a real server there is no leaf to build from.
    const grown = tree !== undefined && service.record.tree_leaves > 0;
    if (grown) control.buildTree(service.id, service.record);

    for (const real of silenced) this.#writeWeight(real);
    for (const real of departed) this.#writeDeparture(real);
    if (grown && silenced.length + departed.length > 0) control.buildTree(service.id, service.record);
    this.#releaseUnused(old, this.#regionsOf(service.record));
  }

  #writeRemoval(service: Service): void {
    if (service.slotted) this.#deps.control.deleteService(slotOf(service));
    service.slotted = false;
    for (const real of service.lingering.values()) if (isAvailable(real)) this.#writeDeparture(real);
    const old = this.#regionsOf(service.record);
    service.spreadOf = "";
    this.#writeRecord(service, {
      ...service.record,
      ...attributesOf(service),
      ...noRing,
      ...noTree,
      spread: 0,
      spread_length: 0,
    });
    this.#releaseUnused(old, this.#regionsOf(service.record));
  }

  /** A scheduler that begins knows nothing of what the one before it has remembered. */
  #beginScheduling(service: Service): void {
    const state = service.id * 2 * stateWords;
    this.#states[state + scheduledWord] = this.#deps.maps.sweep.read(0).tick;
    Atomics.add(this.#states, state + roundWord, 1);
    Atomics.store(this.#states, state + stickyWord, 0);
  }

  #weightOf({ id }: Real): number {
    return weightIn(this.#loads[id * loadWords + weightWord] ?? 0);
  }

  /** The data path keeps a flag beside the weight. */
  #writeWeight({ id, weight }: Real): void {
    const index = id * loadWords + weightWord;
    for (;;) {
      const before = Atomics.load(this.#loads, index);
      const overloaded = before - weightIn(before);
      if (Atomics.compareExchange(this.#loads, index, before, overloaded + weight) === before) return;
    }
  }

  #writeDeparture(real: Real): void {
    this.#histories[real.id * historyWords + lastWeightWord] = real.lastWeight;
    this.#writeWeight(real);
    this.#writeRealServerRecord(real, { ...real.record, flags: real.record.flags & ~REAL_SERVER_AVAILABLE });
  }

  #writeRealServer(service: Service, real: Real): void {
    const record = {
      ...real.record,
      service: service.id,
      flags: real.record.flags | REAL_SERVER_AVAILABLE,
      idle_timeout: service.wanted.idleTimeout ?? 0,
    };
    const resolution = isAvailable(real) ? undefined : this.#deps.resolve(real.address);
    if (resolution !== undefined) real.source = sourceOf(resolution) ?? real.source;
    this.#writeTunnel(real);
    this.#writeReply(service, real);
    this.#writeRealServerRecord(real, resolution === undefined ? record : withNextHop(record, resolution));
    this.#histories[real.id * historyWords + lastWeightWord] = real.lastWeight;
    // __ip_vs_update_dest() of net/netfilter/ipvs/ip_vs_ctl.c.
    if (real.relieved) Atomics.and(this.#loads, real.id * loadWords + weightWord, ~layout.LOAD_OVERLOADED);
    real.relieved = false;
  }

  /** What a packet has taught of the path stays until something else changes. */
  #writeTunnel({ id, record, tunnel, source, address }: Real): void {
    if (record.method !== methodNumbers.ipip) return;
    const { tunnels } = this.#deps.maps;
    const present = tunnels.read(id);
    const wanted = {
      ...encodeTunnel(tunnel, familyOf(address), source),
      path_mtu: present.path_mtu,
      path_mtu_tick: present.path_mtu_tick,
    };
    if (!sameBytes(layout.tunnel.encode(wanted), layout.tunnel.encode(present))) {
      tunnels.write(id, { ...wanted, path_mtu: 0, path_mtu_tick: 0 });
    }
  }

  /** Replies of a masqueraded real server are known before packets are sent to it. */
  #writeReply({ identity, record: { protocol } }: Service, { id, address, record }: Real): void {
    if (record.method !== methodNumbers.masq) {
      this.#replies.remove(id);
      return;
    }
    // Under an all-ports service no port is mapped.
    const port = identity.port === 0 ? 0 : record.port === 0 ? identity.port : record.port;
    this.#replies.put(id, { protocol: protocol === 0 ? protocolNumbers[identity.protocol] : protocol, address, port });
  }

  /**
   * Where this machine is one of a service's real servers, the others may be directors of it, too: what they send here is
   * not directed again.
   */
  #writeFellows(): void {
    const stations: Station[] = [];
    for (const service of this.#services.values()) {
      const members = [...service.members.values()];
      const among = members.some(({ address, record }) => isLocal(record) && !isLoopback(address));
      for (const real of members) {
        const { id, record } = real;
        const fellow = among && !isLocal(record) && record.method === methodNumbers.gate;
        const flags = fellow ? record.flags | REAL_SERVER_FELLOW : record.flags & ~REAL_SERVER_FELLOW;
        if (fellow && (flags & REAL_SERVER_RESOLVED) !== 0) {
          stations.push({ realServer: id, service: service.id, mac: record.next_hop_mac });
        }
        if (flags !== record.flags) this.#writeRealServerRecord(real, { ...record, flags });
      }
    }
    writeStations(this.#deps.maps, this.#deps.control, stations);
  }

  #writeFragmentAddresses(): void {
    const answering = [...this.#realServers()].filter(({ record }) => record.method === methodNumbers.masq);
    this.#fragmentAddresses.write([...this.virtualAddresses(), ...answering.map(({ address }) => address)]);
  }

  #writeRealServerRecord(real: Real, record: layout.RealServer): void {
    this.#deps.maps.realServers.write(real.id, record);
    real.record = record;
  }

  #writeRecord(service: Service, record: layout.Service): void {
    this.#deps.maps.services.write(service.id, record);
    service.record = record;
  }

  /** What a service needs beside its record, with places in the maps taken for it. */
  async #prepare(service: Service): Promise<Structures> {
    const scheduled = spreadMembers(service);
    const table = idsOf(scheduled) === service.spreadOf ? undefined : spreadTable(scheduled);
    const scheduler = ringScheduler(service);
    const ring = scheduler?.ring(newestFirst(service));
    const tree = scheduler === undefined ? placeLeaves(service) : undefined;
    const [spreadRegion = nowhere, members = nowhere, segments = nowhere, nodes = nowhere] = await this.#takeAll([
      ["ringMembers", table?.length ?? 0],
      ["ringMembers", ring?.members.length ?? 0],
      ["segments", ring?.segments.length ?? 0],
      ["treeNodes", tree?.fresh === true ? nodesOf(tree.leaves) : 0],
    ]);
    return {
      spread: table === undefined ? undefined : { table, region: spreadRegion },
      ring: ring === undefined ? undefined : { ring, members, segments },
      tree: tree === undefined ? undefined : { ...tree, region: nodes },
    };
  }

  #writeSpread(service: Service, spread: Structures["spread"]): Partial<layout.Service> {
    if (spread === undefined) return {};
    this.#deps.maps.ringMembers.write(spread.region.offset, spread.table);
    service.spreadOf = idsOf(spreadMembers(service));
    return { spread: spread.region.offset, spread_length: spread.region.length };
  }

  #writeRing(service: Service, { ring, members, segments }: NonNullable<Structures["ring"]>): Partial<layout.Service> {
    const { maps } = this.#deps;
    maps.ringMembers.write(members.offset, Uint32Array.from(ring.members));
    maps.ringSegments.writeRange(
      segments.offset,
      ring.segments.map((segment) => ({ ...segment, first: segment.first + members.offset })),
    );
    const origin = service.origin ?? 0;
    const position = ringScheduler(service)?.cursor(newestFirst(service), origin) ?? 0;
    Atomics.store(this.#cursors, service.id * stateWords, BigInt(position));
    this.#states[service.id * 2 * stateWords + restartedWord] = 0;
    return {
      ring_segment: segments.offset,
      ring_segments: segments.length,
      ring_length: ring.length,
      ring_cursor: BigInt(position),
      ring_origin: origin,
    };
  }

  /** A fresh tree is whole before packets meet it; what they change meanwhile the caller's second building takes in. */
  #writeTree(service: Service, { leaves, fresh, region }: NonNullable<Structures["tree"]>): Partial<layout.Service> {
    const { control, maps } = this.#deps;
    const tree = fresh ? region.offset : service.record.tree;
    maps.treeLeaves.write(tree / 2, leavesOf(service, leaves));
    if (!fresh) return {};
    const { scheduler, flags } = attributesOf(service, leaves);
    control.buildTree(service.id, { tree, tree_leaves: leaves, scheduler, flags });
    return { tree, tree_leaves: leaves };
  }

  /** All or none. What was released a moment ago is waited for when there is no other room. */
  async #takeAll(wanted: readonly (readonly [keyof Allocators, number])[]): Promise<Region[]> {
    const taken: Region[] = [];
    for (const [name, length] of wanted) {
      const allocator = this.#allocators[name];
      let region = allocator.take(length, performance.now());
      if (region === undefined) {
        await sleep(allocator.settlesIn(performance.now()) + 1);
        region = allocator.take(length, performance.now());
      }
      if (region === undefined) {
        for (const [index, given] of taken.entries()) {
          const of = wanted[index];
          if (of !== undefined) this.#allocators[of[0]].release(given, performance.now());
        }
        throw new Error(`${name}: no room for ${length} more entries among ${allocator.size}`);
      }
      taken.push(region);
    }
    return taken;
  }

  #releaseUnused(before: ServiceRegions, after: ServiceRegions): void {
    const now = performance.now();
    const release = (name: keyof Allocators, old: Region, present: Region) => {
      if (old.offset !== present.offset || old.length !== present.length) this.#allocators[name].release(old, now);
    };
    release("segments", before.segments, after.segments);
    release("ringMembers", before.members, after.members);
    release("ringMembers", before.spread, after.spread);
    release("treeNodes", before.tree, after.tree);
  }

  #regionsOf(record: layout.Service): ServiceRegions {
    const segments = this.#deps.maps.ringSegments.readRange(record.ring_segment, record.ring_segments);
    const first = segments[0]?.first ?? 0;
    const last = segments.at(-1);
    return {
      segments: { offset: record.ring_segment, length: record.ring_segments },
      members: { offset: first, length: last === undefined ? 0 : last.first + last.length - first },
      spread: { offset: record.spread, length: record.spread_length },
      tree: { offset: record.tree, length: 2 * record.tree_leaves },
    };
  }

  // --- what goes on between the batches

  /** Real servers whose last connection has ended give their ids back, and their counters to their service. */
  tidy(): void {
    const now = performance.now();
    for (const service of [...this.#services.values()]) {
      if (service.dirty) continue;
      const gone = [...service.lingering.values()].filter(
        (real) =>
          now - real.removedAt >= (this.#isHeld(service, real) ? heldMs : lingerMs) &&
          this.#connectionsOf(real) === 0 &&
          this.#deps.control.forget(real.id),
      );
      if (gone.length > 0) this.#retire(service, gone);
      if (service.removed && service.lingering.size === 0) {
        this.#writeRecord(service, layout.service.decode(new Uint8Array(layout.service.size)));
        this.#services.delete(service.key);
        this.#serviceIds.release(service.id);
      }
    }
  }

  /** Whether lblc or lblcr would take it again if it came back. */
  #isHeld(service: Service, { id }: Real): boolean {
    const state = service.id * 2 * stateWords;
    const round = this.#states[state + roundWord];
    if (service.removed) return false;
    if (service.wanted.scheduler === "lblc") return this.#states[state + stickyWord] === id;
    return service.wanted.scheduler === "lblcr" && this.#histories[id * historyWords + replicaRoundWord] === round;
  }

  #retire(service: Service, gone: readonly Real[]): void {
    const { maps } = this.#deps;
    let { retired_connections: connections, retired_packets: packets, retired_bytes: bytes } = service.record;
    for (const { id, key } of gone) {
      const of = readCounters(maps, id);
      connections += of.connections;
      packets += of.packets;
      bytes += of.bytes;
      this.#cursors[service.id * stateWords + retiredRepliesWord]! += of.packetsOut;
      this.#cursors[service.id * stateWords + retiredReplyBytesWord]! += of.bytesOut;
      this.#replies.remove(id);
      service.lingering.delete(key);
    }
    this.#writeRecord(service, {
      ...service.record,
      retired_connections: connections,
      retired_packets: packets,
      retired_bytes: bytes,
    });
    const empty = layout.realServer.decode(new Uint8Array(layout.realServer.size));
    const sticky = service.id * 2 * stateWords + stickyWord;
    for (const { id } of gone) {
      // lblc's choice must not be another real server that gets the id.
      Atomics.compareExchange(this.#states, sticky, id, 0);
      maps.realServers.write(id, empty);
      this.#realServerIds.release(id);
    }
  }

  #connectionsOf({ id }: Real): number {
    const { active, inactive, persistent } = this.#deps.maps.loads.read(id);
    return active + inactive + persistent;
  }

  /** Asks for every next hop again and writes those that have changed. */
  resolveAll(): void {
    const known = new Map<string, Resolution>();
    for (const real of this.#realServers()) {
      let resolution = known.get(real.address);
      const first = resolution === undefined;
      resolution ??= this.#deps.resolve(real.address);
      known.set(real.address, resolution);
      const source = sourceOf(resolution) ?? real.source;
      if (source !== real.source) {
        real.source = source;
        this.#writeTunnel(real);
      }
      const record = withNextHop(real.record, resolution);
      if (sameNextHop(record, real.record)) continue;
      if (first) this.#tellMove(real, record, resolution);
      this.#writeRealServerRecord(real, record);
    }
    this.#writeFellows();
  }

  /** That a next hop is found for the first time is no event. */
  #tellMove({ address, record: before }: Real, after: layout.RealServer, resolution: Resolution): void {
    const { onNextHop } = this.#deps;
    if (resolution.kind === "unresolved") {
      if ((before.flags & (REAL_SERVER_RESOLVED | REAL_SERVER_LOCAL)) === 0) return;
      this.#lost.add(address);
      onNextHop(`the way to real server ${address} is lost: ${resolution.reason}`);
    } else if (this.#lost.delete(address)) {
      onNextHop(`the way to real server ${address} is found again:${this.#wayOf(after)}`);
    } else if ((before.flags & (REAL_SERVER_RESOLVED | REAL_SERVER_LOCAL)) !== 0) {
      onNextHop(`the way to real server ${address} has changed:${this.#wayOf(before)} ->${this.#wayOf(after)}`);
    }
  }

  #wayOf({ flags, next_hop_mac: mac, ifindex, vlan }: layout.RealServer): string {
    if ((flags & REAL_SERVER_LOCAL) !== 0) return " this machine";
    return ` MAC ${macText(mac)} by ${this.#deps.interfaceName(ifindex)}${vlan === 0 ? "" : ` vlan ${vlan}`}`;
  }

  *#realServers(): Generator<Real> {
    for (const service of this.#services.values()) {
      yield* service.members.values();
      yield* service.lingering.values();
    }
  }

  /** Physical interfaces that packets leave by. */
  outgoing(): Set<number> {
    const found = new Set<number>();
    for (const { record } of this.#realServers()) if (record.ifindex !== 0) found.add(record.ifindex);
    return found;
  }

  /** Whether packets leave for clients, too: replies of masqueraded real servers. */
  sendsReplies(): boolean {
    return [...this.#realServers()].some(({ record }) => record.method === methodNumbers.masq);
  }

  realAddresses(): Set<string> {
    return new Set([...this.#realServers()].map(({ address }) => address));
  }

  virtualAddresses(): Set<string> {
    return new Set(
      [...this.#services.values()].filter(({ removed }) => !removed).map(({ identity }) => identity.address),
    );
  }

  /** Packets look for what a service may have only if some service has it. */
  #updateFlags(): void {
    const present = [...this.#services.values()].filter(({ slotted, removed }) => slotted && !removed);
    for (const [name, has] of serviceFlags) this.#setFlag(name, present.some(has));
  }

  #raiseFlags(service: Service): void {
    for (const [name, has] of serviceFlags) if (has(service)) this.#setFlag(name, true);
  }

  #setFlag(name: FlagName, value: boolean): void {
    const { settings } = this.#deps.maps;
    new Uint32Array(settings.memory)[layout.settings.fields[name].offset / 4] = value ? 1 : 0;
  }
}

type FlagName = "all_ports_services" | "ftp_services" | "limits" | "idle_timeouts";

const ftpPort = 21;

const serviceFlags: readonly (readonly [FlagName, (service: Service) => boolean])[] = [
  ["all_ports_services", ({ identity }) => identity.port === 0],
  ["ftp_services", ({ identity }) => identity.port === ftpPort && identity.protocol === "tcp"],
  ["limits", ({ wanted }) => wanted.limits !== undefined],
  ["idle_timeouts", ({ wanted }) => wanted.idleTimeout !== undefined],
];

const noRing = { ring_segment: 0, ring_segments: 0, ring_length: 0, ring_cursor: 0n, ring_origin: 0 };
const noTree = { tree: 0, tree_leaves: 0 };

const nowhere: Region = { offset: 0, length: 0 };

/**
 * Leaves of the tree that the members fit into, their places given. The present tree stays unless it has become too
 * small for the newest; then the places that departed real servers left behind are closed up.
 */
function placeLeaves(service: Service): { leaves: number; fresh: boolean } {
  const present = service.record.tree_leaves;
  if (service.nextOrder <= present) return { leaves: present, fresh: false };
  const leaves = leavesFor(service.members.size);
  if (service.nextOrder > leaves) {
    service.nextOrder = 0;
    for (const real of service.members.values()) real.record = { ...real.record, leaf: service.nextOrder++ };
  }
  return { leaves, fresh: true };
}

function isServiceSlot({ kind }: layout.ServiceSlot): boolean {
  const { SERVICE_SLOT_IPV4, SERVICE_SLOT_IPV6 } = layout.serviceSlotKind;
  return kind === SERVICE_SLOT_IPV4 || kind === SERVICE_SLOT_IPV6;
}

function isLocal({ flags }: layout.RealServer): boolean {
  return (flags & REAL_SERVER_LOCAL) !== 0;
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}

function sourceOf(resolution: Resolution): string | undefined {
  return resolution.kind === "resolved" ? resolution.hop.source : undefined;
}

/** What an earlier daemon knew, until the network is looked at. */
function storedSource(maps: DirectorMaps, id: number, { method, family }: layout.RealServer): string | undefined {
  if (method !== methodNumbers.ipip) return undefined;
  const { source } = maps.tunnels.read(id);
  return source.every((word) => word === 0) ? undefined : addressText(source, familyFromNumber(family));
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function isAvailable({ record }: Real): boolean {
  return (record.flags & REAL_SERVER_AVAILABLE) !== 0;
}

function newestFirst(service: Service): Member[] {
  return [...service.members.values()].reverse();
}

/** Undefined: the scheduler looks at the loads, by a tree. */
function ringScheduler({ wanted }: Service): RingScheduler | undefined {
  return ringSchedulers[wanted.scheduler];
}

function leavesOf(service: Service, leaves: number): Uint32Array {
  const words = new Uint32Array(leaves);
  for (const { id, weight, record } of service.members.values()) {
    if (weight > 0 && record.leaf < leaves) words[leafOf(leaves, record.leaf)] = id;
  }
  return words;
}

function spreadMembers(service: Service): Real[] {
  return [...service.members.values()].filter(({ weight }) => weight > 0);
}

function idsOf(members: readonly Real[]): string {
  return members
    .map(({ id }) => id)
    .sort((a, b) => a - b)
    .join();
}

function sameWords(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && a.every((word, index) => word === b[index]);
}

function slotOf({ id, identity, record }: Service): layout.ServiceSlot {
  const ipv6 = identity.address.includes(":");
  const { SERVICE_SLOT_IPV4, SERVICE_SLOT_IPV6 } = layout.serviceSlotKind;
  return {
    address: addressWords(identity.address),
    port: identity.port,
    protocol: record.protocol,
    kind: ipv6 ? SERVICE_SLOT_IPV6 : SERVICE_SLOT_IPV4,
    service: id,
  };
}

/** `leaves`: of its tree. */
function attributesOf({ identity, wanted, members }: Service, leaves = 0) {
  const family = familyOf(identity.address);
  const reals = [...members.values()];
  const hasThresholds = reals.some(({ record }) => record.upper_threshold > 0);
  const hasWideWeights = isWide(
    leaves,
    reals.map(({ weight }) => weight),
  );
  const { persistence, limits, idleTimeout } = wanted;
  return {
    address: addressWords(identity.address),
    port: identity.port,
    protocol: protocolNumbers[identity.protocol],
    family: familyNumbers[family],
    scheduler: schedulerNumbers[wanted.scheduler satisfies Scheduler],
    flags:
      (wanted.onePacket ? layout.serviceFlag.SERVICE_ONE_PACKET : 0) |
      (hasThresholds ? layout.serviceFlag.SERVICE_THRESHOLDS : 0) |
      (hasWideWeights ? layout.serviceFlag.SERVICE_WIDE_WEIGHTS : 0),
    scheduler_flags: encodeSchedulerFlags(wanted.schedulerFlags),
    idle_timeout: idleTimeout ?? 0,
    new_per_second: limits?.perSecond ?? 0,
    new_per_source: limits?.perSource ?? 0,
    persistence_timeout: persistence?.timeout ?? 0,
    persistence_netmask: persistence === undefined ? [0, 0, 0, 0] : netmaskWords(persistence.prefix, family),
  };
}

const noMac = new Uint8Array(6);

function withNextHop(record: layout.RealServer, resolution: Resolution): layout.RealServer {
  const flags = record.flags & ~(REAL_SERVER_LOCAL | REAL_SERVER_RESOLVED);
  if (resolution.kind !== "resolved") {
    const local = resolution.kind === "local" ? REAL_SERVER_LOCAL : 0;
    return { ...record, flags: flags | local, next_hop_mac: noMac, source_mac: noMac, ifindex: 0, vlan: 0, mtu: 0 };
  }
  const { hop } = resolution;
  return {
    ...record,
    flags: flags | REAL_SERVER_RESOLVED,
    next_hop_mac: hop.mac,
    source_mac: hop.sourceMac,
    ifindex: hop.ifindex,
    vlan: hop.vlan,
    mtu: Math.min(hop.mtu, 0xffff),
  };
}

function sameNextHop(a: layout.RealServer, b: layout.RealServer): boolean {
  return (
    a.flags === b.flags &&
    a.ifindex === b.ifindex &&
    a.vlan === b.vlan &&
    a.mtu === b.mtu &&
    a.next_hop_mac.every((byte, index) => byte === b.next_hop_mac[index]) &&
    a.source_mac.every((byte, index) => byte === b.source_mac[index])
  );
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
