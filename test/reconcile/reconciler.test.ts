import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { Config } from "../../src/model/config.ts";
import type { Health } from "../../src/model/health.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import { Reconciler } from "../../src/reconcile/reconciler.ts";
import type { RoundReport } from "../../src/reconcile/reconciler.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";
import { ownInMemory } from "../support/own-services.ts";
import { config, configuredReal, configuredService, fallback, identity, real } from "./samples.ts";

const since = new Date(0);

/** A reconciler that runs until the test ends, over the tutorial's service. */
function start(
  t: TestContext,
  options: { driftIntervalMs?: number; config?: Config; plane?: MemoryDataPlane; own?: string[] } = {},
) {
  const plane = options.plane ?? new MemoryDataPlane();
  const lines: string[] = [];
  const note = (line: string): void => void lines.push(line);
  const health = new Map<string, Health>();
  const inputs = {
    config: options.config ?? config(configuredService()),
    healthOf: (_service: unknown, { address }: { address: string }): Health =>
      health.get(address) ?? { state: "unknown" },
  };
  const own = ownInMemory(...(options.own ?? []));
  const reports: RoundReport[] = [];
  const reconciler = new Reconciler({
    plane,
    log: { info: note, warn: note, error: note },
    inputs: () => inputs,
    driftIntervalMs: options.driftIntervalMs ?? 3_600_000,
    own,
    report: (report) => void reports.push(report),
  });
  const ending = new AbortController();
  const running = reconciler.run(ending.signal);
  t.after(async () => {
    ending.abort();
    await running;
  });
  const set = (address: string, state: "up" | "down"): void => {
    health.set(address, state === "up" ? { state, since } : { state, since, reason: "refused" });
  };
  const table = (): string[] =>
    plane
      .read()
      .services.flatMap((service) => service.realServers.map((entry) => `${realServerKey(entry)}=${entry.weight}`));
  return { plane, reconciler, lines, set, table, ending, running, own, reports, inputs };
}

test("A round takes what is up into the table and logs it in ldirectord's words", async (t) => {
  const { reconciler, lines, set, table } = start(t);
  await reconciler.round();
  assert.deepEqual(table(), ["127.0.0.1:80=1"]);
  set("192.168.200.102", "up");
  await reconciler.round();
  set("192.168.200.102", "down");
  await reconciler.round();
  assert.deepEqual(lines, [
    "Added virtual server: 10.10.10.53:80",
    "Added fallback server: 127.0.0.1:80 (10.10.10.53:80) (Weight set to 1)",
    "Added real server: 192.168.200.102:80 (10.10.10.53:80) (Weight set to 1)",
    "Deleted fallback server: 127.0.0.1:80 (10.10.10.53:80)",
    "Added fallback server: 127.0.0.1:80 (10.10.10.53:80) (Weight set to 1)",
    "Deleted real server: 192.168.200.102:80 (10.10.10.53:80)",
  ]);
});

test("A quiescent real server is logged as such, and as restored", async (t) => {
  const { reconciler, lines, set } = start(t, { config: config(configuredService({ quiescent: true })) });
  set("192.168.200.102", "up");
  set("192.168.200.103", "up");
  await reconciler.round();
  lines.length = 0;
  set("192.168.200.103", "down");
  await reconciler.round();
  set("192.168.200.103", "up");
  await reconciler.round();
  assert.deepEqual(lines, [
    "Quiescent real server: 192.168.200.103:80 (10.10.10.53:80) (Weight set to 0)",
    "Restored real server: 192.168.200.103:80 (10.10.10.53:80) (Weight set to 1)",
  ]);
});

test("Rounds never overlap, and what is asked for during one is served by one more", async (t) => {
  const { plane, reconciler, set } = start(t);
  await reconciler.round();
  const before = reconciler.outcome.rounds;
  let inside = 0;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  plane.hold = async () => {
    inside += 1;
    assert.equal(inside, 1);
    await held;
    inside -= 1;
  };
  set("192.168.200.102", "up");
  const first = reconciler.round();
  while (inside === 0) await new Promise(setImmediate);
  set("192.168.200.103", "up");
  const later = Promise.all([reconciler.round(), reconciler.round(), reconciler.round()]);
  release();
  await first;
  await later;
  assert.equal(reconciler.outcome.rounds, before + 2);
});

test("A service that cannot be added is one failure, with however many real servers", async (t) => {
  const { plane, reconciler, set } = start(t);
  plane.fail = (change) => ("service" in change ? new Error("no space left") : new Error("there is no service"));
  set("192.168.200.102", "up");
  await reconciler.round();
  assert.deepEqual(reconciler.outcome.failedChanges, ["add-service tcp:10.10.10.53:80 lblc: no space left"]);
});

