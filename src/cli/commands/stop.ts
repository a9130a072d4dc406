import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { ask, NotRunningError } from "../../control/client.ts";
import { readDaemonOptions } from "../../control/daemon-options.ts";
import type { DaemonOptions } from "../../control/daemon-options.ts";
import { forgetServicesByHand } from "../../control/overrides-file.ts";
import { DaemonLock, readOwnServices, readPidFile, removeStateFiles } from "../../control/pidfile.ts";
import { exitCodes, Failure } from "../failure.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";
import { requirePrivileges } from "../privileges.ts";

interface StopOptions {
  readonly keep?: true;
}

/** A daemon that has not ended after this time is told about. */
const stopTimeoutMs = 30_000;
const pollMs = 20;

/** Registers `xlb stop`. */
export function registerStop(program: Command): void {
  program
    .command("stop")
    .description("end the daemon and stop forwarding; returns once it is done")
    .option("--keep", "go on forwarding: the next daemon takes over")
    .addHelpText(
      "after",
      `
Services with cleanstop=no go on as with --keep. After a daemon has died this
cleans up what it left behind. If nothing runs, that is success.`,
    )
    .action(async ({ keep }: StopOptions, command: Command) => {
      const { stateDir, bpffs } = globalOptions(command);
      requirePrivileges();
      const message = await stopDaemon(stateDir, keep === true);
      if (message !== undefined) return write(`${message}\n`);
      const given = command.getOptionValueSourceWithGlobals("bpffs") !== "default";
      const pins = given ? bpffs : (readDaemonOptions(stateDir)?.bpffs ?? bpffs);
      await cleanUp(stateDir, pins, keep === true);
    });
}

/** Ends the daemon for one with these options that starts at once; packets flow on. Throws before, if that could not take over. */
export async function stopToReplace(stateDir: string, next: DaemonOptions): Promise<void> {
  if (next.plane !== "ipvs") {
    const [{ loadNative }, { requireReadableMaps }] = await Promise.all([
      import("../../native.ts"),
      import("../../dataplane/xdp/load.ts"),
    ]);
    requireReadableMaps(loadNative(), next.bpffs);
  }
  await stopDaemon(stateDir, true);
}

/** Ends the daemon and waits until it is gone; returns what it said, or undefined if none ran. */
export async function stopDaemon(stateDir: string, keep: boolean): Promise<string | undefined> {
  const timeout = AbortSignal.timeout(stopTimeoutMs);
  const recorded = readPidFile(stateDir);
  let message: string;
  try {
    const reply = await ask(stateDir, { kind: "stop", keep }, timeout);
    if (reply.kind !== "done") {
      const reason = reply.kind === "error" ? reply.message : `it answered with ${reply.kind}`;
      throw new Failure(exitCodes.failure, `the daemon did not stop in order: ${reason}`);
    }
    message = reply.message;
  } catch (cause) {
    if (timeout.aborted) throw new Failure(exitCodes.failure, "the daemon does not answer", { cause });
    if (!(cause instanceof NotRunningError)) throw cause;
    if (recorded?.alive !== true) return undefined;
    message = "Stopped";
  }
  while (readPidFile(stateDir)?.alive === true) {
    if (timeout.aborted) {
      throw new Failure(exitCodes.failure, `the daemon with pid ${recorded?.pid} does not end; kill it and try again`);
    }
    await sleep(pollMs);
  }
  return message;
}

/** What a dead daemon left: its pins go on forwarding, its pid file names nobody. */
async function cleanUp(stateDir: string, bpffs: string, keep: boolean): Promise<void> {
  if (keep) return write(existsSync(bpffs) ? "Not running; the data path goes on forwarding\n" : "Not running\n");
  if (!existsSync(stateDir) && !existsSync(bpffs)) return write("Not running\n");
  const lock = await DaemonLock.acquire(stateDir, bpffs);
  try {
    const [{ loadNative }, { destroyPinned }, { removeIpvsServices }] = await Promise.all([
      import("../../native.ts"),
      import("../../dataplane/xdp/destroy.ts"),
      import("../../dataplane/ipvs/destroy.ts"),
    ]);
    const native = loadNative();
    const found = destroyPinned(native, bpffs);
    if (found) forgetServicesByHand(stateDir);
    const removed = removeIpvsServices(native, readOwnServices(stateDir));
    const left = [
      ...(found ? [`the data path in ${bpffs} is detached`] : []),
      ...(removed > 0 ? [`services taken out of the kernel's IPVS: ${removed}`] : []),
    ];
    await write(`Not running${left.map((text) => `; ${text}`).join("")}\n`);
  } finally {
    lock.release();
    removeStateFiles(stateDir);
  }
}
