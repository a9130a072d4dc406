/**
 * Seeded sequences that let lblc and lblcr forget: connections that come in bursts, with rests between them in which
 * connections end, and the kernel's timer looks for entries that nobody has used for long.
 */
import { createRandom } from "./seeded.ts";
import type { Change } from "../../src/model/change.ts";
import type { RealServer, ServiceIdentity } from "../../src/model/service.ts";
import { frame } from "../support/packet.ts";
import { directorMac } from "./play.ts";
import type { Play, Step } from "./play.ts";
import { networkOf, serverAddress, virtualAddress } from "./scheduler-traces.ts";

export interface LocalitySpec {
  readonly scheduler: "lblc" | "lblcr";
  readonly seed: number;
  /** Seconds; net.ipv4.vs.lblc_expiration, or lblcr_expiration. */
  readonly expiration: number;
  readonly bursts: number;
  /** Seconds of the longest rest. */
  readonly longest: number;
  /** Whether real servers are taken away, and come back. */
  readonly removals: boolean;
  readonly family?: "ipv4" | "ipv6";
}

const servers = 6;
const maxWeight = 4;
/** Until a half-open connection ends, one after its FIN, an established one; the kernel's timers are late by 1/8 at most. */
const timeouts = [60, 120, 900] as const;
/** Seconds that the two clocks may be apart, and the kernel's timers be late. */
const margin = 12;
/** Thirty periods of a timer of 60 s, each of which lasts 61.44 s: the grain of the kernel's timer wheel at that distance. */
const checkInterval = 1843.2;

function within(value: number, from: number, to: number): boolean {
  return value > from && value < to;
}

/** Whether nothing that depends on time happens at about `now`; in seconds since the service was added. */
function isUnambiguous(now: number, earlier: readonly number[], expiration: number): boolean {
  const sinceCheck = now % checkInterval;
  if (now > margin && !within(sinceCheck, margin, checkInterval - margin)) return false;
  const used = earlier.at(-1) ?? 0;
  if (within(now - sinceCheck - used - expiration, -margin, margin)) return false;
  return earlier.every((then) => {
    if (within(now - then - expiration, -margin, margin)) return false;
    return timeouts.every((timeout) => !within(now - then, timeout - margin, timeout * 1.03 + margin));
  });
}

/** For the kernel, and for the XDP data path. */
export function localityPlay(spec: LocalitySpec): Play {
  const random = createRandom(spec.seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const ipv6 = spec.family === "ipv6";
  const address = virtualAddress(spec);
  const identity: ServiceIdentity = { kind: "address", protocol: "tcp", address, port: 80 };
  const steps: Step[] = [];
  const change = (made: Change): void => void steps.push({ kind: "change", change: made });
  const present = new Set<number>();
  let clients = 0;

  const realServer = (number: number, weight: number): RealServer => ({
    address: serverAddress(number, ipv6),
    port: identity.port,
    method: "gate",
    weight,
    upperThreshold: 0,
    lowerThreshold: 0,
  });
  const add = (number: number): void => {
    present.add(number);
    change({ kind: "add-real-server", identity, realServer: realServer(number, 1 + below(maxWeight)) });
  };
  const disturb = (): void => {
    const number = 1 + below(servers);
    if (!present.has(number)) {
      add(number);
    } else if (spec.removals && present.size > 2 && random() < 0.3) {
      present.delete(number);
      change({ kind: "remove-real-server", identity, address: serverAddress(number, ipv6), port: identity.port });
    } else {
      change({ kind: "edit-real-server", identity, realServer: realServer(number, below(maxWeight + 1)) });
    }
  };
  const open = (): void => {
    const number = ++clients;
    const [high, low] = [number >> 8, number & 255];
    const source = ipv6 ? `fd00:20::${high.toString(16)}:${low.toString(16)}` : `11.0.${high}.${low}`;
    const end = random();
    for (const flags of end < 0.15 ? ["S"] : end < 0.8 ? ["S", "A"] : ["S", "A", "FA"]) {
      steps.push({ kind: "frame", bytes: frame({ to: directorMac, source, destination: address, flags }) });
    }
  };

  change({
    kind: "add-service",
    service: { identity, scheduler: spec.scheduler, schedulerFlags: [], onePacket: false, realServers: [] },
  });
  for (let number = 1; number <= servers; number++) add(number);
  let now = 0;
  const earlier: number[] = [];
  for (let burst = 0; burst < spec.bursts; burst++) {
    for (let left = 1 + below(10); left > 0; left--) {
      if (random() < 0.1) disturb();
      open();
    }
    earlier.push(now);
    let seconds = 0;
    for (let tries = 1; seconds === 0; tries++) {
      const drawn = 30 + below(random() < 0.4 ? 300 : spec.longest);
      if (isUnambiguous(now + drawn, earlier, spec.expiration)) seconds = drawn;
      else if (tries === 1000)
        throw new Error(`after ${now} seconds every rest ends when something is about to happen`);
    }
    now += seconds;
    steps.push({ kind: "rest", seconds });
  }
  return {
    network: networkOf([{ servers, ...(spec.family === undefined ? {} : { family: spec.family }) }]),
    sysctls: { [`net/ipv4/vs/${spec.scheduler}_expiration`]: spec.expiration },
    // Before that the sysctls are not there.
    modules: ["ip_vs_lblc", "ip_vs_lblcr"],
    steps,
  };
}

/** The traces that are compared, by the name of their recording; an emulated machine needs a minute for a day of them. */
export const localityTraces: Readonly<Record<string, LocalitySpec>> = {
  "lblc-rests": { scheduler: "lblc", seed: 1, expiration: 600, bursts: 40, longest: 2500, removals: true },
  "lblcr-rests": { scheduler: "lblcr", seed: 3, expiration: 600, bursts: 40, longest: 2500, removals: false },
  "lblcr-rests-ipv6": {
    scheduler: "lblcr",
    seed: 4,
    expiration: 2400,
    bursts: 40,
    longest: 1500,
    removals: true,
    family: "ipv6",
  },
};
