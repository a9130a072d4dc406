import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startAttempt } from "../../src/health/attempt.ts";
import { checkKey, describeCheck, prepareCheck } from "../../src/health/checks.ts";
import { combine } from "../../src/health/checks/combined.ts";
import { CheckStatistics, WorstOfLastMinute } from "../../src/health/check-statistics.ts";
import { checkServices } from "../../src/model/config.ts";
import type { CheckSpec } from "../../src/model/config.ts";
import { attemptOnce, freePort, serve, specOf, surroundings } from "./fixtures.ts";

describe("the table of checks", () => {
  test("a check is called by its type and service", () => {
    assert.equal(describeCheck(specOf({})), "negotiate http");
    assert.equal(describeCheck(specOf({ type: { kind: "combined", connects: 3 } })), "combined http");
    assert.equal(describeCheck(specOf({ type: { kind: "ping" } })), "ping");
  });

  test("service none and type on are always up", async () => {
    assert.equal((await attemptOnce(specOf({ service: "none", port: 0 }))).up, true);
    assert.equal((await attemptOnce(specOf({ type: { kind: "on" } }))).up, true);
  });

  test("checks are equal if they ask the same, whatever the time-outs and the virtual service", () => {
    const key = checkKey(specOf({}), 1000);
    const same: Partial<CheckSpec>[] = [
      { negotiateTimeoutMs: 1 },
      { checkTimeoutMs: 1 },
      { checkCount: 9 },
      { virtualAddress: "10.9.9.9", virtualPort: 1 },
    ];
    for (const changes of same) assert.equal(checkKey(specOf(changes), 1000), key);
    const other: Partial<CheckSpec>[] = [
      { address: "127.0.0.2" },
      { port: 81 },
      { request: "/x" },
      { receive: "x" },
      { virtualHost: "x" },
      { httpMethod: "HEAD" },
      { service: "https" },
      { type: { kind: "connect" } },
    ];
    for (const changes of other) assert.notEqual(checkKey(specOf(changes), 1000), key);
    assert.notEqual(checkKey(specOf({}), 2000), key);
  });

  test("an external check belongs to its virtual service, a ping to the address alone", () => {
    const external = specOf({ type: { kind: "external" }, command: "/bin/true" });
    assert.notEqual(checkKey(external, 1), checkKey({ ...external, virtualPort: 81 }, 1));
    const ping = specOf({ type: { kind: "ping" } });
    assert.equal(checkKey(ping, 1), checkKey({ ...ping, request: "/other", service: "ftp" }, 1));
  });
});

describe("the combined check", () => {
  /** What is asked in turn, when the results come in turn. */
  async function asked(connects: number, results: string): Promise<string> {
    let log = "";
    let next = 0;
    const part = (letter: string) => ({
      timeoutMs: 1000,
      attempt: () => {
        log += letter;
        return Promise.resolve({ up: results[next++] === "+", detail: "" });
      },
    });
    const check = combine(part("n"), part("c"), connects);
    for (let count = 0; count < results.length; count++) await startAttempt(check).result;
    return log;
  }

  test("after a good negotiate check come N connects, then negotiate again", async () => {
    assert.equal(await asked(3, "+++++++++"), "ncccncccn");
    assert.equal(await asked(0, "+++"), "nnn");
  });

  test("after a failure comes negotiate until it succeeds", async () => {
    assert.equal(await asked(2, "--+-+++"), "nnncncc");
  });

  test("with every service it is not up before a good dialogue, whatever can be connected to", async () => {
    const server = await serve((socket) => socket.end());
    const type = { kind: "combined", connects: 3 } as const;
    const answerable = { login: "monitor", password: "x", database: "x", receive: "x" };
    await Promise.all(
      checkServices
        .filter((service) => service !== "none")
        .map(async (service) => {
          const request = service === "http_proxy" ? "/http://192.0.2.1/" : "/x";
          const spec = specOf({ ...answerable, type, service, request, port: server.port, checkTimeoutMs: 300 });
          const check = prepareCheck(spec, surroundings);
          for (let attempt = 0; attempt < 3; attempt++) {
            const { up, detail } = await startAttempt(check).result;
            assert.equal(up, false, `${service}: ${detail}`);
            assert.notEqual(detail, "connected", service);
          }
        }),
    );
    await server.close();
  });

  test("under UDP its connects ask nobody, and succeed", async () => {
    const server = await serve(() => undefined);
    const type = { kind: "combined", connects: 1 } as const;
    const check = prepareCheck(
      specOf({ type, port: server.port, receive: "x", protocol: "udp", service: "none" }),
      surroundings,
    );
    assert.equal((await startAttempt(check).result).up, true);
    await server.close();
    assert.equal((await startAttempt(check).result).detail, "not asked");
  });

  test("each part has its own deadline", async () => {
    const part = (timeoutMs: number) => ({ timeoutMs, attempt: () => Promise.resolve({ up: true, detail: "" }) });
    const check = combine(part(30), part(5), 1);
    assert.equal(check.timeoutMs, 30);
    await startAttempt(check).result;
    assert.equal(check.timeoutMs, 5);
  });
});

describe("an attempt", () => {
  test("ends soon after its deadline even if the check does not", async () => {
    const check = { timeoutMs: 10, attempt: () => new Promise<never>(() => undefined) };
    const result = await startAttempt(check).result;
    assert.deepEqual([result.up, result.detail], [false, "no end in time"]);
  });
});

describe("connect checks", () => {
  const type = { kind: "connect" } as const;

  test("a port that accepts is up, one that refuses is down", async () => {
    const server = await serve(() => undefined);
    assert.equal((await attemptOnce(specOf({ type, port: server.port }))).up, true);
    await server.close();
    const refused = await attemptOnce(specOf({ type, port: await freePort() }));
    assert.deepEqual([refused.up, refused.detail], [false, "connection refused"]);
  });

  test("no port at all is down", async () => {
    assert.equal((await attemptOnce(specOf({ type, port: 0 }))).up, false);
  });

  test("IPv6 works", async () => {
    const server = await serve(() => undefined, "::1");
    assert.equal((await attemptOnce(specOf({ type, address: "::1", port: server.port }))).up, true);
    await server.close();
  });
});

describe("the statistics of checks", () => {
  test("durations are counted in cumulative buckets, good and bad apart", () => {
    const statistics = new CheckStatistics();
    for (const [durationMs, up] of [
      [0.5, true],
      [4, true],
      [60_000, false],
    ] as const) {
      statistics.add("connect", { up, detail: "", durationMs });
    }
    const [connect] = statistics.durations();
    assert.ok(connect !== undefined);
    assert.deepEqual([connect.count, connect.good, connect.bad], [3, 2, 1]);
    assert.ok(Math.abs(connect.sum - 60.0045) < 1e-9);
    const byBound = new Map(connect.buckets.map(({ le, count }) => [le, count]));
    assert.deepEqual([byBound.get(0.001), byBound.get(0.005), byBound.get(30)], [1, 2, 2]);
  });

  test("the worst of the last minute is forgotten after a minute", () => {
    const worst = new WorstOfLastMinute();
    worst.add(7, 1_000_000);
    worst.add(3, 1_030_000);
    assert.equal(worst.worst(1_030_000), 7);
    assert.equal(worst.worst(1_061_000), 3);
    assert.equal(worst.worst(1_200_000), 0);
    worst.add(1, 1_060_000);
    assert.equal(worst.worst(1_060_000), 3);
  });
});
