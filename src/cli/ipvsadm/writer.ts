/**
 * Who makes a change by hand: the daemon, if one runs; else this process, which loads and attaches the program as a daemon
 * would, and lets go of it with everything pinned.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ask, NotRunningError } from "../../control/client.ts";
import { readOverrides, writeOverrides } from "../../control/overrides-file.ts";
import { AlreadyRunningError, DaemonLock, readOwnServices } from "../../control/pidfile.ts";
import type { Request } from "../../control/protocol.ts";
import { openPlanes } from "../../dataplane/ladder/open-planes.ts";
import type { CompositeDataPlane } from "../../dataplane/ladder/composite-data-plane.ts";
import { destroyPinned } from "../../dataplane/xdp/destroy.ts";
import { openNetwork } from "../../dataplane/xdp/netlink-network.ts";
import type { Network } from "../../dataplane/xdp/network.ts";
import type { Change } from "../../model/change.ts";
import type { HandChange, Owner } from "../../model/override.ts";
import { familyOfService, printIdentity, realServerKey } from "../../model/service.ts";
import type { ServiceIdentity, VirtualService } from "../../model/service.ts";
import type { DirectorState, Timeouts } from "../../model/state.ts";
import type { Native } from "../../native.ts";
import { byHand, changesByHand } from "../../reconcile/by-hand.ts";
import { plan } from "../../reconcile/plan.ts";
import type { DirectorOptions } from "./open-table.ts";
import { netmaskOfPrefix, TableRefusal } from "./table.ts";
import type { Table } from "./table.ts";

/** A daemon that is busy answers late; one that does not answer by then is stuck, milliseconds. */
const answerMs = 30_000;
/** A daemon that begins or ends is neither to be asked nor out of the way, milliseconds. */
const betweenMs = 15_000;
const betweenPauseMs = 50;
/** The neighbours that real servers are reached by have so long to answer, milliseconds. */
const neighboursMs = 1_000;
const neighboursPauseMs = 10;

export interface WriterDeps {
  readonly native: Native;
  readonly director: DirectorOptions;
  readonly owner: Owner;
  /** The kernel's IPVS, if it is loaded. */
  kernel(): Promise<Table | undefined>;
}

