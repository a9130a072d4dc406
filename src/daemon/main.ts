/** The daemon on a real machine: which parts it is made of, its signals, and the order in which it begins and ends. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { digestOf, watchConfig } from "../config/load.ts";
import { readConfiguration } from "../config/read.ts";
import { socketPath } from "../control/client.ts";
import { parseListenAddress, readDaemonOptions, writeDaemonOptions } from "../control/daemon-options.ts";
import type { DaemonOptions } from "../control/daemon-options.ts";
import { DaemonLock, ownServicesPath, readOwnServices, removeStateFiles } from "../control/pidfile.ts";
import { ControlServer } from "../control/server.ts";
import { readOverrides, writeOverrides } from "../control/overrides-file.ts";
import { openNetwork } from "../dataplane/xdp/netlink-network.ts";
import type { PlaneName } from "../model/statistics.ts";
import { directorSettings, parseSettings, printSetting } from "../model/tuning.ts";
import type { Setting } from "../model/tuning.ts";
import { idleSettings, withServiceSettings } from "../reconcile/service-settings.ts";
import { openPlanes } from "../dataplane/ladder/open-planes.ts";
import { HealthMonitors } from "../health/health-monitors.ts";
import type { Config } from "../model/config.ts";
import { loadNative } from "../native.ts";
import type { Native } from "../native.ts";
import { readVersion } from "../version.ts";
import { ConfigError, Daemon, printFinding, TaskError } from "./daemon.ts";
import type { DaemonIdentity, LoadedConfig, OverrideStore, Task } from "./daemon.ts";
import { MetricsServer } from "./http.ts";
import { ExecutedFiles } from "./executed-files.ts";
import { Drains } from "./drains.ts";
import { DaemonLog, LogFileError, systemLog } from "./log.ts";
import { OutsideMessenger } from "./messenger.ts";
import { notifySupervisor } from "./notify-supervisor.ts";
import { readTlsPolicy } from "./tls-policy.ts";
import { ownServicesFile } from "./own-services.ts";

/** The tables are compared with what is desired this often, though nothing has changed, milliseconds. */
const driftIntervalMs = 10_000;
/** A change of the file is seen within this time where the directory does not tell it, milliseconds. */
const watchIntervalMs = 1_000;

/** Of a file that somebody has truncated, and perhaps not yet written. */
const emptyDigest = digestOf(Buffer.alloc(0));

/** Whether the configuration is to blame for what `runDaemon` throws. */
export function isConfigurationError(cause: unknown): boolean {
  return cause instanceof ConfigError || cause instanceof LogFileError;
}

/**
 * Runs a daemon until it is stopped. `terminal` is a descriptor that gets every log line too. Throws what is wrong
 * with the file or the surroundings before packets meet anything new; a failure later leaves the data path forwarding.
 */
export async function runDaemon(options: DaemonOptions, terminal: number | undefined): Promise<void> {
  const early = new EarlySignals();
  const native = loadNative();
  const settings = parseSettings(options.settings ?? []);
  const file = new ConfigFile(options.config, native, settings);
  const loaded = await file.load();
  if (loaded.config === undefined) throw new ConfigError(loaded.diagnostics);
  const { supervised } = loaded.config;
  const lock = await DaemonLock.acquire(options.stateDir, options.bpffs, !supervised);
  const log = new DaemonLog(options.config, () => native, supervised ? (terminal ?? 1) : terminal, {
    ...systemLog,
    tag: calledLdirectord() ? "ldirectord" : "xlb",
  });
  try {
    if (!supervised) log.open(loaded.config.logFile);
    for (const diagnostic of loaded.diagnostics) log.logger.warn(printFinding(diagnostic));
    await runLocked({ options, settings, native, file, config: loaded.config, log, early });
  } catch (cause) {
    if (cause instanceof TaskError) log.logger.fatal({ err: cause }, "The daemon ends");
    else log.logger.fatal(`The daemon ends: ${(cause as Error).message}`);
    throw cause;
  } finally {
    early.end();
    log.close();
    lock.release();
    if (!goesOn(options)) removeStateFiles(options.stateDir);
  }
}

/** Scripts that were written for ldirectord look for its name in the system's log. */
function calledLdirectord(): boolean {
  return basename(process.argv[2] ?? "") === "ldirectord";
}

/** Settings that the daemon which left its options here was not started with. */
function settingsSinceLast({ stateDir, settings = [] }: DaemonOptions): readonly string[] {
  const before = new Set(readDaemonOptions(stateDir)?.settings);
  return settings.filter((text) => !before.has(text));
}

/** What `xlb restart` is to ask for once the operator has had the plane changed. */
function planeAfter({ plane }: DaemonOptions, to: PlaneName): DaemonOptions["plane"] {
  if (to === "ipvs") return "ipvs";
  return plane === "ipvs" ? "auto" : plane;
}

