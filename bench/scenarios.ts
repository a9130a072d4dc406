/** What is measured: the table that `make bench` goes through, from top to bottom. */
import type { Scheduler } from "../src/model/service.ts";
import type { Traffic } from "./traffic.ts";

export interface DirectorSetup {
  readonly scheduler: Scheduler;
  /** Behind every service. */
  readonly realServers: number;
  /** What differs from the scenario's: the director that the others are measured by, in the same rounds. */
  readonly instead?: Partial<Pick<Scenario, "traffic" | "cpus" | "flows">> & { readonly name: string };
}

/** What the project has set itself, by comparison with another target in the same rounds: `usual`, or a director's name. */
export type Goal =
  /** The cost, divided by that of the other. */
  | { readonly against: string; readonly atMost: number }
  /** How many times its packets all CPUs carry together. */
  | { readonly against: string; readonly timesAtLeast: number };

export interface Scenario {
  readonly title: string;
  /**
   * - `established`: ACKs of `flows` connections, at random
   * - `new`: every packet a SYN of a flow never seen (UDP: its first datagram), while `flows` others live
   * - `churn`: connections of 10 packets, SYN to FIN, `flows` at a time, a power of two
   */
  readonly mode: "established" | "new" | "churn";
  readonly flows: number;
  /** SYNs that nothing follows, each of another flow, before the live ones open: as in a flood. */
  readonly spoofed: number;
  readonly traffic: Traffic;
  /** Each is a target of its own, measured in the same rounds. */
  readonly directors: readonly DirectorSetup[];
  /** By the director's name. */
  readonly goals: Readonly<Record<string, readonly Goal[]>>;
  /** CPUs at once; each has `flows` of its own. */
  readonly cpus: 1 | 2;
  /** Whether the cost of the sweep is measured as well, in the seconds after. */
  readonly sweep: boolean;
  /** Whether it belongs to the quick run, too. */
  readonly quick: boolean;
}

export const packetsPerConnection = 10;

/** A director's name in tables: its scheduler, and what is not as usual; of real servers the usual is 100. */
export function directorName({ scheduler, realServers, instead }: DirectorSetup): string {
  if (instead !== undefined) return `${scheduler}, ${instead.name}`;
  return realServers === 100 ? scheduler : `${scheduler}, ${realServers} servers`;
}

/** Four times what the connection tables hold. */
const flood = 2 ** 23;

const tcp4: Traffic = { family: "ipv4", protocol: "tcp", services: 1 };
const tcp6: Traffic = { family: "ipv6", protocol: "tcp", services: 1 };
const udp4: Traffic = { family: "ipv4", protocol: "udp", services: 1 };
const rr: DirectorSetup = { scheduler: "rr", realServers: 100 };
const wrr: DirectorSetup = { scheduler: "wrr", realServers: 100 };
const wlc: DirectorSetup = { scheduler: "wlc", realServers: 100 };
const lblc: DirectorSetup = { scheduler: "lblc", realServers: 100 };

/** As many real servers in one service as 256 services have. */
const oneService: DirectorSetup = {
  scheduler: "rr",
  realServers: 256 * rr.realServers,
  instead: { name: "one service", traffic: tcp4 },
};
const overIpv4: DirectorSetup = { ...rr, instead: { name: "IPv4", traffic: tcp4 } };

/** `flows`: of that one CPU. */
function onOneCpu(setup: DirectorSetup, flows: number): DirectorSetup {
  return { ...setup, instead: { name: "one CPU", cpus: 1, flows } };
}

/** Numbers of real servers that the schedulers are compared with. */
const fewAndMany = [100, 1000] as const;
/** Schedulers that compare the loads of all real servers. */
const byLoad = (["wlc", "sed", "nq", "lc"] as const).flatMap((scheduler) =>
  fewAndMany.map((realServers): DirectorSetup => ({ scheduler, realServers })),
);
/** What they are measured by. */
const byTurns = fewAndMany.map((realServers): DirectorSetup => ({ scheduler: "rr", realServers }));

function ofUsual(atMost: number, ...directors: readonly DirectorSetup[]): Record<string, Goal[]> {
  return Object.fromEntries(directors.map((director) => [directorName(director), [{ against: "usual", atMost }]]));
}

/** Whether something is to be reached in it. */
export function hasGoal({ goals, sweep }: Scenario): boolean {
  return Object.keys(goals).length > 0 || sweep;
}

type Rest = Partial<Scenario> & Pick<Scenario, "title" | "mode" | "flows">;

function scenario(rest: Rest): Scenario {
  return { spoofed: 0, traffic: tcp4, directors: [rr], goals: {}, cpus: 1, sweep: false, quick: false, ...rest };
}

function ofDirector(other: DirectorSetup, atMost: number): Record<string, Goal[]> {
  return { rr: [{ against: directorName(other), atMost }] };
}

