import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config, EmailAlert } from "../../src/model/config.ts";
import type { Health } from "../../src/model/health.ts";
import type { Alert, Phase } from "../../src/notify/alert.ts";
import { EmailAlerts } from "../../src/notify/email-alerts.ts";
import type { TableNews } from "../../src/notify/email-alerts.ts";
import { config, configuredReal, configuredService } from "../reconcile/samples.ts";

const since = new Date(0);
const emailAlert: EmailAlert = {
  to: ["ops@alerts.example"],
  frequency: 0,
  status: ["starting", "running", "stopping", "reloading"],
  smtp: "mail.example",
};
const key = "192.168.200.102:80";
const deleted = `Deleted real server: ${key} (10.10.10.53:80)`;
const inaccessible = `Inaccessible real server: ${key} (10.10.10.53:80)`;

function start(changes: Partial<EmailAlert> = {}, file: Partial<Config> = {}) {
  const alerts: Alert[] = [];
  const lines: string[] = [];
  const note = (line: string): void => void lines.push(line);
  const service = configuredService({
    serviceName: "shop",
    comment: "front end",
    realServers: [configuredReal("192.168.200.102")],
    emailAlert: { ...emailAlert, ...changes },
  });
  const subject = new EmailAlerts({
    post: (alert) => void alerts.push(alert),
    log: { info: note, warn: note, error: note },
  });
  const round = (state: Health["state"], phase: Phase, ...texts: string[]): string[] => {
    const health: Health = state === "unknown" ? { state } : { state, since, reason: "refused" };
    const narrations = texts.map((text): TableNews => ({ text, service, entry: key, mailed: true }));
    subject.round({ config: { ...config(service), ...file }, healthOf: () => health, narrations }, phase);
    return alerts.splice(0).map(({ text }) => text);
  };
  return { subject, alerts, lines, round, service };
}

test("Each change of an entry is told once, and logged as told", () => {
  const { round, lines } = start();
  assert.deepEqual(round("up", "running"), []);
  assert.deepEqual(round("down", "running", deleted), [deleted]);
  assert.deepEqual(round("down", "running"), []);
  assert.deepEqual(lines, [`emailalert: ${deleted}`]);
});

test("A real server that was never up is told of when it is found down", () => {
  const { round } = start();
  assert.deepEqual(round("unknown", "starting"), []);
  assert.deepEqual(round("down", "starting"), [inaccessible]);
  assert.deepEqual(round("down", "running"), []);
  assert.deepEqual(round("up", "running"), []);
  assert.deepEqual(round("down", "running"), [inaccessible]);
});

test("emailalertstatus decides in which phases", () => {
  const { round } = start({ status: ["starting", "stopping"] });
  assert.deepEqual(round("down", "starting", deleted), [deleted]);
  assert.deepEqual(round("up", "running", "Added"), []);
  assert.deepEqual(round("up", "reloading", "Added"), []);
  assert.deepEqual(round("up", "stopping", "Purged"), ["Purged"]);
  assert.deepEqual(start({ status: [] }).round("down", "running", deleted), []);
});

test("Without an address nobody is told", () => {
  const { round, lines } = start({ to: [] });
  assert.deepEqual(round("down", "running", deleted), []);
  assert.deepEqual(lines, []);
});

test("An alert knows where it goes and what it is about", () => {
  const { subject, alerts, service } = start({}, {});
  const narrations = [{ text: deleted, service, entry: key, mailed: true }];
  const file = { ...config(service), emailAlertFrom: "director@example.com" };
  subject.round({ config: file, healthOf: () => ({ state: "up", since }), narrations }, "reloading");
  assert.deepEqual(alerts, [
    {
      destination: { to: ["ops@alerts.example"], from: "director@example.com", smtp: "mail.example" },
      text: deleted,
      phase: "reloading",
      serviceName: "shop",
      comment: "front end",
    },
  ]);
});

test("What is not checked is not inaccessible", () => {
  const { subject, alerts } = start();
  const real = configuredReal("192.168.200.102");
  const off = { ...real, check: { ...real.check, type: { kind: "off" } as const } };
  const service = configuredService({ realServers: [off], emailAlert });
  const health = (): Health => ({ state: "down", since, reason: "never checked" });
  subject.round({ config: config(service), healthOf: health, narrations: [] }, "starting");
  assert.deepEqual(alerts, []);
});

test("emailalertfreq repeats the alert while the real server is down", () => {
  const { subject, alerts, round } = start({ frequency: 60 });
  const begin = performance.now();
  const after = (seconds: number): string[] => {
    subject.repeat(begin + seconds * 1000);
    return alerts.splice(0).map(({ text }) => text);
  };
  round("up", "running");
  assert.deepEqual(round("down", "running", deleted), [deleted]);
  assert.deepEqual(after(59), []);
  assert.deepEqual(after(70), [inaccessible]);
  assert.deepEqual(round("down", "running"), []);
  assert.deepEqual(after(129), []);
  // Not to the microsecond: times are doubles.
  assert.deepEqual(after(130.001), [inaccessible]);
  round("up", "running");
  assert.deepEqual(after(500), []);
});

test("Without emailalertfreq an alert is told once", () => {
  const { subject, alerts, round } = start();
  round("down", "running", deleted);
  subject.repeat(performance.now() + 1e9);
  assert.equal(alerts.length, 0);
});
