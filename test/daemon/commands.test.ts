/** The commands that start and end a daemon, with a real one in a network namespace. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readPidFile } from "../../src/control/pidfile.ts";
import type { DaemonStatus } from "../../src/control/protocol.ts";
import { LAYOUT_VERSION } from "../../src/dataplane/xdp/layout.generated.ts";
import { openMaps } from "../../src/dataplane/xdp/maps.ts";
import { loadNative } from "../../src/native.ts";

const main = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const parts = ["../../native/xlb.node", "../../bpf/director.bpf.o"];

function missing(): string | false {
  if (process.getuid?.() !== 0) return "this needs root";
  const unbuilt = parts.find((part) => !existsSync(new URL(part, import.meta.url)));
  return unbuilt === undefined ? false : `${unbuilt} is not built`;
}

const namespace = `xlb-commands-${process.pid}`;
const directory = join(tmpdir(), namespace);
const mount = join(directory, "bpf");
const bpffs = join(mount, "xlb");
const stateDir = join(directory, "state");
const configFile = join(directory, "ldirectord.cf");
const logFile = join(directory, "ldirectord.log");
const global = ["--state-dir", stateDir, "--bpffs", bpffs];
const daemonArguments = ["-c", configFile, "--metrics", "off", "--table-size", "4096"];

const configuration = `checkinterval=1
quiescent=no
logfile="${logFile}"
virtual=192.0.2.10:80
	fallback=127.0.0.1:80
	real=192.0.2.21:80 gate
	real=192.0.2.22:80 gate 3
	checktype=on
	scheduler=wrr
`;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ip(...args: string[]): void {
  execFileSync("ip", args, { stdio: "pipe" });
}

function spawnXlb(...args: string[]): ChildProcess {
  return spawn("nsenter", [`--net=/run/netns/${namespace}`, process.execPath, main, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TZ: "UTC" },
  });
}

async function xlb(...args: string[]): Promise<Ended> {
  const child = spawnXlb(...args, ...global);
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, "close")]);
  return { code: child.exitCode, stdout, stderr };
}

async function status(): Promise<DaemonStatus> {
  const { code, stdout } = await xlb("status", "--json");
  assert.equal(code, 0);
  return JSON.parse(stdout) as DaemonStatus;
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `${what}: not seen in time`);
    await sleep(20);
  }
}

/** Pins below the directory of the director; what the mount itself holds is none. */
function pins(): string[] {
  return existsSync(bpffs) ? readdirSync(bpffs).sort() : [];
}

/** The program on the interface, by its id; undefined if there is none. */
function attached(): string | undefined {
  const link = execFileSync("ip", ["-n", namespace, "-d", "link", "show", "dev", "front"], { encoding: "utf8" });
  return /prog\/xdp id (\d+)/.exec(link)?.[1];
}

function weights(): Record<string, number> {
  const output = execFileSync(process.execPath, [main, "stats", "--json", ...global], { encoding: "utf8" });
  const { planes } = JSON.parse(output) as {
    planes: { services: { realServers: { key: string; weight: number }[] }[] }[];
  };
  return Object.fromEntries(
    planes.flatMap((plane) =>
      plane.services.flatMap((service) => service.realServers.map(({ key, weight }) => [key, weight] as const)),
    ),
  );
}

/** Leaves nothing behind, also when the test is interrupted. */
function remove(): void {
  process.off("exit", remove);
  const daemon = readPidFile(stateDir);
  if (daemon?.alive === true) process.kill(daemon.pid, "SIGKILL");
  if (existsSync(`/run/netns/${namespace}`)) ip("netns", "del", namespace);
  // Pinned links go with their bpf filesystem.
  for (const line of readFileSync("/proc/mounts", "utf8").split("\n")) {
    const place = line.split(" ")[1] ?? "";
    if (place.startsWith(`${directory}/`)) execFileSync("umount", ["--lazy", place], { stdio: "pipe" });
  }
  rmSync(directory, { recursive: true, force: true });
}