test("A failed change is reported once and tried again until it works", async (t) => {
  const { plane, reconciler, lines, set, table } = start(t, { driftIntervalMs: 5 });
  await reconciler.round();
  lines.length = 0;
  plane.fail = (change) => (change.kind === "add-real-server" ? new Error("no space left") : undefined);
  set("192.168.200.102", "up");
  await reconciler.round();
  const failure = "add-real-server tcp:10.10.10.53:80 192.168.200.102:80 gate weight 1: no space left";
  assert.deepEqual(reconciler.outcome.failedChanges, [failure]);
  const rounds = reconciler.outcome.rounds;
  while (reconciler.outcome.rounds < rounds + 3) await new Promise(setImmediate);
  assert.deepEqual(
    lines.filter((line) => line.includes("no space")),
    [`Cannot apply: ${failure}`],
  );
  plane.fail = () => undefined;
  while (reconciler.outcome.failedChanges.length > 0) await new Promise(setImmediate);
  assert.ok(table().includes("192.168.200.102:80=1"));
});

test("A service that has vanished is made again though nobody asks", async (t) => {
  const { plane, reconciler, set, table } = start(t, { driftIntervalMs: 5 });
  set("192.168.200.102", "up");
  await reconciler.round();
  plane.applyOne({ kind: "remove-service", identity });
  while (table().length === 0) await new Promise(setImmediate);
  assert.deepEqual(table(), ["192.168.200.102:80=1"]);
});

test("A service that the plane refuses is said once and told in the outcome", async (t) => {
  const { plane, reconciler, lines } = start(t);
  plane.refuse = () => "not today";
  await reconciler.round();
  await reconciler.round();
  assert.deepEqual(reconciler.outcome.notActive, [{ service: "tcp:10.10.10.53:80", reason: "not today" }]);
  assert.equal(lines.filter((line) => line === "Not active: tcp:10.10.10.53:80: not today").length, 1);
});

test("Whoever awaits a round is told when the reconciler ends first", async (t) => {
  const { plane, reconciler, ending, running, set } = start(t);
  await reconciler.round();
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  let applying = false;
  plane.hold = async () => {
    applying = true;
    await held;
  };
  set("192.168.200.102", "up");
  reconciler.request();
  while (!applying) await new Promise(setImmediate);
  const late = assert.rejects(reconciler.round(), /stopping/);
  ending.abort();
  release();
  await Promise.all([late, running]);
  await assert.rejects(reconciler.round(), /stopping/);
});

test("Services are removed on request, and the others are left", async (t) => {
  const other = { ...identity, port: 443 } as const;
  const two = config(configuredService(), configuredService({ identity: other }));
  const { plane, reconciler, ending, running } = start(t, { config: two });
  await reconciler.round();
  ending.abort();
  await running;
  assert.deepEqual(await reconciler.removeServices((candidate) => candidate === identity), [other]);
  assert.deepEqual(
    plane.read().services.map((service) => service.identity),
    [other],
  );
});

test("Entries that the file does not know are purged by a reload", async (t) => {
  const { plane, reconciler, lines } = start(t);
  await reconciler.round();
  plane.applyOne({ kind: "add-real-server", identity, realServer: real("10.0.0.9") });
  lines.length = 0;
  await reconciler.round();
  assert.deepEqual(lines, []);
  await reconciler.round({ thorough: true });
  assert.deepEqual(lines, ["Purged real server (start): 10.0.0.9:80 (10.10.10.53:80)"]);
});

test("An entry that was removed by hand stays away until its real server has been down", async (t) => {
  const { plane, reconciler, set, table } = start(t);
  set("192.168.200.102", "up");
  set("192.168.200.103", "up");
  await reconciler.round();
  plane.applyOne({ kind: "remove-real-server", identity, address: "192.168.200.102", port: 80 });
  await reconciler.round();
  assert.deepEqual(table(), ["192.168.200.103:80=1"]);
  set("192.168.200.103", "down");
  await reconciler.round();
  assert.deepEqual(table(), []);
  set("192.168.200.102", "down");
  await reconciler.round();
  assert.deepEqual(table(), ["127.0.0.1:80=1"]);
  set("192.168.200.102", "up");
  await reconciler.round();
  assert.deepEqual(table(), ["192.168.200.102:80=1"]);
});

test("A weight that was set by hand lasts until the director wants another one, or a reload", async (t) => {
  const { plane, reconciler, set, table } = start(t);
  set("192.168.200.102", "up");
  await reconciler.round();
  const drained = { kind: "edit-real-server", identity, realServer: real("192.168.200.102", 0) } as const;
  plane.applyOne(drained);
  set("192.168.200.103", "up");
  await reconciler.round();
  assert.deepEqual(table(), ["192.168.200.102:80=0", "192.168.200.103:80=1"]);
  await reconciler.round({ thorough: true });
  assert.deepEqual(table(), ["192.168.200.102:80=1", "192.168.200.103:80=1"]);
});

