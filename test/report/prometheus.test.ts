import assert from "node:assert/strict";
import { test } from "node:test";
import type { RealServerHealth } from "../../src/model/health.ts";
import type { ServiceStatistics } from "../../src/model/statistics.ts";
import { renderPrometheus } from "../../src/report/prometheus.ts";
import { Stopwatch } from "../support/starvation.ts";
import { parseExposition } from "./exposition.ts";
import { assertGolden } from "./golden.ts";
import { at, realServer, snapshot, withoutDaemon } from "./sample.ts";

test("the page has every metric", async () => {
  const { contentType, body } = await renderPrometheus(snapshot);
  assert.equal(contentType, "text/plain; version=0.0.4; charset=utf-8");
  assertGolden("prometheus.txt", body);
});

test("the page is valid exposition format with and without a daemon", async () => {
  for (const value of [snapshot, withoutDaemon]) {
    const families = parseExposition((await renderPrometheus(value)).body);
    assert.ok(families.size > 20);
    for (const name of families.keys()) assert.match(name, /^xlb_[a-z0-9_]+$/);
  }
});

test("an empty snapshot is an empty page", async () => {
  const { body } = await renderPrometheus({ at, planes: [], health: [], checks: [] });
  assert.equal(body.trim(), "");
});

test("each reason that a packet was not forwarded for is in exactly one sample", async () => {
  const families = parseExposition((await renderPrometheus(snapshot)).body);
  const samples = families.get("xlb_packets_total")?.samples ?? [];
  const members = samples.map(({ labels }) => `${labels.get("verdict") ?? ""}_${labels.get("reason") ?? ""}`);
  const expected = Object.keys(snapshot.planes[0]?.packets ?? {}).filter((name) =>
    /^(pass|drop|icmp|reset)_/.test(name),
  );
  assert.ok(expected.length > 10);
  assert.deepEqual(members, expected);
});

test("each member of the packet counters is on the page", async () => {
  const [plane] = snapshot.planes;
  assert.ok(plane);
  const counters = Object.keys(plane.packets);
  for (const [index, name] of counters.entries()) {
    const packets = { ...plane.packets, [name]: 123_456_789n + BigInt(index) };
    const { body } = await renderPrometheus({ ...snapshot, planes: [{ ...plane, packets }] });
    assert.ok(body.includes(` ${123_456_789 + index}\n`), name);
  }
});

test("a server that left the table stays on the page, down and with weight 0", async () => {
  const gone: RealServerHealth = {
    identity: { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 80 },
    address: "10.0.0.2",
    port: 80,
    health: { state: "down", since: at, reason: "refused" },
    check: "connect",
    failuresSinceUp: 1,
    failureCount: 1,
  };
  const { body } = await renderPrometheus({ at, planes: [], health: [gone], checks: [] });
  const labels = 'service="tcp:10.0.0.1:80",real_server="10.0.0.2:80"';
  assert.ok(body.includes(`xlb_real_server_up{${labels}} 0\n`));
  assert.ok(body.includes(`xlb_real_server_weight{${labels}} 0\n`));
  assert.ok(!body.includes("xlb_real_server_connections_total"));
});

test("10,000 real servers are rendered fast", async (t) => {
  const [plane] = snapshot.planes;
  assert.ok(plane);
  const services: ServiceStatistics[] = [];
  const health: RealServerHealth[] = [];
  for (let index = 0; index < 1000; index++) {
    const identity = {
      kind: "address",
      protocol: "tcp",
      address: `10.1.${index >> 8}.${index & 255}`,
      port: 80,
    } as const;
    const servers = Array.from({ length: 10 }, (_, i) => realServer(`10.${i + 2}.${index >> 8}.${index & 255}`, 8080));
    const totals = { connections: 123_456n, packets: 9_876_543n, bytes: 12_345_678_901n, packetsOut: 0n, bytesOut: 0n };
    services.push({
      service: { identity, scheduler: "wlc", schedulerFlags: [], onePacket: false, realServers: servers },
      plane: "xdp",
      realServers: servers.map((server) => ({
        realServer: server,
        active: 1,
        inactive: 2,
        persistent: 0,
        nextHop: "",
        ...totals,
      })),
      ...totals,
    });
    for (const { address, port } of servers) {
      const state = { state: "up", since: at } as const;
      health.push({ identity, address, port, health: state, check: "connect", failuresSinceUp: 0, failureCount: 1 });
    }
  }
  const watch = new Stopwatch();
  const { body } = await renderPrometheus({ ...snapshot, planes: [{ ...plane, services }], health });
  const milliseconds = watch.usedMs();
  t.diagnostic(`${(body.length / 1e6).toFixed(1)} MB in ${milliseconds.toFixed(0)} ms of a processor`);
  assert.equal(parseExposition(body).get("xlb_real_server_bytes_total")?.samples.length, 10_000);
  // Several times what it takes.
  assert.ok(milliseconds < 2000, `${milliseconds} ms`);
});