describe("commands of a daemon", { skip: missing() }, () => {
  before(() => {
    process.once("exit", remove);
    for (const signal of ["SIGINT", "SIGTERM", "SIGPIPE", "SIGHUP"] as const)
      process.once(signal, () => process.exit(1));
    mkdirSync(directory);
    mkdirSync(mount);
    execFileSync("mount", ["-t", "bpf", "bpf", mount]);
    ip("netns", "add", namespace);
    ip("-n", namespace, "link", "set", "lo", "up");
    ip("-n", namespace, "link", "add", "front", "type", "veth", "peer", "name", "peer");
    ip("-n", namespace, "addr", "add", "192.0.2.10/24", "dev", "front");
    for (const name of ["front", "peer"]) ip("-n", namespace, "link", "set", name, "up");
    writeFileSync(configFile, configuration);
  });

  after(remove);

  test("Nothing runs: status is 3, reload is 3, stop is no failure", async () => {
    assert.deepEqual(await xlb("status"), { code: 3, stdout: "xlb is not running\n", stderr: "" });
    assert.deepEqual(JSON.parse((await xlb("status", "--json")).stdout), { running: false });
    assert.equal((await xlb("reload")).code, 3);
    assert.deepEqual(await xlb("stop"), { code: 0, stdout: "Not running\n", stderr: "" });
    assert.ok(!existsSync(stateDir));
  });

  test("A bad file is told with its lines, and nothing is left behind", async () => {
    const bad = join(directory, "bad.cf");
    writeFileSync(bad, `${configuration}\tnonsense=1\n\tquiescent=perhaps\n`);
    for (const command of ["start", "run"]) {
      const { code, stderr } = await xlb(command, "-c", bad);
      assert.equal(code, 2, command);
      assert.match(stderr, /bad\.cf:10:\d+: error: /);
      assert.match(stderr, /bad\.cf:11:\d+: error: /);
    }
    assert.equal((await xlb("start", "-c", join(directory, "missing.cf"))).code, 2);
    writeFileSync(bad, configuration.replace(logFile, "/proc/nowhere/log"));
    assert.equal((await xlb("start", "-c", bad)).code, 2);
    assert.ok(!existsSync(stateDir));
    assert.deepEqual(pins(), []);
  });

  test("A wrong command line is refused before anything begins", async () => {
    assert.equal((await xlb("start", "--plane", "magic")).code, 2);
    assert.equal((await xlb("start", "--metrics", "here")).code, 2);
  });

  test("A plane that the kernel does not have is refused with what is missing", async (t) => {
    if (existsSync("/proc/net/ip_vs")) return t.skip("this kernel has IPVS");
    const ipvs = await xlb("run", "-c", configFile, "--plane", "ipvs");
    assert.equal(ipvs.code, 1);
    assert.match(ipvs.stderr, /Linux \S+ has no IPVS: .*ip_vs/);
    assert.ok(!existsSync(stateDir));
  });

  test("A metrics address that is not ours is an error, and nothing is attached", async () => {
    const { code, stderr } = await xlb("start", "-c", configFile, "--metrics", "198.51.100.1:9820");
    assert.equal(code, 1);
    assert.match(stderr, /cannot serve metrics on 198\.51\.100\.1 port 9820/);
    assert.equal(stderr.match(/EADDRNOTAVAIL/g)?.length, 1, "the reason is told once");
    assert.match(readFileSync(logFile, "utf8"), /Fatal: The daemon ends: cannot serve metrics [^|]*\n$/);
    assert.deepEqual(pins(), []);
    assert.equal(attached(), undefined);
    assert.ok(!existsSync(stateDir));
  });

  test("A directory that cannot be made is an error", { timeout: 30_000 }, async () => {
    const child = spawnXlb("start", "-c", configFile, "--bpffs", bpffs, "--state-dir", "/proc/nowhere/state");
    const [stderr] = await Promise.all([text(child.stderr!), once(child, "close")]);
    assert.equal(child.exitCode, 1);
    assert.match(stderr, /cannot make the directory \/proc\/nowhere: /);
  });

  test("An interface that does not exist is told by start and status", async () => {
    const { code, stdout } = await xlb("start", ...daemonArguments, "--interface", "nowhere");
    assert.equal(code, 0);
    assert.match(stdout, /^interface nowhere not attached: does not exist \(yet\)$/m);
    assert.match((await xlb("status")).stdout, /^interface +nowhere not attached: does not exist/m);
    assert.equal((await xlb("stop")).code, 0);
  });

  test("start returns when the tables hold what the file says", async () => {
    const { code, stdout, stderr } = await xlb("start", ...daemonArguments);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^xlb is running with pid \d+\n/);
    assert.deepEqual(weights(), { "192.0.2.21:80": 1, "192.0.2.22:80": 3 });
    assert.notEqual(attached(), undefined);
    assert.match(
      readFileSync(logFile, "utf8"),
      /Added real server: 192\.0\.2\.22:80 \(192\.0\.2\.10:80\) \(Weight set to 3\)/,
    );
    assert.match((await xlb("status")).stdout, /is running with pid/);
  });

  test("A second daemon is refused by what it would share", async () => {
    const { pid } = await status();
    const again = await xlb("start", ...daemonArguments);
    assert.deepEqual(again, { code: 0, stdout: `xlb is already running with pid ${pid}\n`, stderr: "" });
    const other = join(directory, "other.cf");
    writeFileSync(other, configuration);
    for (const [command, file] of [
      ["run", configFile],
      ["start", other],
    ] as const) {
      const { code, stderr } = await xlb(command, "-c", file);
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`already running with pid ${pid}`));
    }
    const child = spawnXlb(
      "run",
      "-c",
      configFile,
      "--state-dir",
      `${stateDir}-2`,
      "--bpffs",
      bpffs,
      "--metrics",
      "off",
    );
    const [stderr] = await Promise.all([text(child.stderr!), once(child, "close")]);
    assert.equal(child.exitCode, 1);
    assert.match(stderr, /another daemon uses .*bpf\/xlb/);
    assert.ok(!existsSync(`${stateDir}-2`));
    assert.equal((await status()).pid, pid);
  });

  test("reload waits until the file is in force, and a bad one changes nothing", async () => {
    writeFileSync(configFile, configuration.replace("gate 3", "gate 5"));
    const good = await xlb("reload");
    assert.equal(good.code, 0, good.stderr);
    assert.equal(weights()["192.0.2.22:80"], 5);
    appendFileSync(configFile, "\tnonsense=1\n");
    const bad = await xlb("reload");
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /ldirectord\.cf:10:\d+: error: /);
    assert.equal(weights()["192.0.2.22:80"], 5);
    const { reloads, reloadFailures, lastReload } = await status();
    assert.deepEqual([reloads, reloadFailures, lastReload.ok], [2, 1, false]);
    assert.match((await xlb("status")).stdout, /last reload {4}FAILED/);
    const { pid } = await status();
    assert.equal((await xlb("restart")).code, 2);
    assert.equal((await status()).pid, pid, "a restart with a bad file keeps the daemon");
    writeFileSync(configFile, configuration);
    assert.equal((await xlb("reload")).code, 0);
  });

  test("A file that was emptied is left alone by autoreload", async () => {
    writeFileSync(configFile, `autoreload=yes\n${configuration}`);
    assert.equal((await xlb("reload")).code, 0);
    writeFileSync(configFile, "");
    await until("the log tells it", () => readFileSync(logFile, "utf8").includes("is empty now"));
    writeFileSync(configFile, `autoreload=yes\n${configuration.replace("gate 3", "gate 6")}`);
    await until("the new weight", () => weights()["192.0.2.22:80"] === 6);
    writeFileSync(configFile, configuration);
    assert.equal((await xlb("reload")).code, 0);
  });

  test("SIGHUP reloads though autoreload is off", async () => {
    const { pid } = await status();
    writeFileSync(configFile, configuration.replace("gate 3", "gate 7"));
    process.kill(pid, "SIGHUP");
    await until("the new weight", () => weights()["192.0.2.22:80"] === 7);
    writeFileSync(configFile, configuration);
    assert.equal((await xlb("reload")).code, 0);
  });

  test("After kill -9 the data path is there, and the next daemon takes it over", async () => {
    const { pid } = await status();
    process.kill(pid, "SIGKILL");
    await until("the death", async () => (await xlb("status")).code === 1);
    assert.deepEqual(weights(), { "192.0.2.21:80": 1, "192.0.2.22:80": 3 });
    assert.notEqual(attached(), undefined);
    const lines = readFileSync(logFile, "utf8").split("\n").length;
    const { code, stderr } = await xlb("start", ...daemonArguments);
    assert.equal(code, 0, stderr);
    const added = readFileSync(logFile, "utf8")
      .split("\n")
      .slice(lines - 1)
      .filter((line) => /(Added|Deleted) /.test(line));
    assert.deepEqual(added, []);
    assert.deepEqual(weights(), { "192.0.2.21:80": 1, "192.0.2.22:80": 3 });
  });

  test("restart keeps the options and the data path", async () => {
    const { pid } = await status();
    const { code, stderr } = await xlb("restart");
    assert.equal(code, 0, stderr);
    const now = await status();
    assert.notEqual(now.pid, pid);
    assert.deepEqual([now.configFile, now.metrics], [configFile, "off"]);
    assert.deepEqual(weights(), { "192.0.2.21:80": 1, "192.0.2.22:80": 3 });
  });

  test("a restart by an older xlb keeps the daemon", async () => {
    const { pid } = await status();
    const maps = openMaps(loadNative(), bpffs, true);
    const settings = maps.settings.read(0);
    maps.settings.write(0, { ...settings, layout_version: LAYOUT_VERSION + 1 });
    try {
      const { code, stderr } = await xlb("restart");
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`layout version ${LAYOUT_VERSION + 1}, this xlb has ${LAYOUT_VERSION}: stop`));
      assert.equal((await status()).pid, pid);
    } finally {
      maps.settings.write(0, settings);
      maps.close();
    }
  });

  test("what is tuned lasts over a restart, and a setting that is given to it is in force", async () => {
    const value = async (name: string): Promise<number | undefined> =>
      (JSON.parse((await xlb("tune", "--json")).stdout) as Record<string, number>)[name];
    const unknown = "tcp:192.0.2.99:80/idle_timeout=9";
    await xlb("restart", "--set", "timeout_tcp=888", "--set", "new_per_source=50", "--set", unknown);
    assert.equal(await value("timeout_tcp"), 888);
    assert.match(readFileSync(logFile, "utf8"), /--set tcp:192\.0\.2\.99:80\/\.\.\.: the configuration has no such/);
    await xlb("tune", "timeout_tcp=777");
    await xlb("restart", "--set", "timeout_udp=66");
    assert.deepEqual([await value("timeout_tcp"), await value("timeout_udp")], [777, 66]);
    const { stdout } = await xlb("status");
    assert.match(stdout, /^set {12}new_per_source=50\nset {12}tcp:192\.0\.2\.99:80\/idle_timeout=9$/m);
    await xlb("restart", "--set", "timeout_tcp=888");
    assert.equal(await value("timeout_tcp"), 888);
  });

  test("stop --keep leaves everything forwarding, and stop then cleans up", async () => {
    assert.deepEqual(await xlb("stop", "--keep"), {
      code: 0,
      stdout: "Stopped; the data path goes on forwarding\n",
      stderr: "",
    });
    assert.notEqual(attached(), undefined);
    assert.deepEqual(weights(), { "192.0.2.21:80": 1, "192.0.2.22:80": 3 });
    const { code, stdout } = await xlb("status");
    assert.equal(code, 3);
    assert.match(stdout, /^xlb is not running; the data path in .* forwards on/);
    assert.match((await xlb("stop")).stdout, /^Not running; the data path in .* is detached/);
    assert.equal(attached(), undefined);
    assert.deepEqual(pins(), []);
    assert.ok(!existsSync(stateDir));
  });

  test("A service with cleanstop=no goes on after stop", async () => {
    writeFileSync(configFile, `${configuration}\tcleanstop=no\n`);
    assert.equal((await xlb("start", ...daemonArguments)).code, 0);
    assert.match((await xlb("stop")).stdout, /1 service with cleanstop=no goes on forwarding/);
    assert.deepEqual(weights(), { "192.0.2.21:80": 1, "192.0.2.22:80": 3 });
    assert.notEqual(attached(), undefined);
    writeFileSync(configFile, configuration);
    assert.equal((await xlb("start", ...daemonArguments)).code, 0);
  });

  test("A bpf filesystem that was mounted for the director goes with it", async () => {
    const folder = join(directory, "pins");

    const own = ["--state-dir", stateDir, "--bpffs", folder];
    const run = async (...args: string[]): Promise<number | null> => {
      const child = spawnXlb(...args, ...own);
      await once(child, "close");
      return child.exitCode;
    };
    assert.equal((await xlb("stop")).code, 0);
    assert.equal(await run("start", ...daemonArguments), 0);
    assert.ok(readFileSync("/proc/mounts", "utf8").includes(` ${folder} bpf `));
    assert.equal(await run("stop", "--keep"), 0);
    assert.ok(existsSync(join(folder, "director")));
    assert.equal(await run("stop"), 0);
    assert.ok(!readFileSync("/proc/mounts", "utf8").includes(folder));
    assert.ok(!existsSync(folder));
  });

  test("run ends in order on SIGTERM", async () => {
    assert.equal((await xlb("stop")).code, 0);
    const child = spawnXlb("run", ...daemonArguments, ...global);
    const output = text(child.stdout!);
    await until("the daemon answers", async () => (await xlb("status")).code === 0 && (await status()).rounds > 0);
    child.kill("SIGTERM");
    await once(child, "close");
    assert.equal(child.exitCode, 0);
    assert.match(await output, /Purged virtual server \(stop\): 192\.0\.2\.10:80/);
    assert.deepEqual(pins(), []);
    assert.equal(attached(), undefined);
    assert.ok(!existsSync(stateDir));
  });

  test("A signal while the daemon is being made is served once it is made", async () => {
    const child = spawnXlb("run", ...daemonArguments, ...global);
    const output = text(child.stdout!);
    await until("the daemon has its lock", () => existsSync(join(stateDir, "xlb.pid")));
    child.kill("SIGHUP");
    child.kill("SIGTERM");
    await once(child, "close");
    assert.equal(child.exitCode, 0, await output);
    assert.match(await output, /Linux Director Daemon terminated on signal: TERM/);
    assert.deepEqual(pins(), []);
    assert.equal(attached(), undefined);
    assert.ok(!existsSync(stateDir));
  });
});
