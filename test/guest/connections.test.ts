import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cannotRun } from "../dataplane/planes.ts";
import { guest } from "../support/guest.ts";
import { connectionPlay, kernelConnections, listedOf, ownConnections, told } from "./connection-stories.ts";
import type { Listed } from "./connection-stories.ts";
import { playToKernel } from "./play.ts";
import { playToXdpInNamespace } from "./xdp-in-namespace.ts";

const perTarget = process.env["XLB_GUEST"] === "all" ? 150 : 30;
const seed = Number(process.env["XLB_SEED"] ?? 1);
/** Seconds that may go by until a list is read, and the sweep's granularity. */
const tolerance = 4;
const skip = cannotRun === false ? (guest.unavailable() ?? false) : cannotRun;

async function compare() {
  const { play, stories } = connectionPlay(perTarget, seed);
  const [answers = []] = await playToKernel([play]);
  const { connections } = await playToXdpInNamespace(play);
  const kernel = play.steps.flatMap(({ kind }, index) =>
    kind === "connections" ? [kernelConnections((answers[index] ?? []).join(""))] : [],
  );
  const own = connections.map(ownConnections);
  return stories.map((story) => ({
    story,
    there: listedOf(story, kernel[story.batch] ?? new Map()),
    here: listedOf(story, own[story.batch] ?? new Map()),
  }));
}

/** One that is about to expire may be gone already. */
function agree(there: Listed | undefined, here: Listed | undefined): boolean {
  if (there !== undefined && here !== undefined) {
    return there.state === here.state && Math.abs(there.expiresIn - here.expiresIn) <= tolerance;
  }
  return (there?.expiresIn ?? 0) <= tolerance && (here?.expiresIn ?? 0) <= tolerance;
}

describe("a connection is in the state that the kernel's is in, and expires when that does", { skip }, () => {
  const comparison = skip === false ? compare() : undefined;
  comparison?.catch(() => {}); // each test sees it
  for (const target of told) {
    test(target.name, async (t) => {
      const outcomes = ((await comparison) ?? []).filter(({ story }) => story.target === target);
      const seen = new Set<string>();
      for (const { story, there, here } of outcomes) {
        there.forEach((listed, index) => {
          const own = here[index];
          if (listed !== undefined) seen.add(listed.state);
          const words = (each: Listed | undefined) => (each === undefined ? "none" : `${each.state} ${each.expiresIn}`);
          assert.ok(
            agree(listed, own),
            `after ${story.events.join(", ")}: ${words(own)}, the kernel's ${words(listed)}, batch ${story.batch}`,
          );
        });
      }
      assert.ok(seen.size > 0);
      t.diagnostic(`${outcomes.length} connections in ${[...seen].join(" ")}`);
    });
  }
});