/** Rejects with {@link TableRefusal}. */
export class Writer {
  readonly #deps: WriterDeps;
  #own: OwnPlanes | undefined;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
  }

  async change(change: HandChange): Promise<void> {
    const { owner } = this.#deps;
    await this.#write({ kind: "by-hand", change, owner }, async (open) => {
      const needsPlane = change.kind === "add-service" || this.#isPinned();
      if (needsPlane) await (await open()).change(change, owner);
      else await this.#changeKernel(change);
    });
  }

  async zero(identity?: ServiceIdentity): Promise<void> {
    const request: Request = { kind: "zero", ...(identity !== undefined && { identity }) };
    await this.#write(request, async (open) => {
      const kernel = await this.#deps.kernel();
      if (this.#isPinned()) (await open()).zero(identity);
      else if (kernel !== undefined) await kernel.zero(identity);
      else if (identity !== undefined) throw noSuchService(identity);
    });
  }

  async setTimeouts(timeouts: Timeouts): Promise<void> {
    await this.#write({ kind: "set-timeouts", timeouts }, async (open) => (await open()).setTimeouts(timeouts));
  }

  /** Resolves when packets find their way to the real servers that were added, as far as these answer. */
  async settled(): Promise<void> {
    const own = this.#own;
    this.#own = undefined;
    await own?.leave();
  }

  #isPinned(): boolean {
    return this.#own !== undefined || existsSync(join(this.#deps.director.bpffs, "director"));
  }

  /** Where no program is loaded only the kernel can have services. */
  async #changeKernel(change: HandChange): Promise<void> {
    const kernel = await this.#deps.kernel();
    if (kernel === undefined) {
      if (change.kind === "remove-all-services") return;
      throw noSuchService((change as Exclude<HandChange, { readonly kind: "remove-all-services" }>).identity);
    }
    switch (change.kind) {
      case "remove-all-services":
        return await kernel.clear();
      case "remove-service":
        return await kernel.deleteService(change.identity);
      case "add-real-server":
        return await kernel.addServer(change.identity, change.realServer);
      case "edit-real-server":
        return await kernel.editServer(change.identity, change.realServer);
      case "remove-real-server":
        return await kernel.deleteServer(change.identity, change);
      default: {
        const { identity, settings } = change;
        const { persistence, ...rest } = settings;
        const family = familyOfService(identity);
        return await kernel.editService({
          identity,
          ...rest,
          ...(persistence !== undefined && {
            persistence: { timeout: persistence.timeout, netmask: netmaskOfPrefix(persistence.prefix, family) },
          }),
        });
      }
    }
  }

  /** Asks the daemon, or does it here while no daemon can come in between. */
  async #write(request: Request, here: (open: () => Promise<OwnPlanes>) => Promise<void>): Promise<void> {
    const { stateDir, bpffs } = this.#deps.director;
    if (this.#own !== undefined) return await here(() => Promise.resolve(this.#own!));
    for (const deadline = Date.now() + betweenMs; ; await sleep(betweenPauseMs)) {
      if (await asked(stateDir, request)) return;
      let lock: DaemonLock;
      try {
        lock = await refusing(() => DaemonLock.borrow(stateDir, bpffs));
      } catch (cause) {
        if (cause instanceof AlreadyRunningError && Date.now() < deadline) continue;
        throw cause instanceof AlreadyRunningError ? new TableRefusal("EBUSY", cause.message, { cause }) : cause;
      }
      try {
        await here(async () => (this.#own = await OwnPlanes.open(this.#deps, lock)));
      } finally {
        // Else it is released when the planes are left.
        if (this.#own === undefined) lock.release();
      }
      return;
    }
  }
}

/** False if no daemon answers. */
async function asked(stateDir: string, request: Request): Promise<boolean> {
  if (!existsSync(join(stateDir, "xlb.sock"))) return false;
  try {
    const reply = await ask(stateDir, request, AbortSignal.timeout(answerMs));
    if (reply.kind === "error") throw new TableRefusal(reply.code ?? "EIO", reply.message);
    return true;
  } catch (cause) {
    if (cause instanceof NotRunningError) return false;
    if (cause instanceof TableRefusal) throw cause;
    const { code } = (cause as Error).cause as Partial<NodeJS.ErrnoException>;
    throw new TableRefusal(code === "EACCES" ? "EPERM" : "EIO", (cause as Error).message, { cause });
  }
}

function noSuchService(identity: ServiceIdentity): TableRefusal {
  return new TableRefusal("ESRCH", `there is no service ${printIdentity(identity)}`);
}

/** The data planes, opened for a moment. */
class OwnPlanes {
  readonly #stateDir: string;
  readonly #lock: DaemonLock;
  readonly #plane: CompositeDataPlane;
  readonly #network: Network;
  readonly #ending = new AbortController();
  readonly #tasks: Promise<unknown>;
  /** Services whose real servers' next hops are to be known before the end. */
  readonly #touched = new Set<string>();

  private constructor(stateDir: string, lock: DaemonLock, plane: CompositeDataPlane, network: Network) {
    this.#stateDir = stateDir;
    this.#lock = lock;
    this.#plane = plane;
    this.#network = network;
    const { signal } = this.#ending;
    this.#tasks = Promise.allSettled([network.run(signal), plane.run(signal)]);
  }

  static async open({ native, director }: WriterDeps, lock: DaemonLock): Promise<OwnPlanes> {
    const { stateDir, bpffs, plane: choice, interfaces, tableSize, tunings, ofNamespace } = director;
    const log = debugLog();
    if (ofNamespace) forgetDeadNamespace(native, stateDir, bpffs);
    const isNew = !existsSync(join(bpffs, "director"));
    return await refusing(async () => {
      const network = await openNetwork(native, log);
      try {
        const { plane } = await openPlanes(
          {
            bpffs,
            choice,
            keepProgram: true,
            refusalLog: join(stateDir, "refused.log"),
            ...(interfaces.length === 0 ? {} : { interfaces }),
            ...(tableSize === undefined ? {} : { tableSlots: tableSize }),
            tunings: isNew ? tunings : {},
          },
          { native, network, log },
        );
        return new OwnPlanes(stateDir, lock, plane, network);
      } catch (cause) {
        network.close();
        throw cause;
      }
    });
  }

  async change(change: HandChange, owner: Owner): Promise<void> {
    const actual = this.#plane.read();
    const overrides = readOverrides(this.#stateDir, () => {});
    const ofDirector = readOwnServices(this.#stateDir);
    const outcome = byHand(change, { overrides, actual, ofDirector, owner, now: new Date() });
    if ("refused" in outcome) throw new TableRefusal(outcome.refused.code, outcome.refused.message);
    for (const { change: failed, error } of await this.#plane.apply(this.#placed(change, actual))) {
      if (error !== undefined)
        throw new TableRefusal(codeOf(error), `${failed.kind}: ${error.message}`, { cause: error });
    }
    if (outcome.overrides !== overrides) writeOverrides(this.#stateDir, outcome.overrides);
    if ("identity" in change) this.#touched.add(printIdentity(change.identity));
  }

  /** The service is asked for as it is to be, on the plane where it then belongs. */
  #placed(change: HandChange, actual: DirectorState): readonly Change[] {
    const changes = changesByHand(change, actual);
    if (change.kind === "remove-all-services" || change.kind === "remove-service") return changes;
    const key = printIdentity(change.identity);
    const isIt = (service: VirtualService): boolean => printIdentity(service.identity) === key;
    const service = changes.reduce(changed, actual.services.find(isIt));
    if (service === undefined) return changes;
    const reason = this.#plane.refusal(service);
    if (reason !== undefined) throw new TableRefusal("ENOTSUP", reason);
    return plan({ services: [service] }, { services: this.#plane.read().services.filter(isIt) });
  }

  zero(identity?: ServiceIdentity): void {
    try {
      this.#plane.zero(identity);
    } catch (cause) {
      throw new TableRefusal("ESRCH", (cause as Error).message, { cause });
    }
  }

  setTimeouts(timeouts: Timeouts): void {
    this.#plane.setTimeouts(timeouts);
  }

  /** The program goes on with what it was given; the kernel goes on keeping the neighbours resolved. */
  async leave(): Promise<void> {
    try {
      for (const deadline = Date.now() + neighboursMs; Date.now() < deadline; await sleep(neighboursPauseMs)) {
        if (!this.#waits()) break;
      }
    } finally {
      this.#ending.abort();
      await this.#tasks;
      this.#plane.close();
      this.#network.close(true);
      this.#lock.release();
    }
  }

  /** Whether a neighbour may still answer, or its answer is not yet in the maps. */
  #waits(): boolean {
    const unresolved = this.#plane
      .statistics()
      .services.filter(({ service }) => this.#touched.has(printIdentity(service.identity)))
      .flatMap(({ realServers }) => realServers)
      .filter(({ nextHop }) => nextHop === "unresolved");
    return unresolved.some(({ realServer }) => {
      const resolution = this.#network.resolve(realServer.address);
      return resolution.kind !== "unresolved" || resolution.reason.startsWith("waiting");
    });
  }
}

/** The service after a change of it; undefined if there is none. */
function changed(service: VirtualService | undefined, change: Change): VirtualService | undefined {
  if ("service" in change) return change.service;
  if (service === undefined || change.kind === "remove-service") return undefined;
  const key = realServerKey("realServer" in change ? change.realServer : change);
  const others = service.realServers.filter((each) => realServerKey(each) !== key);
  switch (change.kind) {
    case "add-real-server":
      return { ...service, realServers: [...others, change.realServer] };
    case "edit-real-server":
      return {
        ...service,
        realServers: service.realServers.map((each) => (realServerKey(each) === key ? change.realServer : each)),
      };
    case "remove-real-server":
      return { ...service, realServers: others };
  }
}

/** Numbers of network namespaces are given again: what one that is gone has left is not this one's. */
function forgetDeadNamespace(native: Native, stateDir: string, bpffs: string): void {
  const links = join(bpffs, "links");
  const files = existsSync(links) ? readdirSync(links) : [];
  const isGone = (file: string): boolean => {
    const link = native.linkOpenPinned(join(links, file));
    const { ifindex } = native.linkInfo(link);
    native.linkClose(link);
    return ifindex === 0;
  };
  if (files.length === 0 || !files.every(isGone)) return;
  destroyPinned(native, bpffs);
  writeOverrides(stateDir, []);
}

async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof TableRefusal || cause instanceof AlreadyRunningError) throw cause;
    throw new TableRefusal(codeOf(cause as Error), (cause as Error).message, { cause });
  }
}

/** The errno's name, wherever it is in the causes. */
function codeOf(error: Error): string {
  for (let each: unknown = error; each instanceof Error; each = each.cause) {
    const { code } = each as NodeJS.ErrnoException;
    if (code === "EACCES") return "EPERM";
    if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) return code;
  }
  return "EIO";
}

function debugLog() {
  const write = (text: string): void => {
    if (process.env["XLB_DEBUG"]) process.stderr.write(`${text}\n`);
  };
  const line = (first: object | string, second?: string): void => write(second ?? (first as string));
  return { debug: line, info: line, warn: line, error: line };
}
