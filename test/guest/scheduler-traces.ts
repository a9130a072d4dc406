/** Seeded sequences of what makes a scheduler choose: connections that come, live and go, and servers that do so. */
import { createRandom } from "./seeded.ts";
import type { Change } from "../../src/model/change.ts";
import { printEndpoint } from "../../src/model/service.ts";
import type { Protocol, RealServer, Scheduler, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import { frame } from "../support/packet.ts";
import { directorMac } from "./play.ts";
import type { Play, Step } from "./play.ts";

export interface TraceSpec {
  readonly scheduler: Scheduler;
  readonly flags?: readonly string[];
  readonly seed: number;
  /** New connections. */
  readonly opens: number;
  /** Of 1,000 events so many are changes of weights, additions and removals. Default 15. */
  readonly changes?: number;
  /** Real servers that come and go; half of them are there at the start. */
  readonly servers: number;
  /** Weights are from 0 to this. */
  readonly maxWeight: number;
  /** Whether some servers refuse more than so many connections. */
  readonly thresholds?: boolean;
  readonly family?: "ipv4" | "ipv6";
  readonly protocol?: Protocol;
  /** Distinct client addresses; by default each connection has one of its own. */
  readonly clients?: number;
  readonly persistence?: { readonly timeout: number; readonly prefix: number };
  /** Every datagram by itself; UDP only. */
  readonly onePacket?: boolean;
  /** A service of all ports of its address; it is persistent, then. */
  readonly allPorts?: boolean;
  /** Makes the virtual address its own, so that several traces can be played one after the other. Default 0. */
  readonly place?: number;
}

/** What is in a trace, in words. */
export function traceName(spec: TraceSpec): string {
  const words = [spec.scheduler, ...(spec.flags ?? [])];
  if (spec.family === "ipv6") words.push("ipv6");
  if (spec.protocol !== undefined && spec.protocol !== "tcp") words.push(spec.protocol);
  if (spec.onePacket === true) words.push("one packet");
  if (spec.allPorts === true) words.push("all ports");
  if (spec.thresholds === true) words.push("with thresholds");
  if (spec.persistence !== undefined) words.push(`persistent for a /${spec.persistence.prefix}`);
  return `${words.join(" ")}, ${spec.servers} servers of weights to ${spec.maxWeight}, ${spec.opens} connections`;
}

/** Of a real server by its number, from 1 on. */
export function serverAddress(number: number, ipv6: boolean): string {
  return ipv6 ? `fd00:1::${(0x100 + number).toString(16)}` : `192.168.${number >> 8}.${number & 255}`;
}

export function serverMac(number: number): string {
  return `02:00:00:01:${hex(number >> 8)}:${hex(number & 255)}`;
}

export function virtualAddress({ family, place = 0 }: Pick<TraceSpec, "family" | "place">): string {
  return family === "ipv6" ? `fd00:10::${(0x53 + place).toString(16)}` : `10.10.${10 + place}.53`;
}

function identityOf(spec: TraceSpec): ServiceIdentity & { readonly kind: "address" } {
  const { protocol = "tcp", allPorts = false } = spec;
  return { kind: "address", protocol, address: virtualAddress(spec), port: allPorts ? 0 : 80 };
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

interface Connection {
  readonly client: string;
  readonly port: number;
  state: "new" | "established" | "closing";
}

/** The steps of a trace; the same for the same spec. */
export function traceSteps(spec: TraceSpec): Step[] {
  const random = createRandom(spec.seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const ipv6 = spec.family === "ipv6";
  const protocol = spec.protocol ?? "tcp";
  const identity = identityOf(spec);
  const steps: Step[] = [];
  const change = (made: Change): void => void steps.push({ kind: "change", change: made });
  const present = new Map<number, RealServer>();
  const connections: Connection[] = [];
  const seen = new Set<string>();

  const thresholds = (): Pick<RealServer, "upperThreshold" | "lowerThreshold"> => {
    if (spec.thresholds !== true || random() < 0.3) return { upperThreshold: 0, lowerThreshold: 0 };
    const upperThreshold = 1 + below((2 * spec.opens) / spec.servers);
    return { upperThreshold, lowerThreshold: random() < 0.5 ? 0 : 1 + below(upperThreshold) };
  };
  const weight = (): number => (random() < 0.1 ? 0 : 1 + below(spec.maxWeight));
  const add = (number: number): void => {
    const address = serverAddress(number, ipv6);
    const realServer: RealServer = {
      address,
      port: identity.port,
      method: "gate",
      weight: weight(),
      ...thresholds(),
    };
    present.set(number, realServer);
    change({ kind: "add-real-server", identity, realServer });
  };
  const anyPresent = (): number => [...present.keys()][below(present.size)] ?? 0;

  const disturb = (): void => {
    const what = random();
    if (what < 0.5 && present.size > 0) {
      const number = anyPresent();
      const before = present.get(number);
      if (before === undefined) return;
      const realServer = { ...before, weight: weight(), ...(random() < 0.3 ? thresholds() : {}) };
      present.set(number, realServer);
      change({ kind: "edit-real-server", identity, realServer });
    } else if (what < 0.74 && present.size > 0) {
      const number = anyPresent();
      present.delete(number);
      change({ kind: "remove-real-server", identity, address: serverAddress(number, ipv6), port: identity.port });
    } else if (present.size < spec.servers) {
      let number = 1 + below(spec.servers);
      while (present.has(number)) number = 1 + (number % spec.servers);
      add(number);
    }
  };

  const send = ({ client, port }: Connection, flags: string): void => {
    const destinationPort = spec.allPorts === true ? 1 + (port % 7) : identity.port;
    const transport = protocol === "sctp" ? sctpChunk(port, destinationPort, flags) : undefined;
    const bytes = frame({
      to: directorMac,
      source: client,
      sourcePort: port,
      destination: identity.address,
      destinationPort,
      flags,
      protocol: protocol === "sctp" ? 132 : protocol,
      ...(transport === undefined ? {} : { transport }),
    });
    steps.push({ kind: "frame", bytes });
  };
  const client = (): string => {
    const number = below(spec.clients ?? 2 ** 24);
    const [a, b, c] = [number >> 16, (number >> 8) & 255, number & 255];
    return ipv6 ? `fd00:20::${a.toString(16)}:${((b << 8) | c).toString(16)}` : `11.${a}.${b}.${c}`;
  };
  const open = (): void => {
    for (;;) {
      const connection: Connection = { client: client(), port: 1024 + below(60000), state: "new" };
      const key = printEndpoint(connection.client, connection.port);
      if (seen.has(key)) continue;
      seen.add(key);
      connections.push(connection);
      send(connection, "S");
      return;
    }
  };
  const goOn = (): void => {
    const index = below(connections.length);
    const connection = connections[index];
    if (connection === undefined) return;
    const what = random();
    if (connection.state === "new" && what < 0.85) {
      connection.state = "established";
      send(connection, "A");
    } else if (what < 0.5) {
      send(connection, connection.state === "new" ? "A" : "PA");
    } else {
      // A RST ends an established connection, but for 10 seconds only, which a slow machine may need for all of it.
      send(connection, what < 0.85 || connection.state === "established" || protocol === "sctp" ? "FA" : "R");
      // What comes after the end is the business of other tests.
      connections[index] = connections.at(-1) ?? connection;
      connections.pop();
    }
  };

  const service: VirtualService = {
    identity,
    scheduler: spec.scheduler,
    schedulerFlags: spec.flags ?? [],
    onePacket: spec.onePacket === true,
    realServers: [],
    ...(spec.persistence === undefined ? {} : { persistence: spec.persistence }),
  };
  change({ kind: "add-service", service });
  for (let number = 1; number <= Math.ceil(spec.servers / 2); number++) add(number);
  const changes = spec.changes ?? 15;
  for (let opens = 0; opens < spec.opens;) {
    const what = random();
    if (what < changes / 1000) {
      disturb();
    } else if (what < 0.45) {
      open();
      opens++;
    } else {
      goOn();
    }
  }
  return steps;
}

/** The common header and one chunk: INIT, COOKIE ECHO, SHUTDOWN or ABORT in the place of SYN, ACK, FIN and RST. */
function sctpChunk(port: number, destinationPort: number, flags: string): Buffer {
  const type = flags === "S" ? 1 : flags === "FA" ? 7 : flags === "R" ? 6 : flags === "PA" ? 0 : 10;
  const bytes = Buffer.alloc(32);
  bytes.writeUInt16BE(port, 0);
  bytes.writeUInt16BE(destinationPort, 2);
  bytes[12] = type;
  bytes.writeUInt16BE(20, 14);
  return bytes;
}

/** A trace for the kernel. */
export function tracePlay(spec: TraceSpec): Play {
  return { network: networkOf([spec]), steps: traceSteps(spec) };
}

/** The director on one arm, every server's neighbour known. */
export function networkOf(specs: readonly Pick<TraceSpec, "family" | "place" | "servers">[]): string[] {
  const lines = specs.flatMap((spec) => {
    const ipv6 = spec.family === "ipv6";
    const gateway = ipv6 ? "fd00:1::2" : "192.168.255.2";
    const neighbours = Array.from({ length: spec.servers }, (_, index) => {
      const address = serverAddress(index + 1, ipv6);
      return `neighbour add ${address} lladdr ${serverMac(index + 1)} dev eth0 nud permanent`;
    });
    return [
      `address add ${virtualAddress(spec)}/${ipv6 ? "128 dev lo nodad" : "32 dev lo"}`,
      ipv6 ? "address add fd00:1::1/64 dev eth0 nodad" : "address add 192.168.255.1/16 dev eth0",
      `neighbour add ${gateway} lladdr 02:00:00:00:00:02 dev eth0 nud permanent`,
      `route add default via ${gateway}`,
      ...neighbours,
    ];
  });
  return [...new Set(lines)];
}

/** Traces one after the other, each with a virtual address of its own and its service taken away at its end. */
export function seriesPlay(specs: readonly TraceSpec[]): Play {
  const steps = specs.flatMap((spec) => {
    return [
      ...traceSteps(spec),
      { kind: "change", change: { kind: "remove-service", identity: identityOf(spec) } } as const,
    ];
  });
  return { network: networkOf(specs), steps };
}

/** The number of the server that a frame's answer went to; 0: to none. */
export function chosenServer(sent: readonly Buffer[]): number {
  for (const bytes of sent) {
    if (bytes.readUInt32BE(0) === 0x02000001) return bytes.readUInt16BE(4);
  }
  return 0;
}

/** What the traces have in common that every scheduler has. */
export const long = { opens: 10_000, servers: 24, maxWeight: 10, changes: 5 } as const;
const short = { opens: 2_000, servers: 12, maxWeight: 5 } as const;

/** The traces that are compared, by name: the name of a recording, too. */
export const traces: Readonly<Record<string, TraceSpec>> = {
  rr: { scheduler: "rr", seed: 1, ...long },
  wrr: { scheduler: "wrr", seed: 2, ...long },
  lc: { scheduler: "lc", seed: 3, ...long },
  wlc: { scheduler: "wlc", seed: 4, ...long },
  lblc: { scheduler: "lblc", seed: 5, ...long },
  lblcr: { scheduler: "lblcr", seed: 6, ...long },
  dh: { scheduler: "dh", seed: 7, ...long },
  sh: { scheduler: "sh", seed: 8, ...long },
  "sh-flags": { scheduler: "sh", flags: ["sh-fallback", "sh-port"], seed: 9, ...long },
  sed: { scheduler: "sed", seed: 10, ...long },
  nq: { scheduler: "nq", seed: 11, ...long },
  fo: { scheduler: "fo", seed: 12, ...long },
  ovf: { scheduler: "ovf", seed: 13, ...long, maxWeight: 100 },
  mh: { scheduler: "mh", seed: 14, ...long, changes: 2 },
  "mh-flags": { scheduler: "mh", flags: ["mh-fallback", "mh-port"], seed: 15, ...long, changes: 2 },

  "wrr-one": { scheduler: "wrr", seed: 16, ...short, servers: 2 },
  "wrr-heavy": { scheduler: "wrr", seed: 17, ...short, maxWeight: 65535, servers: 40 },
  "wlc-heavy": { scheduler: "wlc", seed: 18, ...short, maxWeight: 65535, servers: 200 },
  "sh-fallback": { scheduler: "sh", flags: ["sh-fallback"], seed: 19, ...short },
  "sh-port": { scheduler: "sh", flags: ["sh-port"], seed: 20, ...short },
  "mh-fallback": { scheduler: "mh", flags: ["mh-fallback"], seed: 21, ...short, changes: 5 },
  "mh-port": { scheduler: "mh", flags: ["mh-port"], seed: 22, ...short, changes: 5 },
  "rr-thresholds": { scheduler: "rr", seed: 23, ...short, thresholds: true },
  "wrr-thresholds": { scheduler: "wrr", seed: 24, ...short, thresholds: true },
  "wlc-thresholds": { scheduler: "wlc", seed: 25, ...short, thresholds: true },
  "lblcr-thresholds": { scheduler: "lblcr", seed: 26, ...short, thresholds: true },
  "sh-thresholds": { scheduler: "sh", flags: ["sh-fallback"], seed: 27, ...short, thresholds: true },
  "mh-thresholds": { scheduler: "mh", flags: ["mh-fallback"], seed: 28, ...short, thresholds: true, changes: 5 },
  "ovf-thresholds": { scheduler: "ovf", seed: 29, ...short, maxWeight: 50, thresholds: true },
  "wlc-udp": { scheduler: "wlc", seed: 30, ...short, protocol: "udp" },
  "lc-sctp": { scheduler: "lc", seed: 31, ...short, protocol: "sctp" },
  "sh-ipv6": { scheduler: "sh", seed: 32, ...short, family: "ipv6", clients: 200 },
  "dh-ipv6": { scheduler: "dh", seed: 33, ...short, family: "ipv6" },
  "mh-ipv6": { scheduler: "mh", flags: ["mh-port"], seed: 34, ...short, family: "ipv6", changes: 5 },
  "wlc-persistent": { scheduler: "wlc", seed: 35, ...short, persistence: { timeout: 300, prefix: 16 } },
  "rr-persistent-ipv6": {
    scheduler: "rr",
    seed: 36,
    ...short,
    family: "ipv6",
    clients: 2 ** 20,
    persistence: { timeout: 300, prefix: 112 },
  },
};
