import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import type { CheckResult } from "../../src/model/health.ts";
import { attemptOnce, eventually, specOf } from "./fixtures.ts";

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
    return await attemptOnce(specOf({ type: { kind: "external" }, command, checkTimeoutMs: 3000, ...changes }));
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
    const result = await run(script, { checkTimeoutMs: 300 });
    assert.deepEqual([result.up, result.detail], [false, "not finished in time"]);
    assert.ok(result.durationMs < 2000, `${result.durationMs} ms`);
    const group = readFileSync(path("pid"), "utf8").trim();
    await eventually("the process group is gone", () => !groupIsAlive(Number(group)));
  });

  test(
    "external-perl takes what exit says",
    { skip: existsSync("/usr/bin/perl") ? false : "perl is needed" },
    async () => {
      const type = { kind: "external-perl" } as const;
      assert.equal((await run("exit($ARGV[3] == 81 ? 0 : 1);\n", { type, realPort: 81 }, 0o644)).up, true);
      assert.equal((await run("exit 1;\n", { type }, 0o644)).up, false);
      assert.equal((await run("1;\n", { type }, 0o644)).up, true);
    },
  );
});

function groupIsAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    // ESRCH: no process is left in it.
    return false;
  }
}
