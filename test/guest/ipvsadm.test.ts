import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { guest } from "../support/guest.ts";
import type { Played, Report } from "./ipvsadm-player.ts";
import { printTranscript, situations } from "./ipvsadm-situations.ts";
import type { Situation } from "./ipvsadm-situations.ts";

const skip = guest.unavailable() ?? false;

/** What Debian's ipvsadm says, for those who have no guest; XLB_GOLDEN=write makes the files anew. */
const golden = join(import.meta.dirname, "..", "..", "..", "test", "golden", "ipvsadm");
const writes = process.env["XLB_GOLDEN"] === "write";

test("our ipvsadm does what Debian's does", { skip, timeout: 600_000 }, async (t) => {
  const player = join(import.meta.dirname, "ipvsadm-player.js");
  const { status, stdout, stderr } = await guest.run([process.execPath, player], { timeoutMs: 580_000 });
  assert.equal(status, 0, stderr);
  const { real, ours, live, milliseconds } = JSON.parse(stdout) as Report;
  t.diagnostic(`milliseconds for the real one, ours, both with traffic: ${milliseconds.join(", ")}`);
  if (writes) {
    rmSync(golden, { recursive: true, force: true });
    mkdirSync(golden);
  }
  for (const [index, situation] of situations.entries()) {
    await t.test(situation.name, () => {
      assert.equal(outcome(situation, ours[index]!), outcome(situation, real[index]!));
      const transcript = printTranscript(situation, real[index]!.steps);
      const file = join(golden, `${situation.name.replace(/\W+/g, "-")}.txt`);
      if (writes) writeFileSync(file, transcript);
      assert.equal(transcript, readFileSync(file, "utf8"), file);
    });
  }
  for (const { name, real, ours } of live) {
    await t.test(`with traffic: ipvsadm ${name}`, () => {
      assert.deepEqual(ours, real);
    });
  }
});

function outcome(situation: Situation, { steps, table }: Played): string {
  return `${printTranscript(situation, steps)}${sortTable(table)}`;
}

/** The kernel's order of services is not the same in two namespaces. */
function sortTable(text: string): string {
  const [title, ...services] = text.split(/\n(?=[A-Z])/);
  return [title, ...services.map((service) => service.trimEnd()).sort()].join("\n");
}
