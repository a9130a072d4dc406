/** The operator's way between the planes: from the kernel's IPVS to XDP, and back. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { ask, NotRunningError } from "../../control/client.ts";
import { readDaemonOptions } from "../../control/daemon-options.ts";
import type { DaemonOptions } from "../../control/daemon-options.ts";
import type { DaemonStatus } from "../../control/protocol.ts";
import type { PlannedService } from "../../model/config.ts";
import { printIdentity } from "../../model/service.ts";
import type { PlaneName, ServiceStatistics } from "../../model/statistics.ts";
import { askStatus, openReaders } from "../collect.ts";
import { addDaemonOptions, daemonOptions } from "../daemon-options.ts";
import { exitCodes, Failure } from "../failure.ts";
import { findLdirectord } from "../find-ldirectord.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";
import { requirePrivileges } from "../privileges.ts";
import { runningDaemon, startDaemon } from "./start.ts";
import { stopDaemon } from "./stop.ts";

interface AdoptOptions {
  readonly dryRun?: true;
  readonly json?: true;
  readonly force?: true;
}

interface HandbackOptions {
  readonly dryRun?: true;
  readonly json?: true;
  readonly stop?: true;
}

/** A million connections take seconds; this is for a machine that is very busy. */
const moveTimeoutMs = 600_000;
const progressIntervalMs = 1000;
/** What is done depends on what the daemon says: it is waited for on a busy machine, too. */
const answerTimeoutMs = 20_000;

/** Registers `xlb adopt`. */
export function registerAdopt(program: Command): void {
  addDaemonOptions(program.command("adopt"))
    .description("take over from the kernel's IPVS while it forwards: services and their live connections go to XDP")
    .option("--dry-run", "say what would be moved, and change nothing")
    .option("--force", "also while ldirectord runs, which puts its services back into the kernel's table")
    .option("--json", "for programs: one object on standard output")
    .addHelpText(
      "after",
      `
End ldirectord first so that the kernel's table stays as it is: kill -KILL its process, or
stop it with cleanstop=no. If no daemon runs, one is started with the options given. Then
the services of the configuration are made in XDP's tables, with every connection and
persistence template of the kernel's; XDP is attached; and they are taken out of the
kernel's table. Services of the kernel that the configuration does not have stay there.
If XDP cannot be had, all is as it was.`,
    )
    .action(async ({ dryRun, json, force }: AdoptOptions, command: Command) => {
      requirePrivileges();
      const { stateDir } = globalOptions(command);
      const status = await runningDaemon(stateDir, answerTimeoutMs);
      const options = adoptingOptions(command, status);
      if (dryRun) return writePlan(await planAdoption(options.config), "xdp", json === true);
      const ldirectord = force ? undefined : findLdirectord();
      if (ldirectord !== undefined) {
        throw new Failure(
          exitCodes.failure,
          `ldirectord runs with pid ${ldirectord} and would put its services back: kill -KILL ${ldirectord} leaves the kernel's ` +
            "table as it is; or --force",
        );
      }
      const plan = await planAdoption(options.config);
      const since = status?.moves?.at(-1)?.at;
      if (status === undefined) await startAndAdopt(options);
      else if (!isOnXdp(status)) await changePlane(stateDir, "xdp");
      await writeOutcome(stateDir, "xdp", since, plan.stays, json === true);
    });
}

/** Registers `xlb handback`. */
export function registerHandback(program: Command): void {
  program
    .command("handback")
    .description("give the services and their live connections back to the kernel's IPVS, and detach XDP")
    .option("--stop", "end the daemon as well: the kernel forwards on, nothing checks the real servers")
    .option("--dry-run", "say what would be moved, and change nothing")
    .option("--json", "for programs: one object on standard output")
    .addHelpText(
      "after",
      `
The daemon goes on and keeps the kernel's table as it kept XDP's, also after \`xlb restart\`,
until \`xlb adopt\`. If it has died, one is started with the options that it had. If the
kernel has no IPVS, or connections cannot be given to it, all is as it was.`,
    )
    .action(async ({ stop, dryRun, json }: HandbackOptions, command: Command) => {
      requirePrivileges();
      const { stateDir, bpffs } = globalOptions(command);
      if (dryRun) return writePlan(await planHandback(bpffs), "ipvs", json === true);
      const status = await runningDaemon(stateDir, answerTimeoutMs);
      const since = status?.moves?.at(-1)?.at;
      if (status === undefined) await startAndHandBack(command);
      else if (isOnXdp(status)) await changePlane(stateDir, "ipvs");
      const report = await outcome(stateDir, "ipvs", since);
      if (stop) await stopDaemon(stateDir, true);
      await writeReport(report, [], json === true);
    });
}

