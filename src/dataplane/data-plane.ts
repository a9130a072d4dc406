import type { Change } from "../model/change.ts";
import type { PlannedService } from "../model/config.ts";
import type { ServiceIdentity, VirtualService } from "../model/service.ts";
import type { DirectorState, Timeouts } from "../model/state.ts";
import type {
  Connection,
  ConnectionFilter,
  InterfaceStatus,
  Placement,
  PlaneMove,
  PlaneMoveTotals,
  PlaneName,
  PlaneStatistics,
  PlaneStatus,
} from "../model/statistics.ts";

/** What became of one change; a failed one is tried again in the next round. */
export interface ApplyResult {
  readonly change: Change;
  readonly error?: Error;
}

/** Services that come from another plane, with their connections. */
export interface Handover {
  /**
   * Called once in a batch, if it has services that are new here, when these are whole: before packets meet them, where
   * the plane can hide them so long. If it rejects, they are not added, as far as they could be hidden.
   */
  arrived(services: readonly ServiceIdentity[]): Promise<void>;
}

/** What became of the connections that a plane was given. */
export interface ImportReport {
  /** Connections and templates that are in its table now. */
  readonly taken: number;
  /** Of a real server that the service does not have here, or of no service that it has. */
  readonly strange: number;
  /** For which its table had no room. */
  readonly homeless: number;
}

export interface ImportOptions {
  /** Whether those that are there already become as these, or stay as they are. */
  readonly replace: boolean;
  /** Told now and then how many have been looked at. */
  progress?(done: number): void;
}

/** The readers' half: works without a daemon and beside one. */
export interface DataPlaneReader {
  readonly name: PlaneName;
  /** What packets meet now. */
  read(): DirectorState;
  timeouts(): Timeouts;
  statistics(): PlaneStatistics;
  /** The live table, in no order. */
  connections(filter: ConnectionFilter): Iterable<Connection>;
  close(): void;
}

/** What applies a desired state. Knows nothing of health or configuration. One writer at a time. */
export interface DataPlane extends DataPlaneReader {
  /** Why this plane cannot serve the service, in words for the operator; undefined if it can. */
  refusal(service: PlannedService): string | undefined;
  /** Why the plane, though it can serve the service, does not meet all of its packets now; absent: it always does. */
  hindrance?(service: PlannedService): string | undefined;
  /** Called when the answers of `refusal` and `hindrance` may have changed; absent: they don't by themselves. */
  onChange?(listener: () => void): void;
  /** Applies in order, as one batch; each change is idempotent. Packets meet every service whole, before and after. */
  apply(changes: readonly Change[], handover?: Handover): Promise<readonly ApplyResult[]>;
  /**
   * Takes connections and templates over that another plane had, templates before the connections that came by them, of
   * services that are here; absent: it cannot. They count for their real servers, but not as new ones.
   */
  importConnections?(connections: Iterable<Connection>, options: ImportOptions): Promise<ImportReport>;
  /**
   * New connections of these services go to the stack from now on, and so to the plane behind it, while those that are
   * here go on; false ends that. Absent: packets do not go on from here to another plane.
   */
  setLeaving?(services: readonly ServiceIdentity[], leaving: boolean): void;
  /**
   * Ends what this plane still knows of the connections of services that were here, which another plane has now; absent:
   * nothing outlives a service.
   */
  forgetConnections?(services: readonly VirtualService[]): Promise<void>;
  /** Of connections from now on; a 0 leaves that one as it is, as `ipvsadm --set` does. */
  setTimeouts(timeouts: Timeouts): void;
  /** Sets the counters to 0, of one service or of all. Throws if there is no such service. */
  zero(identity?: ServiceIdentity): void;
  /** Where packets are met, or ought to be and are not, with the reason. */
  interfaces(): readonly InterfaceStatus[];
  /** Follows addresses, interfaces, routes and neighbours until the signal aborts; repairs what changed. */
  run(signal: AbortSignal): Promise<void>;
  /** Detaches and removes everything that was pinned. */
  destroy(): void;
  /** Of a plane made of several: `close` for those that still have services, `destroy` for the others. */
  retire?(): void;
  /** Of a plane made of several: each by itself, what became of it, and which services are not on the first. */
  byPlane?(): readonly PlaneStatistics[];
  planeStatuses?(): readonly PlaneStatus[];
  placements?(): readonly Placement[];
  /** What has gone from plane to plane, the newest last, a few; and what is going now, with the connections so far. */
  moves?(): readonly PlaneMove[];
  /** Of each pair of planes that anything went between, or was to go. */
  moveTotals?(): readonly PlaneMoveTotals[];
  moving?(): { readonly from: PlaneName; readonly to: PlaneName; readonly connections: number } | undefined;
  /**
   * `ipvs`: everything goes there and the faster plane is left, until `xdp` opens that again and everything that it
   * serves goes back. `round` runs the reconciler once. Rejects if that cannot be, and then all is as it was.
   */
  changePlane?(to: PlaneName, round: () => Promise<unknown>): Promise<void>;
}
