/** CPUs that run the generator: a worker thread on each, and what their runs cost. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readlinkSync } from "node:fs";
import { basename } from "node:path";
import { Worker } from "node:worker_threads";

/** What a worker is told; {@link CpuReply} is its answer. */
export interface CpuRequest {
  readonly packets: number;
  /** Counts the workers that are ready: they begin together. */
  readonly ready: Int32Array;
  readonly workers: number;
}

export interface CpuReply {
  readonly verdict: number;
  /** CPU time of the thread, of all packets. */
  readonly nanoseconds: number;
  /** Empty: it went well. */
  readonly error: string;
}

export interface CpuStart {
  readonly cpu: number;
  /** Where the generator is pinned. */
  readonly program: string;
  /** Bytes. */
  readonly frameLength: number;
}

export interface Run {
  /** CPU time a packet, mean of the CPUs. */
  readonly nanoseconds: number;
  readonly verdicts: readonly number[];
}

/** The calling thread runs on this CPU only. */
export function pinThread(cpu: number): void {
  const thread = basename(readlinkSync("/proc/thread-self"));
  execFileSync("taskset", ["--pid", "--cpu-list", String(cpu), thread], { stdio: "pipe" });
}

export class Cpus {
  readonly cpus: readonly number[];
  readonly #workers: readonly Worker[];

  private constructor(cpus: readonly number[], workers: readonly Worker[]) {
    this.cpus = cpus;
    this.#workers = workers;
  }

  /** `program`: where the generator is pinned. */
  static async open(cpus: readonly number[], program: string, frameLength: number): Promise<Cpus> {
    const workers = cpus.map((cpu) => {
      const start: CpuStart = { cpu, program, frameLength };
      return new Worker(new URL("./cpu-worker.js", import.meta.url), { workerData: start });
    });
    await Promise.all(workers.map((worker) => once(worker, "message")));
    return new Cpus(cpus, workers);
  }

  /** So many packets on each CPU, all at once. */
  async run(packets: number): Promise<Run> {
    const ready = new Int32Array(new SharedArrayBuffer(4));
    const request: CpuRequest = { packets, ready, workers: this.#workers.length };
    const replies = await Promise.all(
      this.#workers.map(async (worker) => {
        const answered = once(worker, "message");
        worker.postMessage(request);
        // The worker answers nothing else.
        const [reply] = (await answered) as [CpuReply];
        if (reply.error !== "") throw new Error(reply.error);
        return reply;
      }),
    );
    const nanoseconds = replies.reduce((sum, reply) => sum + reply.nanoseconds, 0);
    return {
      nanoseconds: nanoseconds / (packets * this.#workers.length),
      verdicts: replies.map(({ verdict }) => verdict),
    };
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
