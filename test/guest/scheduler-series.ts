/**
 * Short traces of every scheduler in every surrounding: few real servers that are often all without weight, thresholds,
 * the other protocols and family, persistence, one-packet services, services of all ports. They are played one after the
 * other to one director, so that a hundred of them take seconds.
 */
import type { Scheduler } from "../../src/model/service.ts";
import type { Play } from "./play.ts";
import { seriesPlay, traceName, traceSteps } from "./scheduler-traces.ts";
import type { TraceSpec } from "./scheduler-traces.ts";
import { createRandom } from "./seeded.ts";

/** Of the traces whose choices are kept, as the recording of this name. */
export const recordedSeed = 1;
export const recordingName = "series";

/** All but `twos`, which draws by lot. */
const schedulers = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf"] as const;

type Below = (bound: number) => number;

/** Persistence for networks of which some dozens have clients. `bits`: of an address. */
function persistent(below: Below, bits: number): Partial<TraceSpec> {
  const hostBits = below(12);
  return { persistence: { timeout: 300, prefix: bits - hostBits }, clients: 2 ** (hostBits + 4 + below(4)) };
}

const surroundings: readonly ((below: Below) => Partial<TraceSpec>)[] = [
  (below) => ({ servers: 1 + below(4), maxWeight: 1 + below(3), changes: 80 }),
  (below) => ({ thresholds: true, changes: 20 + below(40) }),
  (below) => ({ protocol: "udp", clients: 1 + below(300), maxWeight: 1 + below(65535), changes: 30 }),
  () => ({ protocol: "sctp", thresholds: true }),
  (below) => ({ family: "ipv6", clients: 1 + below(1000), thresholds: below(2) === 0, changes: 30 }),
  (below) => ({ ...persistent(below, 32), thresholds: below(2) === 0, changes: 40 }),
  (below) => ({
    ...persistent(below, 128),
    family: "ipv6",
    protocol: (["tcp", "udp"] as const)[below(2)] ?? "tcp",
    changes: 40,
  }),
  (below) => ({
    protocol: "udp",
    onePacket: true,
    thresholds: below(2) === 0,
    clients: 1 + below(500),
    changes: 30,
  }),
  (below) => ({
    ...persistent(below, 32),
    allPorts: true,
    protocol: (["tcp", "udp"] as const)[below(2)] ?? "tcp",
    changes: 30,
  }),
];

/** Of sh and mh every set of flags, in turn. */
function flagsOf(scheduler: Scheduler, turn: number): string[] {
  if (scheduler !== "sh" && scheduler !== "mh") return [];
  return ["fallback", "port"].filter((_, bit) => turn & (1 << bit)).map((flag) => `${scheduler}-${flag}`);
}

export interface Series {
  readonly play: Play;
  /** In the order of the play: of each trace what it is and how many frames it has. */
  readonly traces: readonly { readonly scheduler: Scheduler; readonly name: string; readonly frames: number }[];
}

/** Other traces for another seed. */
export function traceSeries(seed: number): Series {
  const random = createRandom(seed);
  const below: Below = (bound) => Math.floor(random() * bound);
  const specs = schedulers.flatMap((scheduler, row) =>
    surroundings.map((surrounding, column): TraceSpec => ({
      scheduler,
      flags: flagsOf(scheduler, column),
      seed: below(2 ** 32),
      opens: 150,
      servers: 2 + below(20),
      maxWeight: 1 + below(12),
      place: row * surroundings.length + column,
      ...surrounding(below),
      // Each of them fills a table anew.
      ...(scheduler === "mh" ? { changes: 8 } : {}),
    })),
  );
  const traces = specs.map((spec) => ({
    scheduler: spec.scheduler,
    name: traceName(spec),
    frames: traceSteps(spec).filter(({ kind }) => kind === "frame").length,
  }));
  return { play: seriesPlay(specs), traces };
}
