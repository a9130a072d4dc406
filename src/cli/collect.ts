/** Where commands get what they show: the pinned maps, and the daemon if it lives. */
import { accessSync, constants } from "node:fs";
import type { DataPlaneReader } from "../dataplane/data-plane.ts";
import type { DaemonStatus } from "../control/protocol.ts";
import type { Snapshot } from "../report/snapshot.ts";
import { exitCodes, Failure } from "./failure.ts";
import type { GlobalOptions } from "./options.ts";

/** The daemon has this long to answer a command that can do without it, milliseconds. */
const statusTimeoutMs = 500;

/** Opens the pinned maps, which needs no daemon. Throws a {@link Failure} that says so if nothing is pinned. */
export async function openReader(bpffs: string): Promise<DataPlaneReader> {
  const [{ loadNative }, { openXdpReader }] = await Promise.all([
    import("../native.ts"),
    import("../dataplane/xdp/reader.ts"),
  ]);
  const native = loadNative();
  try {
    // A bpf filesystem hides from others than root what is in it.
    accessSync(bpffs, constants.R_OK | constants.X_OK);
    return openXdpReader(bpffs, native);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new Failure(exitCodes.notRunning, `nothing is pinned in ${bpffs}: no director is running there`, { cause });
    }
    if (code === "EACCES" || code === "EPERM") {
      throw new Failure(exitCodes.failure, `the maps in ${bpffs} cannot be opened: only root may`, { cause });
    }
    throw cause;
  }
}

/** The daemon's status; undefined if none answers in time. */
export async function askStatus(stateDir: string): Promise<DaemonStatus | undefined> {
  const { ask, NotRunningError } = await import("../control/client.ts");
  const timeout = AbortSignal.timeout(statusTimeoutMs);
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

/** What the pinned maps hold now, with the daemon's status; health and checks are the daemon's to tell, hence empty. */
export async function collectSnapshot({ stateDir, bpffs }: GlobalOptions): Promise<Snapshot> {
  const reader = await openReader(bpffs);
  try {
    const planes = [reader.statistics()];
    const at = new Date();
    const daemon = await askStatus(stateDir);
    return { at, planes, health: [], checks: [], ...(daemon === undefined ? {} : { daemon }) };
  } finally {
    reader.close();
  }
}
