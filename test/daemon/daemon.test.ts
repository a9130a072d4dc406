import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { pino } from "pino";
import type { Config, ConfiguredService, Diagnostic } from "../../src/model/config.ts";
import type { Health, RealServerHealth } from "../../src/model/health.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import { Daemon, seedUp } from "../../src/daemon/daemon.ts";
import type { LoadedConfig, OverrideStore, Task } from "../../src/daemon/daemon.ts";
import { LogFileError } from "../../src/daemon/log.ts";
import type { Phase } from "../../src/notify/alert.ts";
import type { OwnServices, RoundReport } from "../../src/reconcile/reconciler.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";
import { Drains } from "../../src/daemon/drains.ts";
import { overridesInMemory } from "../support/overrides-in-memory.ts";
import { ownInMemory } from "../support/own-services.ts";
import { config, configuredReal, configuredService, identity, real } from "../reconcile/samples.ts";

const since = new Date(0);

/** Health as a test sets it. */
class StillMonitors {
  readonly health = new Map<string, Health>();
  readonly updates: { services: readonly ConfiguredService[]; seedUp: ReadonlySet<string> }[] = [];
  #changed = (): void => {};

  update(services: readonly ConfiguredService[], seed: ReadonlySet<string>): void {
    this.updates.push({ services, seedUp: seed });
    for (const key of seed) if (!this.health.has(key)) this.health.set(key, { state: "up", since });
  }

  set(key: string, health: Health): void {
    this.health.set(key, health);
    this.#changed();
  }

  snapshot(): RealServerHealth[] {
    return this.updates.at(-1)!.services.flatMap((service) =>
      service.realServers.map((realServer) => ({
        identity: service.identity,
        address: realServer.address,
        port: realServer.port,
        health: this.health.get(`${printIdentity(service.identity)} ${realServerKey(realServer)}`) ?? {
          state: "unknown",
        },
        check: "negotiate http",
        failuresSinceUp: 0,
        failureCount: 1,
      })),
    );
  }

  checkDurations(): [] {
    return [];
  }

  lagMs(): number {
    return 3;
  }

  onChange(listener: () => void): void {
    this.#changed = listener;
  }

