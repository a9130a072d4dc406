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
import type { Scenario } from "./scenarios.ts";
import { generatorBytes, openDirector, openFloor, openUsual } from "./targets.ts";
import type { DirectorTarget, Target } from "./targets.ts";
import { frameTemplate } from "./traffic.ts";

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
  /** Of the generator alone; subtracted from every other figure. */
  readonly generator: number;
  readonly figures: readonly Figure[];
  /** Of the last director. */
  readonly sweep?: SweepFigure;
}

const checkedPackets = 64;
const xdpTx = 3;
/** Of 32-bit words of randomness: different in every round, the same for every target of a round. */
const roundSeed = 7919;

export async function measure(scenario: Scenario, deps: MeasureDeps): Promise<ScenarioResult> {
  const { native, bpffs } = deps;
  const { traffic } = scenario;
  mkdirSync(bpffs, { recursive: true });
  const closers: (() => void | Promise<void>)[] = [];
  try {
    const generator = new Generator(native, generatorBytes(), traffic);
    closers.push(() => generator.close());
    const pin = join(bpffs, "generator");
    generator.pin(pin);
    closers.push(() => rmSync(pin));
    const cpus = await Cpus.open(deps.cpus.slice(0, scenario.cpus), pin, frameTemplate(traffic).length);
    closers.push(() => cpus.close());
    const targets: Target[] = [openFloor(native)];
    closers.push(() => targets.forEach((target) => target.close()));
    const servers = Math.max(...scenario.directors.map(({ realServers }) => realServers));
    targets.push(openUsual(native, traffic, servers));
    const directors: DirectorTarget[] = [];
    for (const setup of scenario.directors) {
      const folder = join(bpffs, `director-${directors.length}`);
      const director = await openDirector(native, traffic, { ...setup, name: directorName(setup), bpffs: folder });
      targets.push(director);
      directors.push(director);
    }
    const bench = new Bench(scenario, deps, generator, cpus);
    for (const target of targets) await bench.warmUp(target);
    return await bench.rounds(targets, scenario.sweep ? directors.at(-1) : undefined);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

class Bench {
  readonly #scenario: Scenario;
  readonly #deps: MeasureDeps;
  readonly #generator: Generator;
  readonly #cpus: Cpus;

  constructor(scenario: Scenario, deps: MeasureDeps, generator: Generator, cpus: Cpus) {
    this.#scenario = scenario;
    this.#deps = deps;
    this.#generator = generator;
    this.#cpus = cpus;
  }

  /** Opens the live connections, and looks at the verdicts of some single packets. */
  async warmUp(target: Target): Promise<void> {
    const { mode, flows, traffic } = this.#scenario;
    this.#generator.aim(target.program);
    if (target.stateful && mode === "churn") {
      // Until every flow has had its SYN.
      await this.#run({ order: "churn", flows, packetsPerConnection, pass: 0 }, flows * packetsPerConnection);
    } else if (target.stateful) {
      const opening = traffic.protocol === "tcp" ? [tcpFlags.SYN, tcpFlags.ACK] : [0];
      for (const flags of opening) await this.#run({ order: "sequence", first: 0, flags }, flows);
    }
    if (mode === "churn") return;
    const first = mode === "new" ? flows : 0;
    const flags = mode === "new" ? tcpFlags.SYN : tcpFlags.ACK;
    for (let packet = 0; packet < checkedPackets; packet++) {
      const { verdicts } = await this.#run({ order: "sequence", first: first + packet, flags }, 1);
      if (verdicts.some((verdict) => verdict !== xdpTx)) {
        throw new Error(`${target.name}: packet ${packet} was answered with verdict ${verdicts.join(" ")}, not XDP_TX`);
      }
    }
  }

  async rounds(targets: readonly Target[], swept: DirectorTarget | undefined): Promise<ScenarioResult> {
    const { rounds } = this.#deps.effort;
    const alone: number[] = [];
    const raw = targets.map((): number[] => []);
    for (let round = 0; round < rounds; round++) {
      const packets = this.#packets();
      this.#generator.aim(this.#generator.nothing);
      alone.push((await this.#run(this.#stream(round), packets)).nanoseconds);
      for (const [index, target] of targets.entries()) {
        this.#generator.aim(target.program);
        raw[index]?.push((await this.#run(this.#stream(round), packets)).nanoseconds);
      }
    }
    const generator = median(alone);
    const costs = raw.map((values) => values.map((value) => value - generator));
    const names = targets.map(({ name }) => name);
    return {
      scenario: this.#scenario,
      generator,
      figures: targets.map((target, index) => figureOf(target, costs[index] ?? [], names, costs)),
      ...(swept === undefined ? {} : { sweep: await sweepOf(swept) }),
    };
  }

  async #run(stream: Stream, packets: number): ReturnType<Cpus["run"]> {
    this.#deps.signal.throwIfAborted();
    this.#generator.prepare(stream, this.#cpus.cpus);
    const run = await this.#cpus.run(packets);
    if (this.#generator.faults > 0) throw new Error(`a program has changed the length of a frame`);
    return run;
  }

  #packets(): number {
    const { mode, flows } = this.#scenario;
    const { packets, newPackets } = this.#deps.effort;
    if (mode === "new") return newPackets;
    return mode === "churn" ? this.#passes() * flows : packets;
  }

  /** Of one round, over all live flows. */
  #passes(): number {
    return Math.ceil(this.#deps.effort.packets / this.#scenario.flows);
  }

  #stream(round: number): Stream {
    const { mode, flows } = this.#scenario;
    const { newPackets } = this.#deps.effort;
    if (mode === "established") return { order: "random", flows, seed: 1 + round * roundSeed };
    if (mode === "churn") {
      return { order: "churn", flows, packetsPerConnection, pass: packetsPerConnection + round * this.#passes() };
    }
    return {
      order: "sequence",
      first: flows + checkedPackets + round * newPackets,
      flags: this.#scenario.traffic.protocol === "tcp" ? tcpFlags.SYN : 0,
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
