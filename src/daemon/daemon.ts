/** The daemon itself: reload as a transaction, what it tells of itself, and how it ends. main.ts wires its parts. */
import { printDiagnostic } from "../config/diagnostics.ts";
import type { DaemonStatus, Reply, Request } from "../control/protocol.ts";
import type { DataPlane } from "../dataplane/data-plane.ts";
import type { HealthMonitors } from "../health/health-monitors.ts";
import { printChange } from "../model/change.ts";
import type { Change } from "../model/change.ts";
import type { Config, Diagnostic } from "../model/config.ts";
import type { Health, RealServerHealth } from "../model/health.ts";
import { describeSetting, overrideTarget } from "../model/override.ts";
import type { HandChange, Override, Owner } from "../model/override.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { RealServer, ServiceIdentity } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";
import type { PlaneMove, PlaneName } from "../model/statistics.ts";
import type { Phase } from "../notify/alert.ts";
import type { Snapshot } from "../report/snapshot.ts";
import { byHand, changesByHand, settleOverrides } from "../reconcile/by-hand.ts";
import { desire } from "../reconcile/desire.ts";
import type { HealthLookup } from "../reconcile/desire.ts";
import { targetOf } from "../reconcile/plan-scope.ts";
import { Reconciler } from "../reconcile/reconciler.ts";
import type { OwnServices, RoundInputs, RoundOutcome, RoundReport } from "../reconcile/reconciler.ts";
import type { Drains } from "./drains.ts";
import { LogFileError } from "./log.ts";
import type { DaemonLog } from "./log.ts";

/** A task that goes on this long after it was asked to end is a bug, and must not keep the daemon from ending. */
const endTimeoutMs = 10_000;

/** What became of reading the file: a configuration, or what is wrong with it. Warnings come with either. */
export interface LoadedConfig {
  readonly config: Config | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/** The file has errors; the message holds them all, one a line. */
export class ConfigError extends Error {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(printDiagnostic).join("\n"));
    this.diagnostics = diagnostics;
    this.name = "ConfigError";
  }
}

/** Something that goes on until its signal aborts; the daemon ends when one of them fails. */
export interface Task {
  readonly name: string;
  readonly run: (signal: AbortSignal) => Promise<void>;
}

/** A part of the running daemon failed, which is a bug: its stack belongs into the log. */
export class TaskError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "TaskError";
  }
}

/** What never changes while the daemon lives. */
export type DaemonIdentity = Pick<
  DaemonStatus,
  "pid" | "version" | "startedAt" | "configFile" | "stateDir" | "bpffs" | "metrics" | "serviceSettings"
>;

/** Who tells people and programs of what happens. None of it may throw or make anybody wait, but `finish`. */
export interface Messenger {
  round(report: RoundReport, phase: Phase): void;
  /** The file has another content than before; `config` is in force now. */
  fileChanged(config: Config): void;
  /** The daemon ends. Resolves when all is told, or after a few seconds. */
  finish(): Promise<void>;
}

export interface DaemonParts {
  readonly identity: DaemonIdentity;
  readonly plane: DataPlane;
  readonly monitors: Pick<HealthMonitors, "update" | "snapshot" | "checkDurations" | "lagMs" | "onChange" | "run">;
  readonly log: Pick<DaemonLog, "logger" | "open">;
  load(): Promise<LoadedConfig>;
  /** Run beside the daemon's own tasks: the file's watcher, the network. */
  readonly tasks: readonly Task[];
  readonly driftIntervalMs: number;
  readonly own: OwnServices;
  readonly drains: Pick<Drains, "list" | "put" | "remove" | "stageOf" | "run">;
  readonly overrides: OverrideStore;
  readonly messenger: Messenger;
  /** The operator has had the plane changed: the next daemon should know. */
  planeChanged?(to: PlaneName): void;
}

/** What was set by hand, kept where it outlives the daemon. */
export interface OverrideStore {
  list(): readonly Override[];
  /** Throws if it cannot be kept; then nothing has changed. */
  replace(overrides: readonly Override[]): void;
}

