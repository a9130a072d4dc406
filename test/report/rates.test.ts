import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServiceStatistics } from "../../src/model/statistics.ts";
import { computeRates } from "../../src/report/rates.ts";
import type { Snapshot } from "../../src/report/snapshot.ts";
import { at, realServer, tutorial } from "./sample.ts";

function snapshotOf(milliseconds: number, total: bigint, perServer: readonly bigint[], dropped: bigint): Snapshot {
  const realServers = perServer.map((value, index) => ({
    realServer: realServer(`10.0.0.${index + 1}`, 80),
    active: 0,
    inactive: 0,
    persistent: 0,
    nextHop: "",
    connections: value,
    packets: value * 10n,
    bytes: value * 1000n,
    packetsOut: value * 20n,
    bytesOut: value * 2000n,
  }));
  const service: ServiceStatistics = {
    service: {
      identity: tutorial,
      scheduler: "rr",
      schedulerFlags: [],
      onePacket: false,
      realServers: realServers.map((entry) => entry.realServer),
    },
    plane: "xdp",
    realServers,
    connections: total,
    packets: total * 10n,
    bytes: total * 1000n,
    packetsOut: total * 20n,
    bytesOut: total * 2000n,
  };
  return {
    at: new Date(at.getTime() + milliseconds),
    planes: [
      {
        plane: "xdp",
        interfaces: [],
        services: [service],
        table: { size: 0, live: 0, liveByState: {}, sweepNanoseconds: 0n, sweepPasses: 0n },
        packets: { drop_ttl: dropped },
      },
    ],
    health: [],
    checks: [],
  };
}

test("a rate is the difference over the time between the snapshots", () => {
  const rates = computeRates(snapshotOf(0, 100n, [60n, 40n], 1n), snapshotOf(500, 110n, [65n, 45n], 3n));
  assert.equal(rates.seconds, 0.5);
  const service = rates.services.get("tcp:10.10.10.53:80");
  assert.deepEqual(service?.total, { connections: 20, packets: 200, bytes: 20000, packetsOut: 400, bytesOut: 40000 });
  assert.deepEqual(service?.realServers.get("10.0.0.2:80"), {
    connections: 10,
    packets: 100,
    bytes: 10000,
    packetsOut: 200,
    bytesOut: 20000,
  });
  assert.deepEqual(rates.packets, { drop_ttl: 4 });
});

test("what is new, or was made again, counts from zero", () => {
  const rates = computeRates(snapshotOf(0, 100n, [100n], 9n), snapshotOf(1000, 7n, [3n, 4n], 2n));
  const service = rates.services.get("tcp:10.10.10.53:80");
  assert.equal(service?.total.connections, 7);
  assert.equal(service?.realServers.get("10.0.0.1:80")?.connections, 3);
  assert.equal(service?.realServers.get("10.0.0.2:80")?.connections, 4);
  assert.equal(rates.packets["drop_ttl"], 2);
});

test("the difference of two large totals is exact", () => {
  const large = 2n ** 63n;
  const rates = computeRates(snapshotOf(0, large, [], 0n), snapshotOf(1000, large + 1n, [], 0n));
  assert.equal(rates.services.get("tcp:10.10.10.53:80")?.total.connections, 1);
});

test("two snapshots of one moment give finite rates", () => {
  const rates = computeRates(snapshotOf(0, 1n, [1n], 0n), snapshotOf(0, 2n, [2n], 0n));
  assert.ok(Number.isFinite(rates.services.get("tcp:10.10.10.53:80")?.total.connections));
});
