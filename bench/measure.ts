/** One scenario: loads its targets, opens their connections, and measures them in turn, round after round. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Sweep } from "../src/dataplane/xdp/layout.generated.ts";
import type { DirectorMaps } from "../src/dataplane/xdp/maps.ts";
import type { Native } from "../src/native.ts";
import { Cpus } from "./cpu.ts";
import { Generator, tcpFlags } from "./generator.ts";
import type { Stream } from "./generator.ts";
import { directorName, packetsPerConnection } from "./scenarios.ts";
import type { DirectorSetup, Scenario } from "./scenarios.ts";
import { generatorBytes, openDirector, openFloor, openOneLine, openUsual } from "./targets.ts";
import type { DirectorTarget, Target } from "./targets.ts";
import { frameTemplate } from "./traffic.ts";
import type { Traffic } from "./traffic.ts";

export interface Effort {
  readonly rounds: number;
  /** Packets of each target in each round; fewer of new flows, which fill the table. */
  readonly packets: number;
  readonly newPackets: number;
}

export interface MeasureDeps {
  readonly native: Native;
  /** Two, of which a scenario takes the first or both. */
  readonly cpus: readonly number[];
  /** A folder in a BPF filesystem, its own. */
  readonly bpffs: string;
  readonly effort: Effort;
  readonly signal: AbortSignal;
}

/** CPU time a packet, without what the generator takes. */
export interface Figure {
  readonly target: string;
  readonly median: number;
  readonly least: number;
  readonly most: number;
  /** Median of the rounds' ratios to each of the other targets, by name. */
  readonly ratios: Readonly<Record<string, number>>;
  /** Of a director: its packet counters that are not 0. */
  readonly remarks: Readonly<Record<string, number>>;
}

export interface SweepFigure {
  /** CPU time of one pass over the connection table. */
  readonly passNanoseconds: number;
  /** From the beginning of one pass to that of the next. */
  readonly intervalNanoseconds: number;
  readonly live: number;
}

export interface ScenarioResult {
  readonly scenario: Scenario;
  /** Of the generator alone, of the scenario's own traffic; subtracted from the figures of its targets. */
  readonly generator: number;
  readonly figures: readonly Figure[];
  /** Of the last director. */
  readonly sweep?: SweepFigure;
}

const checkedPackets = 64;
const xdpTx = 3;
/** Of 32-bit words of randomness: different in every round, the same for every target of a round. */
const roundSeed = 7919;

/** What makes packets of one kind, on one CPU or more. */
interface Lane {
  readonly generator: Generator;
  readonly cpus: Cpus;
}

/** A target, and the packets it gets. */
interface Entrant {
  readonly target: Target;
  readonly lane: Lane;
  readonly traffic: Traffic;
  readonly flows: number;
}

