import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { MonitorFiles, monitorLine } from "../../src/notify/monitor-files.ts";
import { configuredReal, configuredService } from "../reconcile/samples.ts";

const at = new Date(2026, 10, 2, 3, 4, 5);
const stamp = `[Mon Nov  2 03:04:05 2026] [${process.pid}]`;

function line(check: Partial<CheckSpec>, detail = "200 OK", up = true): string {
  const sample = configuredReal("192.168.200.102", { method: "masq" });
  const realServer = { ...sample, check: { ...sample.check, ...check } };
  return monitorLine({ at, service: configuredService(), realServer, up, detail });
}

test("A check is named as ldirectord names it, without colons and backslashes", () => {
  assert.equal(
    line({ request: "/ok", receive: "" }),
    `${stamp} negotiate http tcp 192.168.200.102 80 1 masq /ok  [up] 200 OK\n`,
  );
  assert.equal(
    line({ request: "/a:b", receive: "x\\.y", virtualHost: "www.example.com", port: 8080 }),
    `${stamp} negotiate http tcp 192.168.200.102 80 www.example.com 8080 1 masq /a b x.y [up] 200 OK\n`,
  );
  assert.equal(
    line({ type: { kind: "external" }, command: "/usr/bin/check", request: "/", receive: "" }, "exit status 1", false),
    `${stamp} external /usr/bin/check tcp 192.168.200.102 80 1 masq /  [down] exit status 1\n`,
  );
});

test("A message is one line without bars, and a dash if there is none", () => {
  assert.ok(line({}, "a|b\nc%").endsWith(" [up] a%7cb%0ac%25\n"));
  assert.ok(line({}, "").endsWith(" [up] -\n"));
});

test("Lines go to the file of their service, also after it was rotated", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "xlb-monitor-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, "monitor");
  const lines: string[] = [];
  const note = (text: string): void => void lines.push(text);
  const files = new MonitorFiles({ info: note, warn: note, error: note });
  const realServer = configuredReal("192.168.200.102");
  const record = (monitorFile: string, detail: string): void =>
    files.record({ at, service: configuredService({ monitorFile }), realServer, up: true, detail });
  record(path, "one");
  record("", "nowhere");
  record(path, "two");
  await files.flush();
  renameSync(path, `${path}.1`);
  record(path, "three");
  await files.flush();
  const details = (file: string): string[] =>
    readFileSync(file, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((each) => each.split("] ").at(-1)!);
  assert.deepEqual(details(`${path}.1`), ["one", "two"]);
  assert.deepEqual(details(path), ["three"]);
  const missing = join(directory, "missing", "monitor");
  for (const detail of ["one", "two"]) {
    record(missing, detail);
    await files.flush();
  }
  assert.equal(lines.length, 1, "a file that cannot be written is told of once");
  assert.match(lines[0]!, /^Error writing to monitorfile '.*missing\/monitor': ENOENT/);
});
