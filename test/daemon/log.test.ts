import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  unlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { DaemonLog, LogFileError, systemLog } from "../../src/daemon/log.ts";
import { loadNative } from "../../src/native.ts";

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

test("Nothing is lost where a rotation copies the file and truncates it", (t) => {
  const { log, file } = open(t);
  log.logger.info("first");
  copyFileSync(file, `${file}.1`);
  truncateSync(file);
  log.logger.info("second");
  assert.match(readFileSync(file, "utf8"), /^\[[^\0]*second\n$/);
});

/** A socket as syslogd and journald have it; yields each datagram as a line, its newlines as bars. */
async function listen(t: TestContext): Promise<{ path: string; next: () => Promise<string> }> {
  const directory = mkdtempSync(join(tmpdir(), "xlb-syslog-"));
  const path = join(directory, "socket");
  const program = `socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, sockaddr_un($ARGV[0])) or die; $| = 1; print "ready\\n";
    while (defined recv(S, $_, 65536, 0)) { tr/\\n/|/; print "$_\\n" }`;
  const child = spawn("perl", ["-MSocket", "-e", program, path], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  });
  const received = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => String((await received.next()).value);
  assert.equal(await next(), "ready");
  return { path, next };
}

const unbuilt = existsSync(new URL("../../native/xlb.node", import.meta.url)) ? false : "the addon is not built";

test("A facility gets RFC 3164 datagrams", { skip: unbuilt }, async (t) => {
  const { path, next } = await listen(t);
  const log = new DaemonLog("ldirectord.cf", loadNative, undefined, { ...systemLog, syslog: path, tag: "ldirectord" });
  t.after(() => log.close());
  log.open("local3");
  log.logger.error("no route");
  assert.match(await next(), /^<155>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d ldirectord\[\d+\]: no route$/);
});

test("journald gets fields", { skip: unbuilt }, async (t) => {
  const { path, next } = await listen(t);
  const log = new DaemonLog("ldirectord.cf", loadNative, undefined, { ...systemLog, journal: path });
  t.after(() => log.close());
  log.open("journald");
  log.logger.warn("line one\nline two");
  assert.equal(await next(), "MESSAGE=line one line two|PRIORITY=4|SYSLOG_IDENTIFIER=xlb|");
});

test("Without a log daemon lines go to standard error", { skip: unbuilt }, (t) => {
  const written = t.mock.method(process.stderr, "write", () => true);
  const log = new DaemonLog("ldirectord.cf", loadNative, undefined, { ...systemLog, syslog: "/nowhere/log" });
  log.open("daemon");
  log.logger.info("one");
  log.logger.info("two");
  const told = written.mock.calls.map(({ arguments: [text] }) => String(text));
  written.mock.restore();
  assert.match(told[0]!, /^xlb: no log daemon at \/nowhere\/log \(.*\); logging here\n$/);
  assert.deepEqual(told.slice(1), ["xlb: one\n", "xlb: two\n"]);
});