export async function measure(scenario: Scenario, deps: MeasureDeps): Promise<ScenarioResult> {
  const { native, bpffs } = deps;
  const { traffic, flows } = scenario;
  mkdirSync(bpffs, { recursive: true });
  const closers: (() => void | Promise<void>)[] = [];
  try {
    const lanes = new Map<string, Lane>();
    const laneOf = async (kind: Traffic, cpuCount: number): Promise<Lane> => {
      const key = JSON.stringify([kind, cpuCount]);
      const lane =
        lanes.get(key) ?? (await openLane(kind, cpuCount, join(bpffs, `generator-${lanes.size}`), deps, closers));
      lanes.set(key, lane);
      return lane;
    };
    const main = await laneOf(traffic, scenario.cpus);
    const entrants: Entrant[] = [];
    closers.push(() => entrants.forEach(({ target }) => target.close()));
    entrants.push({ target: openFloor(native), lane: main, traffic, flows });
    if (scenario.mode === "new") entrants.push({ target: openOneLine(native), lane: main, traffic, flows });
    const servers = Math.max(
      ...scenario.directors.map((setup) => setup.realServers * trafficOf(setup, scenario).services),
    );
    entrants.push({ target: openUsual(native, traffic, servers), lane: main, traffic, flows });
    let swept: DirectorTarget | undefined;
    for (const [index, setup] of scenario.directors.entries()) {
      const own = trafficOf(setup, scenario);
      const folder = join(bpffs, `director-${index}`);
      const target = await openDirector(native, own, { ...setup, name: directorName(setup), bpffs: folder });
      entrants.push({
        target,
        lane: await laneOf(own, setup.instead?.cpus ?? scenario.cpus),
        traffic: own,
        flows: setup.instead?.flows ?? flows,
      });
      if (scenario.sweep) swept = target;
    }
    const bench = new Bench(scenario, deps);
    for (const entrant of entrants) await bench.warmUp(entrant);
    return await bench.rounds(entrants, swept);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

function trafficOf({ instead }: DirectorSetup, { traffic }: Scenario): Traffic {
  return instead?.traffic ?? traffic;
}

async function openLane(
  traffic: Traffic,
  cpuCount: number,
  pin: string,
  deps: MeasureDeps,
  closers: (() => void | Promise<void>)[],
): Promise<Lane> {
  const generator = new Generator(deps.native, generatorBytes(), traffic);
  closers.push(() => generator.close());
  generator.pin(pin);
  closers.push(() => rmSync(pin));
  const cpus = await Cpus.open(deps.cpus.slice(0, cpuCount), pin, frameTemplate(traffic).length);
  closers.push(() => cpus.close());
  return { generator, cpus };
}

class Bench {
  readonly #scenario: Scenario;
  readonly #deps: MeasureDeps;

  constructor(scenario: Scenario, deps: MeasureDeps) {
    this.#scenario = scenario;
    this.#deps = deps;
  }

  /** Opens the live connections, and looks at the verdicts of some single packets. */
  async warmUp({ target, lane, traffic, flows }: Entrant): Promise<void> {
    const { mode, spoofed } = this.#scenario;
    lane.generator.aim(target.program);
    if (target.stateful && spoofed > 0) {
      await this.#run(lane, { order: "sequence", first: flows, flags: tcpFlags.SYN }, spoofed);
    }
    if (target.stateful && mode === "churn") {
      // Until every flow has had its SYN.
      await this.#run(lane, { order: "churn", flows, packetsPerConnection, pass: 0 }, flows * packetsPerConnection);
    } else if (target.stateful) {
      const opening = traffic.protocol === "tcp" ? [tcpFlags.SYN, tcpFlags.ACK] : [0];
      for (const flags of opening) await this.#run(lane, { order: "sequence", first: 0, flags }, flows);
    }
    if (mode === "churn") return;
    const first = mode === "new" ? flows + spoofed : 0;
    const flags = mode === "new" ? tcpFlags.SYN : tcpFlags.ACK;
    for (let packet = 0; packet < checkedPackets; packet++) {
      const { verdicts } = await this.#run(lane, { order: "sequence", first: first + packet, flags }, 1);
      if (verdicts.some((verdict) => verdict !== xdpTx)) {
        throw new Error(`${target.name}: packet ${packet} was answered with verdict ${verdicts.join(" ")}, not XDP_TX`);
      }
    }
  }

  async rounds(entrants: readonly Entrant[], swept: DirectorTarget | undefined): Promise<ScenarioResult> {
    const { rounds } = this.#deps.effort;
    const alone = new Map(entrants.map(({ lane }): [Lane, number[]] => [lane, []]));
    const raw = entrants.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      for (const [lane, costs] of alone) {
        lane.generator.aim(lane.generator.nothing);
        costs.push(await this.#round(lane, this.#scenario.flows, round));
      }
      for (const [index, { target, lane, flows }] of entrants.entries()) {
        lane.generator.aim(target.program);
        raw[index]?.push(await this.#round(lane, flows, round));
      }
    }
    const generators = entrants.map(({ lane }) => median(alone.get(lane) ?? []));
    const costs = raw.map((values, index) => values.map((value) => value - (generators[index] ?? NaN)));
    const names = entrants.map(({ target }) => target.name);
    return {
      scenario: this.#scenario,
      generator: generators[0] ?? NaN,
      figures: entrants.map(({ target }, index) => figureOf(target, costs[index] ?? [], names, costs)),
      ...(swept === undefined ? {} : { sweep: await sweepOf(swept) }),
    };
  }

  /** CPU time a packet, nanoseconds. */
  async #round(lane: Lane, flows: number, round: number): Promise<number> {
    return (await this.#run(lane, this.#stream(flows, round), this.#packets(flows))).nanoseconds;
  }

  async #run({ generator, cpus }: Lane, stream: Stream, packets: number): ReturnType<Cpus["run"]> {
    this.#deps.signal.throwIfAborted();
    generator.prepare(stream, cpus.cpus);
    const run = await cpus.run(packets);
    if (generator.faults > 0) throw new Error(`a program has changed the length of a frame`);
    return run;
  }

  #packets(flows: number): number {
    const { packets, newPackets } = this.#deps.effort;
    if (this.#scenario.mode === "new") return newPackets;
    return this.#scenario.mode === "churn" ? this.#passes(flows) * flows : packets;
  }

  /** Of one round, over all live flows. */
  #passes(flows: number): number {
    return Math.ceil(this.#deps.effort.packets / flows);
  }

  #stream(flows: number, round: number): Stream {
    const { mode, traffic, spoofed } = this.#scenario;
    const { newPackets } = this.#deps.effort;
    if (mode === "established") return { order: "random", flows, seed: 1 + round * roundSeed };
    if (mode === "churn") {
      return { order: "churn", flows, packetsPerConnection, pass: packetsPerConnection + round * this.#passes(flows) };
    }
    return {
      order: "sequence",
      first: flows + spoofed + checkedPackets + round * newPackets,
      flags: traffic.protocol === "tcp" ? tcpFlags.SYN : 0,
    };
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? NaN) + upper) / 2;
}

function figureOf(
  target: Target,
  costs: readonly number[],
  names: readonly string[],
  all: readonly (readonly number[])[],
): Figure {
  const ratios = names.map((name, other): [string, number] => [
    name,
    median(costs.map((cost, round) => cost / (all[other]?.[round] ?? NaN))),
  ]);
  return {
    target: target.name,
    median: median(costs),
    least: Math.min(...costs),
    most: Math.max(...costs),
    ratios: Object.fromEntries(ratios),
    remarks: target.remarks(),
  };
}

/** What the timer's own figures say, of some seconds in which no packet comes. */
async function sweepOf({ maps }: DirectorTarget): Promise<SweepFigure> {
  const before = await nextPass(maps);
  await nextPass(maps);
  const after = await nextPass(maps);
  const passes = Number(after.sweep.passes - before.sweep.passes);
  return {
    passNanoseconds: Number(after.sweep.nanoseconds - before.sweep.nanoseconds) / passes,
    intervalNanoseconds: (1e6 * (after.at - before.at)) / passes,
    live: after.sweep.live,
  };
}

/** Waits for the end of a pass; `at` in milliseconds. */
async function nextPass(maps: DirectorMaps): Promise<{ readonly sweep: Sweep; readonly at: number }> {
  const { passes } = maps.sweep.read(0);
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await sleep(5)) {
    const sweep = maps.sweep.read(0);
    if (sweep.passes > passes) return { sweep, at: performance.now() };
  }
  throw new Error("the sweep does not come to the end of the connection table");
}
