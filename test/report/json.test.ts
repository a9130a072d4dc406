import assert from "node:assert/strict";
import { test } from "node:test";
import { connectionJson, renderHealthJson, renderStatisticsJson } from "../../src/report/json.ts";
import { computeRates } from "../../src/report/rates.ts";
import { assertGolden } from "./golden.ts";
import { at, connections, health, snapshot, withoutDaemon } from "./sample.ts";

test("statistics as JSON hold all that the table has", () => {
  assertGolden("statistics.json", renderStatisticsJson(snapshot, { indent: true }));
});

test("statistics on one line are the same value", () => {
  const line = renderStatisticsJson(snapshot, { indent: false });
  assert.equal(line.indexOf("\n"), line.length - 1);
  assert.deepEqual(JSON.parse(line), JSON.parse(renderStatisticsJson(snapshot, { indent: true })));
});

test("a dead daemon and rates are members of their own", () => {
  const rates = computeRates({ ...withoutDaemon, at: new Date(at.getTime() - 4000) }, withoutDaemon);
  const value = JSON.parse(renderStatisticsJson(withoutDaemon, { indent: false, rates })) as {
    daemon: unknown;
    rateSeconds: number;
    planes: { services: { perSecond: unknown; realServers: { perSecond: unknown }[] }[] }[];
  };
  assert.deepEqual(value.daemon, { running: false });
  assert.equal(value.rateSeconds, 4);
  const service = value.planes[0]?.services[0];
  assert.deepEqual(service?.perSecond, { connections: 0, packets: 0, bytes: 0, packetsOut: 0, bytesOut: 0 });
  assert.deepEqual(service?.realServers[0]?.perSecond, {
    connections: 0,
    packets: 0,
    bytes: 0,
    packetsOut: 0,
    bytesOut: 0,
  });
});

test("a connection is one line of JSON", () => {
  const [first] = connections;
  assert.ok(first);
  assert.equal(
    connectionJson(first),
    '{"service":"tcp:10.10.10.53:80","client":"192.0.2.7","clientPort":40000,"virtualAddress":"10.10.10.53",' +
      '"virtualPort":80,"realServer":"192.168.200.102","realPort":80,"state":"ESTABLISHED","template":false,' +
      '"expiresIn":898}',
  );
});

test("health as JSON keeps states, times and results", () => {
  assertGolden("health.json", renderHealthJson(health));
});
