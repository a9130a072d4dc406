import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cannotRun } from "../dataplane/planes.ts";
import { guest } from "../support/guest.ts";
import { playToKernel } from "./play.ts";
import { choicesOf, recorded } from "./recordings.ts";
import { recordedSeed, recordingName, traceSeries } from "./scheduler-series.ts";
import { assertSameChoices } from "./same-choices.ts";
import { long, traceName, tracePlay, traces } from "./scheduler-traces.ts";
import { playToXdp, sentBy } from "./xdp-player.ts";

/** Every trace is played in the guest by `make test-guest`; else the long ones are, and the others compared with recordings. */
const everything = process.env["XLB_GUEST"] === "all";

describe("every real server is the one that the kernel's IPVS chooses", { skip: cannotRun }, () => {
  const missing = guest.unavailable();
  const plays = Object.entries(traces).map(([name, spec]) => {
    const live = missing === undefined && (everything || spec.opens === long.opens);
    return { name, spec, live, play: tracePlay(spec) };
  });
  const livePlays = plays.filter(({ live }) => live).map(({ play }) => play);
  // One guest for all of them, at work while the others are compared.
  const kernel = livePlays.length === 0 ? Promise.resolve([]) : playToKernel(livePlays);
  kernel.catch(() => {}); // each test sees it
  for (const { name, spec, play, live } of [...plays].sort((a, b) => Number(a.live) - Number(b.live))) {
    test(traceName(spec), async (t) => {
      const recording = recorded(name);
      assert.ok(recording !== undefined, `${name} is not recorded: run make golden-schedulers`);
      assert.ok(new Set(recording).size > 1, "the kernel has forwarded something");
      assertSameChoices(choicesOf(play, (await playToXdp(play)).verdicts.map(sentBy)), recording, "the kernel's to");
      if (missing !== undefined) t.diagnostic(`compared with a recording only: ${missing}`);
      if (live) {
        const now = choicesOf(play, (await kernel)[livePlays.indexOf(play)] ?? []);
        assertSameChoices(now, recording, "at the time of the recording to");
      }
    });
  }
});

/** `make test-guest` draws others than the recorded ones when it is given another seed. */
const seed = everything ? Number(process.env["XLB_SEED"] ?? recordedSeed) : recordedSeed;

describe("in a hundred short traces, too", { skip: cannotRun }, () => {
  const missing = everything ? guest.unavailable() : undefined;
  const { play, traces: told } = traceSeries(seed);
  const recording = seed === recordedSeed ? recorded(recordingName) : undefined;
  const kernel = everything && missing === undefined ? playToKernel([play]) : Promise.resolve([]);
  kernel.catch(() => {}); // each test sees it
  let played: Promise<number[]> | undefined;
  let from = 0;
  for (const { name, frames } of told) {
    const [first, last] = [from, (from += frames)];
    test(name, async () => {
      played ??= playToXdp(play).then(({ verdicts }) => choicesOf(play, verdicts.map(sentBy)));
      const found = (await played).slice(first, last);
      const [answers] = await kernel;
      const now = answers === undefined ? undefined : choicesOf(play, answers).slice(first, last);
      const wanted = now ?? recording?.slice(first, last);
      assert.ok(wanted !== undefined, missing ?? "there is no recording: run make golden-schedulers");
      assert.ok(
        wanted.some((server) => server !== 0),
        "the kernel has forwarded something",
      );
      assertSameChoices(found, wanted, "the kernel's to");
      if (recording !== undefined)
        assertSameChoices(wanted, recording.slice(first, last), "at the time of the recording to");
    });
  }
});
