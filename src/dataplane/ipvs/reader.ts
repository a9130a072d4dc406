/** Reading the kernel's IPVS; it works without a daemon. */
import type { RealServer, ServiceIdentity, VirtualService } from "../../model/service.ts";
import type { DirectorState, Timeouts } from "../../model/state.ts";
import type {
  Connection,
  ConnectionFilter,
  Counters,
  PlaneStatistics,
  RealServerStatistics,
  Traffic,
} from "../../model/statistics.ts";
import type { Native } from "../../native.ts";
import type { DataPlaneReader } from "../data-plane.ts";
import { IpvsClient } from "./client.ts";
import { ipvsIsLoaded } from "./loaded.ts";
import { listConnections } from "./connections.ts";
import type { IpvsDestination, IpvsService } from "./messages.ts";
import { fromIpvsDestination, fromIpvsService } from "./translate.ts";

/** Undefined if this network namespace has no IPVS, or none with a service; loads no module. */
export function openIpvsReader(native: Native): DataPlaneReader | undefined {
  if (!ipvsIsLoaded()) return undefined;
  const client = IpvsClient.open(native);
  if (client.services().length > 0) return new IpvsReader(client);
  client.close();
  return undefined;
}

/** What packets meet, asked of the kernel each time. */
export class IpvsReader implements DataPlaneReader {
  readonly name = "ipvs";
  readonly #client: IpvsClient;

  constructor(client: IpvsClient) {
    this.#client = client;
  }

  read(): DirectorState {
    return { services: this.#client.services().map((service) => this.#withRealServers(service).service) };
  }

  timeouts(): Timeouts {
    return this.#client.timeouts();
  }

  /** The kernel keeps no count of all connections: those of the real servers are summed up. */
  statistics(): PlaneStatistics {
    const services = this.#client.services().map((found) => {
      const { service, destinations } = this.#withRealServers(found);
      return {
        service,
        plane: "ipvs" as const,
        ...countersOf(found.statistics),
        realServers: destinations.map(realServerStatistics),
      };
    });
    const live = services
      .flatMap(({ realServers }) => realServers)
      .reduce((sum, { active, inactive, persistent }) => sum + active + inactive + persistent, 0);
    return {
      plane: "ipvs",
      interfaces: [],
      services,
      table: { size: 0, live, liveByState: {}, sweepNanoseconds: 0n, sweepPasses: 0n },
      packets: {},
    };
  }

  connections(filter: ConnectionFilter): Iterable<Connection> {
    return listConnections(this.read().services, filter);
  }

  close(): void {
    this.#client.close();
  }

  #withRealServers(found: IpvsService): { service: VirtualService; destinations: readonly IpvsDestination[] } {
    const destinations = destinationsInOrder(this.#client, found.identity);
    return { service: fromIpvsService(found, destinations.map(fromIpvsDestination)), destinations };
  }
}

/** In the order of their addition; the kernel tells the newest first. None if the service has gone meanwhile. */
function destinationsInOrder(client: IpvsClient, identity: ServiceIdentity): readonly IpvsDestination[] {
  return client.destinations(identity).reverse();
}

function realServerStatistics(destination: IpvsDestination): RealServerStatistics {
  const realServer: RealServer = fromIpvsDestination(destination);
  return {
    realServer,
    ...countersOf(destination.statistics),
    active: destination.activeConnections,
    inactive: destination.inactiveConnections,
    persistent: destination.persistentConnections,
    nextHop: "by the kernel's routes",
  };
}

function countersOf(statistics: Traffic): Counters {
  const { connections, packetsIn, packetsOut, bytesIn, bytesOut } = statistics;
  return { connections, packets: packetsIn, bytes: bytesIn, packetsOut, bytesOut };
}
