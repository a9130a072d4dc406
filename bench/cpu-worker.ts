/** A thread on one CPU that runs the generator when told to. */
import { readFileSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { loadNative } from "../src/native.ts";
import { pinThread } from "./cpu.ts";
import type { CpuReply, CpuRequest, CpuStart } from "./cpu.ts";

const port = parentPort;
if (port === null) throw new Error("not a program: cpu.ts starts it as a worker");

// Given by Cpus.open().
const { cpu, program: path, frameLength } = workerData as CpuStart;
const native = loadNative();
const program = native.programOpenPinned(path);
const frame = new Uint8Array(frameLength);
pinThread(cpu);
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** The thread's CPU time, to which others on the same CPU add nothing. The kernel brings it up to date when it sleeps. */
function threadNanoseconds(): number {
  Atomics.wait(sleeper, 0, 0, 1);
  return Number(readFileSync("/proc/thread-self/schedstat", "utf8").split(" ", 1)[0]);
}

function run({ packets, ready, workers }: CpuRequest): CpuReply {
  const before = threadNanoseconds();
  Atomics.add(ready, 0, 1);
  while (Atomics.load(ready, 0) < workers);
  try {
    const { verdict } = native.programTestRun(program, frame, packets, 0);
    return { verdict, nanoseconds: threadNanoseconds() - before, error: "" };
  } catch (error) {
    return { verdict: 0, nanoseconds: 0, error: (error as Error).message };
  }
}

port.on("message", (request: CpuRequest) => port.postMessage(run(request)));
port.postMessage("ready");
