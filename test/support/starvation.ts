/** On a machine that other programs keep busy, what a test measures is judged net of the time that they took from it. */
import { readFileSync } from "node:fs";

/** Of /proc/stat, by proc(5). */
const ticksPerSecond = 100;

/** How long the main threads of processes were ready to run and did not, since their start, milliseconds. */
function waitedMs(processes: readonly (number | "self")[]): number {
  // Time on a processor, time of waiting for one, nanoseconds. Not every kernel counts it.
  return (
    processes.reduce<number>((sum, each) => sum + Number(read(`/proc/${each}/schedstat`).split(" ")[1] ?? 0), 0) / 1e6
  );
}

/** How long processors of this machine were ready to run and the machine's host did not let them, milliseconds. */
function stolenMs(): number {
  return (Number(/^cpu +(?:\d+ ){7}(\d+)/.exec(read("/proc/stat"))?.[1] ?? 0) * 1000) / ticksPerSecond;
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    // Without it nothing is known of starvation, and measured time is judged as it is.
    return "";
  }
}

/** Goes from its making on. */
export class Stopwatch {
  readonly #processes: readonly (number | "self")[];
  readonly #startMs = performance.now();
  readonly #waitedMs: number;
  readonly #stolenMs = stolenMs();
  readonly #usage = process.cpuUsage();

  /** `others`: process ids of those that this one waits for, which run as long as the stopwatch is asked. */
  constructor(others: readonly number[] = []) {
    this.#processes = ["self", ...others];
    this.#waitedMs = waitedMs(this.#processes);
  }

  /** For how long this process and the others were kept from running. */
  starvedMs(): number {
    return waitedMs(this.#processes) - this.#waitedMs + stolenMs() - this.#stolenMs;
  }

  /** The time that has passed, less that of starvation. */
  netMs(): number {
    return performance.now() - this.#startMs - this.starvedMs();
  }

  /** Processor time that this process has used: what work costs, however long it takes. */
  usedMs(): number {
    const { user, system } = process.cpuUsage(this.#usage);
    return (user + system) / 1000;
  }
}
