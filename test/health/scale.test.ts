import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, test } from "node:test";
import { HealthMonitors } from "../../src/health/health-monitors.ts";
import type { CheckSpec, ConfiguredService } from "../../src/model/config.ts";
import { loadNative } from "../../src/native.ts";
import { Stopwatch } from "../support/starvation.ts";
import { eventually, nginxIsMissing, realServerOf, respond, serve, serviceOf, specOf, startNginx } from "./fixtures.ts";
import type { Nginx } from "./fixtures.ts";

const none: ReadonlySet<string> = new Set();

function quietMonitors(): HealthMonitors {
  return new HealthMonitors({ native: loadNative(), log: () => undefined, now: Date.now, version: "test" });
}

/** So many real servers behind one port, told apart by what they are asked. */
function manyRealServers(count: number, changes: Partial<CheckSpec>, intervalMs: number): ConfiguredService {
  const realServers = Array.from({ length: count }, (_, index) =>
    realServerOf(specOf({ ...changes, request: `/?${index}` }), 1 + index),
  );
  return serviceOf(realServers, { checkIntervalMs: intervalMs });
}

function checksMade(monitors: HealthMonitors): number {
  return monitors.checkDurations().reduce((sum, { count }) => sum + count, 0);
}

async function madeAtLeast(monitors: HealthMonitors, checks: number): Promise<void> {
  while (checksMade(monitors) < checks) await sleep(20);
}

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

describe("many real servers", { skip: nginxIsMissing }, () => {
  let nginx: Nginx;
  before(async () => {
    nginx = await startNginx('location = / { return 200 "OK\\n"; }');
  });
  after(async () => {
    await nginx.stop();
  });

  /** XLB_CHECKS=2000 measures at another scale. */
  const count = Number(process.env["XLB_CHECKS"] ?? 500);
  test(`${count} real servers under http checks are never late by a whole interval`, async (context) => {
    const intervalMs = 2000;
    const monitors = quietMonitors();
    const spec: Partial<CheckSpec> = { port: nginx.port, receive: "OK", negotiateTimeoutMs: 60_000 };
    monitors.update([manyRealServers(count, spec, intervalMs)], none);
    const controller = new AbortController();
    const whole = new Stopwatch();
    const ended = monitors.run(controller.signal);
    await madeAtLeast(monitors, count);
    const watch = new Stopwatch();
    const before = { atMs: performance.now(), checks: checksMade(monitors) };
    await madeAtLeast(monitors, 3 * count);
    const [seconds, usedMs] = [(performance.now() - before.atMs) / 1000, watch.usedMs()];
    const checks = checksMade(monitors) - before.checks;
    const [lagMs, starvedMs] = [monitors.lagMs(), whole.starvedMs()];
    controller.abort();
    await ended;
    context.diagnostic(
      `${Math.round(checks / seconds)} checks a second, ${((1000 * usedMs) / checks).toFixed(0)} us of CPU each, ` +
        `${(usedMs / 1000 / seconds).toFixed(2)} of a core, lag ${lagMs.toFixed(0)} ms, ` +
        `${starvedMs.toFixed(0)} ms of waiting for a processor`,
    );
    // Checks are late, too, while other programs have the processors; of that the monitors are not guilty.
    assert.ok(lagMs - starvedMs < intervalMs, `late by ${lagMs} ms, ${starvedMs} ms of them for want of a processor`);
    assert.ok(usedMs < 5 * checks, `${usedMs} ms of CPU for ${checks} checks`);
    assert.deepEqual(
      monitors.snapshot().filter(({ health }) => health.state !== "up"),
      [],
    );
  });
});

/** XLB_LEAK_CHECKS=100000 looks longer. */
const leakChecks = Number(process.env["XLB_LEAK_CHECKS"] ?? 20_000);
test(`${leakChecks} checks, good and bad, leave neither descriptors nor memory behind`, async (context) => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const good = await serve(respond("HTTP/1.0 200 OK\r\n\r\nOK"));
  const reset = await serve((socket) => socket.once("data", () => socket.resetAndDestroy()));
  const silent = await serve(() => undefined);
  // Also if something is not as it should be: an open server keeps the process.
  context.after(async () => {
    for (const server of [good, reset, silent]) await server.close();
  });
  const services = [
    manyRealServers(100, { port: good.port, receive: "OK" }, 20),
    manyRealServers(50, { port: reset.port }, 20),
    manyRealServers(50, { port: silent.port, negotiateTimeoutMs: 50 }, 20),
    manyRealServers(1, { port: good.port, type: { kind: "connect" } }, 1),
  ].map((service, index) => ({ ...service, identity: { kind: "mark", mark: index, family: "ipv4" } as const }));
  const idleDescriptors = openDescriptors();
  const monitors = quietMonitors();
  monitors.update(services, none);
  const controller = new AbortController();
  const ended = monitors.run(controller.signal);
  const heap = (): number => {
    collect();
    return process.memoryUsage().heapUsed / 1024;
  };
  await madeAtLeast(monitors, leakChecks / 4);
  const heapBefore = heap();
  await madeAtLeast(monitors, leakChecks);
  const heapAfter = heap();
  controller.abort();
  await ended;
  context.diagnostic(`heap ${heapBefore.toFixed(0)} KiB before, ${heapAfter.toFixed(0)} KiB after`);
  // 15,000 checks that each kept a socket would show 30 megabytes, and that each kept an object of 200 bytes, three.
  assert.ok(heapAfter - heapBefore < 2048, `${(heapAfter - heapBefore).toFixed(0)} KiB more`);
  await eventually("all connections are closed", () => good.open() + reset.open() + silent.open() === 0);
  await eventually("all descriptors are closed", () => openDescriptors() <= idleDescriptors);
});
