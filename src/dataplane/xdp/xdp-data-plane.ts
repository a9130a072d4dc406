/** The XDP data plane: an object file, pinned maps and links, and the one who writes them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import type { Native } from "../../native.ts";
import type { Change } from "../../model/change.ts";
import type { PlannedService } from "../../model/config.ts";
import { printIdentity } from "../../model/service.ts";
import type { ServiceIdentity } from "../../model/service.ts";
import type { DirectorState, Timeouts } from "../../model/state.ts";
import type { Tunings } from "../../model/tuning.ts";
import type { Connection, ConnectionFilter, InterfaceStatus, PlaneStatistics } from "../../model/statistics.ts";
import type { ApplyResult, DataPlane, Handover, ImportOptions, ImportReport } from "../data-plane.ts";
import { Attachments } from "./attach.ts";
import type { AttachMode } from "./attach.ts";
import { refusalOf } from "./capabilities.ts";
import { Control } from "./control.ts";
import { HeldFragments } from "./held-fragments.ts";
import { importConnections } from "./imports.ts";
import { Interfaces } from "./interfaces.ts";
import type { PlaneLog } from "./interfaces.ts";
import { closeLoaded, finishUpgrade, loadDirector, openPinnedDirector, pinProgram, removePins } from "./load.ts";
import type { Loaded } from "./load.ts";
import { openMaps } from "./maps.ts";
import type { DirectorMaps } from "./maps.ts";
import type { Network } from "./network.ts";
import { XdpReader } from "./reader.ts";
import { ServiceTable } from "./service-table.ts";
import { moveServices } from "./stored.ts";
import { buildTrees } from "./trees.ts";
import { writeTunings } from "./tuning.ts";

export const defaultBpffs = "/sys/fs/bpf/xlb";

/** Pause between two looks for real servers that are done, milliseconds. */
const tidyIntervalMs = 1000;
/** After this many of them the network is looked at without being asked, to try again what was refused. */
const tidiesPerSync = 10;

export interface XdpOptions {
  /** Folder of the pins; its BPF filesystem is mounted if need be. Default {@link defaultBpffs}. */
  readonly bpffs?: string;
  /** `auto`: native, and generic where the driver refuses. Default `auto`. */
  readonly mode?: AttachMode;
  /** Names; default: those that the addresses of services and real servers lead to. */
  readonly interfaces?: readonly string[];
  /** Slots of the connection table, a power of two, for a new table. Default 2^22, 160 MiB. */
  readonly tableSlots?: number;
  /** Entries of ring_members, for new maps. Default 2^21. */
  readonly ringMembers?: number;
  /** Nodes of all trees together, for new maps. Default, and at most, 2^20. */
  readonly treeNodes?: number;
  /** Settings of the data path; those that are not given stay as they are. */
  readonly tunings?: Partial<Tunings>;
  /** The same where an earlier director has left its maps: others keep the values that they have there. Default: `tunings`. */
  readonly tuningsSinceLast?: Partial<Tunings>;
  /** A file for what the kernel says when it refuses the program. Default: none. */
  readonly refusalLog?: string;
  /**
   * Whether the program that an earlier director has left goes on, in place of a new one: for commands that change
   * something and end. A tenth of the time of loading it.
   */
  readonly keepProgram?: boolean;
  /** The compiled data path. Default: director.bpf.o of this build. */
  readonly object?: Uint8Array;
}

/** `network` is opened, run and closed by the caller. */
export interface XdpDeps {
  readonly native: Native;
  readonly network: Network;
  readonly log: PlaneLog;
}

/**
 * Loads the program over new maps, or over those that an earlier daemon has left, which then go on under this one
 * without losing a packet. Throws if the kernel refuses the program or the pinned maps have another layout.
 */