/** Whether packets are still forwarded: by the program, or by the kernel's IPVS with services of ours. */
function goesOn({ bpffs, stateDir }: DaemonOptions): boolean {
  return existsSync(join(bpffs, "director")) || readOwnServices(stateDir).size > 0;
}

interface Surroundings {
  readonly options: DaemonOptions;
  readonly settings: readonly Setting[];
  readonly native: Native;
  readonly file: ConfigFile;
  readonly config: Config;
  readonly log: DaemonLog;
  readonly early: EarlySignals;
}

/** The part for which the state directory is ours. */
async function runLocked({ options, settings, native, file, config, log, early }: Surroundings): Promise<void> {
  const { logger } = log;
  const version = readVersion();
  const undo = new Undo();
  try {
    const network = await openNetwork(native, logger);
    undo.add(() => network.close());
    const metrics = new MetricsServer(async () => {
      // Loaded by the first scrape: it takes a tenth of the time to start.
      const { renderPrometheus } = await import("../report/prometheus.ts");
      return await renderPrometheus(daemon.snapshot());
    });
    undo.add(() => metrics.close());
    const listening = await listenMetrics(metrics, options.metrics);
    // What the daemon before was started with is in its maps, unless it was tuned since.
    const sinceLast = directorSettings(parseSettings(settingsSinceLast(options)));
    const { plane, adopted } = await openPlanes(
      {
        bpffs: options.bpffs,
        choice: options.plane,
        refusalLog: join(options.stateDir, "refused.log"),
        ...(options.interfaces.length === 0 ? {} : { interfaces: options.interfaces }),
        ...(options.tableSize === undefined ? {} : { tableSlots: options.tableSize }),
        tunings: directorSettings(settings),
        tuningsSinceLast: sinceLast,
      },
      { native, network, log: logger },
    );
    const abandon = undo.add(() => (adopted ? plane.close() : plane.destroy()));
    // The kernel's IPVS has them, too.
    const { timeout_tcp: tcp = 0, timeout_tcpfin: tcpFin = 0, timeout_udp: udp = 0 } = sinceLast;
    if (tcp + tcpFin + udp > 0) plane.setTimeouts({ tcp, tcpFin, udp });
    const messenger = new OutsideMessenger({
      log: logger,
      host: hostname(),
      stopFallbackCommands: options.stopFallbackCommands === true,
      // Loaded by the first mail, of which many directors never send one.
      send: async (mail, signal) => await (await import("../notify/send-mail.ts")).sendMail(mail, signal),
    });
    const monitors = new HealthMonitors({
      native,
      log: (level, fields, message) => logger[level](fields, message),
      now: () => Date.now(),
      version,
      tls: readTlsPolicy(options.verifyTls),
      dampFlappingMs: (options.dampFlapping ?? 0) * 1000,
      record: (check) => messenger.record(check),
    });
    const ofServices = settings.filter(({ kind }) => kind === "service").map(printSetting);
    const identity: DaemonIdentity = {
      pid: process.pid,
      version,
      startedAt: new Date(),
      configFile: options.config,
      stateDir: options.stateDir,
      bpffs: options.bpffs,
      metrics: listening,
      ...(ofServices.length === 0 ? {} : { serviceSettings: ofServices }),
    };
    const tasks: Task[] = [
      { name: "watcher of the configuration", run: (signal) => file.watch(daemon, log, signal) },
      {
        name: "watcher of executed configurations",
        run: (signal) =>
          file.executed.watch(
            { changed: (changed) => daemon.fileChanged(changed), warn: (message) => logger.warn(message) },
            signal,
          ),
      },
      { name: "network", run: (signal) => network.run(signal) },
      ...messenger.tasks,
    ];
    const drains = new Drains(join(options.stateDir, "drains"), (message) => logger.warn(message));
    const own = ownServicesFile(ownServicesPath(options.stateDir), (message) => logger.warn(message));
    let overrideList = readOverrides(options.stateDir, (message) => logger.warn(message));
    const overrides: OverrideStore = {
      list: () => overrideList,
      replace: (now) => {
        writeOverrides(options.stateDir, now);
        overrideList = now;
      },
    };
    // Under a supervisor there is no logfile, whatever a reload brings.
    const target = config.supervised ? { logger, open: () => {} } : log;
    const load = (): Promise<LoadedConfig> => file.load();
    const planeChanged = (to: PlaneName): void => writeDaemonOptions({ ...options, plane: planeAfter(options, to) });
    const parts = { identity, plane, monitors, log: target, load, tasks, driftIntervalMs, own, drains, overrides };
    const daemon = new Daemon({ ...parts, messenger, planeChanged }, config);
    const control = new ControlServer((request) => daemon.answer(request));
    await control.listen(socketPath(options.stateDir));
    undo.add(() => control.close());
    writeDaemonOptions(options);
    const stopping = new AbortController();
    undo.add(handleSignals(daemon, log, stopping));
    early.replay();
    // From here on the daemon itself ends the data path as it was asked to.
    undo.remove(abandon);
    logger.info(`Starting xlb ${version} with ${options.config}, metrics ${listening}`);
    for (const service of idleSettings(config, settings)) {
      logger.warn(`--set ${service}/...: the configuration has no such virtual service`);
    }
    void daemon.ready().then(
      () => {
        logger.info(`The configuration is in force, ${Math.round(performance.now())} ms after the start`);
        notifySupervisor(native, `READY=1\nMAINPID=${process.pid}`);
      },
      () => {}, // It ended before it was ready; `run` tells why.
    );
    await daemon.run(stopping.signal);
  } finally {
    await undo.run();
  }
}

