/** Records what the kernel's IPVS chooses in every trace: `make golden-schedulers`. */
import { guest } from "../support/guest.ts";
import { playToKernel } from "./play.ts";
import { choicesOf, record } from "./recordings.ts";
import { traces, tracePlay } from "./scheduler-traces.ts";

const missing = guest.unavailable();
if (missing !== undefined) throw new Error(missing);
const plays = Object.values(traces).map(tracePlay);
const answers = await playToKernel(plays);
Object.keys(traces).forEach((name, index) => {
  const play = plays[index];
  if (play !== undefined) record(name, choicesOf(play, answers[index] ?? []));
});
