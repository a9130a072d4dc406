/**
 * `make bench-checks`: what the health checks of many real servers cost, and how late they are. The servers are one nginx
 * on loopback; figures are of the process that checks, with what the kernel does in its name.
 */
import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Command } from "commander";
import { HealthMonitors } from "../src/health/health-monitors.ts";
import type { CheckSpec, ConfiguredService } from "../src/model/config.ts";
import { loadNative } from "../src/native.ts";
import { freePort, realServerOf, serve, serviceOf, specOf, startNginx } from "../test/health/fixtures.ts";
import type { Nginx } from "../test/health/fixtures.ts";

interface Options {
  readonly servers: string;
  readonly seconds: string;
  readonly only?: string;
  readonly leak?: string;
}

const none: ReadonlySet<string> = new Set();

function newMonitors(): HealthMonitors {
  return new HealthMonitors({ native: loadNative(), log: () => undefined, now: Date.now, version: "bench" });
}

/** So many real servers, each with an address of its own on loopback. */
function servicesOf(count: number, specs: readonly CheckSpec[], checkIntervalMs: number): ConfiguredService[] {
  const realServers = Array.from({ length: count }, (_, index) => {
    const spec = specs[index % specs.length] ?? specOf({});
    return realServerOf({ ...spec, address: `127.1.${index >> 8}.${index & 0xff}` });
  });
  return [serviceOf(realServers, { checkIntervalMs })];
}

function checksMade(monitors: HealthMonitors): number {
  return monitors.checkDurations().reduce((sum, { count }) => sum + count, 0);
}

interface Load {
  readonly title: string;
  readonly specs: readonly CheckSpec[];
}

async function measure({ title, specs }: Load, servers: number, seconds: number): Promise<void> {
  const monitors = newMonitors();
  monitors.update(servicesOf(servers, specs, 1000), none);
  const controller = new AbortController();
  const ended = monitors.run(controller.signal);
  // Until the first checks have drifted apart, and the code is compiled.
  await sleep(5000);
  const before = { checks: checksMade(monitors), cpu: process.cpuUsage(), atMs: performance.now() };
  let worstLagMs = 0;
  while (performance.now() < before.atMs + 1000 * seconds) {
    await sleep(1000);
    worstLagMs = Math.max(worstLagMs, monitors.lagMs());
  }
  const elapsed = (performance.now() - before.atMs) / 1000;
  const { user, system } = process.cpuUsage(before.cpu);
  const checks = checksMade(monitors) - before.checks;
  const up = monitors.snapshot().filter(({ health }) => health.state === "up").length;
  controller.abort();
  await ended;
  const columns = [
    title.padEnd(34),
    `${Math.round(checks / elapsed)}`.padStart(9),
    `${((user + system) / 1e6 / elapsed).toFixed(2)}`.padStart(6),
    `${Math.round((user + system) / checks)}`.padStart(9),
    `${Math.round(worstLagMs)}`.padStart(7),
    `${up}`.padStart(6),
  ];
  process.stdout.write(`${columns.join(" ")}\n`);
}

/** Good checks and bad ones, so many in all; tells what they leave behind. */
async function measureLeak(
  checks: number,
  specs: readonly CheckSpec[],
  closeServers: () => Promise<void>,
): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const heap = async (): Promise<number> => {
    // What waits for the next turn of the loop is no leak.
    await sleep(200);
    collect();
    return process.memoryUsage().heapUsed / 1024;
  };
  const descriptors = (): number => readdirSync("/proc/self/fd").length;
  const monitors = newMonitors();
  monitors.update(servicesOf(40 * specs.length, specs, 20), none);
  const controller = new AbortController();
  // Without the listening one, which is closed in the end.
  const before = descriptors() - 1;
  const ended = monitors.run(controller.signal);
  for (let part = 0; part <= 5; part++) {
    while (checksMade(monitors) < (checks * part) / 5) await sleep(50);
    if (part === 0) continue;
    process.stdout.write(`${checksMade(monitors)} checks: heap ${(await heap()).toFixed(0)} KiB, `);
    process.stdout.write(`resident ${Math.round(process.memoryUsage().rss / 1024)} KiB\n`);
  }
  controller.abort();
  await ended;
  // The servers' own ends of the connections do not count.
  await closeServers();
  await sleep(500);
  process.stdout.write(`descriptors: ${before} before, ${descriptors()} after\n`);
}

async function run(options: Options, nginx: Nginx): Promise<void> {
  const silent = await serve(() => undefined, "0.0.0.0");
  const refused = await freePort();
  const negotiateTimeoutMs = 5000;
  const http = specOf({ port: nginx.port, receive: "OK", negotiateTimeoutMs });
  const connect = specOf({ type: { kind: "connect" }, port: nginx.port, checkTimeoutMs: 5000 });
  const https = specOf({ service: "https", port: nginx.securePort, receive: "OK", negotiateTimeoutMs });
  const hanging = specOf({ port: silent.port, negotiateTimeoutMs });
  const down = specOf({ port: refused, negotiateTimeoutMs });
  if (options.leak !== undefined) {
    const impatient = specOf({ port: silent.port, negotiateTimeoutMs: 50 });
    await measureLeak(Number(options.leak), [http, connect, { ...http, receive: "no" }, down, impatient], silent.close);
  } else {
    const loads: Load[] = [
      { title: "http, all answer", specs: [http] },
      { title: "connect", specs: [connect] },
      { title: "http, each tenth hangs for 5 s", specs: [...Array.from({ length: 9 }, () => http), hanging] },
      { title: "http, all refuse", specs: [down] },
      { title: "https", specs: [https] },
    ];
    const servers = Number(options.servers);
    process.stdout.write(`${servers} real servers, checkinterval=1, ${options.seconds} s each\n\n`);
    process.stdout.write(`${"".padEnd(34)}  checks/s  cores  us/check  lag ms     up\n`);
    for (const load of loads) {
      if (options.only === undefined || load.title.includes(options.only)) {
        await measure(load, servers, Number(options.seconds));
      }
    }
    await silent.close();
  }
}

const program = new Command("bench-checks")
  .description("measure what health checks cost")
  .option("--servers <N>", "real servers", "2000")
  .option("--seconds <N>", "seconds to measure, after five to warm up", "20")
  .option("--only <TEXT>", "only loads with this in their title")
  .option("--leak <N>", "make so many checks instead, good and bad, and tell what they leave behind");
await program.parseAsync();
const nginx = await startNginx('location = / { return 200 "OK\\n"; }', "0.0.0.0");
try {
  await run(program.opts<Options>(), nginx);
} finally {
  await nginx.stop();
}
