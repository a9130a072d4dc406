/** The kernel's own IPVS as a data plane. It holds all there is to know; this is only who changes it. */
import type { Change } from "../../model/change.ts";
import type { PlannedService } from "../../model/config.ts";
import { familyOfService, printIdentity, realServerKey } from "../../model/service.ts";
import type { ServiceIdentity, VirtualService } from "../../model/service.ts";
import type { DirectorState, Timeouts } from "../../model/state.ts";
import type { Connection, ConnectionFilter, InterfaceStatus, PlaneStatistics } from "../../model/statistics.ts";
import type { Native } from "../../native.ts";
import type { ApplyResult, DataPlane, Handover, ImportOptions, ImportReport } from "../data-plane.ts";
import { NetlinkError } from "../netlink/socket.ts";
import { IpvsClient } from "./client.ts";
import { listConnections } from "./connections.ts";
import { closeConnections, importConnections } from "./imports.ts";
import { IpvsReader } from "./reader.ts";
import { withSyncReceiver } from "./sync-receiver.ts";
import { encodeSchedulerFlags, toIpvsDestination, toIpvsService } from "./translate.ts";

/** Loads the kernel's module if need be. Throws an `IpvsMissingError` if there is none. */
export function openIpvsDataPlane(native: Native): IpvsDataPlane {
  return new IpvsDataPlane(IpvsClient.open(native));
}

/** What was asked of a service and is not in the kernel's table. */
type Asked = Pick<VirtualService, "scheduler" | "schedulerFlags" | "idleTimeout" | "limits">;

/** Made by {@link openIpvsDataPlane}. */
export class IpvsDataPlane implements DataPlane {
  readonly name = "ipvs";
  readonly #client: IpvsClient;
  readonly #reader: IpvsReader;
  /**
   * By service: how its flags were spelt, and what IPVS has no place for, so that reading gives back what was applied.
   * Forgotten with the daemon; then one edit brings it back.
   */
  readonly #asked = new Map<string, Asked>();

  constructor(client: IpvsClient) {
    this.#client = client;
    this.#reader = new IpvsReader(client);
  }

  refusal(service: PlannedService): string | undefined {
    return refusalOf(service);
  }

  read(): DirectorState {
    return { services: this.#reader.read().services.map((service) => this.#asApplied(service)) };
  }

  #asApplied(service: VirtualService): VirtualService {
    const asked = this.#asked.get(printIdentity(service.identity));
    if (asked === undefined || asked.scheduler !== service.scheduler) return service;
    const { scheduler, schedulerFlags, ...more } = asked;
    const same =
      encodeSchedulerFlags(scheduler, schedulerFlags) === encodeSchedulerFlags(scheduler, service.schedulerFlags);
    return { ...service, ...more, ...(same ? { schedulerFlags } : {}) };
  }

  /**
   * The kernel takes one change at a time; after a failed one the others are applied. What packets meet before the
   * handover they meet with new connections only, unless another plane is in front of the kernel's stack.
   */
  async apply(changes: readonly Change[], handover?: Handover): Promise<readonly ApplyResult[]> {
    const before = handover === undefined ? undefined : this.#keys();
    const results = changes.map((change): ApplyResult => {
      try {
        this.#applyOne(change);
        return { change };
      } catch (cause) {
        return { change, error: explain(change, cause as Error) };
      }
    });
    if (handover === undefined || before === undefined) return results;
    const arrived = results.flatMap(({ change, error }) =>
      change.kind === "add-service" && error === undefined && !before.has(printIdentity(change.service.identity))
        ? change.service.identity
        : [],
    );
    if (arrived.length === 0) return results;
    try {
      await handover.arrived(arrived);
      return results;
    } catch (cause) {
      const gone = new Set(arrived.map(printIdentity));
      for (const identity of arrived) this.#applyOne({ kind: "remove-service", identity });
      return results.map((result) => (gone.has(keyOf(result.change)) ? { ...result, error: cause as Error } : result));
    }
  }

  #keys(): Set<string> {
    return new Set(this.#client.services().map(({ identity }) => printIdentity(identity)));
  }