/** Signals that come while the daemon is being made do not kill it half way: they are kept for its own handlers. */
class EarlySignals {
  static readonly #names = ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"] as const;
  readonly #seen: NodeJS.Signals[] = [];
  readonly #keep = (signal: NodeJS.Signals): void => void this.#seen.push(signal);

  constructor() {
    for (const name of EarlySignals.#names) process.on(name, this.#keep);
  }

  /** For the handlers that are there now. */
  replay(): void {
    this.end();
    for (const signal of this.#seen.splice(0)) process.emit(signal, signal);
  }

  end(): void {
    for (const name of EarlySignals.#names) process.off(name, this.#keep);
  }
}

/** What is to be closed at the end, the newest first. */
class Undo {
  #steps: (() => unknown)[] = [];

  add(step: () => unknown): () => unknown {
    this.#steps.push(step);
    return step;
  }

  remove(step: () => unknown): void {
    this.#steps = this.#steps.filter((candidate) => candidate !== step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.reverse()) await step();
  }
}

/** Returns the address as the status tells it. */
async function listenMetrics(server: MetricsServer, wish: string): Promise<string> {
  if (wish === "off") return wish;
  const address = parseListenAddress(wish);
  if (address === undefined) throw new Error(`cannot serve metrics on ${wish}: it is no ADDRESS:PORT`);
  const port = await server.listen(address);
  return wish.replace(/\d+$/, String(port));
}

/** Returns how to stop listening to signals. A second signal to stop kills at once, as in ldirectord. */
function handleSignals(daemon: Daemon, log: DaemonLog, stopping: AbortController): () => void {
  const { logger } = log;
  const stop = (signal: NodeJS.Signals): void => {
    logger.info(`Linux Director Daemon terminated on signal: ${signal.slice("SIG".length)}`);
    stopping.abort();
  };
  const reload = (): void => {
    logger.info("Reloading Linux Director Daemon config on signal");
    daemon.reload().catch(() => {}); // Logged, counted, and shown by the status.
  };
  const reopen = (): void => log.reopen();
  const crash = (cause: unknown): void => {
    logger.fatal({ err: cause }, "The daemon ends; the data path goes on forwarding");
    process.exit(1);
  };
  process.once("SIGTERM", stop).once("SIGINT", stop).once("SIGQUIT", stop);
  process.on("SIGHUP", reload).on("SIGUSR1", reopen);
  process.on("uncaughtException", crash).on("unhandledRejection", crash);
  return () => {
    process.off("SIGTERM", stop).off("SIGINT", stop).off("SIGQUIT", stop).off("SIGHUP", reload).off("SIGUSR1", reopen);
    process.off("uncaughtException", crash).off("unhandledRejection", crash);
  };
}

/** The configuration file, and with it those that it executes: read, and watched for another content than that. */
class ConfigFile {
  readonly executed = new ExecutedFiles((path) => readConfiguration(path, this.#native));
  readonly #path: string;
  readonly #native: Native;
  readonly #settings: readonly Setting[];
  #digest: string | undefined;

  constructor(path: string, native: Native, settings: readonly Setting[]) {
    this.#path = path;
    this.#native = native;
    this.#settings = settings;
  }

  async load(): Promise<LoadedConfig> {
    const main = await readConfiguration(this.#path, this.#native);
    this.#digest = main.digest;
    if (main.config === undefined) return main;
    const { config, diagnostics } = await this.executed.join(main.config);
    return {
      config: withServiceSettings(config, this.#settings),
      diagnostics: [...main.diagnostics, ...diagnostics],
    };
  }

  async watch(daemon: Daemon, { logger }: DaemonLog, signal: AbortSignal): Promise<void> {
    const start = this.#digest === undefined ? {} : { digest: this.#digest };
    for await (const event of watchConfig(this.#path, { intervalMs: watchIntervalMs, ...start }, signal)) {
      if (event.kind === "unreadable") logger.warn(`Configuration file '${this.#path}': ${event.reason}`);
      // A reload that was asked for may have read it before it was seen here.
      else if (event.kind === "changed" && event.digest !== this.#digest) {
        if (event.digest !== emptyDigest) await daemon.fileChanged();
        // Valid, but taken by mistake it would end every service.
        else logger.warn(`Configuration file '${this.#path}' is empty now: taken only by \`xlb reload\``);
      }
    }
  }
}
