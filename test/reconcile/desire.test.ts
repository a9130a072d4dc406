import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfiguredService } from "../../src/model/config.ts";
import type { Health } from "../../src/model/health.ts";
import { realServerKey } from "../../src/model/service.ts";
import { desire } from "../../src/reconcile/desire.ts";
import { config, configuredReal, configuredService, fallback, identity, real } from "./samples.ts";

const since = new Date(0);
const up: Health = { state: "up", since };
const down: Health = { state: "down", since, reason: "connection refused" };
const unknown: Health = { state: "unknown" };

/** `ADDRESS:PORT=WEIGHT` of the one service's table, for health by real server's address. */
function table(service: ConfiguredService, health: Readonly<Record<string, Health>>): string[] {
  const { state } = desire(
    config(service),
    (_service, { address }) => health[address] ?? unknown,
    () => undefined,
  );
  return state.services[0]!.realServers.map((entry) => `${realServerKey(entry)}=${entry.weight}`);
}

const first = "192.168.200.102";
const second = "192.168.200.103";

test("A real server that is up has its full weight", () => {
  const service = configuredService({ realServers: [configuredReal(first, { weight: 5 }), configuredReal(second)] });
  assert.deepEqual(table(service, { [first]: up, [second]: up }), [`${first}:80=5`, `${second}:80=1`]);
});

test("A real server that is down is absent with quiescent=no", () => {
  assert.deepEqual(table(configuredService(), { [first]: down, [second]: up }), [`${second}:80=1`]);
});

test("A real server that is down has weight 0 with quiescent=yes", () => {
  const service = configuredService({ quiescent: true });
  assert.deepEqual(table(service, { [first]: down, [second]: up }), [`${first}:80=0`, `${second}:80=1`]);
});

test("A quiescent real server has no thresholds, as after ldirectord's `-e -w 0`", () => {
  const realServers = [configuredReal(first, { upperThreshold: 9, lowerThreshold: 3 })];
  const service = configuredService({ quiescent: true, realServers });
  const at = (health: Health) =>
    desire(
      config(service),
      () => health,
      () => undefined,
    ).state.services[0]!.realServers[0];
  assert.deepEqual(at(up), real(first, 1, { upperThreshold: 9, lowerThreshold: 3 }));
  assert.deepEqual(at(down), real(first, 0));
});

test("A real server that was never checked is as one that is down", () => {
  assert.deepEqual(table(configuredService(), {}), ["127.0.0.1:80=1"]);
  assert.deepEqual(table(configuredService({ quiescent: true }), {}), [
    `${first}:80=0`,
    `${second}:80=0`,
    "127.0.0.1:80=1",
  ]);
});

test("The fallback goes as soon as any real server is up", () => {
  assert.deepEqual(table(configuredService(), { [first]: down, [second]: down }), ["127.0.0.1:80=1"]);
  assert.deepEqual(table(configuredService(), { [second]: up }), [`${second}:80=1`]);
});

test("A real server of weight 0 that is up keeps the fallback out", () => {
  const service = configuredService({ realServers: [configuredReal(first, { weight: 0 })] });
  assert.deepEqual(table(service, { [first]: up }), [`${first}:80=0`]);
});

test("A service without real servers has its fallback", () => {
  assert.deepEqual(table(configuredService({ realServers: [] }), {}), ["127.0.0.1:80=1"]);
});

test("A service without a fallback may be empty", () => {
  const { fallback: _none, ...service } = configuredService();
  assert.deepEqual(table(service, {}), []);
});

test("Of a real server that is listed twice the last weight wins", () => {
  const service = configuredService({
    realServers: [configuredReal(first, { weight: 2 }), configuredReal(second), configuredReal(first, { weight: 7 })],
  });
  assert.deepEqual(table(service, { [first]: up, [second]: up }), [`${first}:80=7`, `${second}:80=1`]);
});

test("A fallback that is also a real server stays while that is up", () => {
  const service = configuredService({
    fallback: { ...fallback, address: first },
    realServers: [configuredReal(first, { weight: 4 }), configuredReal(second)],
  });
  assert.deepEqual(table(service, { [first]: up, [second]: up }), [`${first}:80=4`, `${second}:80=1`]);
  assert.deepEqual(table(service, { [first]: down, [second]: up }), [`${second}:80=1`]);
  assert.deepEqual(table(service, { [first]: down, [second]: down }), [`${first}:80=1`]);
  assert.deepEqual(table({ ...service, quiescent: true }, {}), [`${first}:80=1`, `${second}:80=0`]);
});

test("A service that the plane refuses is left out, with the reason", () => {
  const mark = configuredService({ identity: { kind: "mark", mark: 7, family: "ipv4" } });
  const { state, notActive } = desire(
    config(configuredService(), mark),
    () => up,
    (service) => (service.identity.kind === "mark" ? "XDP sees no marks" : undefined),
  );
  assert.deepEqual(notActive, [{ service: "fwm:7", reason: "XDP sees no marks" }]);
  assert.deepEqual(
    state.services.map((service) => service.identity),
    [identity],
  );
});

test("A service keeps what the file says of it", () => {
  const { state } = desire(
    config(configuredService()),
    () => up,
    () => undefined,
  );
  assert.deepEqual(state.services[0], {
    identity,
    scheduler: "lblc",
    schedulerFlags: [],
    persistence: { timeout: 100, prefix: 32 },
    onePacket: false,
    realServers: [real(first), real(second)],
  });
});