/** Two CPUs do nearly twice what one does. */
function ofOneCpu(...directors: readonly DirectorSetup[]): Record<string, Goal[]> {
  return Object.fromEntries(
    directors.map((setup) => {
      const against = directorName(onOneCpu(setup, 0));
      return [directorName(setup), [{ against, timesAtLeast: 1.9 }]];
    }),
  );
}

/** The part of one CPU that the sweep may take. */
export const sweepAtMost = 0.01;

export const scenarios: readonly Scenario[] = [
  scenario({
    title: "established, 1k flows",
    mode: "established",
    flows: 1000,
    directors: [rr, wlc],
    goals: ofUsual(0.4, rr, wlc),
    sweep: true,
    quick: true,
  }),
  scenario({ title: "established, 100k flows", mode: "established", flows: 100_000 }),
  scenario({
    title: "established, 1M flows",
    mode: "established",
    flows: 1_000_000,
    directors: [rr, wlc],
    goals: ofUsual(0.45, rr, wlc),
    sweep: true,
    quick: true,
  }),
  scenario({
    title: "new, 1k live",
    mode: "new",
    flows: 1000,
    directors: [rr, wrr, wlc, lblc],
    goals: ofUsual(0.4, rr),
    quick: true,
  }),
  scenario({
    title: "new, by load",
    mode: "new",
    flows: 1000,
    directors: [...byTurns, ...byLoad],
    goals: Object.fromEntries(
      byLoad.map((setup) => {
        const against = directorName({ ...setup, scheduler: "rr" });
        return [directorName(setup), [{ against, atMost: 1.2 }]];
      }),
    ),
  }),
  scenario({
    title: "new, 1M live",
    mode: "new",
    flows: 1_000_000,
    directors: [rr, wlc],
    goals: ofUsual(0.4, rr),
    quick: true,
  }),
  scenario({
    title: "established, 1k flows, in a flood",
    mode: "established",
    flows: 1000,
    spoofed: flood,
  }),
  scenario({
    title: "new, in a flood",
    mode: "new",
    flows: 1000,
    spoofed: flood,
    directors: [rr, wlc],
    goals: ofUsual(0.4, rr),
  }),
  scenario({ title: "10 packets each, 1k live", mode: "churn", flows: 1024, directors: [rr, wlc] }),
  scenario({
    title: "10 packets each, 131k live",
    mode: "churn",
    flows: 131_072,
    directors: [rr, wlc],
    quick: true,
  }),
  scenario({
    title: "IPv6, established, 1k flows",
    mode: "established",
    flows: 1000,
    traffic: tcp6,
    directors: [rr, overIpv4],
    goals: ofDirector(overIpv4, 1.15),
    quick: true,
  }),
  scenario({
    title: "IPv6, established, 1M flows",
    mode: "established",
    flows: 1_000_000,
    traffic: tcp6,
    directors: [rr, overIpv4],
    goals: ofDirector(overIpv4, 1.15),
  }),
  scenario({
    title: "IPv6, new, 1k live",
    mode: "new",
    flows: 1000,
    traffic: tcp6,
    directors: [rr, overIpv4],
    goals: ofDirector(overIpv4, 1.15),
  }),
  scenario({ title: "UDP, established, 1k flows", mode: "established", flows: 1000, traffic: udp4, quick: true }),
  scenario({ title: "UDP, established, 1M flows", mode: "established", flows: 1_000_000, traffic: udp4 }),
  scenario({ title: "UDP, new, 1k live", mode: "new", flows: 1000, traffic: udp4 }),
  scenario({
    title: "256 services, established, 1k flows",
    mode: "established",
    flows: 1000,
    traffic: { ...tcp4, services: 256 },
    directors: [rr, oneService],
    goals: ofDirector(oneService, 1.15),
  }),
  scenario({
    title: "256 services, established, 1M flows",
    mode: "established",
    flows: 1_000_000,
    traffic: { ...tcp4, services: 256 },
    directors: [rr, oneService],
    goals: ofDirector(oneService, 1.15),
  }),
  scenario({
    title: "two CPUs, established, 1k flows",
    mode: "established",
    flows: 1000,
    directors: [rr, onOneCpu(rr, 1000)],
    goals: ofOneCpu(rr),
    cpus: 2,
    quick: true,
  }),
  scenario({
    title: "two CPUs, established, 500k flows",
    mode: "established",
    flows: 500_000,
    // As much of the cache for both: one CPU has as many flows as the two together.
    directors: [rr, onOneCpu(rr, 1_000_000)],
    goals: ofOneCpu(rr),
    cpus: 2,
  }),
  scenario({
    title: "two CPUs, new, 1k live",
    mode: "new",
    flows: 1000,
    directors: [rr, wlc, onOneCpu(rr, 1000), onOneCpu(wlc, 1000)],
    goals: ofOneCpu(rr, wlc),
    cpus: 2,
  }),
];
