import { printIdentity, realServerKey } from "../model/service.ts";
import type { Counters, PlaneStatistics } from "../model/statistics.ts";
import type { Snapshot } from "./snapshot.ts";

/** Per second, over the time between two snapshots. */
export interface Rate {
  readonly connections: number;
  readonly packets: number;
  readonly bytes: number;
  readonly packetsOut: number;
  readonly bytesOut: number;
}

/** What changed between two snapshots. Keys as {@link printIdentity} and {@link realServerKey} print them. */
export interface Rates {
  /** Between the snapshots, seconds. */
  readonly seconds: number;
  readonly services: ReadonlyMap<string, ServiceRates>;
  /** Members of `struct packet_counters`, per second. */
  readonly packets: Readonly<Record<string, number>>;
}

export interface ServiceRates {
  readonly total: Rate;
  readonly realServers: ReadonlyMap<string, Rate>;
}

/**
 * The rates between two snapshots of one director. What is new in `after`, or was made again meanwhile (its totals are
 * lower than before), counts from zero.
 */
export function computeRates(before: Snapshot, after: Snapshot): Rates {
  const seconds = Math.max(0.001, (after.at.getTime() - before.at.getTime()) / 1000);
  const earlier = new Map<string, Counters & { readonly realServers: ReadonlyMap<string, Counters> }>();
  for (const service of before.planes.flatMap((plane) => plane.services)) {
    const realServers = new Map(service.realServers.map((entry) => [realServerKey(entry.realServer), entry]));
    earlier.set(printIdentity(service.service.identity), { ...service, realServers });
  }
  const services = new Map<string, ServiceRates>();
  for (const service of after.planes.flatMap((plane) => plane.services)) {
    const key = printIdentity(service.service.identity);
    const old = earlier.get(key);
    const realServers = new Map<string, Rate>();
    for (const entry of service.realServers) {
      const realServer = realServerKey(entry.realServer);
      realServers.set(realServer, rate(old?.realServers.get(realServer), entry, seconds));
    }
    services.set(key, { total: rate(old, service, seconds), realServers });
  }
  const packetsBefore = sumPackets(before.planes);
  const packets: Record<string, number> = {};
  for (const [name, total] of Object.entries(sumPackets(after.planes))) {
    packets[name] = difference(packetsBefore[name], total) / seconds;
  }
  return { seconds, services, packets };
}

/** Packet counters of all planes together. */
export function sumPackets(planes: readonly PlaneStatistics[]): Record<string, bigint> {
  const sums: Record<string, bigint> = {};
  for (const plane of planes) {
    for (const [name, total] of Object.entries(plane.packets)) sums[name] = (sums[name] ?? 0n) + total;
  }
  return sums;
}

function rate(before: Counters | undefined, after: Counters, seconds: number): Rate {
  return {
    connections: difference(before?.connections, after.connections) / seconds,
    packets: difference(before?.packets, after.packets) / seconds,
    bytes: difference(before?.bytes, after.bytes) / seconds,
    packetsOut: difference(before?.packetsOut, after.packetsOut) / seconds,
    bytesOut: difference(before?.bytesOut, after.bytesOut) / seconds,
  };
}

function difference(before: bigint | undefined, after: bigint): number {
  return Number(before === undefined || after < before ? after : after - before);
}
