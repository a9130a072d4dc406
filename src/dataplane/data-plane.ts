import type { Change } from "../model/change.ts";
import type { ConfiguredService } from "../model/config.ts";
import type { ServiceIdentity } from "../model/service.ts";
import type { DirectorState, Timeouts } from "../model/state.ts";
import type {
  Connection,
  ConnectionFilter,
  InterfaceStatus,
  Placement,
  PlaneName,
  PlaneStatistics,
  PlaneStatus,
} from "../model/statistics.ts";

/** What became of one change; a failed one is tried again in the next round. */
export interface ApplyResult {
  readonly change: Change;
  readonly error?: Error;
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
  refusal(service: ConfiguredService): string | undefined;
  /** Why the plane, though it can serve the service, does not meet all of its packets now; absent: it always does. */
  hindrance?(service: ConfiguredService): string | undefined;
  /** Called when the answers of `refusal` and `hindrance` may have changed; absent: they don't by themselves. */
  onChange?(listener: () => void): void;
  /** Applies in order, as one batch; each change is idempotent. Packets meet every service whole, before and after. */
  apply(changes: readonly Change[]): Promise<readonly ApplyResult[]>;
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
}
