/** Network namespaces for the tests of the Network, and the agent that runs one inside. All is removed by `close`. */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import type { NetworkInterface, Resolution } from "../../src/dataplane/xdp/network.ts";
import { Stopwatch } from "../support/starvation.ts";

export interface AgentCall {
  readonly id: number;
  readonly method:
    "interfaces" | "ownAddresses" | "resolve" | "watch" | "derive" | "logged" | "usage" | "stall" | "close";
  readonly addresses: readonly string[];
  readonly realAddresses?: readonly string[];
  readonly milliseconds?: number;
}

export type AgentMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "change"; readonly changes: number }
  | { readonly kind: "reply"; readonly id: number; readonly value: unknown }
  | { readonly kind: "error"; readonly id: number; readonly message: string };

let counter = 0;

/** Why the tests cannot run here, or undefined. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root for network namespaces";
  try {
    execFileSync("ip", ["-V"], { stdio: "ignore" });
  } catch {
    return "needs ip (iproute2)";
  }
  return undefined;
}

/** A few namespaces without any way out. */
export class Namespaces {
  readonly #prefix = `xlb-net-${process.pid}-${counter++}-`;
  readonly #names: string[] = [];
  readonly #agents: Agent[] = [];

  /** Loopback is up. */
  add(name: string): void {
    const full = this.#prefix + name;
    execFileSync("ip", ["netns", "add", full]);
    this.#names.push(full);
    this.ip(name, "link set lo up");
  }

  /** `ip ARGUMENTS` inside; several commands one a line. Returns the output. */
  ip(name: string, commands: string): string {
    const lines = commands
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
    if (lines.length === 1) return this.run(name, "ip", ...(lines[0] ?? "").split(/\s+/));
    return this.run(name, "sh", "-c", `ip -batch - <<'END'\n${lines.join("\n")}\nEND`);
  }

  run(name: string, ...command: string[]): string {
    return execFileSync("nsenter", [`--net=/run/netns/${this.#prefix}${name}`, ...command], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Two interfaces, one in each namespace, both up. */
  veth(a: string, interfaceA: string, b: string, interfaceB: string): void {
    const peer = `peer name ${interfaceB} netns ${this.#prefix}${b}`;
    this.ip(a, `link add ${interfaceA} type veth ${peer}`);
    this.ip(a, `link set ${interfaceA} up`);
    this.ip(b, `link set ${interfaceB} up`);
  }

  async agent(name: string, receiveBuffer = 0): Promise<Agent> {
    const agent = new Agent(`${this.#prefix}${name}`, receiveBuffer);
    this.#agents.push(agent);
    await agent.ready;
    return agent;
  }

  async close(): Promise<void> {
    for (const agent of this.#agents) await agent.kill();
    for (const name of this.#names) execFileSync("ip", ["netns", "del", name]);
  }
}

/** A process with an open Network. */
export class Agent {
  readonly ready: Promise<void>;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #id = 0;
  /** Times the Network told of a change. */
  changes = 0;

  constructor(namespace: string, receiveBuffer: number) {
    const script = fileURLToPath(new URL("./agent.js", import.meta.url));
    this.#child = spawn("nsenter", [`--net=/run/netns/${namespace}`, process.execPath, script, String(receiveBuffer)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    this.#exited = new Promise((resolve) => this.#child.once("exit", resolve));
    this.ready = new Promise((resolve, reject) => {
      // The end of a process may be told before its last messages, that of the channel comes after all of them.
      this.#child.once("disconnect", () => {
        void this.#exited.then((code) => {
          const error = new Error(`the agent ended with ${code}`);
          reject(error);
          for (const call of this.#pending.values()) call.reject(error);
        });
      });
      // The agent sends nothing else.
      this.#child.on("message", (message) => {
        const received = message as AgentMessage;
        if (received.kind === "ready") resolve();
        else if (received.kind === "change") this.changes = received.changes;
        else if (received.kind === "reply") this.#pending.get(received.id)?.resolve(received.value);
        else this.#pending.get(received.id)?.reject(new Error(received.message));
      });
    });
  }

  /** Judges time net of what this process and the agent lack for want of a processor. */
  stopwatch(): Stopwatch {
    return new Stopwatch(this.#child.pid === undefined ? [] : [this.#child.pid]);
  }

  // The caller names the type that the agent's Network has for the method.
  async #call<T>(call: Omit<AgentCall, "id">): Promise<T> {
    const id = this.#id++;
    const value = await new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#child.send({ ...call, id });
    });
    this.#pending.delete(id);
    return value as T;
  }

  async interfaces(): Promise<NetworkInterface[]> {
    return await this.#call({ method: "interfaces", addresses: [] });
  }

  async interface(name: string): Promise<NetworkInterface | undefined> {
    return (await this.interfaces()).find((each) => each.name === name);
  }

  async ownAddresses(): Promise<string[]> {
    return await this.#call({ method: "ownAddresses", addresses: [] });
  }

  async resolve(address: string): Promise<Resolution> {
    const [resolution] = await this.resolveAll([address]);
    if (resolution === undefined) throw new Error("no resolution");
    return resolution;
  }

  async resolveAll(addresses: readonly string[]): Promise<Resolution[]> {
    return await this.#call({ method: "resolve", addresses });
  }

  /** `MAC via ifindex` of a resolved address, `local`, or the reason. */
  async hop(address: string): Promise<string> {
    return describe(await this.resolve(address));
  }

  async watch(addresses: readonly string[]): Promise<void> {
    await this.#call({ method: "watch", addresses });
  }

  /** Names. */
  async derive(virtualAddresses: readonly string[], realAddresses: readonly string[]): Promise<string[]> {
    const found = await this.#call<NetworkInterface[]>({
      method: "derive",
      addresses: virtualAddresses,
      realAddresses,
    });
    return found.map(({ name }) => name);
  }

  async logged(): Promise<string[]> {
    return await this.#call({ method: "logged", addresses: [] });
  }

  async usage(): Promise<NodeJS.CpuUsage> {
    return await this.#call({ method: "usage", addresses: [] });
  }

  /** Begins to block the agent; what is asked next is answered after it. */
  async stall(milliseconds: number): Promise<void> {
    await this.#call({ method: "stall", addresses: [], milliseconds });
  }

  /** Ends the Network in order. */
  async close(): Promise<void> {
    await this.#call({ method: "close", addresses: [] });
    await this.#exited;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

export function describe(resolution: Resolution): string {
  switch (resolution.kind) {
    case "local":
      return "local";
    case "unresolved":
      return resolution.reason;
    case "resolved":
      return printMac(resolution.hop.mac);
  }
}

export function printMac(mac: Uint8Array): string {
  return Buffer.from(mac)
    .toString("hex")
    .replaceAll(/(..)(?=.)/g, "$1:");
}

/** Waits until `probe` gives what is wanted; fails after a minute, with the last value. */
export async function until<T>(probe: () => Promise<T> | T, wanted: (value: T) => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const value = await probe();
    if (wanted(value)) return;
    if (performance.now() > deadline) throw new Error(`not so within a minute: ${JSON.stringify(value)}`);
    await sleep(10);
  }
}