test("readdquiescent decides whether an entry that was removed by hand comes back when its server goes down", async (t) => {
  for (const readdQuiescent of [false, true]) {
    const file = { ...config(configuredService({ quiescent: true })), readdQuiescent };
    const { plane, reconciler, set, table } = start(t, { config: file });
    set("192.168.200.102", "up");
    set("192.168.200.103", "up");
    await reconciler.round();
    plane.applyOne({ kind: "remove-real-server", identity, address: "192.168.200.102", port: 80 });
    set("192.168.200.102", "down");
    await reconciler.round();
    const expected = ["192.168.200.103:80=1", ...(readdQuiescent ? ["192.168.200.102:80=0"] : [])];
    assert.deepEqual(table(), expected);
    await reconciler.round({ thorough: true });
    assert.deepEqual(table(), ["192.168.200.103:80=1", "192.168.200.102:80=0"]);
  }
});

test("Services of others are left alone, those that an earlier daemon of ours left go", async (t) => {
  const others = { ...identity, port: 443 } as const;
  const stale = { ...identity, port: 8080 } as const;
  const settings = { scheduler: "rr", schedulerFlags: [], onePacket: false, realServers: [] } as const;
  const plane = new MemoryDataPlane({ services: [others, stale].map((each) => ({ identity: each, ...settings })) });
  const { reconciler, own, ending, running, lines } = start(t, { plane, own: ["tcp:10.10.10.53:8080"] });
  const services = (): string[] => plane.read().services.map((service) => printIdentity(service.identity));
  await reconciler.round();
  assert.deepEqual(services(), ["tcp:10.10.10.53:443", "tcp:10.10.10.53:80"]);
  assert.ok(lines.includes("Purged virtual server (start): 10.10.10.53:8080"));
  assert.deepEqual(own.keys(), ["tcp:10.10.10.53:80"]);
  ending.abort();
  await running;
  assert.deepEqual(await reconciler.removeServices(() => true), [others]);
  assert.deepEqual(services(), ["tcp:10.10.10.53:443"]);
});

test("At the end each real server that is up is named, then its service", async (t) => {
  const { reconciler, set, ending, running, lines, reports } = start(t, {
    config: config(configuredService({ quiescent: true })),
  });
  set("192.168.200.102", "up");
  set("192.168.200.103", "down");
  await reconciler.round();
  ending.abort();
  await running;
  lines.length = 0;
  await reconciler.removeServices(() => true);
  assert.deepEqual(lines, [
    "Purged real server (stop): 192.168.200.102:80 (10.10.10.53:80)",
    "Purged virtual server (stop): 10.10.10.53:80",
  ]);
  assert.deepEqual(
    reports.at(-1)!.narrations.map(({ mailed }) => mailed),
    [true, false],
  );
});

test("What was never checked is not told of as down, what is down is", async (t) => {
  const { reconciler, set, reports, lines } = start(t, { config: config(configuredService({ quiescent: true })) });
  set("192.168.200.103", "down");
  await reconciler.round();
  assert.deepEqual(lines, [
    "Added virtual server: 10.10.10.53:80",
    "Added real server: 192.168.200.102:80 (10.10.10.53:80) (Weight set to 0)",
    "Quiescent real server: 192.168.200.103:80 (10.10.10.53:80) (Weight set to 0)",
    "Added fallback server: 127.0.0.1:80 (10.10.10.53:80) (Weight set to 1)",
  ]);
  assert.deepEqual(
    reports[0]!.narrations.map(({ mailed }) => mailed),
    [false, false, true, true],
  );
});

test("A real server whose port is the service's in the table is named with both", async (t) => {
  const inFile = configuredReal("192.168.200.102");
  const realServers = [{ ...inFile, check: { ...inFile.check, realPort: 8080 } }];
  const { reconciler, set, lines } = start(t, { config: config(configuredService({ realServers })) });
  set("192.168.200.102", "up");
  await reconciler.round();
  set("192.168.200.102", "down");
  await reconciler.round();
  assert.ok(
    lines.includes("Deleted real server: 192.168.200.102:80 mapped from 192.168.200.102:8080 (10.10.10.53:80)"),
  );
});

test("A fallback that is also a real server is named as what it is there for", async (t) => {
  const file = config(configuredService({ fallback: { ...fallback, address: "192.168.200.102" } }));
  const { reconciler, set, lines } = start(t, { config: file });
  await reconciler.round();
  set("192.168.200.102", "down");
  set("192.168.200.103", "up");
  await reconciler.round();
  set("192.168.200.102", "up");
  await reconciler.round();
  assert.deepEqual(lines.slice(1), [
    "Added fallback server: 192.168.200.102:80 (10.10.10.53:80) (Weight set to 1)",
    "Added real server: 192.168.200.103:80 (10.10.10.53:80) (Weight set to 1)",
    "Deleted fallback server: 192.168.200.102:80 (10.10.10.53:80)",
    "Added real server: 192.168.200.102:80 (10.10.10.53:80) (Weight set to 1)",
  ]);
});
