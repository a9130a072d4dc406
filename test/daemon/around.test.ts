/** What a real daemon tells people and programs: mails, commands, files; with a real mail server and real commands. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { mailDomain, postfixIsMissing, startPostfix } from "../support/servers/postfix.ts";
import type { Postfix } from "../support/servers/postfix.ts";
import { daemonCannotRun, RealDaemon, until } from "./real-daemon.ts";

const first = "192.0.2.21";
const second = "192.0.2.22";

describe("a daemon and what is around it", { skip: daemonCannotRun() || postfixIsMissing }, () => {
  let postfix: Postfix;
  let daemon: RealDaemon;

  before(async () => {
    postfix = await startPostfix("ops");
    daemon = new RealDaemon("around", { MAIL_CONFIG: postfix.configuration });
    daemon.script("told", `echo "$*" >>${daemon.path("fallback")}`);
    daemon.script("callback", `echo "$*" >>${daemon.path("called")}`);
    mkdirSync(daemon.path("maintenance"));
  });

  after(async () => {
    daemon?.remove();
    await postfix?.stop();
  });

  function configuration(more = ""): string {
    return `checkinterval=1
quiescent=no
maintenancedir=${daemon.path("maintenance")}
callback="${daemon.path("callback")}"
emailalert=ops@${mailDomain}
emailalertfrom=director@alerts.example
logfile="${daemon.logFile}"
${more}virtual=192.0.2.10:80
	real=${first}->${second}:80 gate 3
	fallback=127.0.0.1:80
	checktype=external
	checkcommand=${daemon.path("check")}
	fallbackcommand=${daemon.path("told")}
	monitorfile=${daemon.path("monitor")}
	servicename=shop
`;
  }

  const weightsAre = (expected: Record<string, number>): Promise<void> =>
    until(JSON.stringify(expected), async () => {
      const actual = await daemon.weights();
      return JSON.stringify(Object.entries(actual).sort()) === JSON.stringify(Object.entries(expected).sort());
    });

  const mailed = (words: string | RegExp): Promise<void> =>
    until(`a mail with ${words}`, () =>
      postfix.mails().some((mail) => (typeof words === "string" ? mail.includes(words) : words.test(mail))),
    );

  test("At the start nobody is up: the fallback serves, its command is told so, and dead servers are mailed", async () => {
    daemon.set(first, true);
    await daemon.start(configuration(), "--stop-fallback-commands");
    await weightsAre({ [`${first}:80`]: 3 });
    await until("the command", () => daemon.lines(daemon.path("fallback")).length === 2);
    assert.deepEqual(daemon.lines(daemon.path("fallback")), ["start 192.0.2.10:80 tcp", "stop 192.0.2.10:80 tcp"]);
    for (const words of [
      `Inaccessible real server: ${second}:80 (192.0.2.10:80)`,
      /^From: director@alerts\.example$/m,
      /^Subject: \[shop\] Added fallback server: 127\.0\.0\.1:80 /m,
      /^Log-Message: \[shop\] Inaccessible real server: .*\nDaemon-Status: starting\n\nService name: shop$/m,
    ]) {
      await mailed(words);
    }
    assert.ok(daemon.log().includes(`emailalert: Inaccessible real server: ${second}:80 (192.0.2.10:80)`));
  });

  test("The monitor file has a line for each check", async () => {
    const line = (address: string, state: string): RegExp =>
      new RegExp(`^\\[[^\\]]+\\] \\[${daemon.pid}\\] external .*/check tcp ${address} 80 3 gate / +\\[${state}\\] .`);
    const monitored = (): string[] => daemon.lines(daemon.path("monitor"));
    for (const pattern of [line(first, "up"), line(second, "down")]) {
      await until("two checks", () => monitored().filter((each) => pattern.test(each)).length >= 2);
    }
    assert.ok(monitored().every((each) => line(first, "up").test(each) || line(second, "down").test(each)));
  });

  test("The last real server goes down, by maintenance, and comes back", async () => {
    writeFileSync(daemon.path(`maintenance/${first}`), "");
    await weightsAre({ "127.0.0.1:80": 1 });
    await until("the command", () => daemon.lines(daemon.path("fallback")).length === 3);
    rmSync(daemon.path(`maintenance/${first}`));
    await weightsAre({ [`${first}:80`]: 3 });
    await until("the command", () => daemon.lines(daemon.path("fallback")).length === 4);
    assert.deepEqual(
      daemon
        .lines(daemon.path("fallback"))
        .slice(2)
        .map((line) => line.split(" ")[0]),
      ["start", "stop"],
    );
    await mailed(`Deleted real server: ${first}:80 (192.0.2.10:80)\nDaemon-Status: running`);
  });

  test("A changed file is told to the callback, whether or not it is read", async () => {
    appendFileSync(daemon.configFile, "# a comment\n");
    await until("the callback", () => daemon.lines(daemon.path("called")).length === 1);
    assert.deepEqual(daemon.lines(daemon.path("called")), [daemon.configFile]);
    assert.ok(daemon.log().includes(" - ignore new configuration"));
    assert.equal((await daemon.xlb("reload")).code, 0);
    assert.equal(daemon.lines(daemon.path("called")).length, 1, "a reload that was asked for is no change on disk");
    assert.deepEqual(daemon.lines(daemon.path("fallback")).length, 4, "a reload is no change of the service");
  });

  test("Another configuration is executed: served with this one, and reloaded by itself", async () => {
    const other = daemon.path("other.cf");
    const otherFile = (weight: number): string =>
      `autoreload=yes\ncallback="${daemon.path("callback")}"\nvirtual=192.0.2.10:81\n\treal=${second}:81 gate ${weight}\n\tchecktype=on\n`;
    writeFileSync(other, otherFile(2));
    writeFileSync(daemon.configFile, configuration("execute=other.cf\n"));
    const { code, stderr } = await daemon.xlb("reload");
    assert.equal(code, 0, stderr);
    await weightsAre({ [`${first}:80`]: 3, [`${second}:81`]: 2 });
    writeFileSync(other, otherFile(7));
    await weightsAre({ [`${first}:80`]: 3, [`${second}:81`]: 7 });
    await until("its callback", () => daemon.lines(daemon.path("called")).includes(other));
    writeFileSync(daemon.configFile, configuration());
    assert.equal((await daemon.xlb("reload")).code, 0);
    assert.deepEqual(await daemon.weights(), { [`${first}:80`]: 3 });
    assert.ok(daemon.log().includes("Purged virtual server (start): 192.0.2.10:81"));
  });

  test("SIGUSR1 opens the log again after a rotation, and without it the next line does", async () => {
    renameSync(daemon.logFile, `${daemon.logFile}.1`);
    process.kill(daemon.pid, "SIGUSR1");
    await until("the new file", () => daemon.exists(daemon.logFile));
    renameSync(daemon.logFile, `${daemon.logFile}.2`);
    process.kill(daemon.pid, "SIGHUP");
    await until("a line in the new file", () =>
      daemon.log().includes("Reloading Linux Director Daemon config on signal"),
    );
    await until("the reload", () => daemon.log().some((line) => line.startsWith("Reloaded ")));
  });

  test("At the end what was up is named and mailed, and the fallback command is told stop", async () => {
    daemon.set(first, false);
    await weightsAre({ "127.0.0.1:80": 1 });
    await until("the command", () => daemon.lines(daemon.path("fallback")).length === 5);
    daemon.set(second, true);
    await weightsAre({ [`${second}:80`]: 3 });
    await until("the command", () => daemon.lines(daemon.path("fallback")).length === 6);
    daemon.set(second, false);
    await weightsAre({ "127.0.0.1:80": 1 });
    await until("the command", () => daemon.lines(daemon.path("fallback")).length === 7);
    const { code, stdout } = await daemon.xlb("stop");
    assert.equal(code, 0);
    assert.equal(stdout, "Stopped; the data path is detached\n");
    assert.equal(daemon.lines(daemon.path("fallback")).at(-1), "stop 192.0.2.10:80 tcp");
    assert.ok(daemon.log().includes("Purged virtual server (stop): 192.0.2.10:80"));
  });

  test("Mails of the end are sent before the daemon is gone", async () => {
    daemon.set(first, true);
    await daemon.start(configuration());
    await weightsAre({ [`${first}:80`]: 3 });
    assert.equal((await daemon.xlb("stop")).code, 0);
    assert.ok(daemon.log().includes(`Purged real server (stop): ${first}:80 (192.0.2.10:80)`));
    await mailed(/Purged real server \(stop\): .*\nDaemon-Status: stopping/);
  });

  test("supervised=yes: in the foreground, to stdout, without a pid file", async () => {
    writeFileSync(daemon.configFile, `supervised=yes\n${configuration()}`);
    const before = daemon.log().length;
    const child = daemon.spawn("start", "-c", daemon.configFile, "--metrics", "off", "--table-size", "4096");
    const output = text(child.stdout!);
    await until("the daemon answers", async () => (await daemon.xlb("status")).code === 0);
    assert.equal(child.exitCode, null);
    assert.ok(!daemon.exists(daemon.path("state/xlb.pid")));
    child.kill("SIGQUIT");
    await once(child, "close");
    assert.equal(child.exitCode, 0);
    assert.match(await output, /Added virtual server: 192\.0\.2\.10:80/);
    assert.match(await output, /Linux Director Daemon terminated on signal: QUIT/);
    assert.equal(daemon.log().length, before, "the logfile gets nothing");
  });
});
