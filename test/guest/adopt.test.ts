import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { directorIsMissing } from "../support/director.ts";
import { guest } from "../support/guest.ts";
import { labIsMissing } from "../support/lab.ts";

/** Of the kernels that can be run this one has both planes; it is emulated, which takes minutes. */
const kernel = "6.1";
const skip =
  process.env["XLB_GUEST"] !== "all"
    ? "it takes minutes: make test-guest"
    : labIsMissing() || directorIsMissing() || (guest.unavailable(kernel) ?? false);

test(
  "a director is adopted from the kernel's IPVS and handed back under live transfers",
  { skip, timeout: 1_200_000 },
  async (t) => {
    const file = join(import.meta.dirname, "adopt.js");
    const command = [process.execPath, "--test-reporter=tap", file];
    const { status, stdout, stderr } = await guest.run(command, { kernel, timeoutMs: 1_150_000 });
    for (const line of stdout.split("\n").filter((each) => /^\s*# (?:adopt|handback|transfers)/.test(each)))
      t.diagnostic(line.trim());
    assert.equal(status, 0, `${stdout.slice(-12_000)}\n${stderr}`);
    assert.match(stdout, /^# pass 1$/m);
  },
);
