import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { directorIsMissing } from "../support/director.ts";
import { guest } from "../support/guest.ts";
import { labIsMissing } from "../support/lab.ts";

const skip = labIsMissing() || directorIsMissing() || (guest.unavailable() ?? false);

test("a cluster on the kernel's IPVS, end to end in a guest", { skip, timeout: 600_000 }, async () => {
  const file = join(import.meta.dirname, "ipvs-cluster.js");
  const command = [process.execPath, "--test-reporter=tap", file];
  const { status, stdout, stderr } = await guest.run(command, { timeoutMs: 550_000 });
  assert.equal(status, 0, `${stdout.slice(-12_000)}\n${stderr}`);
  assert.match(stdout, /^# pass 1$/m);
});
