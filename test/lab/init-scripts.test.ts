/** Debian's init script of ldirectord and the OCF resource agent, unmodified, with xlb in ldirectord's place. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { projectRoot } from "../support/lab.ts";

const unpacked = join(projectRoot, "build", "debian");
const initScript = join(unpacked, "etc/init.d/ldirectord");
const agent = join(unpacked, "usr/lib/ocf/resource.d/heartbeat/ldirectord");

function missing(): string | false {
  if (process.getuid?.() !== 0) return "this needs root";
  for (const part of ["build/src/cli/main.js", "build/native/xlb.node", "build/bpf/director.bpf.o"]) {
    if (!existsSync(join(projectRoot, part))) return `${part} is not built`;
  }
  if (!existsSync(initScript) || !existsSync(agent)) return "the scripts are not unpacked: make build/debian";
  return existsSync("/lib/lsb/init-functions") ? false : "/lib/lsb/init-functions is missing";
}

const namespace = `xlb-scripts-${process.pid}`;
const folder = join(tmpdir(), namespace);
const mount = join(folder, "bpf");
const configFile = join(folder, "ldirectord.cf");
const pidFile = join(folder, "run", "ldirectord.ldirectord.cf.pid");

const configuration = `checkinterval=1
quiescent=no
logfile="${folder}/ldirectord.log"
virtual=192.0.2.10:80
	real=192.0.2.21:80 gate
	checktype=on
`;

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** As on a machine of its own: our programs in /usr/sbin, our /run and /etc/default, in the test's network. */
async function run(command: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const setUp = [
    `mount --bind /usr/sbin ${folder}/system-sbin`,
    `mount --bind ${folder}/sbin /usr/sbin`,
    `mount --bind ${folder}/run /run`,
    `mount --bind ${folder}/default /etc/default`,
    'exec "$@"',
  ];
  const child = spawn(
    "nsenter",
    [
      ...[`--net=/run/netns/${namespace}`, "unshare", "--mount", "--propagation", "private"],
      ...["sh", "-ec", setUp.join("\n"), "sh", ...command],
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...environment } },
  );
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: child.exitCode, output: stdout + stderr };
}