/** What the daemon is doing, an object of its own each time, so that two reloads are not taken for one. */
interface Stage {
  readonly phase: Phase;
}

type Reload = DaemonStatus["lastReload"];

export class Daemon {
  readonly #parts: DaemonParts;
  readonly #reconciler: Reconciler;
  readonly #stopping = new AbortController();
  #keep = false;
  readonly #stopped: Promise<string>;
  #resolveStopped: (message: string) => void = () => {};
  #rejectStopped: (cause: unknown) => void = () => {};
  #config: Config;
  #configLoadedAt: Date;
  #lastReload: Reload;
  #reloads = 0;
  #reloadFailures = 0;
  #stage: Stage = { phase: "starting" };
  /** The stage, if every check had its say when the present round began. */
  #settledStage: Stage | undefined;
  /** The reload that is under way, and the one that begins after it for all who asked meanwhile. */
  #reloading: Promise<string> | undefined;
  #nextReload: Promise<string> | undefined;
  /** The change by hand that is under way: each starts from what the one before has brought about. */
  #byHand: Promise<unknown> = Promise.resolve();

  /** `config` is in force from the start; what the tables hold with a weight counts as up until it has been checked. */
  constructor(parts: DaemonParts, config: Config) {
    this.#parts = parts;
    this.#config = config;
    this.#configLoadedAt = new Date();
    this.#lastReload = { at: this.#configLoadedAt, ok: true, message: `read ${parts.identity.configFile}` };
    this.#reconciler = new Reconciler({
      plane: parts.plane,
      log: parts.log.logger,
      inputs: () => this.#inputs(),
      driftIntervalMs: parts.driftIntervalMs,
      own: parts.own,
      report: (report) => this.#report(report),
    });
    this.#stopped = new Promise((resolve, reject) => {
      this.#resolveStopped = resolve;
      this.#rejectStopped = reject;
    });
    this.#stopped.catch(() => {}); // Whoever waits sees the rejection; often nobody does.
    parts.monitors.onChange(() => this.#reconciler.request());
    parts.plane.onChange?.(() => this.#reconciler.request());
    parts.monitors.update(config.services, this.#seedUp(config), config.maintenanceDir);
  }

  /** Resolves when the first round is over: packets meet what the file asks for. */
  async ready(): Promise<void> {
    await this.#reconciler.round();
  }

  /**
   * Runs until `stop` is called or the signal aborts, which stops it as `stop(false)` does. Rejects when a task fails;
   * the data path then goes on forwarding.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { log, monitors, plane } = this.#parts;
    try {
      await runTogether(
        [
          { name: "reconciler", run: (ending) => this.#reconciler.run(ending) },
          { name: "health monitors", run: (ending) => monitors.run(ending) },
          { name: "data plane", run: (ending) => plane.run(ending) },
          { name: "drains", run: (ending) => this.#parts.drains.run(ending, () => this.#reconciler.request()) },
          ...this.#parts.tasks,
        ],
        AbortSignal.any([signal, this.#stopping.signal]),
      );
      const message = await this.#leave();
      log.logger.info(message);
      await this.#parts.messenger.finish();
      this.#resolveStopped(message);
    } catch (cause) {
      this.#rejectStopped(cause);
      plane.close();
      throw cause;
    }
  }

  /** Ends the daemon; resolves when the data path is as it was asked for. `keep`: it goes on forwarding. */
  stop(keep: boolean): Promise<string> {
    if (!this.#stopping.signal.aborted) this.#keep = keep;
    this.#stopping.abort();
    return this.#stopped;
  }

  /**
   * Reads the file again. Resolves to what to tell the operator once the new configuration is in force; rejects with a
   * {@link ConfigError} if it has errors, and then nothing has changed. Requests during a reload are served by one
   * more reload.
   */
  reload(): Promise<string> {
    if (this.#reloading === undefined) {
      this.#reloading = this.#reloadNow().finally(() => {
        this.#reloading = undefined;
      });
      return this.#reloading;
    }
    this.#nextReload ??= this.#reloading
      .catch(() => {}) // Told to those who asked for it.
      .then(() => {
        this.#nextReload = undefined;
        return this.reload();
      });
    return this.#nextReload;
  }

  /**
   * The file, or one that it executes, changed on disk: reloads if that one says `autoreload=yes`, else only says so.
   * A reload is one of all files.
   */
  async fileChanged(changed: Config = this.#config): Promise<void> {
    const { logger } = this.#parts.log;
    logger.info(`Configuration file '${changed.file}' has changed on disk`);
    if (changed.autoreload) {
      logger.info(" - reread new configuration");
      await this.reload().catch(() => {}); // Logged, counted and shown by status; the next change is another try.
    } else logger.info(" - ignore new configuration");
    this.#parts.messenger.fileChanged(changed.file === this.#config.file ? this.#config : changed);
  }

  /** Answers the control socket. */
  async answer(request: Request): Promise<Reply> {
    switch (request.kind) {
      case "status":
        return { kind: "status", status: this.status() };
      case "health":
        return { kind: "health", health: this.#parts.monitors.snapshot() };
      case "reload":
        return await this.#answerReload();
      case "drain":
        return await this.#drain(request.realServer, request.deadlineSeconds);
      case "undrain":
        return await this.#undrain(request.realServer);
      case "by-hand":
        return await this.#inTurn(() => this.#changeByHand(request.change, request.owner));
      case "overrides":
        return { kind: "overrides", overrides: this.#parts.overrides.list() };
      case "clear-overrides":
        return await this.#inTurn(() => this.#clearOverrides(request.targets));
      case "zero":
        return await this.#asWriter(() => this.#parts.plane.zero(request.identity));
      case "set-timeouts":
        return await this.#asWriter(() => this.#parts.plane.setTimeouts(request.timeouts));
      case "change-plane":
        return await this.#changePlane(request.to);
      case "stop":
        return { kind: "done", message: await this.stop(request.keep) };
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#byHand.then(work);
    this.#byHand = turn.catch(() => {}); // Told to the one who asked.
    return turn;
  }

  async #asWriter(also: () => void): Promise<Reply> {
    await this.#reconciler.round({ also });
    return { kind: "done", message: "" };
  }

  /** Resolves when packets meet it. What no plane takes is not kept. */
  async #changeByHand(change: HandChange, owner: Owner): Promise<Reply> {
    const { plane, overrides, log } = this.#parts;
    const before = overrides.list();
    const actual = plane.read();
    const config = this.#config;
    const ofDirector = new Set(config.services.map(({ identity }) => printIdentity(identity)));
    const healthOf = this.#healthLookup();
    const { drains } = this.#parts;
    const drainOf = ({ address, port }: { readonly address: string; readonly port: number }) =>
      drains.stageOf(address, port);
    const isUp = (identity: ServiceIdentity, key: string): boolean =>
      config.services.some(
        (service) =>
          printIdentity(service.identity) === printIdentity(identity) &&
          service.realServers.some((each) => realServerKey(each) === key && healthOf(identity, each).state === "up"),
      );
    const wanted = desire(config, healthOf, () => undefined, drainOf).state;
    const file = { config, wanted, isUp };
    const outcome = byHand(change, { overrides: before, actual, ofDirector, file, owner, now: new Date() });
    if ("refused" in outcome) return { kind: "error", ...outcome.refused };
    const noted = new Set([...ofDirector, ...[...before, ...outcome.overrides].map(overrideTarget)]);
    const changes = changesByHand(change, actual);
    const touched = new Set([...changes.map(targetOf), ...differing(before, outcome.overrides)]);
    overrides.replace(outcome.overrides);
    const round = await this.#reconciler.round({
      touched,
      changes: changes.filter((each) => !noted.has(serviceOf(each))),
    });
    const trouble = troubleOf(round, changes);
    if (trouble !== undefined) {
      overrides.replace(before);
      await this.#reconciler.round({ touched });
      return { kind: "error", ...trouble };
    }
    const message = `By hand: ${describeHandChange(change)}, by ${printOwner(owner)}`;
    if (change.kind === "remove-all-services") log.logger.warn(`${message}; \`xlb overrides clear\` takes it back`);
    else log.logger.info(message);
    return { kind: "done", message };
  }

  async #clearOverrides(targets: readonly string[] | undefined): Promise<Reply> {
    const { overrides, log } = this.#parts;
    const before = overrides.list();
    const chosen = targets === undefined ? undefined : new Set(targets);
    const isChosen = (override: Override): boolean =>
      chosen === undefined || chosen.has(overrideTarget(override)) || chosen.has(printIdentity(override.identity));
    const cleared = before.filter(isChosen);
    if (cleared.length === 0) {
      return {
        kind: "error",
        message: targets === undefined ? "nothing is set by hand" : "none of that is set by hand",
      };
    }
    overrides.replace(before.filter((override) => !isChosen(override)));
    await this.#reconciler.round({ touched: cleared.map(overrideTarget) });
    const lines = cleared.map((each) => `No longer by hand: ${overrideTarget(each)}: ${describeSetting(each)}`);
    for (const line of lines) log.logger.info(line);
    return { kind: "done", message: lines.join("\n") };
  }

  async #changePlane(to: PlaneName): Promise<Reply> {
    const { log, plane } = this.#parts;
    if (plane.changePlane === undefined) return { kind: "error", message: "this director has one plane only" };
    const last = plane.moves?.().at(-1);
    try {
      await plane.changePlane(to, () => this.#reconciler.round());
    } catch (cause) {
      const message = `Not moved to plane ${to}: ${(cause as Error).message}`;
      log.logger.error(message);
      return { kind: "error", message };
    }
    this.#parts.planeChanged?.(to);
    const moves = plane.moves?.() ?? [];
    const since = last === undefined ? moves : moves.slice(moves.indexOf(last) + 1);
    const message = `On plane ${to} now: ${describeMoves(since.filter((move) => move.to === to))}`;
    log.logger.info(message);
    return { kind: "done", message };
  }

  async #drain(realServer: string, deadlineSeconds: number | undefined): Promise<Reply> {
    const names = (each: { readonly address: string; readonly port: number }): boolean =>
      each.address === realServer || realServerKey(each) === realServer;
    const serving = new Set([
      ...this.#config.services
        .filter(({ realServers }) => realServers.some(names))
        .map(({ identity }) => printIdentity(identity)),
      ...this.#parts.overrides
        .list()
        .filter((override) => override.realServer !== undefined && names(override.realServer))
        .map(({ identity }) => printIdentity(identity)),
    ]);
    if (serving.size === 0) return { kind: "error", message: `no service has the real server ${realServer}` };
    const since = new Date();
    const deadline = deadlineSeconds === undefined ? undefined : new Date(since.getTime() + deadlineSeconds * 1000);
    this.#parts.drains.put({ realServer, since, ...(deadline !== undefined && { deadline }) });
    await this.#reconciler.round();
    const end = deadlineSeconds === undefined ? "" : `; its connections end in ${deadlineSeconds} s`;
    const message = `Draining real server ${realServer} of ${count(serving.size, "service")}${end}`;
    this.#parts.log.logger.info(message);
    return { kind: "done", message };
  }

  async #undrain(realServer: string): Promise<Reply> {
    if (!this.#parts.drains.remove(realServer)) {
      return { kind: "error", message: `the real server ${realServer} is not drained` };
    }
    await this.#reconciler.round();
    const message = `Real server ${realServer} is back in service`;
    this.#parts.log.logger.info(message);
    return { kind: "done", message };
  }

  async #answerReload(): Promise<Reply> {
    try {
      return { kind: "done", message: await this.reload() };
    } catch (cause) {
      if (!(cause instanceof ConfigError || cause instanceof LogFileError)) throw cause;
      return { kind: "error", reason: "configuration", message: cause.message };
    }
  }

  status(): DaemonStatus {
    const { rounds, notActive, failedChanges } = this.#reconciler.outcome;
    const { plane } = this.#parts;
    const drains = this.#parts.drains.list();
    const overrides = this.#parts.overrides.list();
    const planes = plane.planeStatuses?.();
    const placements = plane.placements?.();
    const moves = plane.moves?.();
    const moveTotals = plane.moveTotals?.();
    const moving = plane.moving?.();
    return {
      ...this.#parts.identity,
      configLoadedAt: this.#configLoadedAt,
      lastReload: this.#lastReload,
      reloads: this.#reloads,
      reloadFailures: this.#reloadFailures,
      notActive,
      failedChanges,
      interfaces: plane.interfaces(),
      ...(drains.length === 0 ? {} : { drains }),
      ...(overrides.length === 0 ? {} : { overrides }),
      ...(planes === undefined ? {} : { planes }),
      ...(placements === undefined ? {} : { placements }),
      ...(moves === undefined || moves.length === 0 ? {} : { moves }),
      ...(moveTotals === undefined || moveTotals.length === 0 ? {} : { moveTotals }),
      ...(moving === undefined ? {} : { moving }),
      rounds,
      checkLagMs: this.#parts.monitors.lagMs(),
    };
  }

  snapshot(): Snapshot {
    const { monitors, plane } = this.#parts;
    return {
      at: new Date(),
      planes: plane.byPlane?.() ?? [plane.statistics()],
      health: monitors.snapshot(),
      checks: monitors.checkDurations(),
      daemon: this.status(),
    };
  }

  async #reloadNow(): Promise<string> {
    const { log, monitors } = this.#parts;
    this.#reloads += 1;
    try {
      const { config, diagnostics } = await this.#parts.load();
      if (config === undefined) throw new ConfigError(diagnostics);
      for (const diagnostic of diagnostics) log.logger.warn(printFinding(diagnostic));
      log.open(config.logFile);
      // From here on nothing fails: the new file is in force.
      this.#config = config;
      this.#configLoadedAt = new Date();
      this.#stage = { phase: "reloading" };
      monitors.update(config.services, this.#seedUp(config), config.maintenanceDir);
      const { changes, failedChanges, notActive } = await this.#reconciler.round({ thorough: true });
      const message = [
        `${config.file}: virtual services: ${config.services.length}, changes: ${changes}`,
        ...notActive.map(({ service, reason }) => `not active: ${service}: ${reason}`),
        ...failedChanges.map((failed) => `cannot apply yet: ${failed}`),
      ].join("\n");
      this.#lastReload = { at: new Date(), ok: true, message };
      log.logger.info(`Reloaded ${message}`);
      return message;
    } catch (cause) {
      const { message } = cause as Error;
      this.#reloadFailures += 1;
      this.#lastReload = { at: new Date(), ok: false, message };
      if (cause instanceof ConfigError) {
        for (const each of cause.diagnostics) {
          log.logger[each.severity === "error" ? "error" : "warn"](`Reload: ${printFinding(each)}`);
        }
      } else log.logger.error(`Reload: ${message}`);
      log.logger.error("The configuration before goes on");
      throw cause;
    }
  }

  #seedUp(config: Config): ReadonlySet<string> {
    const { plane, overrides, drains } = this.#parts;
    const atZero = new Set(
      overrides
        .list()
        .filter(({ setting }) => setting.kind === "real-server" && setting.realServer.weight === 0)
        .map(overrideTarget),
    );
    return seedUp(
      config,
      plane.read(),
      (service, each) =>
        atZero.has(`${service} ${realServerKey(each)}`) || drains.stageOf(each.address, each.port) === "draining",
    );
  }

  #inputs(): RoundInputs {
    this.#settledStage = this.#parts.monitors.snapshot().every(hasHadItsSay) ? this.#stage : undefined;
    const { drains } = this.#parts;
    return {
      config: this.#config,
      healthOf: this.#healthLookup(),
      drainOf: ({ address, port }) => drains.stageOf(address, port),
      overrides: this.#settledOverrides(),
    };
  }

  #healthLookup(): HealthLookup {
    const health = new Map<string, Health>();
    for (const entry of this.#parts.monitors.snapshot()) {
      const key = `${printIdentity(entry.identity)} ${realServerKey(entry)}`;
      // One entry of the table may have several checks, of lines with different ports; one of them is enough.
      if (health.get(key)?.state !== "up") health.set(key, entry.health);
    }
    return (identity, realServer) =>
      health.get(`${printIdentity(identity)} ${realServerKey(realServer)}`) ?? { state: "unknown" };
  }

  /** Without those that have had their time. */
  #settledOverrides(): readonly Override[] {
    const { overrides, monitors, log } = this.#parts;
    const before = overrides.list();
    if (before.length === 0) return before;
    const proven = new Set(
      monitors
        .snapshot()
        .filter(({ health, check, last }) => health.state === "up" && (check === "on" || last?.result.up === true))
        .map((entry) => `${printIdentity(entry.identity)} ${realServerKey(entry)}`),
    );
    const isProven = (identity: ServiceIdentity, key: string): boolean =>
      proven.has(`${printIdentity(identity)} ${key}`);
    const settled = settleOverrides(before, this.#config, isProven);
    if (settled.overrides === before) return before;
    try {
      overrides.replace(settled.overrides);
    } catch (cause) {
      log.logger.error((cause as Error).message);
      return settled.overrides;
    }
    for (const note of settled.notes) log.logger.info(`By hand no more: ${note}`);
    return settled.overrides;
  }

  /** As in ldirectord the first round of checks belongs to the start, or to the reload, that it follows. */
  #report(report: RoundReport): void {
    this.#parts.messenger.round(report, this.#stage.phase);
    if (this.#settledStage === this.#stage && this.#stage.phase !== "stopping") this.#stage = { phase: "running" };
  }

  /** Leaves the data path as `cleanstop` or `keep` ask for, and says how. */
  async #leave(): Promise<string> {
    const { plane } = this.#parts;
    this.#stage = { phase: "stopping" };
    if (this.#keep) {
      plane.close();
      return "Stopped; the data path goes on forwarding";
    }
    const staying = this.#config.services.filter(({ cleanStop }) => !cleanStop);
    const stayingKeys = new Set(staying.map(({ identity }) => printIdentity(identity)));
    const left = await this.#reconciler.removeServices((identity) => !stayingKeys.has(printIdentity(identity)));
    if (left.length > 0) {
      if (plane.retire === undefined) plane.close();
      else plane.retire();
      const others = left.filter((identity) => !stayingKeys.has(printIdentity(identity))).length;
      const ours = left.length - others;
      const which = [
        ...(ours > 0 ? [`${count(ours, "service")} with cleanstop=no`] : []),
        ...(others > 0 ? [`${count(others, "service")} of others`] : []),
      ];
      return `Stopped; ${which.join(" and ")} ${left.length === 1 ? "goes" : "go"} on forwarding`;
    }
    plane.destroy();
    return "Stopped; the data path is detached";
  }
}

