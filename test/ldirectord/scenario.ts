/** One course of events, met by ldirectord itself and by our daemon side by side; the tables of both are compared. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { readConfiguration } from "../../src/config/read.ts";
import { Daemon } from "../../src/daemon/daemon.ts";
import { Drains } from "../../src/daemon/drains.ts";
import type { LoadedConfig } from "../../src/daemon/daemon.ts";
import { HealthMonitors } from "../../src/health/health-monitors.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import type { DirectorState } from "../../src/model/state.ts";
import { loadNative } from "../../src/native.ts";
import { ldirectordMissing, ldirectordProgram } from "../support/ldirectord.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";
import { overridesInMemory } from "../support/overrides-in-memory.ts";
import { ownInMemory } from "../support/own-services.ts";

const runner = fileURLToPath(new URL("../../../test/ldirectord/ldirectord.pl", import.meta.url));
const addon = fileURLToPath(new URL("../../native/xlb.node", import.meta.url));

/** ldirectord counts its rounds in seconds: here a second takes a tenth. */
const roundMs = 100;
const deadlineMs = 120_000;

export function missing(): string | false {
  if (!existsSync(addon)) return "build/native/xlb.node is not built";
  return ldirectordMissing();
}

/** Last of every configuration: when it has been checked, all others have been, in the order of the file. */
const beacon = "192.0.2.254";

export class Scenario {
  readonly folder = mkdtempSync(join(tmpdir(), "xlb-scenario-"));
  readonly #file = join(this.folder, "ldirectord.cf");
  readonly #table = join(this.folder, "table");
  readonly #plane = new MemoryDataPlane();
  readonly #steps: string[] = [];
  #changes = 0;
  #theirs: ChildProcess | undefined;
  #theirLog = "";
  #ours: { daemon: Daemon; running: Promise<void> } | undefined;

  constructor() {
    for (const name of ["up", "maintenance"]) mkdirSync(join(this.folder, name));
    // Without one ldirectord would look for the machine's own.
    writeFileSync(join(this.folder, "ipvsadm"), "#!/bin/false\n");
    const check = `#!/bin/sh\n[ "$3" = ${beacon} ] && echo >> "${this.folder}/$SIDE"\n[ -e "${this.folder}/up/$3" ]\n`;
    writeFileSync(this.check, check);
    for (const name of ["ipvsadm", "check"]) chmodSync(join(this.folder, name), 0o755);
  }

  /** The command of external checks: a real server is up while it is in `up`. */
  get check(): string {
    return join(this.folder, "check");
  }

  get maintenanceDir(): string {
    return join(this.folder, "maintenance");
  }

