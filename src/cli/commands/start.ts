import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { makeStateDir, readPidFile, removeIfEmpty, startOutputPath } from "../../control/pidfile.ts";
import type { DaemonOptions } from "../../control/daemon-options.ts";
import type { DaemonStatus } from "../../control/protocol.ts";
import { askStatus } from "../collect.ts";
import { addDaemonOptions, daemonOptions, givenTunings, runArguments } from "../daemon-options.ts";
import { exitCodes, Failure } from "../failure.ts";
import { write } from "../output.ts";
import { requirePrivileges } from "../privileges.ts";
import { runHere } from "./run.ts";
import { printPlace } from "./status.ts";
import { tuneIfPinned } from "./tune.ts";

/** A daemon that is not ready after this time is told about; thousands of services take a while. */
const readyTimeoutMs = 60_000;
const pollMs = 20;

/** Registers `xlb start`. */
export function registerStart(program: Command): void {
  addDaemonOptions(program.command("start"))
    .description("direct packets, in the background; returns once they are")
    .addHelpText(
      "after",
      `
If a daemon with this configuration runs already, that is success, as ldirectord has it.
With supervised=yes in the configuration it stays in the foreground and logs to stdout.`,
    )
    .action(async (_given: unknown, command: Command) => {
      const options = daemonOptions(command);
      requirePrivileges();
      const running = await runningDaemon(options.stateDir);
      if (running === undefined) {
        await tuneIfPinned(options.bpffs, givenTunings(command));
        return (await isSupervised(options.config)) ? runHere(options, 1) : write(await startDaemon(options));
      }
      const { pid, configFile } = running;
      if (configFile !== options.config) {
        throw new Failure(
          exitCodes.failure,
          `a daemon is already running with pid ${pid} in ${options.stateDir}, with ${configFile}; ` +
            "give this one its own --state-dir and --bpffs, or use `xlb restart`",
        );
      }
      await write(`xlb is already running with pid ${pid}\n`);
    });
}

/** Whether the file wants a supervisor to be its parent; what is wrong with it the daemon tells. */
async function isSupervised(file: string): Promise<boolean> {
  const [{ loadNative }, { readConfiguration }] = await Promise.all([
    import("../../native.ts"),
    import("../../config/read.ts"),
  ]);
  return (await readConfiguration(file, loadNative())).config?.supervised === true;
}

/** The daemon of a state directory. Throws a {@link Failure} if it lives but does not answer. */
export async function runningDaemon(stateDir: string, timeoutMs?: number): Promise<DaemonStatus | undefined> {
  const status = await askStatus(stateDir, timeoutMs);
  if (status !== undefined) return status;
  const recorded = readPidFile(stateDir);
  if (recorded?.alive !== true) return undefined;
  throw new Failure(exitCodes.failure, `the daemon with pid ${recorded.pid} lives, but does not answer in ${stateDir}`);
}

/**
 * Starts a daemon and waits until its first round is over. `args` is its command line, which must mean `options`.
 * Returns what there is to say; throws a {@link Failure} with what the daemon said if it ended.
 */
export async function startDaemon(
  options: DaemonOptions,
  args: readonly string[] = [...runArguments(options), "--log", "none"],
  timeoutMs: number = readyTimeoutMs,
): Promise<string> {
  makeStateDir(options.stateDir);
  const output = startOutputPath(options.stateDir);
  const fd = openSync(output, "w+", 0o600);
  try {
    const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
      cwd: "/",
      detached: true,
      stdio: ["ignore", fd, fd],
    });
    let ended: { readonly code: number | null; readonly signal: string | null } | undefined;
    child.once("exit", (code, signal) => (ended = { code, signal }));
    child.once("error", (cause) => (ended = { code: 1, signal: cause.message }));
    const deadline = performance.now() + timeoutMs;
    while (ended === undefined) {
      const status = await askStatus(options.stateDir);
      if (status !== undefined && status.pid === child.pid && status.rounds > 0) {
        child.unref();
        return readFromStart(fd) + started(status);
      }
      if (performance.now() > deadline) {
        child.unref();
        throw new Failure(exitCodes.failure, `the daemon with pid ${child.pid} is not ready yet; see its log`);
      }
      await sleep(pollMs);
    }
    const said = readFromStart(fd)
      .replace(/^xlb: /, "")
      .trimEnd();
    rmSync(output, { force: true });
    removeIfEmpty(options.stateDir);
    throw new Failure(
      ended.code === exitCodes.usage ? exitCodes.usage : exitCodes.failure,
      said === "" ? `the daemon ended at once: ${ended.signal ?? `exit status ${ended.code}`}` : said,
    );
  } finally {
    closeSync(fd);
  }
}

/** The whole of a file whose position another process moves, and that it may have removed. */
function readFromStart(fd: number): string {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, 0));
}

function started({ pid, notActive, failedChanges, interfaces }: DaemonStatus): string {
  return [
    `xlb is running with pid ${pid}`,
    ...interfaces.filter(({ mode }) => mode === "detached").map((place) => `interface ${printPlace(place)}`),
    ...notActive.map(({ service, reason }) => `not active: ${service}: ${reason}`),
    ...failedChanges.map((failed) => `cannot apply yet: ${failed}`),
    "",
  ].join("\n");
}
