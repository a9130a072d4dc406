import type { ConfiguredRealServer, ConfiguredService } from "../model/config.ts";
import type { CheckDurations, CheckResult, RealServerHealth } from "../model/health.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { Native } from "../native.ts";
import { describeError, isOwnTrouble } from "./check.ts";
import type { CheckSurroundings } from "./check.ts";
import { checkKey, describeCheck } from "./checks.ts";
import { CheckStatistics, WorstOfLastMinute } from "./check-statistics.ts";
import { DueQueue } from "./due-queue.ts";
import { EchoSockets } from "./echo-sockets.ts";
import type { EchoNative } from "./echo-sockets.ts";
import { HostNames } from "./host-names.ts";
import { MaintenanceDirectory } from "./maintenance.ts";
import { Monitor } from "./monitor.ts";
import type { WatchedRealServer } from "./monitor.ts";
import { forceDown, transition, unknownHealth } from "./transition.ts";
import type { HealthState, Transition } from "./transition.ts";
import { anyCertificate } from "./tls.ts";
import type { TlsPolicy } from "./tls.ts";

export type HealthLog = (
  level: "debug" | "info" | "warn" | "error",
  fields: Readonly<Record<string, unknown>>,
  message: string,
) => void;

export interface HealthDeps {
  readonly native: EchoNative & Pick<Native, "regexCompile" | "regexTest">;
  readonly log: HealthLog;
  /** Wall clock, milliseconds since 1970; the schedule itself runs on the monotonic clock. */
  readonly now: () => number;
  /** For `User-Agent: xlb/VERSION`. */
  readonly version: string;
  /** What checks ask of a certificate; absent: nothing. */
  readonly tls?: TlsPolicy;
  /** See {@link transition}; 0 if it is left out. */
  readonly dampFlappingMs?: number;
  /** Told of each result, once for each real server that it counts for. Must not throw. */
  record?(check: CheckRecord): void;
}

/** A result and whom it counts for. */
export interface CheckRecord {
  readonly at: Date;
  readonly service: ConfiguredService;
  readonly realServer: ConfiguredRealServer;
  readonly up: boolean;
  readonly detail: string;
}

/** Over how long the first checks are spread, milliseconds: one each, at most this. */
const spreadMs = 1000;
/** From so many checks on, those that started together are driven apart. */
const manyChecks = 100;
/** Checks started without letting anything else happen. */
const batchSize = 128;
/** Generous: a check has one or two descriptors. */
const maxInFlight = 16_384;
const troubleLogIntervalMs = 10_000;

/**
 * Watches the real servers of all virtual services. All checks run concurrently from one queue on one timer; each has
 * one deadline for all it does, and the next attempt comes `checkinterval` after the last one has ended. Equal checks
 * are made once and count for each service separately.
 *
 * A real server is not up before its first good check, unless it was up already or `checktype=on` says so.
 */
export class HealthMonitors {
  readonly #deps: HealthDeps;
  readonly #echo: EchoSockets;
  readonly #names = new HostNames();
  readonly #surroundings: CheckSurroundings;
  readonly #queue = new DueQueue<Monitor>();
  readonly #inFlight = new Set<Promise<void>>();
  readonly #statistics = new CheckStatistics();
  readonly #lag = new WorstOfLastMinute();
  readonly #listeners: (() => void)[] = [];
  #maintenance: MaintenanceDirectory;
  #monitors: ReadonlyMap<string, Monitor> = new Map();
  #watched: ReadonlyMap<string, WatchedRealServer> = new Map();
  #running = false;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = Infinity;
  #changeToReport = false;
  #nextTroubleLogMs = 0;

