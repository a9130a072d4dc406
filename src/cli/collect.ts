/** Where commands get what they show: the pinned maps, and the daemon if it lives. */
import { accessSync, constants } from "node:fs";
import type { DataPlaneReader } from "../dataplane/data-plane.ts";
import { withInterfaces } from "../dataplane/ladder/interfaces.ts";
import type { DaemonStatus } from "../control/protocol.ts";
import type { Snapshot } from "../report/snapshot.ts";
import { exitCodes, Failure } from "./failure.ts";
import type { GlobalOptions } from "./options.ts";

/** The daemon has this long to answer a command that can do without it, milliseconds. */
const statusTimeoutMs = 500;

/**
 * Opens the planes that hold anything, which needs no daemon: the pinned maps, and the kernel's IPVS if it has services.
 * Throws a {@link Failure} that says so if there is neither.
 */
export async function openReaders(bpffs: string): Promise<readonly DataPlaneReader[]> {
  const [{ loadNative }, { openXdpReader }, { openIpvsReader }] = await Promise.all([
    import("../native.ts"),
    import("../dataplane/xdp/reader.ts"),
    import("../dataplane/ipvs/reader.ts"),
  ]);
  const native = loadNative();
  let ipvs: DataPlaneReader | undefined;
  try {
    ipvs = openIpvsReader(native);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EPERM") throw cause;
    throw new Failure(exitCodes.failure, "the kernel's IPVS cannot be read: only root may", { cause });
  }
  const others = ipvs === undefined ? [] : [ipvs];
  try {
    // A bpf filesystem hides from others than root what is in it.
    accessSync(bpffs, constants.R_OK | constants.X_OK);
    return [openXdpReader(bpffs, native), ...others];
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") {
      if (others.length > 0) return others;
      throw new Failure(exitCodes.notRunning, `nothing is pinned in ${bpffs}: no director is running there`, { cause });
    }
    ipvs?.close();
    if (code === "EACCES" || code === "EPERM") {
      throw new Failure(exitCodes.failure, `the maps in ${bpffs} cannot be opened: only root may`, { cause });
    }
    throw cause;
  }
}

/** The daemon's status; undefined if none answers in time. */
export async function askStatus(stateDir: string, timeoutMs = statusTimeoutMs): Promise<DaemonStatus | undefined> {
  const { ask, NotRunningError } = await import("../control/client.ts");
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const reply = await ask(stateDir, { kind: "status" }, timeout);
    return reply.kind === "status" ? reply.status : undefined;
  } catch (error) {
    // A daemon that is dead, busy or another user's: the maps tell all the same.
    if (error instanceof NotRunningError || timeout.aborted || isPermissionError(error)) return undefined;
    throw error;
  }
}

function isPermissionError(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
  return cause?.code === "EACCES" || cause?.code === "EPERM";
}

/** What the tables hold now, with the daemon's status; health and checks are the daemon's to tell, hence empty. */
export async function collectSnapshot({ stateDir, bpffs }: GlobalOptions): Promise<Snapshot> {
  const daemon = await askStatus(stateDir);
  const readers = await readersOrNone(bpffs, daemon);
  try {
    const planes = readers.map((reader) => reader.statistics());
    const at = new Date();
    if (daemon === undefined) return { at, planes, health: [], checks: [] };
    // The daemon knows why an interface is met by the plane that it is met by.
    const known = daemon.planes === undefined ? planes : withInterfaces(planes, daemon.interfaces);
    return { at, planes: known, health: [], checks: [], daemon };
  } finally {
    for (const reader of readers) reader.close();
  }
}

/** A daemon without a service has nothing in the kernel's IPVS, and with that plane alone nothing at all. */
async function readersOrNone(bpffs: string, daemon: DaemonStatus | undefined): Promise<readonly DataPlaneReader[]> {
  try {
    return await openReaders(bpffs);
  } catch (error) {
    const ipvsOnly = daemon?.planes?.every(({ plane, state }) => plane === "ipvs" || state === "failed");
    if (ipvsOnly === true && error instanceof Failure && error.exitCode === exitCodes.notRunning) return [];
    throw error;
  }
}
