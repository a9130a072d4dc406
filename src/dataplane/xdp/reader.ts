/** Reading a running director: the pins suffice, no daemon is needed. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Native } from "../../native.ts";
import type { DirectorState, Timeouts } from "../../model/state.ts";
import type { Connection, ConnectionFilter, InterfaceStatus, PlaneStatistics } from "../../model/statistics.ts";
import type { DataPlaneReader } from "../data-plane.ts";
import { attachedMode, interfaceNameOf } from "./attach.ts";
import { listConnections } from "./connections.ts";
import { LAYOUT_VERSION, connectionState } from "./layout.generated.ts";
import { isReadableLayout, mapPath } from "./load.ts";
import { openMaps } from "./maps.ts";
import type { DirectorMaps } from "./maps.ts";
import { readStatistics } from "./statistics.ts";
import { readServices, toVirtualService } from "./stored.ts";

/** Nothing is pinned in the folder. */
export class NotRunningError extends Error {
  readonly code = "ENOENT";

  constructor(bpffs: string, cause?: unknown) {
    super(`no director is running: nothing is pinned in ${bpffs}`, { cause });
    this.name = "NotRunningError";
  }
}

/**
 * Opens the maps pinned in the folder and changes nothing. Throws {@link NotRunningError}, and an Error that names both
 * versions if the maps have another layout.
 */
export function openXdpReader(bpffs: string, native: Native): DataPlaneReader {
  if (!existsSync(mapPath(bpffs, "settings"))) throw new NotRunningError(bpffs);
  const maps = openMaps(native, bpffs, false);
  const found = maps.settings.read(0).layout_version;
  if (!isReadableLayout(found)) {
    maps.close();
    throw new Error(`the maps pinned in ${bpffs} have layout version ${found}, this xlb reads ${LAYOUT_VERSION}`);
  }
  return new XdpReader(native, bpffs, maps);
}

/** What packets meet, read from the maps each time. */
export class XdpReader implements DataPlaneReader {
  readonly name = "xdp";
  readonly #native: Native;
  readonly #bpffs: string;
  readonly #maps: DirectorMaps;

  constructor(native: Native, bpffs: string, maps: DirectorMaps) {
    this.#native = native;
    this.#bpffs = bpffs;
    this.#maps = maps;
  }

  read(): DirectorState {
    return {
      services: readServices(this.#maps)
        .filter(({ slotted }) => slotted)
        .map(toVirtualService),
    };
  }

  timeouts(): Timeouts {
    const { timeout } = this.#maps.settings.read(0);
    const of = (state: number) => timeout[state] ?? 0;
    return {
      tcp: of(connectionState.STATE_ESTABLISHED),
      tcpFin: of(connectionState.STATE_FIN_WAIT),
      udp: of(connectionState.STATE_UDP),
    };
  }

  /** `interfaces`: from whoever knows more than the pins tell. */
  statistics(interfaces: readonly InterfaceStatus[] = this.#interfaces()): PlaneStatistics {
    const names = interfaceNames();
    for (const { name, ifindex } of interfaces) names.set(ifindex, name);
    const nameOf = (ifindex: number) => names.get(ifindex) ?? `interface ${ifindex}`;
    return readStatistics(this.#maps, readServices(this.#maps), interfaces, nameOf);
  }

  connections(filter: ConnectionFilter): Iterable<Connection> {
    return listConnections(this.#maps, readServices(this.#maps), filter);
  }

  close(): void {
    this.#maps.close();
  }

  #interfaces(): InterfaceStatus[] {
    const folder = join(this.#bpffs, "links");
    if (!existsSync(folder)) return [];
    return readdirSync(folder).map((file) => {
      const link = this.#native.linkOpenPinned(join(folder, file));
      const { ifindex } = this.#native.linkInfo(link);
      this.#native.linkClose(link);
      const name = interfaceNameOf(file);
      if (ifindex === 0) return { name, ifindex, mode: "detached", reason: "the interface is gone" };
      const mode = attachedMode(this.#native, ifindex);
      const reason = mode === "generic" ? "native mode was refused, or generic mode asked for; the log tells" : "";
      return { name, ifindex, mode, reason };
    });
  }
}

/** Of the namespace whose /sys is mounted. */
function interfaceNames(): Map<number, string> {
  const folder = "/sys/class/net";
  const names = new Map<number, string>();
  if (!existsSync(folder)) return names;
  for (const name of readdirSync(folder)) {
    try {
      names.set(Number(readFileSync(join(folder, name, "ifindex"), "utf8")), name);
    } catch {
      // Gone between two calls, or not an interface (bonding_masters).
    }
  }
  return names;
}
