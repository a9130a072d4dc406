/** Which planes a director has: all that work here, or the one that was asked for. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Native } from "../../native.ts";
import type { PlaneName } from "../../model/statistics.ts";
import type { DataPlane } from "../data-plane.ts";
import { ipvsIsLoaded } from "../ipvs/loaded.ts";
import { openIpvsDataPlane } from "../ipvs/ipvs-data-plane.ts";
import type { PlaneLog } from "../xdp/interfaces.ts";
import type { Network } from "../xdp/network.ts";
import { defaultBpffs, openXdpDataPlane } from "../xdp/xdp-data-plane.ts";
import type { XdpDataPlane, XdpOptions } from "../xdp/xdp-data-plane.ts";
import { CompositeDataPlane } from "./composite-data-plane.ts";
import type { CompositeDeps, Rung } from "./composite-data-plane.ts";

/** `auto`: native XDP, generic XDP, the kernel's IPVS, for each interface and service the first that works. */
export type PlaneChoice = "auto" | "native" | "generic" | "ipvs";

export interface PlanesOptions extends Omit<XdpOptions, "mode"> {
  readonly choice: PlaneChoice;
}

/** `network` is opened, run and closed by the caller. */
export interface PlanesDeps {
  readonly native: Native;
  readonly network: Network;
  readonly log: PlaneLog;
}

export interface OpenedPlanes {
  readonly plane: CompositeDataPlane;
  /** Whether the XDP plane has taken over what an earlier daemon left. */
  readonly adopted: boolean;
}

/**
 * Opens what `choice` allows. With `auto` the XDP plane may be missing, but not if an earlier one is still attached: it
 * would go on beside the kernel's IPVS. The latter is opened when a service needs it, or at once if its module is
 * loaded, for the sake of what lies in its table. Throws if there is no plane at all.
 */
export async function openPlanes(options: PlanesOptions, deps: PlanesDeps): Promise<OpenedPlanes> {
  const { choice, ...xdpOptions } = options;
  const { native, network, log } = deps;
  const opened = new Map<PlaneName, DataPlane>();
  const reasons = new Map<PlaneName, string>();
  const barred = new Map<PlaneName, string>();
  const pinned = isPinned(options.bpffs ?? defaultBpffs);
  const mode = choice === "ipvs" ? "auto" : choice;
  const openXdp = (): Promise<XdpDataPlane> => openXdpDataPlane({ ...xdpOptions, mode }, deps);
  let adopted = false;
  if (choice === "ipvs") barred.set("xdp", "plane ipvs was asked for");
  else if (choice !== "auto") barred.set("ipvs", `plane ${choice} was asked for`);
  // What is attached goes on until its services are where they were asked for.
  if (choice !== "ipvs" || pinned) {
    try {
      const xdp = await openXdp();
      adopted = xdp.adopted;
      opened.set("xdp", xdp);
    } catch (cause) {
      const { message } = cause as Error;
      if (choice !== "auto" || pinned) throw cause;
      opened.set("ipvs", openInstead(native, message, cause));
      reasons.set("xdp", message);
      log.warn(`plane xdp cannot be used, the kernel's IPVS forwards: ${message}`);
    }
  }
  // What the kernel has of the services that were asked for comes over, whatever plane they were asked for on.
  if (choice === "ipvs" || (ipvsIsLoaded() && !opened.has("ipvs"))) opened.set("ipvs", openIpvsDataPlane(native));
  const xdpRung: Rung = {
    name: "xdp",
    open: () => {
      throw new Error("the XDP plane is opened at the start only");
    },
    mayOpenNow: () => false,
    reopen: openXdp,
  };
  const ipvsRung: Rung = { name: "ipvs", open: () => openIpvsDataPlane(native), mayOpenNow: ipvsIsLoaded };
  const compositeDeps: CompositeDeps = {
    log,
    interfacesOf: (services) =>
      network.derive(
        services.flatMap(({ identity }) => (identity.kind === "address" ? identity.address : [])),
        [],
      ),
  };
  const plane = new CompositeDataPlane([xdpRung, ipvsRung], opened, reasons, compositeDeps, barred);
  return { plane, adopted };
}

/** Throws what the XDP plane said, and why IPVS is no way out. */
function openInstead(native: Native, message: string, cause: unknown): DataPlane {
  try {
    return openIpvsDataPlane(native);
  } catch (error) {
    throw new Error(`${message}; ${(error as Error).message}`, { cause });
  }
}

/** Whether an XDP program of an earlier daemon may still be attached. */
function isPinned(bpffs: string): boolean {
  const links = join(bpffs, "links");
  return existsSync(links) && readdirSync(links).length > 0;
}
