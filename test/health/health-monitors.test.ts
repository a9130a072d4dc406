import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { HealthMonitors } from "../../src/health/health-monitors.ts";
import type { ConfiguredService } from "../../src/model/config.ts";
import type { RealServerHealth } from "../../src/model/health.ts";
import type { ServiceIdentity } from "../../src/model/service.ts";
import { loadNative } from "../../src/native.ts";
import { Stopwatch } from "../support/starvation.ts";
import { eventually, freePort, realServerOf, respond, serve, serviceOf, specOf } from "./fixtures.ts";
import type { TestServer } from "./fixtures.ts";

const ok = "HTTP/1.0 200 OK\r\n\r\nOK";
const none: ReadonlySet<string> = new Set();

function identityOf(port: number): ServiceIdentity {
  return { kind: "address", protocol: "tcp", address: "10.0.0.1", port };
}

describe("the health monitors", () => {
  let monitors: HealthMonitors;
  let log: string[];
  let servers: TestServer[];
  let stop: () => Promise<void>;
  let directory: string;

  beforeEach(() => {
    log = [];
    servers = [];
    directory = mkdtempSync(join(tmpdir(), "xlb-health-maintenance-"));
    monitors = new HealthMonitors({
      native: loadNative(),
      log: (level, _fields, message) => log.push(`${level} ${message}`),
      now: Date.now,
      version: "test",
    });
    stop = () => Promise.resolve();
  });
  afterEach(async () => {
    await stop();
    for (const server of servers) await server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Starts the loop; whoever stops it waits for its end. */
  function run(): void {
    const controller = new AbortController();
    const ended = monitors.run(controller.signal);
    stop = async () => {
      controller.abort();
      await ended;
    };
  }

  async function started(onConnection: Parameters<typeof serve>[0]): Promise<TestServer> {
    const server = await serve(onConnection);
    servers.push(server);
    return server;
  }

  /** A server whose answer the test changes. */
  async function startedMutable(): Promise<TestServer & { answer: string }> {
    const state = { answer: ok };
    const server = await started((socket) => respond(state.answer)(socket));
    return Object.assign(state, server);
  }

  function oneService(port: number, changes: Partial<ConfiguredService> = {}): ConfiguredService {
    return serviceOf([realServerOf(specOf({ port }))], { checkIntervalMs: 20, ...changes });
  }

  function first(): RealServerHealth {
    const [entry] = monitors.snapshot();
    assert.ok(entry !== undefined);
    return entry;
  }
  const stateIs = (state: string) =>
    eventually(`the first real server is ${state}`, () => first().health.state === state);

  test("a new real server is unknown, and up after its first good check", async () => {
    const server = await started(respond(ok));
    let changes = 0;
    monitors.onChange(() => (changes += 1));
    monitors.update([oneService(server.port)], none);
    assert.equal(first().health.state, "unknown");
    run();
    await stateIs("up");
    await eventually("the listener is called", () => changes === 1);
    assert.equal(first().last?.result.up, true);
    assert.equal(first().check, "negotiate http");
    assert.deepEqual(log, [`info Real server 127.0.0.1:${server.port} of tcp:10.0.0.1:80 is up`]);
  });

  test("a real server that was up before is up at once, and goes down by its failures", async () => {
    const port = await freePort();
    const seed = new Set([`tcp:10.0.0.1:80 127.0.0.1:${port}`]);
    monitors.update([oneService(port, { failureCount: 3 })], seed);
    assert.equal(first().health.state, "up");
    run();
    await stateIs("down");
    assert.deepEqual(
      log.map((line) => line.replace(`127.0.0.1:${port}`, "R")),
      [
        "info Soft failure real server: R (tcp:10.0.0.1:80) failure 1/3: connection refused",
        "info Soft failure real server: R (tcp:10.0.0.1:80) failure 2/3: connection refused",
        "warn Real server R of tcp:10.0.0.1:80 is down: connection refused",
      ],
    );
  });

  test("one success brings a real server back, whatever failurecount", async () => {
    const server = await startedMutable();
    monitors.update([oneService(server.port, { failureCount: 3 })], none);
    run();
    await stateIs("up");
    server.answer = "HTTP/1.0 500 No\r\n\r\n";
    await stateIs("down");
    assert.equal(first().failuresSinceUp, 3);
    server.answer = ok;
    await stateIs("up");
    assert.equal(first().failuresSinceUp, 0);
  });

  test("checktype on is up without a check, off is down, or as it was", async () => {
    const on = realServerOf(specOf({ type: { kind: "on" } }), 1);
    const off = realServerOf(specOf({ type: { kind: "off" } }), 2);
    const offButUp = realServerOf(specOf({ type: { kind: "off" } }), 3);
    monitors.update([serviceOf([on, off, offButUp])], new Set(["tcp:10.0.0.1:80 127.0.0.1:3"]));
    assert.deepEqual(
      monitors.snapshot().map(({ health, check }) => `${check} ${health.state}`),
      ["on up", "off down", "off up"],
    );
    run();
    await eventually("the one that is on was looked at", () => first().last !== undefined);
    assert.deepEqual(
      monitors.snapshot().map(({ health }) => health.state),
      ["up", "down", "up"],
    );
  });

  test("equal checks of several services are made once, and each service counts for itself", async () => {
    const server = await startedMutable();
    const realServer = realServerOf(specOf({ port: server.port }));
    const services = [80, 81, 82].map((port, index) =>
      serviceOf([realServer], { identity: identityOf(port), failureCount: 1 + index * 2, checkIntervalMs: 30 }),
    );
    monitors.update(services, none);
    run();
    const states = (): string =>
      monitors
        .snapshot()
        .map(({ health }) => ({ unknown: "?", up: "u", down: "d" })[health.state])
        .join("");
    await eventually("all are up", () => states() === "uuu");
    const accepted = server.accepted();
    server.answer = "HTTP/1.0 500 No\r\n\r\n";
    const seen = new Set<string>();
    await eventually("all are down", () => {
      seen.add(states());
      return states() === "ddd";
    });
    assert.deepEqual([...seen], ["uuu", "duu", "ddu", "ddd"]);
    const attempts = server.accepted() - accepted;
    assert.ok(attempts >= 5 && attempts <= 7, `${attempts} attempts for 5 failures`);
  });

  test("a service that joins a running check has its last result at once", async () => {
    const server = await started(respond(ok));
    const one = oneService(server.port, { checkIntervalMs: 60_000 });
    monitors.update([one], none);
    run();
    await stateIs("up");
    monitors.update([one, { ...one, identity: identityOf(81) }], none);
    assert.deepEqual(
      monitors.snapshot().map(({ health }) => health.state),
      ["up", "up"],
    );
    assert.equal(server.accepted(), 1);
  });

  test("an update leaves unchanged checks alone: their state, their counters and their schedule", async () => {
    const server = await started(respond(ok));
    const service = oneService(server.port, { checkIntervalMs: 300 });
    const startMs = performance.now();
    monitors.update([service], none);
    run();
    await stateIs("up");
    const since = first().health;
    const other = await started(respond(ok));
    let updates = 0;
    await eventually("it is checked four times, whatever else happens", () => {
      const added = serviceOf([realServerOf(specOf({ port: other.port }))], { identity: identityOf(81) });
      monitors.update(updates % 2 === 0 ? [service, added] : [{ ...service }], none);
      updates += 1;
      return server.accepted() >= 4;
    });
    assert.equal(first().health, since);
    // Once at the start, then 300 ms after the end of each, a twentieth more or less.
    const intervals = (performance.now() - startMs) / (300 * 0.9);
    assert.ok(server.accepted() <= 2 + intervals, `${server.accepted()} checks in ${intervals} intervals`);
    assert.ok(updates > 2 * server.accepted(), `only ${updates} updates`);
  });

  test("a changed check keeps the state until it has its own result", async () => {
    const server = await started(respond(ok));
    monitors.update([oneService(server.port)], none);
    run();
    await stateIs("up");
    const check = specOf({ port: server.port, receive: "something else" });
    monitors.update([serviceOf([realServerOf(check)], { checkIntervalMs: 20 })], none);
    assert.equal(first().health.state, "up");
    await stateIs("down");
  });

  test("other timeouts are taken over by a running check", async () => {
    const server = await started(() => undefined);
    const service = (negotiateTimeoutMs: number) =>
      serviceOf([realServerOf(specOf({ port: server.port, negotiateTimeoutMs }))], { checkIntervalMs: 10 });
    monitors.update([service(30)], none);
    run();
    await stateIs("down");
    monitors.update([service(200)], none);
    await eventually("an attempt takes 200 ms", () => (first().last?.result.durationMs ?? 0) > 190);
  });

  test("a real server that is removed is checked no more, and its connection is closed", async () => {
    const server = await started(() => undefined);
    monitors.update([oneService(server.port)], none);
    run();
    await eventually("the check is under way", () => server.open() === 1);
    monitors.update([], none);
    await eventually("the connection is closed", () => server.open() === 0);
    assert.deepEqual([monitors.snapshot(), log], [[], []]);
  });

  test("silent servers delay nobody", async () => {
    const silent = await started(() => undefined);
    const good = await started(respond(ok));
    const silents = Array.from({ length: 200 }, (_, index) =>
      realServerOf(specOf({ port: silent.port, request: `/${index}`, negotiateTimeoutMs: 60_000 }), 1000 + index),
    );
    monitors.update(
      [serviceOf([...silents, realServerOf(specOf({ port: good.port }), 1)], { checkIntervalMs: 20 })],
      none,
    );
    run();
    await eventually("the good one was checked 20 times", () => good.accepted() > 20);
    assert.equal(silent.open(), 200);
  });

  test("the deadline is one for the whole check", async () => {
    const server = await started((socket) => {
      const timer = setInterval(() => socket.write("H"), 10);
      socket.on("close", () => clearInterval(timer));
    });
    const check = specOf({ port: server.port, negotiateTimeoutMs: 100 });
    monitors.update([serviceOf([realServerOf(check)], { checkIntervalMs: 60_000 })], none);
    const watch = new Stopwatch();
    run();
    await stateIs("down");
    const { result } = first().last ?? assert.fail();
    const lateMs = result.durationMs - 100 - watch.starvedMs();
    assert.ok(lateMs < 500, `${lateMs} ms late`);
  });

  test("after the loop has ended nothing is open, and a check that was cut off counts for nothing", async () => {
    const server = await started(() => undefined);
    monitors.update([oneService(server.port)], new Set([`tcp:10.0.0.1:80 127.0.0.1:${server.port}`]));
    run();
    await eventually("the check is under way", () => server.open() === 1);
    await stop();
    await eventually("the connection is closed", () => server.open() === 0);
    assert.deepEqual([first().health.state, log], ["up", []]);
  });

  test("a file in the maintenance directory takes a real server out at once, and its removal brings it back", async () => {
    const server = await started(respond(ok));
    const service = oneService(server.port, { failureCount: 9 });
    monitors.update([service], none, directory);
    run();
    await stateIs("up");
    for (const name of [`127.0.0.1:${server.port}`, "127.0.0.1"]) {
      writeFileSync(join(directory, name), "");
      await stateIs("down");
      const { health } = first();
      assert.equal(health.state === "down" && health.reason, `maintenance: file ${name}`);
      const accepted = server.accepted();
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.equal(server.accepted(), accepted);
      rmSync(join(directory, name));
      await stateIs("up");
    }
  });

  test("maintenance holds from the start, for checktype on too, but not for off", async () => {
    writeFileSync(join(directory, "127.0.0.1"), "");
    const on = realServerOf(specOf({ type: { kind: "on" } }), 1);
    const off = realServerOf(specOf({ type: { kind: "off" } }), 2);
    monitors.update([serviceOf([on, off])], new Set(["tcp:10.0.0.1:80 127.0.0.1:2"]), directory);
    assert.deepEqual(
      monitors.snapshot().map(({ health }) => health.state),
      ["down", "up"],
    );
    monitors.update([serviceOf([on, off])], none, "");
    assert.equal(first().health.state, "up");
  });

  test("the same real server twice in a service is one, and the last line holds", async () => {
    const server = await started(respond(ok));
    const lines = [
      realServerOf(specOf({ port: await freePort() }), 80),
      realServerOf(specOf({ port: server.port }), 80),
    ];
    monitors.update([serviceOf(lines, { checkIntervalMs: 20 })], none);
    assert.equal(monitors.snapshot().length, 1);
    run();
    await stateIs("up");
  });

  test("durations are told by kind of check", async () => {
    const server = await started(respond(ok));
    monitors.update([oneService(server.port)], none);
    const watch = new Stopwatch();
    run();
    await eventually("three checks were made", () => (monitors.checkDurations()[0]?.count ?? 0) >= 3);
    const [durations] = monitors.checkDurations();
    assert.deepEqual([durations?.check, durations?.bad], ["negotiate http", 0]);
    const lagMs = monitors.lagMs() - watch.starvedMs();
    assert.ok(lagMs < 1000, `late by ${lagMs} ms`);
  });

  test("when the director cannot make a check, nobody is taken down for it", async () => {
    const server = await started(respond(ok));
    const native = loadNative();
    const trouble = Object.assign(new Error("socket: EPERM"), { code: "EPERM" });
    const failing = new HealthMonitors({
      native: {
        ...native,
        socketOpen: () => {
          throw trouble;
        },
      },
      log: (level, _fields, message) => log.push(`${level} ${message}`),
      now: Date.now,
      version: "test",
    });
    monitors = failing;
    const check = specOf({ type: { kind: "ping" }, port: server.port });
    monitors.update(
      [serviceOf([realServerOf(check)], { checkIntervalMs: 10 })],
      new Set([`tcp:10.0.0.1:80 127.0.0.1:${server.port}`]),
    );
    run();
    await eventually("the trouble is told", () => log.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(first().health.state, "up");
    assert.deepEqual(log, [
      "error Health checks cannot be made and count for nothing: cannot open an ICMP socket: not permitted",
    ]);
  });
});
