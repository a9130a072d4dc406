import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import {
  forgetServicesByHand,
  overridesPath,
  readOverrides,
  writeOverrides,
} from "../../src/control/overrides-file.ts";
import { parseRequest } from "../../src/control/server.ts";
import type { Override } from "../../src/model/override.ts";
import { identity, real } from "../reconcile/samples.ts";

const owner = { uid: 1000, user: "alice", program: "ipvsadm, called by bash" };
const since = new Date("2026-01-31T12:00:00Z");
const held: Override = {
  identity,
  realServer: { address: "192.168.200.102", port: 80 },
  setting: { kind: "real-server", realServer: real("192.168.200.102", 0), added: false, despiteChecks: false },
  owner,
  since,
};
const other = { kind: "address", protocol: "udp", address: "10.10.10.54", port: 53 } as const;
const settings = { scheduler: "rr", schedulerFlags: [], onePacket: true } as const;
const added: Override = { identity: other, setting: { kind: "service", settings, added: true }, owner, since };

function stateDir(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "xlb-overrides-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("What was set by hand outlives the daemon, and leaves no file behind when it is taken back", (t) => {
  const folder = stateDir(t);
  assert.deepEqual(readOverrides(folder, assert.fail), []);
  writeOverrides(folder, [held, added]);
  assert.deepEqual(readOverrides(folder, assert.fail), [held, added]);
  forgetServicesByHand(folder);
  assert.deepEqual(readOverrides(folder, assert.fail), [held]);
  writeOverrides(folder, []);
  assert.ok(!existsSync(overridesPath(folder)));
});

test("A damaged file of overrides is told, and nothing is overridden", (t) => {
  const folder = stateDir(t);
  writeFileSync(overridesPath(folder), "[{");
  const told: string[] = [];
  assert.deepEqual(
    readOverrides(folder, (message) => told.push(message)),
    [],
  );
  assert.match(told.join(), /cannot read .*overrides\.json, what was set by hand is forgotten/);
});

test("Changes by hand are read from the control socket as they were sent, and nothing else is", () => {
  const requests = [
    { kind: "by-hand", change: { kind: "add-service", identity: other, settings }, owner },
    { kind: "by-hand", change: { kind: "edit-real-server", identity, realServer: real("192.168.200.102", 7) }, owner },
    { kind: "by-hand", change: { kind: "remove-real-server", identity, address: "192.168.200.102", port: 80 }, owner },
    { kind: "by-hand", change: { kind: "remove-all-services" }, owner },
    { kind: "overrides" },
    { kind: "clear-overrides" },
    { kind: "clear-overrides", targets: ["tcp:10.10.10.53:80"] },
    { kind: "zero", identity },
    { kind: "set-timeouts", timeouts: { tcp: 7200, tcpFin: 0, udp: 0 } },
  ];
  for (const request of requests) assert.deepEqual(parseRequest(JSON.stringify(request)), request);
  const nowhere = { ...real("192.168.200.102"), address: "nowhere" };
  for (const request of [
    {
      kind: "by-hand",
      change: { kind: "add-service", identity: other, settings: { ...settings, scheduler: "best" } },
      owner,
    },
    { kind: "by-hand", change: { kind: "add-real-server", identity, realServer: nowhere }, owner },
    { kind: "by-hand", change: { kind: "remove-all-services" } },
    { kind: "by-hand", change: { kind: "remove-service", identity: { ...identity, port: 65536 } }, owner },
    { kind: "clear-overrides", targets: [7] },
    { kind: "set-timeouts", timeouts: { tcp: -1, tcpFin: 0, udp: 0 } },
  ]) {
    assert.equal(typeof parseRequest(JSON.stringify(request)), "string", JSON.stringify(request));
  }
});
