/** A real daemon in a network namespace of its own, with a service that its tests take up and down. */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readPidFile } from "../../src/control/pidfile.ts";

const main = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const parts = ["../../native/xlb.node", "../../bpf/director.bpf.o"];

/** What such a daemon needs and this machine does not have; false if it can run. */
export function daemonCannotRun(): string | false {
  if (process.getuid?.() !== 0) return "this needs root";
  const unbuilt = parts.find((part) => !existsSync(new URL(part, import.meta.url)));
  return unbuilt === undefined ? false : `${unbuilt} is not built`;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Waits until the condition holds; throws after a time that is enough on a busy machine. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${what}: not seen in time`);
    await sleep(20);
  }
}

export class RealDaemon {
  readonly directory: string;
  readonly stateDir: string;
  readonly configFile: string;
  readonly logFile: string;
  readonly #namespace: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #remove = (): void => this.remove();

  /** Makes the namespace, with 192.0.2.10 on its interface. `name` is unique among the tests. */
  constructor(name: string, environment: Readonly<Record<string, string>> = {}) {
    this.#namespace = `xlb-${name}-${process.pid}`;
    this.#environment = environment;
    this.directory = mkdtempSync(join(tmpdir(), `${this.#namespace}-`));
    this.stateDir = this.path("state");
    this.configFile = this.path("ldirectord.cf");
    this.logFile = this.path("ldirectord.log");
    process.once("exit", this.#remove);
    mkdirSync(this.path("bpf"));
    execFileSync("mount", ["-t", "bpf", "bpf", this.path("bpf")]);
    const ip = (...args: string[]): Buffer => execFileSync("ip", args, { stdio: "pipe" });
    ip("netns", "add", this.#namespace);
    const inside = ["-n", this.#namespace];
    ip(...inside, "link", "set", "lo", "up");
    ip(...inside, "link", "add", "front", "type", "veth", "peer", "name", "peer");
    ip(...inside, "addr", "add", "192.0.2.10/24", "dev", "front");
    for (const device of ["front", "peer"]) ip(...inside, "link", "set", device, "up");
    // A check that is as good as a file named after the real server is there.
    this.script("check", `test -e ${this.directory}/up-$3`);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** An executable of these lines of shell; returns its path. */
  script(name: string, lines: string): string {
    const path = this.path(name);
    writeFileSync(path, `#!/bin/sh\n${lines}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** Makes the next checks of a real server good, or bad. */
  set(address: string, isUp: boolean): void {
    if (isUp) writeFileSync(this.path(`up-${address}`), "");
    else rmSync(this.path(`up-${address}`), { force: true });
  }

  spawn(...args: string[]): ChildProcess {
    const global = ["--state-dir", this.stateDir, "--bpffs", this.path("bpf/xlb")];
    return spawn("nsenter", [`--net=/run/netns/${this.#namespace}`, process.execPath, main, ...args, ...global], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TZ: "UTC", ...this.#environment },
    });
  }

  async xlb(...args: string[]): Promise<Ended> {
    const child = this.spawn(...args);
    const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, "close")]);
    return { code: child.exitCode, stdout, stderr };
  }

  /** Puts a configuration in its place, starts a daemon with it, and throws what it says if it does not start. */
  async start(configuration: string, ...args: string[]): Promise<void> {
    writeFileSync(this.configFile, configuration);
    const options = ["-c", this.configFile, "--metrics", "off", "--table-size", "4096"];
    const { code, stderr } = await this.xlb("start", ...options, ...args);
    if (code !== 0) throw new Error(stderr);
  }

  /** `ADDRESS:PORT` of each entry of the tables, and its weight; keys of services other than port 80 come first. */
  async weights(): Promise<Record<string, number>> {
    const { stdout } = await this.xlb("stats", "--json");
    const { planes } = JSON.parse(stdout) as {
      planes: { services: { realServers: { key: string; weight: number }[] }[] }[];
    };
    const entries = planes.flatMap((plane) => plane.services.flatMap((service) => service.realServers));
    return Object.fromEntries(entries.map(({ key, weight }) => [key, weight]));
  }

  get pid(): number {
    return readPidFile(this.stateDir)?.pid ?? 0;
  }

  /** The non-empty lines of a file; none if there is no such file. */
  lines(path: string): string[] {
    return existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : [];
  }

  exists(path: string): boolean {
    return existsSync(path);
  }

  /** The texts of the log's lines, without time and name. */
  log(): string[] {
    return this.lines(this.logFile).map((line) => line.replace(/^\[[^\]]*\] /, ""));
  }

  remove(): void {
    process.off("exit", this.#remove);
    const daemon = readPidFile(this.stateDir);
    if (daemon?.alive === true) process.kill(daemon.pid, "SIGKILL");
    if (existsSync(`/run/netns/${this.#namespace}`)) {
      execFileSync("ip", ["netns", "del", this.#namespace], { stdio: "pipe" });
    }
    // Pinned links go with their bpf filesystem.
    execFileSync("umount", ["--lazy", this.path("bpf")], { stdio: "pipe" });
    rmSync(this.directory, { recursive: true, force: true });
  }
}
