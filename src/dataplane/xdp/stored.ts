/** What the maps say about services and real servers: the plane starts from it, readers print it. */
import { realServerKey } from "../../model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../model/service.ts";
import {
  addressText,
  decodeSchedulerFlags,
  decodeTunnel,
  familyFromNumber,
  methodFromNumber,
  methodNumbers,
  prefixOf,
  protocolFromNumber,
  schedulerFromNumber,
} from "./codec.ts";
import type { Control } from "./control.ts";
import * as layout from "./layout.generated.ts";
import type { DirectorMaps } from "./maps.ts";

const { SERVICE_SLOT_FREE, SERVICE_SLOT_IPV4, SERVICE_SLOT_IPV6, SERVICE_SLOT_DELETED } = layout.serviceSlotKind;
/** Before it the settings had the size of the service table, and how many slots are used, the other way round. */
const layoutOfSwappedSizes = 6;
const { REAL_SERVER_AVAILABLE } = layout.realServerFlag;

export interface StoredRealServer {
  readonly id: number;
  readonly record: layout.RealServer;
  readonly realServer: RealServer;
}

export interface StoredService {
  readonly id: number;
  readonly record: layout.Service;
  readonly identity: ServiceIdentity;
  /** Whether packets find it. A service without a slot was taken away, and its connections have not all ended. */
  readonly slotted: boolean;
  /** In the order of addition. */
  readonly members: readonly StoredRealServer[];
  /** Taken away, with connections left. */
  readonly lingering: readonly StoredRealServer[];
}

export function readServices(maps: DirectorMaps): StoredService[] {
  const slotted = new Set<number>();
  for (const { slot } of readSlots(maps)) {
    if (slot.kind === SERVICE_SLOT_IPV4 || slot.kind === SERVICE_SLOT_IPV6) slotted.add(slot.service);
  }
  const realServers = readRealServers(maps);
  const services: StoredService[] = [];
  const { size, fields } = layout.service;
  const bytes = maps.services.bytes(0, maps.services.entries);
  for (let id = 1; id < maps.services.entries; id++) {
    // Most places are free, and a record takes long to decode.
    if (bytes[id * size + fields.protocol.offset] === 0) continue;
    const record = layout.service.decode(bytes, id * size);
    const family = familyFromNumber(record.family);
    const all = realServers.get(id) ?? [];
    services.push({
      id,
      record,
      identity: {
        kind: "address",
        protocol: protocolFromNumber(record.protocol),
        address: addressText(record.address, family),
        port: record.port,
      },
      slotted: slotted.has(id),
      members: all
        .filter(({ record: { flags } }) => (flags & REAL_SERVER_AVAILABLE) !== 0)
        .sort((a, b) => a.record.leaf - b.record.leaf),
      lingering: all.filter(({ record: { flags } }) => (flags & REAL_SERVER_AVAILABLE) === 0),
    });
  }
  return services;
}

/** Of the service table in which packets look. */
function serviceTableSize({ settings }: Pick<DirectorMaps, "settings">): number {
  const { layout_version, service_slots, service_slots_used } = settings.read(0);
  return layout_version < layoutOfSwappedSizes ? service_slots_used : service_slots;
}

/** For the program, while an older one finds the slots where they were; packets of that one go on. */
export function moveServices(maps: Pick<DirectorMaps, "settings">, control: Control): void {
  if (maps.settings.read(0).layout_version < layoutOfSwappedSizes) control.moveServices(serviceTableSize(maps));
}

/** Slots in use, of services and of own addresses. A table that grows meanwhile is read as it was before. */
export function* readSlots(
  maps: DirectorMaps,
  first = serviceTableSize(maps),
): Generator<{ index: number; slot: layout.ServiceSlot }> {
  const bytes = new Uint8Array(maps.serviceSlots.memory);
  const { size, fields } = layout.serviceSlot;
  for (let index = first; index < 2 * first; index++) {
    const kind = bytes[index * size + fields.kind.offset];
    if (kind !== SERVICE_SLOT_FREE && kind !== SERVICE_SLOT_DELETED)
      yield { index, slot: maps.serviceSlots.read(index) };
  }
}

/** By service id. */
function readRealServers(maps: DirectorMaps): Map<number, StoredRealServer[]> {
  const found = new Map<number, StoredRealServer[]>();
  const bytes = new Uint8Array(maps.realServers.memory);
  const { size, fields } = layout.realServer;
  for (let id = 1; id < maps.realServers.entries; id++) {
    if (bytes[id * size + fields.family.offset] === 0) continue;
    const record = maps.realServers.read(id);
    const tunnel = record.method === methodNumbers.ipip ? decodeTunnel(maps.tunnels.read(id)) : undefined;
    const stored = {
      id,
      record,
      realServer: {
        address: addressText(record.address, familyFromNumber(record.family)),
        port: record.port,
        method: methodFromNumber(record.method),
        weight: weightIn(maps.loads.read(id).weight),
        upperThreshold: record.upper_threshold,
        lowerThreshold: record.lower_threshold,
        ...(tunnel === undefined ? {} : { tunnel }),
      },
    };
    const siblings = found.get(record.service);
    if (siblings === undefined) found.set(record.service, [stored]);
    else siblings.push(stored);
  }
  return found;
}

/** The weight in a load's word, without the flag that the data path keeps beside it. */
export function weightIn(word: number): number {
  return word % layout.LOAD_OVERLOADED;
}

export function toVirtualService(stored: StoredService): VirtualService {
  const { record } = stored;
  const scheduler = schedulerFromNumber(record.scheduler);
  return {
    identity: stored.identity,
    scheduler,
    schedulerFlags: decodeSchedulerFlags(record.scheduler_flags, scheduler),
    ...(record.persistence_timeout === 0
      ? {}
      : { persistence: { timeout: record.persistence_timeout, prefix: prefixOf(record.persistence_netmask) } }),
    ...(record.idle_timeout === 0 ? {} : { idleTimeout: record.idle_timeout }),
    ...(record.new_per_second === 0 && record.new_per_source === 0
      ? {}
      : { limits: { perSecond: record.new_per_second, perSource: record.new_per_source } }),
    onePacket: (record.flags & layout.serviceFlag.SERVICE_ONE_PACKET) !== 0,
    realServers: stored.members.map(({ realServer }) => realServer),
  };
}

/** For indexing by endpoint. */
export function storedKey(stored: StoredRealServer): string {
  return realServerKey(stored.realServer);
}