  async run(signal: AbortSignal): Promise<void> {
    await aborted(signal);
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

function start(
  t: TestContext,
  options: {
    config?: Config;
    plane?: MemoryDataPlane;
    tasks?: Task[];
    own?: OwnServices;
    drains?: Drains;
    overrides?: OverrideStore;
  } = {},
) {
  const plane = options.plane ?? new MemoryDataPlane();
  const monitors = new StillMonitors();
  const lines: string[] = [];
  const opened: string[] = [];
  const file: { next: () => Promise<LoadedConfig> } = {
    next: () => Promise.resolve({ config: config(configuredService()), diagnostics: [] }),
  };
  const log = {
    logger: pino({}, { write: (json: string) => void lines.push((JSON.parse(json) as { msg: string }).msg) }),
    open: (target: string): void => {
      if (target.startsWith("/nowhere")) throw new LogFileError(target, new Error("ENOENT"));
      opened.push(target);
    },
  };
  const own = options.own ?? ownInMemory();
  const reports: { report: RoundReport; phase: Phase }[] = [];
  const messages: string[] = [];
  const messenger = {
    round: (report: RoundReport, phase: Phase): void => void reports.push({ report, phase }),
    fileChanged: (now: Config): void => void messages.push(`file changed, callback=${now.callback}`),
    finish: (): Promise<void> => Promise.resolve(void messages.push("finish")),
  };
  const daemon = new Daemon(
    {
      identity: {
        pid: 1,
        version: "0",
        startedAt: since,
        configFile: "ldirectord.cf",
        stateDir: "/run/xlb",
        bpffs: "/sys/fs/bpf/xlb",
        metrics: "off",
      },
      plane,
      monitors,
      log,
      load: () => file.next(),
      tasks: options.tasks ?? [],
      driftIntervalMs: 3_600_000,
      own,
      drains: options.drains ?? new Drains("/nonexistent/drains", assert.fail),
      overrides: options.overrides ?? overridesInMemory(),
      messenger,
    },
    options.config ?? config(configuredService()),
  );
  const running = daemon.run(new AbortController().signal);
  running.catch(() => {});
  t.after(async () => {
    await daemon.stop(true).catch(() => {});
  });
  const table = (): string[] =>
    plane
      .read()
      .services.flatMap((service) => service.realServers.map((entry) => `${realServerKey(entry)}=${entry.weight}`));
  return { daemon, plane, monitors, lines, opened, file, running, table, own, reports, messages };
}

const firstKey = "tcp:10.10.10.53:80 192.168.200.102:80";
const diagnostic: Diagnostic = {
  file: "ldirectord.cf",
  line: 7,
  column: 2,
  severity: "error",
  message: "Unknown command",
};

test("A real server that was held out by hand, or drained, keeps its connections over a restart", async (t) => {
  const zero = (address: string) => real(address, 0);
  const file = config(configuredService());
  const [held, drained] = file.services[0]!.realServers;
  const plane = new MemoryDataPlane({
    services: [
      {
        identity,
        scheduler: "rr",
        schedulerFlags: [],
        onePacket: false,
        realServers: [zero(held!.address), zero(drained!.address)],
      },
    ],
  });
  const owner = { uid: 0, user: "alice", program: "ipvsadm" };
  const setting = { kind: "real-server", realServer: zero(held!.address), added: false, despiteChecks: false } as const;
  const overrides = overridesInMemory({
    identity,
    realServer: { address: held!.address, port: 80 },
    setting,
    owner,
    since,
  });
  const folder = mkdtempSync(join(tmpdir(), "xlb-held-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const drains = new Drains(join(folder, "drains"), assert.fail);
  drains.put({ realServer: drained!.address, since });
  const situation = start(t, { config: file, plane, overrides, drains });
  await situation.daemon.ready();
  assert.deepEqual(
    situation.table().sort(),
    ["127.0.0.1:80=1", `${held!.address}:80=0`, `${drained!.address}:80=0`].sort(),
  );
  assert.ok(
    plane.batches.flat().every(({ kind }) => kind !== "remove-real-server"),
    "nothing was taken away",
  );
});

test("A change of health reaches the table without being asked for", async (t) => {
  const { daemon, monitors, table } = start(t);
  await daemon.ready();
  assert.deepEqual(table(), ["127.0.0.1:80=1"]);
  monitors.set(firstKey, { state: "up", since });
  while (table()[0] !== "192.168.200.102:80=1") await new Promise(setImmediate);
});

test("A restart moves nothing: what has a weight is up until it has been checked", async (t) => {
  const plane = new MemoryDataPlane({
    services: [
      {
        identity,
        scheduler: "lblc",
        schedulerFlags: [],
        persistence: { timeout: 100, prefix: 32 },
        onePacket: false,
        realServers: [real("192.168.200.102"), real("192.168.200.103")],
      },
    ],
  });
  const { daemon } = start(t, { plane });
  await daemon.ready();
  assert.deepEqual(plane.batches, []);
});

test("What stands at weight 0 is not up at the start", () => {
  const service = { identity, scheduler: "rr", schedulerFlags: [], onePacket: false } as const;
  const state = { services: [{ ...service, realServers: [real("10.0.0.1", 0), real("10.0.0.2", 3)] }] };
  const file = config(configuredService());
  assert.deepEqual([...seedUp(file, state)], ["tcp:10.10.10.53:80 10.0.0.2:80"]);
});

test("What the file gives no weight is up at the start where weight 0 means nothing else", () => {
  const realServers = [configuredReal("10.0.0.1", { weight: 0 })];
  const service = { identity, scheduler: "rr", schedulerFlags: [], onePacket: false } as const;
  const state = { services: [{ ...service, realServers: [real("10.0.0.1", 0)] }] };
  const seeds = (quiescent: boolean): string[] => [
    ...seedUp(config(configuredService({ realServers, quiescent })), state),
  ];
  assert.deepEqual(seeds(false), ["tcp:10.10.10.53:80 10.0.0.1:80"]);
  assert.deepEqual(seeds(true), []);
});

test("A reload puts the new file in force before it is answered", async (t) => {
  const { daemon, plane, file, opened } = start(t);
  await daemon.ready();
  const changed = { ...config(configuredService({ scheduler: "wlc" })), logFile: "local3" };
  file.next = () => Promise.resolve({ config: changed, diagnostics: [] });
  assert.equal((await daemon.answer({ kind: "reload" })).kind, "done");
  assert.equal(plane.read().services[0]!.scheduler, "wlc");
  assert.deepEqual(opened, ["local3"]);
  const { reloads, reloadFailures, lastReload } = daemon.status();
  assert.deepEqual([reloads, reloadFailures, lastReload.ok], [1, 0, true]);
});

test("A reload leaves alone what does not change, a real server of weight 0 that is up included", async (t) => {
  const realServers = [configuredReal("192.168.200.102", { weight: 0 })];
  const file = config(configuredService({ realServers }));
  const { daemon, monitors, plane, file: onDisk, table } = start(t, { config: file });
  monitors.set(firstKey, { state: "up", since });
  await daemon.ready();
  const batches = plane.batches.length;
  onDisk.next = () => Promise.resolve({ config: file, diagnostics: [] });
  await daemon.reload();
  assert.deepEqual(table(), ["192.168.200.102:80=0"]);
  assert.equal(plane.batches.length, batches);
});

test("The first round of checks belongs to the start, or to the reload before it", async (t) => {
  const { daemon, monitors, reports, file } = start(t);
  const phases = (): string[] => reports.splice(0).map(({ phase }) => phase);
  await daemon.ready();
  monitors.set(firstKey, { state: "down", since, reason: "refused" });
  while (reports.length < 2) await new Promise(setImmediate);
  assert.deepEqual(phases(), ["starting", "starting"], "one real server has not been checked yet");
  monitors.set("tcp:10.10.10.53:80 192.168.200.103:80", { state: "down", since, reason: "refused" });
  while (reports.length < 1) await new Promise(setImmediate);
  monitors.set(firstKey, { state: "down", since, reason: "reset" });
  while (reports.length < 2) await new Promise(setImmediate);
  assert.deepEqual(phases(), ["starting", "running"]);
  file.next = () => Promise.resolve({ config: config(configuredService()), diagnostics: [] });
  await daemon.reload();
  monitors.set(firstKey, { state: "down", since, reason: "again" });
  while (reports.length < 2) await new Promise(setImmediate);
  assert.deepEqual(phases(), ["reloading", "running"]);
  await daemon.stop(false);
  assert.deepEqual(phases().at(-1), "stopping");
});

test("After a change on disk the callback is asked for, with the file that is in force then", async (t) => {
  const { daemon, file, messages } = start(t);
  await daemon.ready();
  file.next = () => Promise.resolve({ config: { ...config(configuredService()), callback: "/new" }, diagnostics: [] });
  await daemon.fileChanged();
  assert.deepEqual(messages, ["file changed, callback=/new"]);
  await daemon.reload();
  assert.equal(messages.length, 1);
});

test("A file with an error changes nothing and is told in status, log and answer", async (t) => {
  const { daemon, plane, monitors, file, lines } = start(t);
  await daemon.ready();
  const before = plane.read();
  const { configLoadedAt } = daemon.status();
  file.next = () => Promise.resolve({ config: undefined, diagnostics: [diagnostic, { ...diagnostic, line: 9 }] });
  const message = "ldirectord.cf:7:2: error: Unknown command\nldirectord.cf:9:2: error: Unknown command";
  assert.deepEqual(await daemon.answer({ kind: "reload" }), { kind: "error", reason: "configuration", message });
  assert.deepEqual(plane.read(), before);
  assert.equal(monitors.updates.length, 1);
  const status = daemon.status();
  assert.deepEqual([status.reloads, status.reloadFailures], [1, 1]);
  assert.deepEqual([status.lastReload.ok, status.lastReload.message], [false, message]);
  assert.equal(status.configLoadedAt, configLoadedAt);
  assert.ok(lines.includes("Reload: ldirectord.cf:9:2: Unknown command"));
  monitors.set(firstKey, { state: "up", since });
  while (plane.read().services[0]!.realServers[0]!.address !== "192.168.200.102") await new Promise(setImmediate);
});

test("A logfile that cannot be opened is an error of the file", async (t) => {
  const { daemon, file, monitors } = start(t);
  await daemon.ready();
  const changed = { ...config(), logFile: "/nowhere/log" };
  file.next = () => Promise.resolve({ config: changed, diagnostics: [] });
  assert.deepEqual(await daemon.answer({ kind: "reload" }), {
    kind: "error",
    reason: "configuration",
    message: "unable to open logfile: /nowhere/log: ENOENT",
  });
  assert.equal(monitors.updates.length, 1);
});

test("Reloads that are asked for during one are served by one more", async (t) => {
  const { daemon, file } = start(t);
  await daemon.ready();
  let loads = 0;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  file.next = async () => {
    loads += 1;
    await held;
    return { config: config(configuredService()), diagnostics: [] };
  };
  const all = Promise.all([daemon.reload(), daemon.reload(), daemon.reload(), daemon.reload()]);
  release();
  await all;
  assert.equal(loads, 2);
});

test("A changed file is taken with autoreload and only told without it", async (t) => {
  const { daemon, lines } = start(t, { config: { ...config(configuredService()), autoreload: false } });
  await daemon.ready();
  await daemon.fileChanged();
  assert.equal(daemon.status().reloads, 0);
  assert.ok(lines.includes(" - ignore new configuration"));
  await daemon.reload();
  await daemon.fileChanged();
  assert.equal(daemon.status().reloads, 2);
});

test("Stopping removes the services with cleanstop and then the data path", async (t) => {
  const { daemon, plane, running } = start(t);
  await daemon.ready();
  assert.deepEqual(await daemon.answer({ kind: "stop", keep: false }), {
    kind: "done",
    message: "Stopped; the data path is detached",
  });
  await running;
  assert.ok(plane.destroyed);
});

test("A service with cleanstop=no goes on forwarding", async (t) => {
  const other = { ...identity, port: 443 } as const;
  const two = config(configuredService(), configuredService({ identity: other, cleanStop: false }));
  const { daemon, plane, running } = start(t, { config: two });
  await daemon.ready();
  await daemon.stop(false);
  await running;
  assert.ok(!plane.destroyed);
  assert.ok(plane.closed);
  assert.deepEqual(
    plane.read().services.map((service) => service.identity),
    [other],
  );
});

test("Stopping with keep changes no table", async (t) => {
  const { daemon, plane, running } = start(t);
  await daemon.ready();
  const before = plane.read();
  await daemon.stop(true);
  await running;
  assert.deepEqual(plane.read(), before);
  assert.ok(plane.closed && !plane.destroyed);
});

test("A task that fails ends the daemon, and the data path goes on forwarding", async (t) => {
  let fail = (_cause: Error): void => {};
  const failing: Task = {
    name: "network",
    run: () => new Promise((_resolve, reject) => (fail = reject)),
  };
  const { daemon, plane, running } = start(t, { tasks: [failing] });
  await daemon.ready();
  const before = plane.read();
  fail(new Error("no buffer space"));
  await assert.rejects(running, (error: Error) => {
    return error.message === "the network failed" && (error.cause as Error).message === "no buffer space";
  });
  assert.deepEqual(plane.read(), before);
  assert.ok(!plane.destroyed);
});

test("A task that ends by itself ends the daemon too", async (t) => {
  const { running } = start(t, { tasks: [{ name: "network", run: () => Promise.resolve() }] });
  await assert.rejects(running, /the network failed/);
});

test("The snapshot holds what the daemon, its checks and its plane tell", async (t) => {
  const { daemon } = start(t);
  await daemon.ready();
  const { planes, health, daemon: status } = daemon.snapshot();
  assert.equal(planes.length, 1);
  assert.equal(health.length, 2);
  assert.equal(status?.checkLagMs, 3);
});