  constructor(deps: HealthDeps) {
    this.#deps = deps;
    this.#echo = new EchoSockets(deps.native);
    this.#surroundings = {
      native: deps.native,
      echo: this.#echo,
      names: this.#names,
      userAgent: `xlb/${deps.version}`,
      tls: deps.tls ?? anyCertificate,
    };
    this.#maintenance = new MaintenanceDirectory("", this.#names);
  }

  /**
   * Replaces what is checked. A check that stays the same goes on undisturbed, a real server that stays keeps its
   * health even if its check changes. New ones start as `unknown`, those in `seedUp` (`printIdentity(identity) + " " +
   * realServerKey`) as up, `checktype=on` as up; `checktype=off` stays as it was, and is down if nothing is known.
   * `maintenanceDir` is the configuration's, empty for none.
   */
  update(services: readonly ConfiguredService[], seedUp: ReadonlySet<string>, maintenanceDir = ""): void {
    if (maintenanceDir !== this.#maintenance.path) {
      this.#maintenance = new MaintenanceDirectory(maintenanceDir, this.#names);
    }
    const monitors = new Map<string, Monitor>();
    const watched = new Map<string, WatchedRealServer>();
    const fresh: Monitor[] = [];
    for (const monitor of this.#monitors.values()) monitor.watched.clear();
    for (const [key, { service, realServer }] of byTableEntry(services)) {
      const spec = realServer.check;
      let monitor: Monitor | undefined;
      if (spec.type.kind !== "off") {
        const monitorKey = checkKey(spec, service.checkIntervalMs);
        monitor = monitors.get(monitorKey);
        if (monitor === undefined) {
          monitor = this.#monitors.get(monitorKey);
          if (monitor === undefined) {
            monitor = new Monitor(spec, service.checkIntervalMs, this.#surroundings);
            fresh.push(monitor);
          } else monitor.retune(spec);
          monitors.set(monitorKey, monitor);
        }
      }
      const before = this.#watched.get(key);
      const entry: WatchedRealServer = {
        identity: service.identity,
        service,
        realServer,
        identityText: printIdentity(service.identity),
        realServerText: realServerKey(realServer),
        address: realServer.address,
        port: realServer.port,
        failureCount: service.failureCount,
        check: describeCheck(spec),
        ...(monitor === undefined ? {} : { monitor }),
        state: before?.state ?? unknownHealth,
      };
      entry.state = this.#startingState(entry, spec.type.kind, before === undefined, seedUp.has(key));
      monitor?.watched.add(entry);
      watched.set(key, entry);
    }
    for (const [key, monitor] of this.#monitors) {
      if (monitors.has(key)) continue;
      monitor.retired = true;
      monitor.cancel();
    }
    this.#monitors = monitors;
    this.#watched = watched;
    for (const { dueMs, item } of this.#queue.drain()) if (!item.retired) this.#queue.push(dueMs, item);
    this.#spread(fresh);
    this.#arm();
  }

  snapshot(): RealServerHealth[] {
    return [...this.#watched.values()].map((entry) => {
      const last = entry.monitor?.last;
      return {
        identity: entry.identity,
        address: entry.address,
        port: entry.port,
        health: entry.state.health,
        check: entry.check,
        failuresSinceUp: entry.state.failuresSinceUp,
        failureCount: entry.failureCount,
        ...(last === undefined ? {} : { last }),
      };
    });
  }

  /** By kind of check, since the monitors were made; buckets are cumulative. */
  checkDurations(): CheckDurations[] {
    return this.#statistics.durations();
  }

  /** How late a check started at the worst, in the last minute. */
  lagMs(): number {
    return this.#lag.worst(performance.now());
  }

  /** Called soon after some real server has changed its state; several changes may be one call. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Checks until the signal aborts; then nothing of it is left, and what was under way counts for nothing. */
  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#running = true;
    this.#spread(this.#queue.drain().map(({ item }) => item));
    this.#arm();
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    this.#running = false;
    clearTimeout(this.#timer);
    for (const monitor of this.#monitors.values()) monitor.cancel();
    await Promise.all(this.#inFlight);
    this.#echo.close();
  }

  /** What is known of a real server before its next check. */
  #startingState(entry: WatchedRealServer, type: string, isNew: boolean, seeded: boolean): HealthState {
    const at = new Date(this.#deps.now());
    let { state } = entry;
    if (type === "on" || (isNew && seeded)) {
      if (state.health.state !== "up") state = { health: { state: "up", since: at }, failuresSinceUp: 0 };
    } else if (type === "off") {
      if (state.health.state === "unknown") state = forceDown(state, "never checked", at);
      return state;
    }
    const file = entry.monitor && this.#maintenance.fileFor(entry.address, entry.monitor.realPort);
    if (file !== undefined) return forceDown(state, maintenanceReason(file), at);
    // An equal check has its say at once.
    const last = isNew && !seeded ? entry.monitor?.last?.result : undefined;
    return last === undefined ? state : transition(state, last, entry.failureCount, at, this.#deps.dampFlappingMs);
  }

  /** First attempts: at once, but not all in the same millisecond. */
  #spread(monitors: readonly Monitor[]): void {
    const nowMs = performance.now();
    const stepMs = Math.min(1, spreadMs / monitors.length);
    monitors.forEach((monitor, index) => {
      if (monitors.length > manyChecks) monitor.shortenNextPause(0.2 + 0.8 * Math.random());
      this.#queue.push(nowMs + index * stepMs, monitor);
    });
  }

  #arm(): void {
    const dueMs = this.#queue.nextDueMs;
    if (!this.#running || dueMs === undefined || this.#inFlight.size >= maxInFlight) return;
    if (this.#timer !== undefined && this.#timerDueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(() => this.#startDue(), Math.max(0, Math.ceil(dueMs - performance.now())));
  }

  #startDue(): void {
    this.#timer = undefined;
    for (let started = 0; started < batchSize && this.#inFlight.size < maxInFlight; started++) {
      const nowMs = performance.now();
      const dueMs = this.#queue.nextDueMs;
      if (dueMs === undefined || dueMs > nowMs) break;
      const monitor = this.#queue.pop();
      if (monitor === undefined) break;
      this.#lag.add(nowMs - dueMs, nowMs);
      const task = this.#check(monitor).finally(() => {
        this.#inFlight.delete(task);
        if (!this.#running || monitor.retired) return;
        this.#queue.push(performance.now() + monitor.pauseMs(), monitor);
        this.#arm();
      });
      this.#inFlight.add(task);
    }
    this.#arm();
  }

  async #check(monitor: Monitor): Promise<void> {
    const file = this.#maintenance.fileFor(monitor.address, monitor.realPort);
    if (file !== undefined) {
      const at = new Date(this.#deps.now());
      for (const entry of monitor.watched) {
        this.#enter(entry, forceDown(entry.state, maintenanceReason(file), at));
        this.#record(entry, at, false, "Server in maintenance");
      }
      return;
    }
    let result: CheckResult;
    try {
      result = await monitor.attempt();
    } catch (error) {
      if (isOwnTrouble(error)) {
        this.#reportTrouble(error);
        return;
      }
      const log = { err: error, check: monitor.label, address: monitor.address };
      this.#deps.log("error", log, `A ${monitor.label} check of ${monitor.address} broke: ${describeError(error)}`);
      result = { up: false, detail: `the check broke: ${describeError(error)}`, durationMs: 0 };
    }
    if (this.#running && !monitor.retired) this.#conclude(monitor, result);
  }

  #conclude(monitor: Monitor, result: CheckResult): void {
    const at = new Date(this.#deps.now());
    monitor.last = { at, result };
    this.#statistics.add(monitor.label, result);
    for (const entry of monitor.watched) {
      const { failuresSinceUp } = entry.state;
      const next = transition(entry.state, result, entry.failureCount, at, this.#deps.dampFlappingMs);
      if (!next.changed && next.failuresSinceUp !== failuresSinceUp) this.#logCount(entry, next, result);
      this.#enter(entry, next);
      this.#record(entry, at, result.up, result.detail);
    }
  }

  #record({ service, realServer }: WatchedRealServer, at: Date, up: boolean, detail: string): void {
    this.#deps.record?.({ at, service, realServer, up, detail });
  }

  #enter(entry: WatchedRealServer, next: Transition): void {
    const { changed, ...state } = next;
    const { health } = state;
    entry.state = state;
    if (!changed) return;
    const name = `Real server ${entry.realServerText} of ${entry.identityText}`;
    if (health.state === "down") this.#deps.log("warn", logFields(entry), `${name} is down: ${health.reason}`);
    else this.#deps.log("info", logFields(entry), `${name} is ${health.state}`);
    this.#reportChange();
  }

  /** The texts are ldirectord's. */
  #logCount(entry: WatchedRealServer, { failuresSinceUp }: HealthState, result: CheckResult): void {
    const name = `${entry.realServerText} (${entry.identityText})`;
    const message =
      failuresSinceUp === 0
        ? `Resetting soft failure count: ${name}`
        : `Soft failure real server: ${name} failure ${failuresSinceUp}/${entry.failureCount}: ${result.detail}`;
    this.#deps.log("info", logFields(entry), message);
  }

  #reportChange(): void {
    if (this.#changeToReport) return;
    this.#changeToReport = true;
    setImmediate(() => {
      this.#changeToReport = false;
      for (const listener of this.#listeners) listener();
    });
  }

  /** The director has run out of something; the servers are not to blame, so nothing is counted. */
  #reportTrouble(error: unknown): void {
    const nowMs = performance.now();
    if (nowMs < this.#nextTroubleLogMs) return;
    this.#nextTroubleLogMs = nowMs + troubleLogIntervalMs;
    const message = `Health checks cannot be made and count for nothing: ${describeError(error)}`;
    this.#deps.log("error", { err: error }, message);
  }
}

function logFields(entry: WatchedRealServer): Record<string, unknown> {
  return { service: entry.identityText, realServer: entry.realServerText, check: entry.check };
}

function maintenanceReason(file: string): string {
  return `maintenance: file ${file}`;
}

interface TableEntry {
  readonly service: ConfiguredService;
  readonly realServer: ConfiguredRealServer;
}

/** A real server that is listed twice in a service is one entry, and the last line holds. */
function byTableEntry(services: readonly ConfiguredService[]): Map<string, TableEntry> {
  const entries = new Map<string, TableEntry>();
  for (const service of services) {
    for (const realServer of service.realServers) {
      entries.set(`${printIdentity(service.identity)} ${realServerKey(realServer)}`, { service, realServer });
    }
  }
  return entries;
}
