import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { ask, NotRunningError } from "../../control/client.ts";
import { readDaemonOptions } from "../../control/daemon-options.ts";
import { readOwnServices, readPidFile } from "../../control/pidfile.ts";
import type { DaemonStatus } from "../../control/protocol.ts";
import type { Drain } from "../../model/drain.ts";
import { describeOverride } from "../../model/override.ts";
import type { InterfaceStatus, PlaneStatus } from "../../model/statistics.ts";
import { describeMove, describeMoving } from "../../report/table.ts";
import { exitCodes } from "../failure.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";
import { printTime } from "../print-time.ts";

interface StatusOptions {
  readonly json?: true;
}

const timeoutMs = 5_000;

/** Registers `xlb status`. */
export function registerStatus(program: Command): void {
  program
    .command("status")
    .description("whether the daemon runs, with what, and what became of the last reload")
    .option("--json", "for programs: one object on standard output")
    .addHelpText(
      "after",
      `
Exit status: 0 it runs, 1 it died or does not answer, 3 it does not run.`,
    )
    .action(async ({ json }: StatusOptions, command: Command) => {
      const { stateDir } = globalOptions(command);
      const status = await askOrUndefined(stateDir);
      if (status !== undefined) {
        return write(json ? `${JSON.stringify({ running: true, ...status }, null, 2)}\n` : print(status));
      }
      const recorded = readPidFile(stateDir);
      const { bpffs } = globalOptions(command);
      const given = command.getOptionValueSourceWithGlobals("bpffs") !== "default";
      const pins = given ? bpffs : (readDaemonOptions(stateDir)?.bpffs ?? bpffs);
      const pinned = existsSync(join(pins, "director"));
      const forwarding = pinned || (readOwnServices(stateDir).size > 0 && existsSync("/proc/net/ip_vs"));
      const where = pinned ? `the data path in ${pins}` : "the kernel's IPVS";
      const text =
        recorded === undefined
          ? `xlb is not running${forwarding ? `; ${where} forwards on as it was left` : ""}`
          : recorded.alive
            ? `xlb runs with pid ${recorded.pid}, but does not answer in ${stateDir}`
            : `xlb is dead: its pid file names ${recorded.pid}; the data path forwards on as it was left`;
      process.exitCode = recorded === undefined ? exitCodes.notRunning : exitCodes.failure;
      const pid = recorded === undefined ? {} : { pid: recorded.pid, alive: recorded.alive };
      await write(
        json
          ? `${JSON.stringify({ running: false, ...pid, ...(forwarding && { forwarding }) }, null, 2)}\n`
          : `${text}\n`,
      );
    });
}

async function askOrUndefined(stateDir: string): Promise<DaemonStatus | undefined> {
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const reply = await ask(stateDir, { kind: "status" }, timeout);
    return reply.kind === "status" ? reply.status : undefined;
  } catch (cause) {
    if (cause instanceof NotRunningError || timeout.aborted) return undefined; // The pid file tells which it is.
    throw cause;
  }
}

function print(status: DaemonStatus): string {
  const { lastReload } = status;
  const lines = [
    `xlb ${status.version} is running with pid ${status.pid} since ${printTime(status.startedAt)}`,
    `configuration  ${status.configFile}, in force since ${printTime(status.configLoadedAt)}`,
    `reloads        ${status.reloads}, ${status.reloadFailures} failed`,
    `last reload    ${lastReload.ok ? "good" : "FAILED"} at ${printTime(lastReload.at)}`,
    ...(lastReload.ok ? [] : lastReload.message.split("\n").map((line) => `  ${line}`)),
    `pinned in      ${status.bpffs}`,
    `metrics        ${status.metrics === "off" ? "off" : `http://${status.metrics}/metrics`}`,
    ...(status.serviceSettings ?? []).map((each) => `set            ${each}`),
    ...(status.planes ?? []).map((each) => `plane          ${printPlane(each)}`),
    ...status.interfaces.map((place) => `interface      ${printPlace(place)}`),
    ...(status.placements ?? []).map(({ service, plane, reason }) => `on ${plane.padEnd(11)} ${service}: ${reason}`),
    ...(status.moves ?? []).map((move) => `moved          ${describeMove(move)}`),
    ...(status.moving === undefined ? [] : [`moving         ${describeMoving(status.moving)}`]),
    ...(status.drains ?? []).map((drain) => `drained        ${printDrain(drain)}`),
    ...(status.overrides ?? []).map(
      (each) => `by hand        ${describeOverride(each)}, since ${printTime(each.since)}`,
    ),
    `rounds         ${status.rounds}; checks are late by up to ${Math.round(status.checkLagMs)} ms`,
    ...status.notActive.map(({ service, reason }) => `not active     ${service}: ${reason}`),
    ...status.failedChanges.map((failed) => `cannot apply   ${failed}`),
  ];
  return `${lines.join("\n")}\n`;
}

function printDrain({ realServer, since, deadline }: Drain): string {
  const end = deadline === undefined ? "" : `, its connections end at ${printTime(new Date(deadline))}`;
  return `${realServer} since ${printTime(new Date(since))}${end}`;
}

function printPlane({ plane, state, reason }: PlaneStatus): string {
  return `${plane} ${{ active: "in use", idle: "not needed", failed: "not in use" }[state]}${reason && `: ${reason}`}`;
}

/** `eth0 native`, or why not. */
export function printPlace({ name, mode, reason }: InterfaceStatus): string {
  return `${name} ${mode === "detached" ? "not attached" : mode}${reason === "" ? "" : `: ${reason}`}`;
}
