import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cannotRun } from "../dataplane/planes.ts";
import { guest } from "../support/guest.ts";
import { localityPlay, localityTraces } from "./locality-traces.ts";
import { playToKernel } from "./play.ts";
import { choicesOf, recorded } from "./recordings.ts";
import { assertSameChoices } from "./same-choices.ts";
import { playToXdp, sentBy } from "./xdp-player.ts";

/** Played anew by `make test-guest`: the rests take an emulated kernel, whose clock leaps over them. */
const kernel = "6.1";
const live = process.env["XLB_GUEST"] === "all";

describe("after a rest lblc and lblcr have forgotten what the kernel's have", { skip: cannotRun }, () => {
  const missing = live ? guest.unavailable(kernel) : undefined;
  const plays = Object.entries(localityTraces).map(([name, spec]) => ({ name, spec, play: localityPlay(spec) }));
  const played =
    live && missing === undefined
      ? playToKernel(
          plays.map(({ play }) => play),
          kernel,
        )
      : Promise.resolve([]);
  played.catch(() => {}); // each test sees it
  plays.forEach(({ name, spec, play }, index) => {
    const { scheduler, family = "ipv4", expiration, bursts } = spec;
    test(`${scheduler}, ${family}, ${bursts} rests with ${scheduler}_expiration=${expiration}`, async (t) => {
      const recording = recorded(name);
      assert.ok(recording !== undefined, `${name} is not recorded: run make golden-schedulers`);
      assert.ok(new Set(recording).size > 2, "the kernel has chosen between real servers");
      assertSameChoices(choicesOf(play, (await playToXdp(play)).verdicts.map(sentBy)), recording, "the kernel's to");
      const answers = (await played)[index];
      if (answers !== undefined) {
        assertSameChoices(choicesOf(play, answers), recording, "at the time of the recording to");
      }
      if (missing !== undefined) t.diagnostic(`compared with a recording only: ${missing}`);
    });
  });
});