/** Targets whose override has come, gone or changed. */
function differing(before: readonly Override[], after: readonly Override[]): string[] {
  const old = new Set(before);
  const kept = new Set(after);
  return [...before.filter((each) => !kept.has(each)), ...after.filter((each) => !old.has(each))].map(overrideTarget);
}

function serviceOf(change: Change): string {
  return printIdentity("service" in change ? change.service.identity : change.identity);
}

/** What kept a change by hand from being made. */
function troubleOf(
  { failures, notActive }: RoundOutcome,
  changes: readonly Change[],
): { readonly code: string; readonly message: string } | undefined {
  for (const change of changes) {
    const error = failures.get(targetOf(change));
    if (error !== undefined) return { code: "EIO", message: error.message };
    const idle = change.kind.startsWith("remove-")
      ? undefined
      : notActive.find(({ service }) => service === serviceOf(change));
    if (idle !== undefined) return { code: "EOPNOTSUPP", message: idle.reason };
  }
  return undefined;
}

function describeHandChange(change: HandChange): string {
  switch (change.kind) {
    case "remove-all-services":
      return "every service removed";
    case "add-service":
    case "edit-service":
      return `${change.kind} ${printIdentity(change.identity)} ${change.settings.scheduler}`;
    default:
      return printChange(change);
  }
}

