/** What is measured: the table that `make bench` goes through, from top to bottom. */
import type { Scheduler } from "../src/model/service.ts";
import type { Traffic } from "./traffic.ts";

export interface DirectorSetup {
  readonly scheduler: Scheduler;
  /** Behind every service. */
  readonly realServers: number;
}

/** What the project has set itself: the cost, divided by that of another target. */
export interface Goal {
  /** `usual`, or a director's name. */
  readonly against: string;
  /** The scenario that the other target is of, measured before. Default: this one, in the same rounds. */
  readonly of?: string;
  readonly atMost: number;
}

export interface Scenario {
  readonly title: string;
  /**
   * - `established`: ACKs of `flows` connections, at random
   * - `new`: every packet a SYN of a flow never seen (UDP: its first datagram), while `flows` others live
   * - `churn`: connections of 10 packets, SYN to FIN, `flows` at a time, a power of two
   */
  readonly mode: "established" | "new" | "churn";
  readonly flows: number;
  readonly traffic: Traffic;
  /** Each is a target of its own, measured in the same rounds. */
  readonly directors: readonly DirectorSetup[];
  /** By the director's name. */
  readonly goals: Readonly<Record<string, readonly Goal[]>>;
  /** CPUs at once; each has `flows` of its own. */
  readonly cpus: 1 | 2;
  /** Of two CPUs: how many times the packets of one CPU in that scenario they carry, at least. */
  readonly scaling?: { readonly of: string; readonly atLeast: number };
  /** Whether the cost of the sweep is measured as well, in the seconds after. */
  readonly sweep: boolean;
  /** Whether it belongs to the quick run, too. */
  readonly quick: boolean;
}

export const packetsPerConnection = 10;

/** A director's name in tables: its scheduler, and its real servers if they are not the usual 100. */
export function directorName({ scheduler, realServers }: DirectorSetup): string {
  return realServers === 100 ? scheduler : `${scheduler}, ${realServers} servers`;
}

const tcp4: Traffic = { family: "ipv4", protocol: "tcp", services: 1 };
const tcp6: Traffic = { family: "ipv6", protocol: "tcp", services: 1 };
const udp4: Traffic = { family: "ipv4", protocol: "udp", services: 1 };
const rr: DirectorSetup = { scheduler: "rr", realServers: 100 };
const wrr: DirectorSetup = { scheduler: "wrr", realServers: 100 };
const wlc: DirectorSetup = { scheduler: "wlc", realServers: 100 };
const lblc: DirectorSetup = { scheduler: "lblc", realServers: 100 };

/** Schedulers that compare the loads of all real servers. */
const byLoad = (["wlc", "sed", "nq", "lc"] as const).flatMap((scheduler): DirectorSetup[] => [
  { scheduler, realServers: 100 },
  { scheduler, realServers: 1000 },
]);

function ofUsual(atMost: number, ...directors: readonly DirectorSetup[]): Record<string, Goal[]> {
  return Object.fromEntries(directors.map((director) => [directorName(director), [{ against: "usual", atMost }]]));
}

/** Whether something is to be reached in it. */
export function hasGoal({ goals, scaling, sweep }: Scenario): boolean {
  return Object.keys(goals).length > 0 || scaling !== undefined || sweep;
}

type Rest = Partial<Scenario> & Pick<Scenario, "title" | "mode" | "flows">;

function scenario(rest: Rest): Scenario {
  return { traffic: tcp4, directors: [rr], goals: {}, cpus: 1, sweep: false, quick: false, ...rest };
}

/** Of `rr`, the same in another scenario. */
function ofScenario(of: string, atMost: number): Record<string, Goal[]> {
  return { rr: [{ against: "rr", of, atMost }] };
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
    directors: [rr, ...byLoad],
    goals: Object.fromEntries(byLoad.map((director) => [directorName(director), [{ against: "rr", atMost: 1.2 }]])),
  }),
  scenario({
    title: "new, 1M live",
    mode: "new",
    flows: 1_000_000,
    directors: [rr, wlc],
    goals: ofUsual(0.4, rr),
    quick: true,
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
    goals: ofScenario("established, 1k flows", 1.15),
    quick: true,
  }),
  scenario({
    title: "IPv6, established, 1M flows",
    mode: "established",
    flows: 1_000_000,
    traffic: tcp6,
    goals: ofScenario("established, 1M flows", 1.15),
  }),
  scenario({
    title: "IPv6, new, 1k live",
    mode: "new",
    flows: 1000,
    traffic: tcp6,
    goals: ofScenario("new, 1k live", 1.15),
  }),
  scenario({ title: "UDP, established, 1k flows", mode: "established", flows: 1000, traffic: udp4, quick: true }),
  scenario({ title: "UDP, established, 1M flows", mode: "established", flows: 1_000_000, traffic: udp4 }),
  scenario({ title: "UDP, new, 1k live", mode: "new", flows: 1000, traffic: udp4 }),
  scenario({
    title: "256 services, established, 1k flows",
    mode: "established",
    flows: 1000,
    traffic: { ...tcp4, services: 256 },
    goals: ofScenario("established, 1k flows", 1.15),
  }),
  scenario({
    title: "256 services, established, 1M flows",
    mode: "established",
    flows: 1_000_000,
    traffic: { ...tcp4, services: 256 },
    goals: ofScenario("established, 1M flows", 1.15),
  }),
  scenario({
    title: "two CPUs, established, 1k flows",
    mode: "established",
    flows: 1000,
    cpus: 2,
    scaling: { of: "established, 1k flows", atLeast: 1.9 },
    quick: true,
  }),
  scenario({
    title: "two CPUs, established, 500k flows",
    mode: "established",
    flows: 500_000,
    cpus: 2,
    scaling: { of: "established, 1M flows", atLeast: 1.9 },
  }),
  scenario({
    title: "two CPUs, new, 1k live",
    mode: "new",
    flows: 1000,
    directors: [rr, wlc],
    cpus: 2,
    scaling: { of: "new, 1k live", atLeast: 1.9 },
  }),
];
