import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cannotRun } from "../dataplane/planes.ts";
import { guest } from "../support/guest.ts";
import { playToKernel } from "./play.ts";
import { recordedDraws } from "./recordings.ts";
import { createRandom } from "./seeded.ts";
import { cases, countDraws, drawPlay, draws, sameDistribution } from "./twos-draws.ts";
import { playToXdp, sentBy } from "./xdp-player.ts";

/** The only kernel with this scheduler that can be run; emulated, so it takes minutes. */
const live = process.env["XLB_GUEST"] === "all";

describe("twos draws as the kernel's does", () => {
  const missing = live ? guest.unavailable("6.12") : undefined;
  const plays = Object.values(cases).map(drawPlay);
  const kernel = live && missing === undefined ? playToKernel(plays, "6.12") : Promise.resolve([]);
  kernel.catch(() => {}); // each test sees it
  Object.entries(cases).forEach(([name, servers], index) => {
    test(name, { skip: cannotRun }, async (t) => {
      const recording = recordedDraws()[name];
      const play = plays[index];
      assert.ok(recording !== undefined && play !== undefined, "there is no recording: run make golden-schedulers");
      const found = countDraws(servers, (await playToXdp(play)).verdicts.map(sentBy));
      assert.ok(sameDistribution(found, recording), `${found.join(" ")}, the kernel's ${recording.join(" ")}`);
      const answers = (await kernel)[index];
      if (answers !== undefined) {
        const now = countDraws(servers, answers);
        assert.ok(sameDistribution(found, now), `${found.join(" ")}, the kernel's now ${now.join(" ")}`);
      }
      if (missing !== undefined) t.diagnostic(`compared with a recording only: ${missing}`);
    });
  });
});

/** Draws one of those that may be scheduled. */
type Draw = (random: () => number, servers: (typeof cases)[string]) => number;

const byWeight: Draw = (random, servers) => {
  const sum = servers.reduce((all, { weight, full }) => all + (full ? 0 : weight), 0);
  let left = Math.floor(random() * (sum + 1));
  // The head of the kernel's list is the last one.
  for (let index = servers.length - 1; index >= 0; index--) {
    const { weight = 0, full } = servers[index] ?? {};
    if (weight === 0 || full) continue;
    left -= weight;
    if (left <= 0) return index;
  }
  return 0;
};

function better(servers: (typeof cases)[string], a: number, b: number, sign: number): number {
  const [one, other] = [servers[a], servers[b]];
  if (one === undefined || other === undefined) return a;
  return sign * (one.load * other.weight - other.load * one.weight) > 0 ? b : a;
}

const algorithms: Readonly<Record<string, Draw>> = {
  "the right one": (random, servers) => better(servers, byWeight(random, servers), byWeight(random, servers), 1),
  "one draw": byWeight,
  "the more loaded of two": (random, servers) =>
    better(servers, byWeight(random, servers), byWeight(random, servers), -1),
  "three draws": (random, servers) =>
    better(
      servers,
      better(servers, byWeight(random, servers), byWeight(random, servers), 1),
      byWeight(random, servers),
      1,
    ),
  "draws without weights": (random, servers) => {
    const even = servers.map(({ weight, load, full }) => ({
      weight: Math.min(weight, 1),
      load,
      ...(full ? { full } : {}),
    }));
    return better(servers, byWeight(random, even), byWeight(random, even), 1);
  },
};

describe("the bound tells algorithms apart", () => {
  for (const [name, draw] of Object.entries(algorithms)) {
    test(name, () => {
      const random = createRandom(5);
      const agree = Object.entries(cases).map(([title, servers]) => {
        const counts = servers.map(() => 0);
        for (let left = draws; left > 0; left--) {
          const index = draw(random, servers);
          counts[index] = (counts[index] ?? 0) + 1;
        }
        return sameDistribution(counts, recordedDraws()[title] ?? []);
      });
      assert.equal(
        agree.every((same) => same),
        name === "the right one",
        agree.join(" "),
      );
    });
  }
});
