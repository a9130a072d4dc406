/** On a machine that other programs keep busy, what a test measures is judged net of the time that they took from it. */
import { readFileSync } from "node:fs";

/** Of /proc/stat, by proc(5). */
const ticksPerSecond = 100;

/** How long the main thread of this process was ready to run and did not, since its start, milliseconds. */
function waitedMs(): number {
  // Time on a processor, time of waiting for one, nanoseconds. Not every kernel counts it.
  return Number(read("/proc/self/schedstat").split(" ")[1] ?? 0) / 1e6;
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
  readonly #startMs = performance.now();
  readonly #waitedMs = waitedMs();
  readonly #stolenMs = stolenMs();
  readonly #usage = process.cpuUsage();

  /** For how long this process was kept from running. */
  starvedMs(): number {
    return waitedMs() - this.#waitedMs + stolenMs() - this.#stolenMs;
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
