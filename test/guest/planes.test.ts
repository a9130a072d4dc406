import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { ipvsIsMissing } from "../support/both-planes.ts";
import { directorIsMissing } from "../support/director.ts";
import { guest } from "../support/guest.ts";
import { labIsMissing } from "../support/lab.ts";

/** Of the kernels that can be run this one has both planes; it is emulated, which takes minutes. */
const kernel = "6.1";
const story = join(import.meta.dirname, "..", "lab", "planes.test.js");
const skip =
  ipvsIsMissing() === false
    ? "test/lab/planes.test.ts runs on this kernel"
    : labIsMissing() || directorIsMissing() || (guest.unavailable(kernel) ?? false);

test(
  "on a kernel with IPVS and XDP, live transfers go from plane to plane",
  { skip, timeout: 1_500_000 },
  async (t) => {
    const command = [process.execPath, "--test-reporter=tap", story];
    // One CPU is the least work for this machine, which has other tests to run.
    const { status, stdout, stderr } = await guest.run(command, { kernel, cpus: 1, timeoutMs: 1_450_000 });
    for (const [, words = ""] of stdout.matchAll(/^# ((?:adopted|handed back|\d+ transfers).*)/gm)) t.diagnostic(words);
    assert.equal(status, 0, `${stdout.slice(-12_000)}\n${stderr}`);
    assert.match(stdout, /^# pass 1$/m);
  },
);
