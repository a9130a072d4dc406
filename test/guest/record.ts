/** Records what the kernel's IPVS chooses in every trace: `make golden-schedulers`. */
import { guest } from "../support/guest.ts";
import { localityPlay, localityTraces } from "./locality-traces.ts";
import { playToKernel } from "./play.ts";
import { choicesOf, record, recordDraws } from "./recordings.ts";
import { recordedSeed, recordingName, traceSeries } from "./scheduler-series.ts";
import { traces, tracePlay } from "./scheduler-traces.ts";
import { cases, countDraws, drawPlay } from "./twos-draws.ts";

const missing = guest.unavailable() ?? guest.unavailable("6.1") ?? guest.unavailable("6.12");
if (missing !== undefined) throw new Error(missing);
const recordings = [
  ...Object.entries(traces).map(([name, spec]) => ({ name, play: tracePlay(spec) })),
  { name: recordingName, play: traceSeries(recordedSeed).play },
];
const answers = await playToKernel(recordings.map(({ play }) => play));
recordings.forEach(({ name, play }, index) => record(name, choicesOf(play, answers[index] ?? [])));

// Their rests take a clock that leaps.
const localities = Object.entries(localityTraces).map(([name, spec]) => ({ name, play: localityPlay(spec) }));
const choices = await playToKernel(
  localities.map(({ play }) => play),
  "6.1",
);
localities.forEach(({ name, play }, index) => record(name, choicesOf(play, choices[index] ?? [])));

// Debian's 6.1 is built without twos.
const drawn = await playToKernel(Object.values(cases).map(drawPlay), "6.12");
recordDraws(
  Object.fromEntries(
    Object.entries(cases).map(([name, servers], index) => [name, countDraws(servers, drawn[index] ?? [])]),
  ),
);