  /** Sets the configuration; neither side is told. */
  configure(text: string): void {
    const round = `virtual=${beacon}:9\n\tchecktype=external\n\tcheckcommand=${this.check}\n\treal=${beacon}:9 gate\n`;
    writeFileSync(this.#file, `${text}\n${round}`);
    // ldirectord compares whole seconds.
    this.#changes += 1;
    const time = 1_700_000_000 + this.#changes;
    utimesSync(this.#file, time, time);
  }

  /** A file without the service that tells when a round is over. */
  breakConfiguration(text: string): void {
    writeFileSync(this.#file, text);
  }

  up(...addresses: readonly string[]): void {
    for (const address of addresses) writeFileSync(join(this.folder, "up", address), "");
  }

  down(...addresses: readonly string[]): void {
    for (const address of addresses) rmSync(join(this.folder, "up", address), { force: true });
  }

  maintain(name: string, inMaintenance: boolean): void {
    if (inMaintenance) writeFileSync(join(this.maintenanceDir, name), "");
    else rmSync(join(this.maintenanceDir, name), { force: true });
  }

  async start(): Promise<void> {
    const { SIDE: _side, ...environment } = process.env;
    this.#theirs = spawn("perl", [runner, ldirectordProgram, "-d", this.#file, "start"], {
      cwd: this.folder,
      env: { ...environment, SIDE: "theirs", PERLIO: "perlio", IPVSADM_TABLE: this.#table },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#theirs.stderr
      ?.setEncoding("utf8")
      .on("data", (text: string) => (this.#theirLog = (this.#theirLog + text).slice(-20_000)));
    process.env["SIDE"] = "ours";
    const { config, diagnostics } = await this.#load();
    assert.ok(config !== undefined, JSON.stringify(diagnostics));
    const daemon = new Daemon(
      {
        identity: {
          pid: process.pid,
          version: "0",
          startedAt: new Date(),
          configFile: this.#file,
          stateDir: this.folder,
          bpffs: this.folder,
          metrics: "off",
        },
        plane: this.#plane,
        monitors: new HealthMonitors({ native: loadNative(), log: () => {}, now: () => Date.now(), version: "0" }),
        log: { logger: pino({ level: "silent" }), open: () => {} },
        load: () => this.#load(),
        tasks: [],
        drains: new Drains(join(this.folder, "drains"), assert.fail),
        driftIntervalMs: 3_600_000,
        own: ownInMemory(),
        overrides: overridesInMemory(),
        messenger: { round: () => {}, fileChanged: () => {}, finish: () => Promise.resolve() },
      },
      config,
    );
    this.#ours = { daemon, running: daemon.run(new AbortController().signal) };
    this.#ours.running.catch(() => {}); // Awaited when it is stopped.
  }

  /** As on SIGHUP; a file with an error is refused by both. */
  async reload(): Promise<void> {
    this.#theirs?.kill("SIGHUP");
    await this.#ours?.daemon.reload().catch(() => {});
  }

  async stop(): Promise<void> {
    const theirs = this.#theirs;
    if (theirs !== undefined && theirs.exitCode === null && theirs.signalCode === null) {
      const ended = once(theirs, "exit");
      theirs.kill("SIGTERM");
      await ended;
    }
    await this.#ours?.daemon.stop(false);
    await this.#ours?.running;
    this.#theirs = this.#ours = undefined;
  }

  /** Does something, waits until both sides have checked all real servers since, and compares the tables. */
  async step(what: string, act: () => void | Promise<void>): Promise<string[]> {
    this.#steps.push(what);
    const course = (): string => `${this.#steps.join("; ")}\n${readFileSync(this.#file, "utf8")}`;
    await act();
    const running = this.#theirs !== undefined;
    const from = this.#rounds();
    // The round that is under way, one that reacts, and one that fails a second time.
    const enough = { theirs: from.theirs + 3, ours: from.ours + 3 };
    const deadline = performance.now() + deadlineMs;
    for (let now = from; running && (now.theirs < enough.theirs || now.ours < enough.ours); now = this.#rounds()) {
      assert.equal(this.#theirs?.exitCode, null, `ldirectord has ended\n${this.#theirLog}\n${course()}`);
      assert.ok(
        performance.now() < deadline,
        `no rounds: ${JSON.stringify({ now, enough })}\n${course()}\n${this.#theirLog}`,
      );
      await sleep(20);
    }
    while (this.theirs().join("\n") !== this.ours().join("\n")) {
      if (performance.now() > deadline || (!running && performance.now() > deadline - deadlineMs + 5_000)) break;
      await sleep(50);
    }
    assert.deepEqual(this.ours(), this.theirs(), `${course()}\n${this.#theirLog.slice(-4000)}`);
    return this.theirs();
  }

  /** The table that ldirectord has made, a line for each entry. */
  theirs(): string[] {
    if (!existsSync(this.#table)) return [];
    const lines: string[] = [];
    let service = "";
    for (const line of readFileSync(this.#table, "utf8").split("\n").filter(Boolean)) {
      if (!line.startsWith("\t")) service = line.split(" ")[0]!;
      lines.push(line.startsWith("\t") ? `${service} -> ${line.slice(1)}` : line);
    }
    return lines.sort();
  }

  ours(): string[] {
    return printState(this.#plane.read());
  }

  /** Ends both, whatever has become of them. */
  async remove(): Promise<void> {
    this.#theirs?.kill("SIGKILL");
    await this.#ours?.daemon.stop(true).catch(() => {});
    rmSync(this.folder, { recursive: true, force: true });
  }

  #rounds(): { theirs: number; ours: number } {
    const count = (side: string): number => statSync(join(this.folder, side), { throwIfNoEntry: false })?.size ?? 0;
    return { theirs: count("theirs"), ours: count("ours") };
  }

  async #load(): Promise<LoadedConfig> {
    const { config, diagnostics } = await readConfiguration(this.#file, loadNative());
    if (config === undefined) return { config, diagnostics };
    const services = config.services.map((service) => ({ ...service, checkIntervalMs: roundMs }));
    return { config: { ...config, services }, diagnostics };
  }
}

/** In the words of the table that stands in for the kernel's. */
function printState({ services }: DirectorState): string[] {
  return services
    .flatMap((service) => {
      const { identity, scheduler, persistence, onePacket, schedulerFlags } = service;
      const key = printIdentity(identity);
      const family6 = identity.kind === "mark" ? identity.family === "ipv6" : identity.address.includes(":");
      const settings = [
        scheduler,
        persistence?.timeout ?? 0,
        persistence === undefined || persistence.prefix === (family6 ? 128 : 32)
          ? "-"
          : printMask(persistence.prefix, family6),
        onePacket ? 1 : 0,
        schedulerFlags.length === 0 ? "-" : schedulerFlags.join(","),
      ];
      return [
        `${key} ${settings.join(" ")}`,
        ...service.realServers.map((real) => {
          const { method, weight, upperThreshold, lowerThreshold } = real;
          return `${key} -> ${realServerKey(real)} ${method} ${weight} ${upperThreshold} ${lowerThreshold}`;
        }),
      ];
    })
    .sort();
}

function printMask(prefix: number, family6: boolean): string {
  if (family6) return String(prefix);
  const mask = prefix === 0 ? 0 : 2 ** 32 - 2 ** (32 - prefix);
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 0xff).join(".");
}
