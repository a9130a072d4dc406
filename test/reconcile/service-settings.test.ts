import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSetting, printSetting } from "../../src/model/tuning.ts";
import type { Setting } from "../../src/model/tuning.ts";
import { desire } from "../../src/reconcile/desire.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { idleSettings, withServiceSettings } from "../../src/reconcile/service-settings.ts";
import { config, configuredService } from "./samples.ts";

function setting(text: string): Setting {
  const parsed = parseSetting(text);
  assert.ok(!(parsed instanceof Error), text);
  return parsed;
}

const dns = { kind: "address", protocol: "udp", address: "2001:db8::53", port: 53 } as const;

test("settings are those of all services, of one, or of the director", () => {
  assert.deepEqual(setting("idle_timeout=60"), {
    kind: "service",
    service: undefined,
    name: "idle_timeout",
    value: 60,
  });
  assert.deepEqual(setting("udp:[2001:db8::53]:53/new_per_source=5"), {
    kind: "service",
    service: "udp:[2001:db8::53]:53",
    name: "new_per_source",
    value: 5,
  });
  assert.deepEqual(setting("conn_reuse_mode=2"), { kind: "director", name: "conn_reuse_mode", value: 2 });
  for (const text of [
    "tcp:nowhere:80/idle_timeout=1",
    "tcp:10.0.0.1:70000/idle_timeout=1",
    "x",
    "idle_timeout=-1",
    "",
  ]) {
    assert.ok(parseSetting(text) instanceof Error, text);
  }
});

test("a service has its own settings, later ones winning, and no trace of a setting of 0", () => {
  const before = config(configuredService(), configuredService({ identity: dns }));
  const settings = [
    "new_per_source=100",
    "udp:[2001:db8::53]:53/new_per_source=0",
    "tcp:10.10.10.53:80/idle_timeout=60",
  ];
  const [web, names] = withServiceSettings(before, settings.map(setting)).services;
  assert.deepEqual([web?.idleTimeout, web?.limits], [60, { perSecond: 0, perSource: 100 }]);
  assert.deepEqual([names?.idleTimeout, names?.limits], [undefined, undefined]);
  assert.equal(withServiceSettings(before, [setting("sloppy_tcp=1")]), before);
});

test("settings of services that the configuration does not have are found", () => {
  const texts = ["new_per_source=1", "tcp:10.10.10.53:80/idle_timeout=60", "udp:10.10.10.53:80/idle_timeout=60"];
  const settings = [...texts, "udp:10.10.10.53:80/new_per_source=2", "sloppy_tcp=1"].map(setting);
  assert.deepEqual(idleSettings(config(configuredService()), settings), ["udp:10.10.10.53:80"]);
  assert.deepEqual(settings.map(printSetting), [...texts, "udp:10.10.10.53:80/new_per_source=2", "sloppy_tcp=1"]);
});

test("a changed setting is a change of the service and of nothing else", () => {
  const stateWith = (...texts: readonly string[]) =>
    desire(
      withServiceSettings(config(configuredService()), texts.map(setting)),
      () => ({ state: "unknown" }),
      () => undefined,
    ).state;
  const kinds = (a: string[], b: string[]) => plan(stateWith(...b), stateWith(...a)).map(({ kind }) => kind);
  assert.deepEqual(kinds([], ["idle_timeout=60"]), ["edit-service"]);
  assert.deepEqual(kinds(["idle_timeout=60", "new_per_second=7"], ["idle_timeout=60"]), ["edit-service"]);
  assert.deepEqual(kinds(["new_per_second=7"], ["new_per_second=7"]), []);
});
