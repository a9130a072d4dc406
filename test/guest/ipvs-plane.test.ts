import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { guest } from "../support/guest.ts";

const skip = guest.unavailable() ?? false;

test("the plane ipvs on a kernel that has IPVS", { skip, timeout: 300_000 }, async (t) => {
  const file = join(import.meta.dirname, "ipvs-plane.js");
  const command = [process.execPath, "--test-reporter=tap", file];
  const { status, stdout, stderr } = await guest.run(command, { timeoutMs: 280_000 });
  for (const line of stdout.split("\n").filter((each) => /^\s*# (?:apply|Subtest: the plane)/.test(each)))
    t.diagnostic(line.trim());
  assert.equal(status, 0, `${stdout.split("\n").slice(-200).join("\n")}\n${stderr}`);
  assert.match(stdout, /^# fail 0$/m);
  assert.match(stdout, /^# skipped 0$/m);
  const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
  assert.ok(passed >= 18, `${passed} tests`);
});