const init = (action: string): Promise<Ended> => run(["sh", initScript, action]);
const ldirectord = (...args: string[]): Promise<Ended> => run(["/usr/sbin/ldirectord", ...args]);
const ocf = (action: string): Promise<Ended> =>
  run(["sh", agent, action], {
    OCF_ROOT: join(unpacked, "usr/lib/ocf"),
    OCF_RESOURCE_INSTANCE: "director",
    OCF_RESKEY_configfile: configFile,
    HA_RSCTMP: join(folder, "run"),
    PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`,
  });

function pid(): number | undefined {
  return existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) : undefined;
}

/** What packets meet, or undefined without a program. */
async function table(): Promise<string[] | undefined> {
  const { code, output } = await run([join(projectRoot, "bin/xlb"), "stats", "--json"]);
  if (code !== 0) return undefined;
  const { planes } = JSON.parse(output) as {
    planes: { services: { key: string; realServers: { key: string; weight: number }[] }[] }[];
  };
  return planes.flatMap(({ services }) =>
    services.flatMap(({ key, realServers }) => realServers.map((real) => `${key} ${real.key} ${real.weight}`)),
  );
}

const served = ["tcp:192.0.2.10:80 192.0.2.21:80 1"];

function remove(): void {
  process.off("exit", remove);
  const running = pid();
  // The start marks its own: no other process has this folder in its command line.
  if (running !== undefined && existsSync(`/proc/${running}/cmdline`)) {
    if (readFileSync(`/proc/${running}/cmdline`, "utf8").includes(folder)) process.kill(running, "SIGKILL");
  }
  if (existsSync(`/run/netns/${namespace}`)) execFileSync("ip", ["netns", "del", namespace]);
  for (const line of readFileSync("/proc/mounts", "utf8").split("\n")) {
    const place = line.split(" ")[1] ?? "";
    if (place.startsWith(`${folder}/`)) execFileSync("umount", ["--lazy", place], { stdio: "pipe" });
  }
  rmSync(folder, { recursive: true, force: true });
}

describe("scripts that were written for ldirectord", { skip: missing() }, () => {
  before(() => {
    process.once("exit", remove);
    mkdirSync(folder);
    for (const name of ["bpf", "run", "sbin", "system-sbin", "default"]) mkdirSync(join(folder, name));
    for (const name of readdirSync("/usr/sbin")) {
      if (name !== "ldirectord") symlinkSync(join(folder, "system-sbin", name), join(folder, "sbin", name));
    }
    symlinkSync(join(projectRoot, "bin/ldirectord"), join(folder, "sbin/ldirectord"));
    writeFileSync(join(folder, "default/ldirectord"), `CONFIG_FILE=${configFile}\n`);
    const settings = [
      `XLB_STATE_DIR=${folder}/run/xlb`,
      `XLB_BPFFS="${mount}/xlb" # where it is mounted for the test`,
      "XLB_METRICS=off",
      "XLB_TABLE_SIZE=4096",
    ];
    writeFileSync(join(folder, "default/xlb"), `${settings.join("\n")}\n`);
    writeFileSync(configFile, configuration);
    execFileSync("mount", ["-t", "bpf", "bpf", mount]);
    const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: "pipe" });
    ip("netns", "add", namespace);
    ip("-n", namespace, "link", "set", "lo", "up");
    ip("-n", namespace, "link", "add", "front", "type", "veth", "peer", "name", "peer");
    ip("-n", namespace, "addr", "add", "192.0.2.10/24", "dev", "front");
    for (const name of ["front", "peer"]) ip("-n", namespace, "link", "set", name, "up");
  });
  after(remove);

  test("the init script: start, status, reload, restart, stop", async () => {
    assert.equal((await init("status")).code, 3);
    assert.equal((await init("reload")).code, 1);
    assert.equal((await init("try-restart")).code, 0);
    assert.equal(pid(), undefined);

    const started = await init("start");
    assert.equal(started.code, 0, started.output);
    const first = pid();
    assert.ok(first !== undefined);
    assert.deepEqual(await table(), served);
    const status = await init("status");
    assert.equal(status.code, 0);
    assert.match(status.output, new RegExp(`ldirectord for ${configFile} is running with pid: ${first}\n`));
    assert.equal((await init("start")).code, 0);
    assert.equal(pid(), first);

    writeFileSync(configFile, configuration.replace("gate", "gate 7"));
    const reloaded = await init("reload");
    assert.equal(reloaded.code, 0, reloaded.output);
    assert.deepEqual(await table(), ["tcp:192.0.2.10:80 192.0.2.21:80 7"]);
    const restarted = await init("restart");
    assert.equal(restarted.code, 0, restarted.output);
    assert.notEqual(pid(), first);
    assert.equal((await init("force-reload")).code, 0);

    const stopped = await init("stop");
    assert.equal(stopped.code, 0, stopped.output);
    assert.equal(pid(), undefined);
    assert.equal(await table(), undefined);
    assert.equal((await init("stop")).code, 0);
    assert.equal((await init("status")).code, 3);
  });

  test("a file with an error is refused with 2, and neither costs nor hides the daemon", async () => {
    writeFileSync(configFile, configuration);
    assert.equal((await init("start")).code, 0);
    const running = pid();
    writeFileSync(configFile, `${configuration}\tquiescent=maybe\n`);
    for (const action of ["reload", "restart", "try-restart", "start"]) {
      const { code, output } = await init(action);
      assert.equal(code, 2, action);
      assert.match(output, /ldirectord\.cf:7:\d+: error: quiescent/);
    }
    const status = await init("status");
    assert.equal(status.code, 0);
    assert.match(status.output, /is running with pid/);
    assert.equal(pid(), running);
    assert.deepEqual(await table(), served);
    assert.equal((await init("stop")).code, 0);
    assert.equal(pid(), undefined);
    assert.equal((await init("status")).code, 2);
    assert.equal((await init("start")).code, 2);
    writeFileSync(configFile, configuration);
  });

  test("the daemon's signals: HUP reads again, a death leaves a stale pid file, TERM stops", async () => {
    assert.equal((await ldirectord(configFile, "start")).code, 0);
    writeFileSync(configFile, configuration.replace("gate", "gate 3"));
    process.kill(pid()!, "SIGHUP");
    const deadline = performance.now() + 120_000;
    while (JSON.stringify(await table()) !== JSON.stringify([served[0]!.replace(/1$/, "3")])) {
      assert.ok(performance.now() < deadline, "no reload");
      await sleep(50);
    }
    process.kill(pid()!, "SIGKILL");
    while ((await ldirectord(configFile, "status")).code === 0) {
      assert.ok(performance.now() < deadline, "still there");
      await sleep(50);
    }
    const dead = await ldirectord(configFile, "status");
    assert.equal(dead.code, 1);
    assert.match(dead.output, /ldirectord stale pid file/);
    assert.match(dead.output, new RegExp(`ldirectord is stopped for ${configFile}\n`));
    assert.ok((await table()) !== undefined, "packets go on without the daemon");
    assert.equal((await ldirectord(configFile, "start")).code, 0);
    process.kill(pid()!, "SIGTERM");
    while (pid() !== undefined) {
      assert.ok(performance.now() < deadline, "no end");
      await sleep(50);
    }
    assert.equal((await ldirectord(configFile, "status")).code, 3);
    writeFileSync(configFile, configuration);
  });

  test("the OCF agent: start, monitor, stop, and stop with a file that has an error", async () => {
    assert.equal((await ocf("monitor")).code, 7);
    const started = await ocf("start");
    assert.equal(started.code, 0, started.output);
    assert.deepEqual(await table(), served);
    assert.equal((await ocf("start")).code, 0);
    assert.equal((await ocf("monitor")).code, 0);
    writeFileSync(configFile, `nonsense=1\n${configuration}`);
    assert.equal((await ocf("monitor")).code, 0);
    assert.equal((await ocf("stop")).code, 0);
    assert.equal(pid(), undefined);
    assert.equal(await table(), undefined);
    writeFileSync(configFile, configuration);
    assert.equal((await ocf("monitor")).code, 7);
    assert.equal((await ocf("stop")).code, 0);
  });

  test("a command line that is wrong is 255, a file that is not there 1", async () => {
    for (const args of [[], ["frobnicate"], [configFile, "frobnicate"], ["-x", "start"], ["--nonsense"]]) {
      assert.equal((await ldirectord(...args)).code, 255, args.join(" "));
    }
    const nowhere = await ldirectord("/nowhere/x.cf", "status");
    assert.deepEqual([nowhere.code, nowhere.output], [1, "Config file /nowhere/x.cf not found\n"]);
    assert.match((await ldirectord("-v")).output, /^Linux Director v1\.186-ha/);
    assert.equal((await ldirectord("--", configFile, "status")).code, 3);
  });
});
