import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { DaemonLog, LogFileError } from "../../src/daemon/log.ts";
import type { Native } from "../../src/native.ts";

function open(t: TestContext): { log: DaemonLog; file: string } {
  const directory = mkdtempSync(join(tmpdir(), "xlb-log-"));
  const file = join(directory, "ldirectord.log");
  const log = new DaemonLog("/etc/ha.d/ldirectord.cf", () => assert.fail("no addon is needed for a file"));
  t.after(() => {
    log.close();
    rmSync(directory, { recursive: true, force: true });
  });
  log.open(file);
  return { log, file };
}

const lines = (file: string): string[] => readFileSync(file, "utf8").trimEnd().split("\n");

test("A line has ldirectord's form", (t) => {
  const { log, file } = open(t);
  log.logger.info("Added virtual server: 10.10.10.53:80");
  log.logger.warn({ interface: "eth0" }, "the cable is out");
  assert.match(
    lines(file)[0]!,
    /^\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\|ldirectord\.cf\|\d+\] Added virtual server: 10\.10\.10\.53:80$/,
  );
  assert.match(lines(file)[1]!, /\] Warning: the cable is out$/);
});

test("An error is one line, with its cause", (t) => {
  const { log, file } = open(t);
  log.logger.fatal({ err: new Error("the network failed", { cause: new Error("ENOBUFS") }) }, "The daemon ends");
  assert.equal(lines(file).length, 1);
  assert.match(lines(file)[0]!, /Fatal: The daemon ends: .*the network failed.*ENOBUFS/);
});

test("A file that was renamed or removed is made anew without a signal", (t) => {
  const { log, file } = open(t);
  log.logger.info("first");
  renameSync(file, `${file}.1`);
  log.logger.info("second");
  unlinkSync(file);
  log.logger.info("third");
  assert.match(lines(`${file}.1`).join(), /first$/);
  assert.match(lines(file).join(), /third$/);
});

test("Opening again is harmless, and a file is appended to", (t) => {
  const { log, file } = open(t);
  log.logger.info("first");
  log.reopen();
  log.logger.info("second");
  assert.equal(lines(file).length, 2);
});

test("A file that cannot be opened is refused, and the log before goes on", (t) => {
  const { log, file } = open(t);
  assert.throws(
    () => log.open("/proc/nowhere/log"),
    (error) => error instanceof LogFileError && error.message.startsWith("unable to open logfile: /proc/nowhere/log"),
  );
  log.logger.info("still here");
  assert.match(lines(file).join(), /still here$/);
});

test("A facility gets RFC 3164 datagrams at /dev/log", (t) => {
  const sent: { message: string; path: string }[] = [];
  const native = {
    socketOpen: () => 3,
    socketClose: () => undefined,
    socketSend: (_fd: number, data: Uint8Array, address: Uint8Array) => {
      sent.push({ message: Buffer.from(data).toString(), path: Buffer.from(address.subarray(2)).toString() });
      return data.length;
    },
  } as unknown as Native;
  const log = new DaemonLog("ldirectord.cf", () => native);
  t.after(() => log.close());
  log.open("local3");
  log.logger.error("no route");
  assert.equal(sent[0]!.path, "/dev/log\0");
  assert.match(sent[0]!.message, /^<155>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d xlb\[\d+\]: no route$/);
});