function isOnXdp({ planes = [] }: DaemonStatus): boolean {
  return planes.some(({ plane, state }) => plane === "xdp" && state === "active");
}

/** What a daemon that is not there yet is to be started with; of one that runs, its file. */
function adoptingOptions(command: Command, status: DaemonStatus | undefined): DaemonOptions {
  const { stateDir } = globalOptions(command);
  const options = daemonOptions(command, readDaemonOptions(stateDir));
  if (command.getOptionValueSource("plane") !== undefined && options.plane === "ipvs") {
    throw new Failure(exitCodes.usage, "plane ipvs is what is left: --plane must be auto, native or generic");
  }
  const plane = options.plane === "ipvs" ? "auto" : options.plane;
  return { ...options, plane, config: status?.configFile ?? options.config };
}

/** Throws a {@link Failure} if XDP cannot be had; the kernel goes on then, and no daemon is left. */
async function startAndAdopt(options: DaemonOptions): Promise<void> {
  await start(options);
  const status = await askStatus(options.stateDir, answerTimeoutMs);
  if (status !== undefined && isOnXdp(status)) return;
  await stopDaemon(options.stateDir, true);
  const reason = status?.planes?.find(({ plane }) => plane === "xdp")?.reason ?? "it does not say why";
  throw new Failure(exitCodes.failure, `nothing was moved: plane xdp cannot be used: ${reason}`);
}

/** A daemon has died, or was stopped with --keep. */
async function startAndHandBack(command: Command): Promise<void> {
  const { stateDir, bpffs } = globalOptions(command);
  const before = readDaemonOptions(stateDir);
  if (before === undefined || !existsSync(join(before.bpffs, "director"))) {
    throw new Failure(
      exitCodes.notRunning,
      `nothing is pinned in ${before?.bpffs ?? bpffs}: no director is running there`,
    );
  }
  await start({ ...before, plane: "ipvs" });
}

/** What it says beside that it runs is no part of the outcome. */
async function start(options: DaemonOptions): Promise<void> {
  const said = await startDaemon(options, undefined, moveTimeoutMs);
  const lines = said.split("\n").filter((line) => !line.startsWith("xlb is running with pid"));
  await write(lines.join("\n"), process.stderr);
}

/** Throws a {@link Failure} with the daemon's words if it cannot be done. */
async function changePlane(stateDir: string, to: PlaneName): Promise<void> {
  const timeout = AbortSignal.timeout(moveTimeoutMs);
  const done = new AbortController();
  const told = tellProgress(stateDir, done.signal);
  try {
    const reply = await ask(stateDir, { kind: "change-plane", to }, timeout);
    if (reply.kind === "done") return;
    throw new Failure(exitCodes.failure, reply.kind === "error" ? reply.message : `it answered with ${reply.kind}`);
  } catch (cause) {
    if (cause instanceof NotRunningError) throw new Failure(exitCodes.notRunning, cause.message, { cause });
    if (timeout.aborted)
      throw new Failure(exitCodes.failure, "the daemon does not answer; its log tells more", { cause });
    throw cause;
  } finally {
    done.abort();
    await told;
  }
}

/** For whoever watches a long move. */
async function tellProgress(stateDir: string, signal: AbortSignal): Promise<void> {
  if (!process.stderr.isTTY) return;
  while (!signal.aborted) {
    await sleep(progressIntervalMs, undefined, { signal }).catch(() => {}); // Ended early: it is done.
    if (signal.aborted) return;
    const moving = (await askStatus(stateDir))?.moving;
    if (moving === undefined) continue;
    const { from, to, connections } = moving;
    await write(`from plane ${from} to plane ${to}: ${connections} connections so far\n`, process.stderr);
  }
}

// --- what there is to move

interface Standing {
  readonly service: string;
  readonly reason: string;
}

interface Plan {
  readonly moves: readonly {
    readonly service: string;
    readonly active: number;
    readonly inactive: number;
    readonly templates: number;
  }[];
  readonly stays: readonly Standing[];
}

