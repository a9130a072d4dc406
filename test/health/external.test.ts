import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import type { CheckResult } from "../../src/model/health.ts";
import { atDeadline, attemptOnce, eventually, specOf } from "./fixtures.ts";

describe("external checks", () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "xlb-health-external-"));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const path = (name: string): string => join(directory, name);
  async function run(script: string, changes: Partial<CheckSpec> = {}, mode = 0o755): Promise<CheckResult> {
    const command = path(`check-${Math.random().toString(36).slice(2)}`);
    writeFileSync(command, script, { mode });
    return await attemptOnce(specOf({ type: { kind: "external" }, command, checkTimeoutMs: 20_000, ...changes }));
  }

  test("exit status 0 is up, another is down", async () => {
    assert.equal((await run("#!/bin/sh\nexit 0\n")).up, true);
    const failed = await run("#!/bin/sh\nexit 3\n");
    assert.deepEqual([failed.up, failed.detail], [false, "exit status 3"]);
  });

  test("the arguments are the virtual and the real server as configured, IPv6 in brackets", async () => {
    const script = `#!/bin/sh\necho "$# $* $(pwd)" > ${path("arguments")}\n`;
    await run(script, { address: "10.0.0.2", port: 8080, realPort: 0 });
    assert.equal(readFileSync(path("arguments"), "utf8"), "4 10.0.0.1 80 10.0.0.2 0 /\n");
    await run(script, { address: "fd00::2", realPort: 81, virtualAddress: "fd00::1" });
    assert.equal(readFileSync(path("arguments"), "utf8"), "4 [fd00::1] 80 [fd00::2] 81 /\n");
  });

  test("the environment is the daemon's, but for its supervisor's socket, and nothing is open but /dev/null", async () => {
    Object.assign(process.env, { XLB_TEST_WORD: "kept", NOTIFY_SOCKET: "/none", WATCHDOG_USEC: "1" });
    try {
      await run(
        `#!/bin/sh\necho "$XLB_TEST_WORD-$NOTIFY_SOCKET-$WATCHDOG_USEC-$PERLIO" > ${path("environment")}
for number in 0 1 2; do readlink /proc/$$/fd/$number; done >> ${path("environment")}
ps -o pgid=,pid= -p $$ >> ${path("environment")}\n`,
      );
    } finally {
      for (const name of ["XLB_TEST_WORD", "NOTIFY_SOCKET", "WATCHDOG_USEC"]) Reflect.deleteProperty(process.env, name);
    }
    const [variables, input, output, errors, group = ""] = readFileSync(path("environment"), "utf8").split("\n");
    assert.equal(variables, "kept---perlio");
    assert.deepEqual([input, errors], ["/dev/null", "/dev/null"]);
    // While the loop runs, its output is the file.
    assert.equal(output, path("environment"));
    const [leader, pid] = group.trim().split(/\s+/);
    assert.equal(leader, pid);
  });

  test("a script that does not name its interpreter is run by the shell", async () => {
    assert.equal((await run("exit 0\n")).up, true);
    assert.equal((await run("exit 3\n")).detail, "exit status 3");
  });

  test("killed by a signal is down", async () => {
    const result = await run("#!/bin/sh\nkill -9 $$\n");
    assert.deepEqual([result.up, result.detail], [false, "killed by SIGKILL"]);
  });

  test("a command that cannot be run is down", async () => {
    assert.equal((await run("#!/bin/sh\nexit 0\n", {}, 0o644)).up, false);
    assert.match((await run("", { command: path("missing") })).detail, /^cannot run .*: no such file$/);
  });

  test("at the deadline the command and what it started are killed, even if they ignore SIGTERM", async () => {
    const script = `#!/bin/sh\ntrap '' TERM\n(trap '' TERM; echo $$ > ${path("pid")}; exec sleep 60) &\nwait\nsleep 60\n`;
    const attempt = async (checkTimeoutMs: number): Promise<[boolean, string, boolean]> => {
      const { up, detail, durationMs } = await run(script, { checkTimeoutMs });
      assert.ok(durationMs < 30_000, `${durationMs} ms, though it was killed`);
      return [up, detail, hasContent(path("pid"))];
    };
    await atDeadline(300, attempt, [false, "not finished in time", true]);
    const group = readFileSync(path("pid"), "utf8").trim();
    await eventually("the process group is gone", () => !groupIsAlive(Number(group)));
  });

  describe("external-perl", { skip: existsSync("/usr/bin/perl") ? false : "perl is needed" }, () => {
    const perl = async (script: string, changes: Partial<CheckSpec> = {}): Promise<[boolean, string]> => {
      const { up, detail } = await run(script, { type: { kind: "external-perl" }, ...changes }, 0o644);
      return [up, detail];
    };

    test("exit is the result, and the arguments are those of external", async () => {
      const script = 'exit("@ARGV" eq "10.0.0.1 80 127.0.0.1 81" && "@_" eq "@ARGV" ? 0 : 1);\n';
      assert.deepEqual(await perl(script, { realPort: 81 }), [true, "exit status 0"]);
      assert.equal((await perl(script, { realPort: 82 }))[0], false);
      assert.equal((await perl("exit 256;\n"))[0], false);
      assert.equal((await perl("exit;\n"))[0], true);
      assert.equal((await perl("sub stop { exit 1 }\nstop();\n"))[0], false);
    });

    test("what neither exits nor dies is up, whatever it returns", async () => {
      assert.equal((await perl("1;\n"))[0], true);
      assert.equal((await perl("return 5;\n"))[0], true);
      assert.equal((await perl("0; # no newline at the end"))[0], true);
    });

    test("what dies, does not compile or is not there is down", async () => {
      assert.equal((await perl("die 'no';\n"))[0], false);
      assert.equal((await perl("this is no Perl (\n"))[0], false);
      assert.equal((await perl("", { command: path("missing") }))[0], false);
    });

    test("it is killed at the deadline, with what it has started", async () => {
      const script = `open(my $file, ">", "${path("perl-pid")}"); print $file $$; close $file; system("sleep 60"); sleep 60;\n`;
      const attempt = async (checkTimeoutMs: number): Promise<[boolean, string, boolean]> => [
        ...(await perl(script, { checkTimeoutMs })),
        hasContent(path("perl-pid")),
      ];
      await atDeadline(500, attempt, [false, "not finished in time", true]);
      const group = readFileSync(path("perl-pid"), "utf8");
      await eventually("the process group is gone", () => !groupIsAlive(Number(group)));
    });
  });
});

/** Whether the command has got so far as to write it. */
function hasContent(file: string): boolean {
  return existsSync(file) && readFileSync(file, "utf8") !== "";
}

function groupIsAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    // ESRCH: no process is left in it.
    return false;
  }
}
