/**
 * The same data for programs. Totals are JSON numbers: exact up to 2^53, which a byte counter passes after 83 days at
 * 10 Gbit/s; beyond that the nearest double, as in Prometheus.
 */
import type { RealServerHealth } from "../model/health.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { Connection, Counters, PlaneStatistics, ServiceStatistics } from "../model/statistics.ts";
import type { Rate, Rates } from "./rates.ts";
import type { Snapshot } from "./snapshot.ts";

export interface StatisticsJsonOptions {
  /** Over many lines; otherwise on one. */
  readonly indent: boolean;
  /** Added to the totals as `perSecond`. */
  readonly rates?: Rates;
}

/** `xlb stats --json`: one object. */
export function renderStatisticsJson(snapshot: Snapshot, { indent, rates }: StatisticsJsonOptions): string {
  const value = {
    at: snapshot.at,
    daemon: snapshot.daemon === undefined ? { running: false } : { running: true, ...snapshot.daemon },
    ...(rates === undefined ? {} : { rateSeconds: rates.seconds }),
    planes: snapshot.planes.map((plane) => planeJson(plane, rates)),
  };
  return `${JSON.stringify(value, undefined, indent ? 2 : undefined)}\n`;
}

function planeJson(plane: PlaneStatistics, rates: Rates | undefined): object {
  const { size, live, liveByState, sweepNanoseconds, sweepPasses } = plane.table;
  return {
    plane: plane.plane,
    interfaces: plane.interfaces,
    table: {
      size,
      live,
      liveByState,
      sweepNanoseconds: Number(sweepNanoseconds),
      sweepPasses: Number(sweepPasses),
    },
    packets: Object.fromEntries(Object.entries(plane.packets).map(([name, total]) => [name, Number(total)])),
    services: plane.services.map((service) => serviceJson(service, rates)),
  };
}

function serviceJson(entry: ServiceStatistics, rates: Rates | undefined): object {
  const { realServers: _, ...service } = entry.service;
  const key = printIdentity(entry.service.identity);
  const rate = rates?.services.get(key);
  return {
    key,
    plane: entry.plane,
    ...service,
    ...totals(entry),
    ...perSecond(rates && rate?.total),
    realServers: entry.realServers.map((realServer) => ({
      key: realServerKey(realServer.realServer),
      ...realServer.realServer,
      nextHop: realServer.nextHop,
      active: realServer.active,
      inactive: realServer.inactive,
      persistent: realServer.persistent,
      ...totals(realServer),
      ...perSecond(rates && rate?.realServers.get(realServerKey(realServer.realServer))),
    })),
  };
}

function totals(counters: Counters): object {
  return {
    connections: Number(counters.connections),
    packets: Number(counters.packets),
    bytes: Number(counters.bytes),
    packetsOut: Number(counters.packetsOut),
    bytesOut: Number(counters.bytesOut),
  };
}

function perSecond(rate: Rate | undefined): object {
  return rate === undefined ? {} : { perSecond: rate };
}

/** One element of the array that `xlb connections --json` prints. */
export function connectionJson(connection: Connection): string {
  const { identity, ...rest } = connection;
  return JSON.stringify({ service: printIdentity(identity), ...rest });
}

/** `xlb health --json`: one array, indented. */
export function renderHealthJson(health: readonly RealServerHealth[]): string {
  const value = health.map(({ identity, ...entry }) => ({
    service: printIdentity(identity),
    realServer: realServerKey(entry),
    ...entry,
  }));
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