/** Throws a {@link Failure} with what is wrong with the file. */
async function planAdoption(file: string): Promise<Plan> {
  const [{ loadNative }, { readConfiguration }, { printDiagnostic }, { openIpvsReader }, { refusalOf }] =
    await Promise.all([
      import("../../native.ts"),
      import("../../config/read.ts"),
      import("../../config/diagnostics.ts"),
      import("../../dataplane/ipvs/reader.ts"),
      import("../../dataplane/xdp/capabilities.ts"),
    ]);
  const native = loadNative();
  const { config, diagnostics } = await readConfiguration(file, native);
  if (config === undefined) throw new Failure(exitCodes.usage, diagnostics.map(printDiagnostic).join("\n"));
  const reader = openIpvsReader(native);
  try {
    const configured = new Map<string, PlannedService>(
      config.services.map((service) => [printIdentity(service.identity), service]),
    );
    const moves: ServiceStatistics[] = [];
    const stays: Standing[] = [];
    for (const each of reader?.statistics().services ?? []) {
      const service = printIdentity(each.service.identity);
      const wanted = configured.get(service);
      const reason = wanted === undefined ? `not in ${file}` : refusalOf(wanted, () => false);
      if (reason === undefined) moves.push(each);
      else stays.push({ service, reason });
    }
    return { moves: moves.map(burdenOf), stays };
  } finally {
    reader?.close();
  }
}

async function planHandback(bpffs: string): Promise<Plan> {
  const readers = await openReaders(bpffs);
  try {
    const statistics = readers.map((reader) => reader.statistics());
    return {
      moves: statistics.flatMap(({ plane, services }) => (plane === "xdp" ? services.map(burdenOf) : [])),
      stays: [],
    };
  } finally {
    for (const reader of readers) reader.close();
  }
}

function burdenOf({ service, realServers }: ServiceStatistics): Plan["moves"][number] {
  const sum = (name: "active" | "inactive" | "persistent"): number =>
    realServers.reduce((total, each) => total + each[name], 0);
  return {
    service: printIdentity(service.identity),
    active: sum("active"),
    inactive: sum("inactive"),
    templates: sum("persistent"),
  };
}

async function writePlan(plan: Plan, to: PlaneName, json: boolean): Promise<void> {
  if (json) return write(`${JSON.stringify({ dryRun: true, to, ...plan }, null, 2)}\n`);
  const lines = [
    ...plan.moves.map(
      ({ service, active, inactive, templates }) =>
        `would move to plane ${to}: ${service}, connections: ${active} active, ${inactive} inactive, templates: ${templates}`,
    ),
    ...(plan.moves.length === 0 ? [`nothing is there to be moved to plane ${to}`] : []),
    ...plan.stays.map(({ service, reason }) => `would stay: ${service}: ${reason}`),
  ];
  await write(`${lines.join("\n")}\n`);
}

// --- what has been moved

interface Report {
  readonly plane: PlaneName;
  readonly services: readonly string[];
  readonly connections: number;
  readonly left: number;
  readonly seconds: number;
  readonly pid: number;
}

/** `since`: the last move before; undefined: there was none. */
async function outcome(stateDir: string, to: PlaneName, since: Date | undefined): Promise<Report> {
  const status = await askStatus(stateDir, answerTimeoutMs);
  if (status === undefined) throw new Failure(exitCodes.failure, `the daemon does not answer in ${stateDir}`);
  if (isOnXdp(status) !== (to === "xdp")) {
    throw new Failure(
      exitCodes.failure,
      `services are not on plane ${to}; the log tells why, and \`xlb stats\` where they are`,
    );
  }
  const moves = (status.moves ?? []).filter(({ at, to: plane }) => plane === to && (since === undefined || at > since));
  const sum = (of: "connections" | "left" | "seconds"): number => moves.reduce((total, move) => total + move[of], 0);
  return {
    plane: to,
    services: moves.flatMap(({ services }) => services),
    connections: sum("connections"),
    left: sum("left"),
    seconds: Math.round(sum("seconds") * 1000) / 1000,
    pid: status.pid,
  };
}

async function writeOutcome(
  stateDir: string,
  to: PlaneName,
  since: Date | undefined,
  stays: readonly Standing[],
  json: boolean,
): Promise<void> {
  await writeReport(await outcome(stateDir, to, since), stays, json);
}

async function writeReport(report: Report, stays: readonly Standing[], json: boolean): Promise<void> {
  if (json) return write(`${JSON.stringify({ ...report, stays }, null, 2)}\n`);
  const { plane, services, connections, left, seconds, pid } = report;
  const lines = [
    services.length === 0
      ? `plane ${plane} forwards; nothing was there to be moved`
      : `moved to plane ${plane}: ${services.join(", ")}; connections: ${connections}, in ${seconds.toFixed(1)} s`,
    ...(left > 0 ? [`connections left out, of real servers that are none any more, or for want of room: ${left}`] : []),
    ...stays.map(({ service, reason }) => `stays with the kernel: ${service}: ${reason}`),
    `xlb is running with pid ${pid}`,
  ];
  await write(`${lines.join("\n")}\n`);
}