export async function openXdpDataPlane(options: XdpOptions, deps: XdpDeps): Promise<XdpDataPlane> {
  const { native, log } = deps;
  const bpffs = options.bpffs ?? defaultBpffs;
  const kept = options.keepProgram === true ? openPinnedDirector(native, bpffs) : undefined;
  const loaded = kept ?? loadDirector(native, { ...options, bpffs, object: options.object ?? compiledObject() });
  let maps: DirectorMaps | undefined;
  try {
    maps = openMaps(native, bpffs, true);
    const { tunings = {}, tuningsSinceLast = tunings } = options;
    writeTunings(maps.settings, loaded.adopted ? tuningsSinceLast : tunings);
    const attachments = new Attachments(native, join(bpffs, "links"), options.mode ?? "auto");
    const control = new Control(native, loaded.control);
    if (loaded.outdated) {
      moveServices(maps, control);
      buildTrees(maps, control);
    }
    // First the links, then the timer: from here on only this program runs.
    for (const name of attachments.adopt(loaded.director)) log.warn(`interface ${name} is gone`);
    if (loaded.outdated) {
      // What the older program has counted meanwhile.
      buildTrees(maps, control);
      finishUpgrade(bpffs, maps);
    }
    if (kept === undefined) {
      await control.startSweep();
      pinProgram(native, loaded.control, join(bpffs, "control"));
      pinProgram(native, loaded.director, join(bpffs, "director"));
    }
    const slots = maps.connections.size;
    if (options.tableSlots !== undefined && options.tableSlots !== slots) {
      log.warn(`the connection table keeps its ${slots} slots while the data path lives, not ${options.tableSlots}`);
    }
    const plane = new XdpDataPlane(bpffs, options.interfaces, deps, { loaded, maps, attachments, control });
    await plane.start();
    return plane;
  } catch (cause) {
    maps?.close();
    closeLoaded(native, loaded);
    if (!loaded.adopted) removePins(native, bpffs);
    throw cause;
  }
}

function compiledObject(): Uint8Array {
  return readFileSync(fileURLToPath(new URL("../../../bpf/director.bpf.o", import.meta.url)));
}

interface Parts {
  readonly loaded: Loaded;
  readonly maps: DirectorMaps;
  readonly attachments: Attachments;
  readonly control: Control;
}

/** Made by {@link openXdpDataPlane}. */
export class XdpDataPlane implements DataPlane {
  readonly name = "xdp";
  readonly bpffs: string;
  /** Whether it has taken over what an earlier daemon left. */
  readonly adopted: boolean;
  readonly #deps: XdpDeps;
  readonly #parts: Parts;
  readonly #reader: XdpReader;
  readonly #table: ServiceTable;
  readonly #interfaces: Interfaces;
  /** By service: addresses whose interfaces are to be attached to though nothing of it is in the table. */
  readonly #hindered = new Map<string, { readonly virtual: string; readonly answering: readonly string[] }>();
  #failedInterfaces: ReadonlyMap<number, string> = new Map();
  #listener: () => void = () => {};
  #networkChanged = true;
  #held: HeldFragments | undefined;
  #wake: AbortController | undefined;
  #closed = false;

