/** Counters and loads of all services, summed over the CPUs. */
import type { Counters, InterfaceStatus, PlaneStatistics, RealServerStatistics } from "../../model/statistics.ts";
import { macText, stateNames } from "./codec.ts";
import { realServerFlag } from "./layout.generated.ts";
import type { RealServer, RealServerLoad } from "./layout.generated.ts";
import type { DirectorMaps } from "./maps.ts";
import { toVirtualService } from "./stored.ts";
import type { StoredRealServer, StoredService } from "./stored.ts";

/** Totals over all CPUs. */
export function readCounters(maps: DirectorMaps, id: number): Required<Counters> {
  const { packets, bytes, connections } = maps.counters.sum(id);
  const replies = maps.replyCounters.sum(id);
  return { connections, packets, bytes, packetsOut: replies.packets, bytesOut: replies.bytes };
}

/** `nameOf`: an interface's name by its index. */
export function readStatistics(
  maps: DirectorMaps,
  stored: readonly StoredService[],
  interfaces: readonly InterfaceStatus[],
  nameOf: (ifindex: number) => string,
): PlaneStatistics {
  // Each is read once, so that a service's sum is that of its real servers.
  const counters = new Map(
    stored.flatMap(({ members, lingering }) =>
      [...members, ...lingering].map(({ id }) => [id, readCounters(maps, id)]),
    ),
  );
  const countersOf = ({ id }: StoredRealServer): Counters => counters.get(id) ?? readCounters(maps, id);
  const sweep = maps.sweep.read(0);
  return {
    plane: "xdp",
    interfaces,
    services: stored
      .filter(({ slotted }) => slotted)
      .map((service) => ({
        service: toVirtualService(service),
        plane: "xdp",
        ...sumOf(maps, service, countersOf),
        realServers: service.members.map((realServer): RealServerStatistics => ({
          realServer: realServer.realServer,
          ...countersOf(realServer),
          ...loadOf(maps.loads.read(realServer.id)),
          nextHop: printNextHop(realServer.record, nameOf),
        })),
      })),
    table: {
      size: maps.connections.size,
      live: sweep.live,
      liveByState: sumByState(sweep.live_by_state),
      sweepNanoseconds: sweep.nanoseconds,
      sweepPasses: sweep.passes,
    },
    packets: readPacketCounters(maps),
  };
}

/** TCP and SCTP share some names. */
function sumByState(counts: readonly number[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [state, name] of stateNames.entries())
    if (name !== "") sums[name] = (sums[name] ?? 0) + (counts[state] ?? 0);
  return sums;
}

/** Those that are gone count, too. */
function sumOf(
  maps: DirectorMaps,
  { id, record, members, lingering }: StoredService,
  of: (realServer: StoredRealServer) => Counters,
): Counters {
  const state = maps.serviceStates.read(id);
  let packetsOut = state.retired_replies;
  let bytesOut = state.retired_reply_bytes;
  let connections = record.retired_connections;
  let packets = record.retired_packets;
  let bytes = record.retired_bytes;
  for (const realServer of [...members, ...lingering]) {
    const counters = of(realServer);
    connections += counters.connections;
    packets += counters.packets;
    bytes += counters.bytes;
    packetsOut += counters.packetsOut;
    bytesOut += counters.bytesOut;
  }
  return { connections, packets, bytes, packetsOut, bytesOut };
}

function loadOf({ active, inactive, persistent }: RealServerLoad) {
  return { active, inactive, persistent };
}

function printNextHop(record: RealServer, nameOf: (ifindex: number) => string): string {
  if ((record.flags & realServerFlag.REAL_SERVER_LOCAL) !== 0) return "local";
  if ((record.flags & realServerFlag.REAL_SERVER_RESOLVED) === 0) return "unresolved";
  const name = nameOf(record.ifindex);
  return `${macText(record.next_hop_mac)} on ${name}${record.vlan === 0 ? "" : ` vlan ${record.vlan}`}`;
}

function readPacketCounters(maps: DirectorMaps): Record<string, bigint> {
  const totals: Record<string, bigint> = {};
  for (const value of maps.packetCounters.readRange(0, 1)[0] ?? []) {
    for (const [name, count] of Object.entries(value)) {
      if (typeof count === "bigint") totals[name] = (totals[name] ?? 0n) + count;
    }
  }
  return totals;
}
