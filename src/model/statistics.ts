import type { RealServer, ServiceIdentity, VirtualService } from "./service.ts";

/** Totals since the service was made; 64 bits, hence bigint. `bytes` is the IP length. */
export interface Counters {
  readonly connections: bigint;
  readonly packets: bigint;
  readonly bytes: bigint;
  /** From the real servers back to the clients, where the plane sees them, else 0. */
  readonly packetsOut: bigint;
  readonly bytesOut: bigint;
}

/**
 * What ipvsadm shows of a service or real server: totals since they were last zeroed, bytes as IP lengths, and rates a
 * second as the plane's estimator has them (the kernel's looks every two seconds).
 */
export interface Traffic {
  readonly connections: bigint;
  readonly packetsIn: bigint;
  readonly packetsOut: bigint;
  readonly bytesIn: bigint;
  readonly bytesOut: bigint;
  readonly connectionRate: bigint;
  readonly packetRateIn: bigint;
  readonly packetRateOut: bigint;
  readonly byteRateIn: bigint;
  readonly byteRateOut: bigint;
}

export interface RealServerStatistics extends Counters {
  readonly realServer: RealServer;
  /** Established and half-open connections, and all others (closing, UDP), and persistence templates. */
  readonly active: number;
  readonly inactive: number;
  readonly persistent: number;
  /** The next hop: how packets get there, or why they cannot. */
  readonly nextHop: string;
}

export interface ServiceStatistics extends Counters {
  readonly service: VirtualService;
  readonly plane: PlaneName;
  readonly realServers: readonly RealServerStatistics[];
}

export type PlaneName = "xdp" | "ipvs";
export type PlaneMode = "native" | "generic" | "ipvs";

export interface InterfaceStatus {
  readonly name: string;
  readonly ifindex: number;
  readonly mode: PlaneMode | "detached";
  /** Why this mode and not a faster one; empty if there is none. */
  readonly reason: string;
}

/** What became of one plane of several: it serves, it was not needed so far, or it cannot be used. */
export interface PlaneStatus {
  readonly plane: PlaneName;
  readonly state: "active" | "idle" | "failed";
  /** Why it cannot be used; else empty. */
  readonly reason: string;
}

/** A service that is not on the fastest plane. */
export interface Placement {
  /** As `printIdentity` prints it. */
  readonly service: string;
  readonly plane: PlaneName;
  /** Why the faster planes do not serve it. */
  readonly reason: string;
}

/** Services that went from one plane to another, with their connections. */
export interface PlaneMove {
  readonly at: Date;
  readonly from: PlaneName;
  readonly to: PlaneName;
  readonly services: readonly string[];
  /** Connections and templates that the new plane has. */
  readonly connections: number;
  /** Those that it has no place for: of a real server that is none any more, or its table is full. */
  readonly left: number;
  readonly seconds: number;
}

/** Sums over all moves from one plane to another, since the daemon began. */
export interface PlaneMoveTotals {
  readonly from: PlaneName;
  readonly to: PlaneName;
  readonly moves: number;
  /** Times that connections could not go: then services stay, where an operator has asked for the move, or go without. */
  readonly failures: number;
  readonly services: number;
  /** As in {@link PlaneMove}. */
  readonly connections: number;
  readonly left: number;
  readonly seconds: number;
}

export interface TableStatistics {
  /** Slots of the connection table, 0: it has no limit; and those in use at the last whole sweep. */
  readonly size: number;
  readonly live: number;
  readonly liveByState: Readonly<Record<string, number>>;
  readonly sweepNanoseconds: bigint;
  readonly sweepPasses: bigint;
}

/** All that a data plane can tell without the daemon. */
export interface PlaneStatistics {
  readonly plane: PlaneName;
  readonly interfaces: readonly InterfaceStatus[];
  readonly services: readonly ServiceStatistics[];
  readonly table: TableStatistics;
  /** `struct packet_counters`, member name to total over all CPUs. */
  readonly packets: Readonly<Record<string, bigint>>;
}

export interface Connection {
  readonly identity: ServiceIdentity;
  readonly client: string;
  readonly clientPort: number;
  readonly virtualAddress: string;
  readonly virtualPort: number;
  readonly realServer: string;
  readonly realPort: number;
  /** `ESTABLISHED`, `SYN_RECV`, ... `UDP`; a persistence template is `NONE`, as in ipvsadm. */
  readonly state: string;
  readonly template: boolean;
  /** Seconds until it expires if nothing more comes. */
  readonly expiresIn: number;
}

export interface ConnectionFilter {
  readonly service?: ServiceIdentity;
  readonly client?: string;
  readonly realServer?: string;
  readonly state?: string;
}