  /** By the kernel's synchronisation, which has to be free or run as backup; nothing leaves the machine. */
  importConnections(connections: Iterable<Connection>, options: ImportOptions): Promise<ImportReport> {
    return withSyncReceiver(this.#client, (receiver) =>
      importConnections(receiver, this.#reader.read().services, connections, options),
    );
  }

  #applyOne(change: Change): void {
    const client = this.#client;
    switch (change.kind) {
      case "add-service":
      case "edit-service": {
        const wanted = toIpvsService(change.service);
        if (change.kind === "edit-service") client.setService(wanted);
        else if (!unless("EEXIST", () => client.newService(wanted))) client.setService(wanted);
        this.#remember(change.service);
        return;
      }
      case "remove-service":
        this.#asked.delete(printIdentity(change.identity));
        unless("ESRCH", () => client.deleteService(change.identity));
        return;
      case "add-real-server":
      case "edit-real-server": {
        const wanted = toIpvsDestination(change.realServer);
        if (change.kind === "edit-real-server") client.setDestination(change.identity, wanted);
        else if (!unless("EEXIST", () => client.newDestination(change.identity, wanted))) {
          client.setDestination(change.identity, wanted);
        }
        return;
      }
      case "remove-real-server":
        unless("ENOENT", () => unless("ESRCH", () => client.deleteDestination(change.identity, change)));
        return;
    }
  }

  /** They are told to be closed, which the kernel does a second later. */
  forgetConnections(services: readonly VirtualService[]): Promise<void> {
    const keys = new Set(services.map(({ identity }) => printIdentity(identity)));
    function* theirs(): Generator<Connection> {
      for (const connection of listConnections(services, {})) {
        if (keys.has(printIdentity(connection.identity))) yield connection;
      }
    }
    return withSyncReceiver(this.#client, (receiver) => closeConnections(receiver, services, theirs()));
  }

  #remember({ identity, scheduler, schedulerFlags, idleTimeout, limits }: VirtualService): void {
    this.#asked.set(printIdentity(identity), {
      scheduler,
      schedulerFlags,
      ...(idleTimeout === undefined ? {} : { idleTimeout }),
      ...(limits === undefined ? {} : { limits }),
    });
  }

  timeouts(): Timeouts {
    return this.#reader.timeouts();
  }

  setTimeouts(timeouts: Timeouts): void {
    this.#client.setTimeouts(timeouts);
  }

  zero(identity?: ServiceIdentity): void {
    if (identity === undefined) this.#client.zero();
    else if (!unless("ESRCH", () => this.#client.zero(identity))) throw noSuchService(identity);
  }

  /** The kernel's stack meets packets wherever they come in. */
  interfaces(): readonly InterfaceStatus[] {
    return [];
  }

  statistics(): PlaneStatistics {
    return this.#reader.statistics();
  }

  connections(filter: ConnectionFilter): Iterable<Connection> {
    return this.#reader.connections(filter);
  }

  /** The kernel itself follows routes and neighbours. */
  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  close(): void {
    this.#client.close();
  }

  /** Services stay that are still there: they are another's, or were meant to stay. */
  destroy(): void {
    this.close();
  }
}

/** In words for the operator; undefined if IPVS takes the service. */
export function refusalOf({ identity, realServers, fallback }: PlannedService): string | undefined {
  const ipv6 = familyOfService(identity) === "ipv6";
  // net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_set_cmd(): mixed families are for tunnels.
  const other = [...realServers, ...(fallback === undefined ? [] : [fallback])].find(
    ({ address, method }) => address.includes(":") !== ipv6 && method !== "ipip",
  );
  if (other === undefined) return undefined;
  return `real server ${other.address} is of another address family than the service, for which IPVS wants ipip`;
}

function keyOf(change: Change): string {
  return printIdentity("service" in change ? change.service.identity : change.identity);
}

/** False if the request fails with this errno; any other error goes on. */
function unless(code: string, request: () => void): boolean {
  try {
    request();
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === code) return false;
    throw error;
  }
}

function noSuchService(identity: ServiceIdentity, cause?: Error): Error {
  return new Error(`there is no service ${printIdentity(identity)}`, { cause });
}

/** In words for the operator what the kernel says by a number. */
function explain(change: Change, cause: Error): Error {
  const code = cause instanceof NetlinkError ? cause.code : "";
  const ofService = "service" in change;
  const identity = ofService ? change.service.identity : change.identity;
  if (code === "EPERM") return new Error("the kernel's IPVS may be changed with CAP_NET_ADMIN only", { cause });
  if (code === "ESRCH") return noSuchService(identity, cause);
  if (code === "ENOENT" && ofService) {
    const { scheduler, persistenceEngine } = change.service;
    const engine = persistenceEngine === undefined ? "" : ` or no persistence engine ${persistenceEngine}`;
    return new Error(`the kernel has no scheduler ${scheduler}${engine}`, { cause });
  }
  if (code === "ENOENT" && "realServer" in change) {
    return new Error(`${printIdentity(identity)} has no real server ${realServerKey(change.realServer)}`, { cause });
  }
  return cause;
}
