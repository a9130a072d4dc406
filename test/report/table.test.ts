import assert from "node:assert/strict";
import { test } from "node:test";
import type { RealServerHealth } from "../../src/model/health.ts";
import { computeRates } from "../../src/report/rates.ts";
import type { Snapshot } from "../../src/report/snapshot.ts";
import {
  formatDuration,
  measureConnections,
  renderConnection,
  renderConnectionsHead,
  renderHealth,
  renderStatistics,
  shortenNumber,
} from "../../src/report/table.ts";
import { assertGolden } from "./golden.ts";
import { at, connections, health, snapshot, withoutDaemon } from "./sample.ts";

process.env["TZ"] = "UTC";

/** Two seconds earlier, when the first service had less and the second did not exist. */
const earlier: Snapshot = {
  ...snapshot,
  at: new Date(at.getTime() - 2000),
  planes: snapshot.planes.map((plane) => ({
    ...plane,
    packets: { ...plane.packets, drop_no_real_server: 1n },
    services: plane.services.slice(0, 1).map((service) => ({
      ...service,
      connections: 1_233n,
      packets: service.packets - 2_000n,
      bytes: service.bytes - 3_000_000n,
      realServers: service.realServers.map((entry) => ({ ...entry, packets: entry.packets - 3n })),
    })),
  })),
};

test("statistics look like ipvsadm's, with numbers shortened", () => {
  assertGolden("statistics.txt", renderStatistics(snapshot, { exact: false, nextHops: false }));
});

test("statistics are exact and have next hops when asked, and say that the daemon is dead", () => {
  assertGolden("statistics-exact.txt", renderStatistics(withoutDaemon, { exact: true, nextHops: true }));
});

test("rates take the place of totals", () => {
  const rates = computeRates(earlier, snapshot);
  assertGolden("statistics-rate.txt", renderStatistics(snapshot, { exact: false, nextHops: false, rates }));
});

test("a director without services says so", () => {
  const planes = snapshot.planes.map((plane) => ({ ...plane, services: [] }));
  assert.match(
    renderStatistics({ ...snapshot, planes }, { exact: false, nextHops: false }),
    /\n\nno virtual services\n$/,
  );
});

test("numbers are shortened where ipvsadm does it", () => {
  const cases: [bigint, string][] = [
    [0n, "0"],
    [99_999_999n, "99999999"],
    [100_000_000n, "100000K"],
    [999_999_999n, "999999K"],
    [1_000_000_000n, "1000M"],
    [99_999_999_999n, "99999M"],
    [100_000_000_000n, "100G"],
    [99_999_999_999_999n, "99999G"],
    [100_000_000_000_000n, "100T"],
    [2n ** 64n - 1n, "18446744T"],
  ];
  for (const [value, text] of cases) assert.equal(shortenNumber(value), text);
});

test("durations are whole seconds, days in front", () => {
  assert.equal(formatDuration(59.9), "00:00:59");
  assert.equal(formatDuration(90061), "1d 01:01:01");
  assert.equal(formatDuration(-3), "00:00:00");
});

test("connections are listed as by ipvsadm -L -c -n", () => {
  const widths = measureConnections(connections);
  const lines = connections.map((connection) => renderConnection(connection, widths));
  assertGolden("connections.txt", renderConnectionsHead(widths) + lines.join(""));
});

test("health is grouped by virtual service and says why a server is down", () => {
  assertGolden("health.txt", renderHealth(health, at));
});

test("what a server sent cannot move the cursor of the terminal", () => {
  const entry: RealServerHealth | undefined = health[1];
  assert.ok(entry);
  const text = renderHealth([entry], at);
  assert.doesNotMatch(text.replaceAll("\n", ""), /\p{Cc}/u);
});

test("health without real servers says so", () => {
  assert.equal(renderHealth([], at), "no real servers\n");
});