function printOwner({ user, program }: Owner): string {
  return `${user} with ${program}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function describeMoves(moves: readonly PlaneMove[]): string {
  const sum = (of: (move: PlaneMove) => number): number => moves.reduce((total, move) => total + of(move), 0);
  const left = sum((move) => move.left);
  return [
    `services: ${sum(({ services }) => services.length)}`,
    `connections: ${sum(({ connections }) => connections)}`,
    ...(left > 0 ? [`connections left out: ${left}`] : []),
  ].join(", ");
}

/** For the log, whose lines begin with the severity. */
export function printFinding(diagnostic: Diagnostic): string {
  return printDiagnostic(diagnostic).replace(`: ${diagnostic.severity}: `, ": ");
}

/** Whether its state is more than what it was before its first check. */
function hasHadItsSay({ health, check, last }: RealServerHealth): boolean {
  return check === "off" || last !== undefined || health.state === "down";
}

/**
 * Real servers that the tables show as up, as `SERVICE REAL-SERVER`: they are until a check says otherwise, as in
 * ldirectord. One without a weight is up only where the file gives it none and `quiescent=no` means nothing by it, or
 * where the operator has taken it: its connections go on.
 */
export function seedUp(
  config: Config,
  { services }: DirectorState,
  isHeldOut: (service: string, realServer: RealServer) => boolean = () => false,
): ReadonlySet<string> {
  const weightless = new Set(
    config.services
      .filter(({ quiescent }) => !quiescent)
      .flatMap(({ identity, realServers }) =>
        realServers
          .filter(({ weight }) => weight === 0)
          .map((each) => `${printIdentity(identity)} ${realServerKey(each)}`),
      ),
  );
  return new Set(
    services.flatMap(({ identity, realServers }) =>
      realServers
        .map((realServer) => ({
          key: `${printIdentity(identity)} ${realServerKey(realServer)}`,
          hasWeight: realServer.weight > 0 || isHeldOut(printIdentity(identity), realServer),
        }))
        .filter(({ key, hasWeight }) => hasWeight || weightless.has(key))
        .map(({ key }) => key),
    ),
  );
}

/** Runs all until the signal aborts. When one fails or ends by itself the others are ended, and its error is thrown. */
async function runTogether(tasks: readonly Task[], signal: AbortSignal): Promise<void> {
  const ending = new AbortController();
  const ended = AbortSignal.any([signal, ending.signal]);
  const failures: Error[] = [];
  const running = new Set(tasks.map(({ name }) => name));
  const all = Promise.all(
    tasks.map(async ({ name, run }) => {
      try {
        await run(ended);
        if (!ended.aborted) throw new Error("it ended by itself");
      } catch (cause) {
        // Aborting may show as an exception of whatever was waited for.
        if (!(ended.aborted && isAbort(cause))) failures.push(new TaskError(`the ${name} failed`, { cause }));
      } finally {
        running.delete(name);
        ending.abort();
      }
    }),
  );
  await Promise.race([all, endsLate(ended, all)]);
  if (running.size > 0) failures.push(new TaskError(`these do not end: ${[...running].join(", ")}`));
  if (failures[0] !== undefined) throw failures[0];
}

/** Resolves when the tasks have been asked to end for too long; never if they have ended by then. */
async function endsLate(ended: AbortSignal, all: Promise<unknown>): Promise<void> {
  await new Promise<void>((resolve) => {
    const wait = (): void => {
      const timer = setTimeout(resolve, endTimeoutMs);
      void all.finally(() => clearTimeout(timer));
    };
    if (ended.aborted) wait();
    else ended.addEventListener("abort", wait, { once: true });
  });
}

function isAbort(cause: unknown): boolean {
  return cause instanceof Error && cause.name === "AbortError";
}