  constructor(bpffs: string, interfaces: readonly string[] | undefined, deps: XdpDeps, parts: Parts) {
    const { native, network, log } = deps;
    const { maps, control, attachments, loaded } = parts;
    this.bpffs = bpffs;
    this.adopted = loaded.adopted;
    this.#deps = deps;
    this.#parts = parts;
    this.#reader = new XdpReader(native, bpffs, maps);
    this.#table = new ServiceTable({
      native,
      maps,
      control,
      resolve: (address) => (isLoopback(address) ? { kind: "local" } : network.resolve(address)),
      interfaceName: (ifindex) =>
        network.interfaces().find((candidate) => candidate.ifindex === ifindex)?.name ?? `interface ${ifindex}`,
      onNextHop: (message) => log.info(message),
    });
    this.#interfaces = new Interfaces(
      { native, maps, control, network, attachments, program: loaded.director, log },
      interfaces,
    );
    network.onChange(() => {
      this.#networkChanged = true;
      this.#wake?.abort();
    });
  }

  /** Finishes what an earlier daemon may have left half done, and looks at the network. */
  async start(): Promise<void> {
    await this.#table.repair();
    this.#watch([]);
    this.#sync();
  }

  refusal(service: PlannedService): string | undefined {
    const { network } = this.#deps;
    const reason = refusalOf(service, (address) => isLoopback(address) || network.ownAddresses().includes(address));
    if (reason !== undefined) this.#hindered.delete(printIdentity(service.identity));
    return reason;
  }

  /**
   * An interface by which the service's packets come in, or answers of masqueraded real servers, cannot be attached to.
   * Attaching is tried again while a service waits for it.
   */
  hindrance({ identity, realServers }: PlannedService): string | undefined {
    const failed = this.#failedInterfaces;
    if (failed.size === 0 || identity.kind === "mark") return undefined;
    const answering = realServers.filter(({ method }) => method === "masq").map(({ address }) => address);
    const ways = this.#deps.network.derive([identity.address], answering);
    const reason = ways.map(({ ifindex }) => failed.get(ifindex)).find((each) => each !== undefined);
    const key = printIdentity(identity);
    if (reason === undefined) this.#hindered.delete(key);
    else this.#hindered.set(key, { virtual: identity.address, answering });
    return reason;
  }

  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  async apply(changes: readonly Change[], handover?: Handover): Promise<readonly ApplyResult[]> {
    if (changes.length === 0) return [];
    this.#watch(changes.flatMap((change) => ("realServer" in change ? change.realServer.address : [])));
    const results = await this.#table.apply(changes, handover);
    // A changed weight leads nowhere else.
    if (changes.some(({ kind }) => !kind.startsWith("edit-"))) {
      this.#watch([]);
      this.#sync();
    }
    return results;
  }

  importConnections(connections: Iterable<Connection>, options: ImportOptions): Promise<ImportReport> {
    return importConnections(
      this.#parts.control,
      (identity) => this.#table.realServerIds(identity),
      connections,
      options,
    );
  }

  setLeaving(services: readonly ServiceIdentity[], leaving: boolean): void {
    this.#table.setLeaving(services, leaving);
  }

  /** Also ends when the plane is closed. */
  async run(signal: AbortSignal): Promise<void> {
    this.#holdFragments();
    try {
      for (let round = 1; !signal.aborted && !this.#closed; round++) {
        this.#table.tidy();
        const { attachments } = this.#parts;
        if (this.#networkChanged || round % tidiesPerSync === 0 || attachments.lost().length > 0) this.#sync();
        await this.#pause(signal);
      }
    } finally {
      this.#held?.close();
    }
  }

  /** Whoever goes on with an earlier program ends soon, and it may not know of this. */
  #holdFragments(): void {
    const { loaded, maps } = this.#parts;
    if (loaded.object === undefined || this.#closed) return;
    const { native, log } = this.#deps;
    this.#held = new HeldFragments({ native, maps, program: loaded.director, log });
    this.#acceptFragments();
  }

  /** They leave again as redirected frames do, which an interface takes whose driver knows XDP. */
  #acceptFragments(): void {
    const modes = this.#parts.attachments.statuses().map(({ mode }) => mode);
    this.#held?.accept(modes.includes("native") && !modes.includes("generic"));
  }

  /** Until something of the network changes, or it is time to tidy up. */
  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#networkChanged) return;
    this.#wake = new AbortController();
    try {
      await sleep(tidyIntervalMs, undefined, { signal: AbortSignal.any([signal, this.#wake.signal]) });
    } catch {
      // Woken: by a change, or by the end.
    } finally {
      this.#wake = undefined;
    }
  }

  #watch(more: readonly string[]): void {
    const addresses = [...this.#table.realAddresses(), ...more].filter((address) => !isLoopback(address));
    this.#deps.network.watch(addresses, this.#table.sendsReplies());
  }

  #sync(): void {
    this.#networkChanged = false;
    try {
      this.#table.resolveAll();
      const waiting = [...this.#hindered.values()];
      this.#interfaces.sync(
        [...this.#table.virtualAddresses(), ...waiting.map(({ virtual }) => virtual)],
        [...this.#table.realAddresses(), ...waiting.flatMap(({ answering }) => answering)],
        this.#table.outgoing(),
      );
      this.#noteFailedInterfaces();
      this.#acceptFragments();
    } catch (error) {
      // The network is a moving target (an interface goes between two calls): the next look finds it as it is then.
      this.#deps.log.error(`following the network: ${(error as Error).message}`);
    }
  }

  #noteFailedInterfaces(): void {
    const before = this.#failedInterfaces;
    const now = this.#interfaces.failed();
    this.#failedInterfaces = now;
    if (now.size === 0) this.#hindered.clear();
    const same = now.size === before.size && [...now].every(([ifindex, reason]) => before.get(ifindex) === reason);
    if (!same) this.#listener();
  }

  read(): DirectorState {
    return this.#reader.read();
  }

  timeouts(): Timeouts {
    return this.#reader.timeouts();
  }

  setTimeouts({ tcp, tcpFin, udp }: Timeouts): void {
    writeTunings(this.#parts.maps.settings, {
      ...(tcp > 0 && { timeout_tcp: tcp }),
      ...(tcpFin > 0 && { timeout_tcpfin: tcpFin }),
      ...(udp > 0 && { timeout_udp: udp }),
    });
  }

  zero(identity?: ServiceIdentity): void {
    this.#table.zero(identity);
  }

  interfaces(): readonly InterfaceStatus[] {
    return this.#parts.attachments.statuses();
  }

  statistics(): PlaneStatistics {
    return this.#reader.statistics(this.interfaces());
  }

  connections(filter: ConnectionFilter): Iterable<Connection> {
    return this.#reader.connections(filter);
  }

  /** The program goes on forwarding; a later daemon takes over. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake?.abort();
    this.#held?.close();
    this.#parts.attachments.close();
    this.#reader.close();
    closeLoaded(this.#deps.native, this.#parts.loaded);
  }

  destroy(): void {
    this.#parts.attachments.detachAll();
    this.close();
    removePins(this.#deps.native, this.bpffs);
  }
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}
