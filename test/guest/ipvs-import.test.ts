import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { guest } from "../support/guest.ts";

const skip = guest.unavailable() ?? false;

test("connections come into the kernel's table by its own synchronisation", { skip, timeout: 200_000 }, async (t) => {
  const file = join(import.meta.dirname, "ipvs-import.js");
  const command = [process.execPath, "--test-reporter=tap", file];
  const { status, stdout, stderr } = await guest.run(command, { timeoutMs: 180_000 });
  for (const line of stdout.split("\n").filter((each) => /^\s*# import/.test(each))) t.diagnostic(line.trim());
  assert.equal(status, 0, `${stdout.split("\n").slice(-200).join("\n")}\n${stderr}`);
  assert.match(stdout, /^# pass 6$/m);
});
