/** Which table ipvsadm works on: what lies in the director's maps and in the kernel's IPVS, with or without a daemon. */
import { accessSync, constants, existsSync } from "node:fs";
import { join } from "node:path";
import { planeChoices, readDaemonOptions } from "../../control/daemon-options.ts";
import type { PlaneChoice } from "../../control/daemon-options.ts";
import { readOwnServices } from "../../control/pidfile.ts";
import type { Owner } from "../../model/override.ts";
import { parseSetting } from "../../model/tuning.ts";
import type { Tunings } from "../../model/tuning.ts";
import type { Native } from "../../native.ts";
import { defaultPlaces, homePlaces } from "../places.ts";
import type { Places } from "../places.ts";
import { TableRefusal } from "./table.ts";
import type { Table } from "./table.ts";

/** What a command that has no options for it takes from the environment, or from the daemon that ran here last. */
export interface DirectorOptions extends Places {
  readonly plane: PlaneChoice;
  readonly interfaces: readonly string[];
  readonly tableSize?: number;
  readonly tunings: Partial<Tunings>;
  /** Whether the places are those of another network namespace than the machine's own, found by its number. */
  readonly ofNamespace: boolean;
}

export interface OpenTableOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly owner: Owner;
  /** Whether anybody will look at rates: measuring takes a second. */
  readonly rates: boolean;
}

/**
 * The table of the present network namespace. With `plane=ipvs`, and nothing of a director here, it is the kernel's alone.
 * Rejects with a {@link TableRefusal}: EPERM if it may not be read.
 */
export async function openTable(native: Native, options: OpenTableOptions): Promise<Table> {
  const director = directorOptions(options.environment);
  if (process.geteuid?.() !== 0 && !isReadable(director.bpffs)) {
    throw new TableRefusal("EPERM", `${director.bpffs} cannot be read`);
  }
  const isPinned = existsSync(join(director.bpffs, "director"));
  const hasDaemon = existsSync(join(director.stateDir, "xlb.sock"));
  if (director.plane === "ipvs" && !isPinned && !hasDaemon && readOwnServices(director.stateDir).size === 0) {
    return (await import("./kernel-table.ts")).openKernelTable(native);
  }
  return (await import("./director-table.ts")).DirectorTable.open(native, director, options);
}

/** A bpf filesystem hides from others than root what is in it. */
function isReadable(bpffs: string): boolean {
  try {
    accessSync(bpffs, constants.R_OK | constants.X_OK);
    return true;
  } catch {
    return false; // Hidden, or missing: others than root cannot tell.
  }
}

/** Throws {@link TableRefusal} for values that are none. */
export function directorOptions(environment: NodeJS.ProcessEnv): DirectorOptions {
  const places = defaultPlaces();
  const stateDir = environment["XLB_STATE_DIR"] ?? places.stateDir;
  const before = readDaemonOptions(stateDir);
  const bpffs = environment["XLB_BPFFS"] ?? before?.bpffs ?? places.bpffs;
  const plane = environment["XLB_PLANE"] ?? before?.plane ?? "auto";
  const choice = planeChoices.find((each) => each === plane);
  if (choice === undefined)
    throw new TableRefusal("EINVAL", `XLB_PLANE=${plane}: it is one of ${planeChoices.join(", ")}`);
  const names = environment["XLB_INTERFACES"]?.trim();
  const tableSize =
    environment["XLB_TABLE_SIZE"] === undefined ? before?.tableSize : Number(environment["XLB_TABLE_SIZE"]);
  const settings = environment["XLB_SETTINGS"]?.trim().split(/\s+/) ?? before?.settings ?? [];
  return {
    stateDir,
    bpffs,
    plane: choice,
    interfaces: names === undefined || names === "" ? (before?.interfaces ?? []) : names.split(/\s+/),
    ...(tableSize !== undefined && { tableSize }),
    tunings: Object.fromEntries(
      settings.flatMap((text) => {
        const setting = parseSetting(text);
        return !(setting instanceof Error) && setting.kind === "director" ? [[setting.name, setting.value]] : [];
      }),
    ),
    ofNamespace: bpffs === places.bpffs && places.bpffs !== homePlaces.bpffs,
  };
}
