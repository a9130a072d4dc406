/** The generator of packets (generator.bpf.c), loaded: it makes packets and hands them to a program under test. */
import { readdirSync, readFileSync } from "node:fs";
import type { MapHandle, Native, ObjectHandle, ProgramHandle, TestRunResult } from "../src/native.ts";
import { frameTemplate } from "./traffic.ts";
import type { Traffic } from "./traffic.ts";

export const tcpFlags = { SYN: 0x02, ACK: 0x10 } as const;

/** `enum order` of plan.h. */
const orders = { sequence: 0, random: 1, churn: 2 } as const;

/** What is made next. Flows have numbers below 2^31. */
export type Stream =
  /** One packet of each flow from `first` on, TCP with these flags. */
  | { readonly order: "sequence"; readonly first: number; readonly flags: number }
  /** ACKs of the flows below `flows`; an equal seed gives an equal choice. */
  | { readonly order: "random"; readonly flows: number; readonly seed: number }
  /** `flows` connections (a power of two) live at a time, which begin and end; `pass` counts packets of each. */
  | { readonly order: "churn"; readonly flows: number; readonly packetsPerConnection: number; readonly pass: number };

/** Of struct plan and struct progress, in 32-bit words. */
const planWord = { order: 0, flows: 1, tcpFlags: 2, packetsPerConnection: 3, serviceMask: 4, ipSum: 5 } as const;
const planFrame = 32;
const progressWord = { random: 0, packets: 2, next: 4, pass: 5, first: 6, faults: 7 } as const;
const progressWords = 16;
/** Each CPU has flows of its own: numbers from this on, and its multiples. */
const flowsPerCpu = 2 ** 29;

/** The number of a descriptor of a loaded program: what an array of programs is filled with. */
function descriptorOf(native: Native, program: ProgramHandle): number {
  const { id } = native.programInfo(program);
  for (const fd of readdirSync("/proc/self/fdinfo")) {
    try {
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
      if (new RegExp(`^prog_id:\\s*${id}$`, "m").test(info) && !info.includes("link_type")) return Number(fd);
    } catch {
      // Closed since the folder was read.
    }
  }
  throw new Error(`no descriptor of the program with id ${id}`);
}

export class Generator {
  /** What a run of nothing but the generator meets: it returns at once. */
  readonly nothing: ProgramHandle;
  readonly #native: Native;
  readonly #object: ObjectHandle;
  readonly #program: ProgramHandle;
  readonly #target: MapHandle;
  readonly #plan: Uint32Array;
  readonly #progress: Uint32Array;
  readonly #frame: Buffer;

  /** `object`: the bytes of generator.bpf.o. */
  constructor(native: Native, object: Uint8Array, traffic: Traffic) {
    this.#native = native;
    this.#object = native.objectOpen(object, "generator");
    // Two one-byte constants, in the order of their declaration.
    const constants = native.objectInitialValue(this.#object, ".rodata");
    constants[0] = Number(traffic.family === "ipv6");
    constants[1] = Number(traffic.protocol === "tcp");
    native.objectSetInitialValue(this.#object, ".rodata", constants);
    native.objectLoad(this.#object);
    this.#program = native.objectProgram(this.#object, "generate");
    this.nothing = native.objectProgram(this.#object, "answer");
    this.#target = native.objectMap(this.#object, "target");
    this.#plan = new Uint32Array(native.mapMemory(native.objectMap(this.#object, ".data.plan"), true));
    this.#progress = new Uint32Array(native.mapMemory(native.objectMap(this.#object, ".data.progress"), true));
    this.#frame = frameTemplate(traffic);
    new Uint8Array(this.#plan.buffer).set(this.#frame, planFrame);
    this.#plan[planWord.serviceMask] = traffic.services - 1;
    this.#plan[planWord.ipSum] = traffic.family === "ipv4" ? headerSum(this.#frame) : 0;
  }

  pin(path: string): void {
    this.#native.programPin(this.#program, path);
  }

  /** Who gets the packets from now on. */
  aim(program: ProgramHandle): void {
    const descriptor = Uint32Array.of(descriptorOf(this.#native, program));
    this.#native.mapUpdate(this.#target, new Uint8Array(4), new Uint8Array(descriptor.buffer), 0);
  }

  /** What the CPUs named make from now on, each of its own flows. */
  prepare(stream: Stream, cpus: readonly number[]): void {
    this.#plan[planWord.order] = orders[stream.order];
    this.#plan[planWord.tcpFlags] = stream.order === "sequence" ? stream.flags : tcpFlags.ACK;
    if (stream.order !== "sequence") this.#plan[planWord.flows] = stream.flows;
    if (stream.order === "churn") this.#plan[planWord.packetsPerConnection] = stream.packetsPerConnection;
    for (const [index, cpu] of cpus.entries()) {
      const at = cpu * progressWords;
      this.#progress[at + progressWord.random] = stream.order === "random" ? stream.seed + index : 0;
      this.#progress[at + progressWord.random + 1] = 0x9e3779b9;
      this.#progress[at + progressWord.next] = stream.order === "sequence" ? stream.first : 0;
      this.#progress[at + progressWord.pass] = stream.order === "churn" ? stream.pass : 0;
      this.#progress[at + progressWord.first] = index * flowsPerCpu;
    }
  }

  /** One packet, on the calling thread, whose CPU must be among the prepared ones. */
  send(): TestRunResult {
    return this.#native.programTestRun(this.#program, this.#frame, 1, 0);
  }

  /** How often a program has left a frame of another length behind (an ICMP error): such a run measures nothing. */
  get faults(): number {
    let faults = 0;
    for (let at = progressWord.faults; at < this.#progress.length; at += progressWords) {
      faults += this.#progress[at] ?? 0;
    }
    return faults;
  }

  close(): void {
    this.#native.objectClose(this.#object);
  }
}

/** Over the IPv4 header's words as a little-endian machine reads them. */
function headerSum(frame: Buffer): number {
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += frame.readUInt16LE(at);
  return sum;
}
