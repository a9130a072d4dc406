import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { guest } from "../support/guest.ts";
import type { Played, Report } from "./ipvsadm-player.ts";
import { situations } from "./ipvsadm-situations.ts";
import type { Step } from "./ipvsadm-situations.ts";

const skip = guest.unavailable() ?? false;

test("our ipvsadm does what Debian's does", { skip, timeout: 300_000 }, async (t) => {
  const player = join(import.meta.dirname, "ipvsadm-player.js");
  const { status, stdout, stderr } = await guest.run([process.execPath, player], { timeoutMs: 280_000 });
  assert.equal(status, 0, stderr);
  const { real, ours } = JSON.parse(stdout) as Report;
  for (const [index, { name, steps }] of situations.entries()) {
    await t.test(name, () => {
      assert.equal(transcript(steps, ours[index]!), transcript(steps, real[index]!));
    });
  }
});

/** As in a terminal. */
function transcript(steps: readonly Step[], { steps: results, table }: Played): string {
  const lines = results.map(({ status, stdout, stderr }, index) => {
    const { words, input } = steps[index]!;
    return `$ ipvsadm ${words.join(" ")}${input === undefined ? "" : ` <<<${JSON.stringify(input)}`}\n${stdout}${stderr}[${status}]`;
  });
  return `${lines.join("\n")}\n${sortTable(table)}`;
}

/** The kernel's order of services is not the same in two namespaces. */
function sortTable(text: string): string {
  const [title, ...services] = text.split(/\n(?=[A-Z])/);
  return [title, ...services.map((service) => service.trimEnd()).sort()].join("\n");
}
