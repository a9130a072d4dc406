import type { Drain } from "../model/drain.ts";
import type { RealServerHealth } from "../model/health.ts";
import type { HandChange, Override, Owner } from "../model/override.ts";
import type { ServiceIdentity } from "../model/service.ts";
import type { Timeouts } from "../model/state.ts";
import type {
  InterfaceStatus,
  Placement,
  PlaneMove,
  PlaneMoveTotals,
  PlaneName,
  PlaneStatus,
} from "../model/statistics.ts";

/** One request, one reply, each a line of JSON, over the stream socket `STATE_DIR/xlb.sock`. */
export type Request =
  | { readonly kind: "status" }
  | { readonly kind: "health" }
  /** Replies once the new configuration is in force, or says why it is not. */
  | { readonly kind: "reload" }
  /** `realServer`: an address or an endpoint. */
  | { readonly kind: "drain"; readonly realServer: string; readonly deadlineSeconds?: number }
  | { readonly kind: "undrain"; readonly realServer: string }
  /** Replies once packets meet it; an error has the errno's name that the kernel's IPVS would answer with. */
  | { readonly kind: "by-hand"; readonly change: HandChange; readonly owner: Owner }
  | { readonly kind: "overrides" }
  /** `targets`: as `overrideTarget` prints them; a service's goes with those of its real servers. Absent: all. */
  | { readonly kind: "clear-overrides"; readonly targets?: readonly string[] }
  /** Counters become 0; `identity` absent: of every service. */
  | { readonly kind: "zero"; readonly identity?: ServiceIdentity }
  | { readonly kind: "set-timeouts"; readonly timeouts: Timeouts }
  /** Everything goes to this plane, with its connections: `xdp`, what that serves; `ipvs`, and XDP is detached. */
  | { readonly kind: "change-plane"; readonly to: PlaneName }
  /** `keep`: the data path goes on forwarding; otherwise `cleanstop` decides, then it is detached and unpinned. */
  | { readonly kind: "stop"; readonly keep: boolean };

export interface DaemonStatus {
  readonly pid: number;
  readonly version: string;
  readonly startedAt: Date;
  readonly configFile: string;
  readonly stateDir: string;
  readonly bpffs: string;
  readonly metrics: string;
  /** `--set` of services, as it was given; absent: none. */
  readonly serviceSettings?: readonly string[];
  /** Of the configuration in force. */
  readonly configLoadedAt: Date;
  /** The last attempt to load; a bad file changes nothing and is told here. */
  readonly lastReload: { readonly at: Date; readonly ok: boolean; readonly message: string };
  readonly reloads: number;
  readonly reloadFailures: number;
  /** Services of the file that no plane serves yet, with the reason. */
  readonly notActive: readonly { readonly service: string; readonly reason: string }[];
  /** Changes that could not be applied in the last round. */
  readonly failedChanges: readonly string[];
  /** What the operator has taken out of service; absent: nothing. */
  readonly drains?: readonly Drain[];
  /** What was set by hand; absent: nothing. */
  readonly overrides?: readonly Override[];
  /** Of every plane, also those that could not be attached to. */
  readonly interfaces: readonly InterfaceStatus[];
  /** The planes in the order of their speed, and the services that are not on the first; absent: there is only one. */
  readonly planes?: readonly PlaneStatus[];
  readonly placements?: readonly Placement[];
  /** What went from plane to plane, the newest last, and what is on its way; absent: nothing. */
  readonly moves?: readonly PlaneMove[];
  readonly moveTotals?: readonly PlaneMoveTotals[];
  readonly moving?: { readonly from: PlaneName; readonly to: PlaneName; readonly connections: number };
  readonly rounds: number;
  /** How late the checker runs at the worst of the last minute, milliseconds. */
  readonly checkLagMs: number;
}

export type Reply =
  | { readonly kind: "status"; readonly status: DaemonStatus }
  | { readonly kind: "health"; readonly health: readonly RealServerHealth[] }
  | { readonly kind: "overrides"; readonly overrides: readonly Override[] }
  | { readonly kind: "done"; readonly message: string }
  /** `configuration`: the file is to blame, and the message holds one diagnostic a line. `code`: an errno's name. */
  | { readonly kind: "error"; readonly message: string; readonly reason?: "configuration"; readonly code?: string };
