/** Connections that are led through their states by packets of both sides, to compare the kernel's list of them with ours. */
import { familyOf } from "../../src/model/service.ts";
import type { VirtualService } from "../../src/model/service.ts";
import type { Timeouts } from "../../src/model/state.ts";
import type { Connection } from "../../src/model/statistics.ts";
import { addressBytes, frame } from "../support/packet.ts";
import { identityOf, network, routerMac, sctp, targets } from "./frame-classes.ts";
import type { Target } from "./frame-classes.ts";
import { directorMac } from "./play.ts";
import type { Play, Step } from "./play.ts";
import { createRandom } from "./seeded.ts";

/** With packets of one direction, and of both. */
export const told: readonly Target[] = targets.filter(({ name }) => /^(gate|masq), IPv[46], /.test(name));

/** Clients of these two have a template as well. */
const persistence = { timeout: 200, prefix: 24 } as const;
const persistent: ReadonlySet<string> = new Set(["gate, IPv4, tcp", "masq, IPv4, udp"]);

const timeouts: Timeouts = { tcp: 77, tcpFin: 33, udp: 44 };

/** A client's, told in a batch: after its frames the connections are listed. */
export interface ConnectionStory {
  readonly target: Target;
  readonly client: string;
  readonly clientPort: number;
  readonly batch: number;
  /** What was sent, in words. */
  readonly events: readonly string[];
}

/** What both sides tell of a connection. */
export interface Listed {
  readonly state: string;
  readonly expiresIn: number;
}

const tcpOfClient = ["S", "A", "A", "PA", "FA", "FA", "R", "", "SA", "SF", "RA", "P"];
const tcpOfServer = ["SA", "SA", "A", "PA", "FA", "FA", "R", "S", ""];
const chunks = 15;

function serviceOf(target: Target): VirtualService {
  return {
    identity: identityOf(target),
    scheduler: "rr",
    schedulerFlags: [],
    onePacket: false,
    realServers: [],
    ...(persistent.has(target.name) ? { persistence } : {}),
  };
}

/** Of every service so many stories, once with the timeouts that there are from the start and once with others. */
export function connectionPlay(perTarget: number, seed: number): { play: Play; stories: ConnectionStory[] } {
  const random = createRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  const pick = (from: readonly string[]): string => from[below(from.length)] ?? "";
  const steps: Step[] = told.flatMap((target): Step[] => [
    { kind: "change", change: { kind: "add-service", service: serviceOf(target) } },
    {
      kind: "change",
      change: { kind: "add-real-server", identity: identityOf(target), realServer: target.realServer },
    },
  ]);
  const stories: ConnectionStory[] = [];
  let batch = 0;

  const tell = (target: Target): void => {
    const ipv6 = familyOf(target.address) === "ipv6";
    const number = stories.length + 1;
    const client = ipv6 ? `fd00:20::${number.toString(16)}` : `11.${number >> 8}.${number & 255}.9`;
    const clientPort = 1024 + below(60000);
    const events: string[] = [];
    const send = (reply: boolean, what: string): void => {
      const { protocol, realServer } = target;
      const sourcePort = reply ? realServer.port : clientPort;
      const destinationPort = reply ? clientPort : target.port;
      const bytes = frame({
        to: directorMac,
        from: reply ? target.realMac : routerMac,
        source: reply ? realServer.address : client,
        destination: reply ? client : target.address,
        sourcePort,
        destinationPort,
        ...(protocol === "sctp"
          ? { protocol: 132, transport: sctp(sourcePort, destinationPort, Number(what)) }
          : { protocol, flags: what }),
      });
      steps.push({ kind: "frame", bytes });
      events.push(`${what || "nothing"}${reply ? " back" : ""}`);
    };
    const twoWay = target.realServer.method === "masq";
    for (let left = 1 + below(7), first = true; left > 0; left--, first = false) {
      const reply = twoWay && !first && below(2) === 0;
      if (target.protocol === "sctp") send(reply, first ? "1" : String(below(chunks)));
      else send(reply, first ? "S" : pick(reply ? tcpOfServer : tcpOfClient));
    }
    stories.push({ target, client, clientPort, batch, events });
  };

  for (const others of [false, true]) {
    if (others) steps.push({ kind: "timeouts", timeouts });
    for (let round = 0; round < perTarget; round++) {
      for (const target of told) tell(target);
      // What expires within seconds is to be seen.
      if (round % 4 < 3 && round + 1 < perTarget) continue;
      steps.push({ kind: "connections" });
      batch++;
    }
  }
  return { play: { network: network(), steps }, stories };
}

export function keyOf(protocol: string, client: Uint8Array, port: number): string {
  return `${protocol} ${Buffer.from(client).toString("hex")} ${port}`;
}

/** Of two with one key, as of a port that was used anew, the one that lives longer. */
function byKey(entries: Iterable<readonly [string, Listed]>): Map<string, Listed> {
  const found = new Map<string, Listed>();
  for (const [key, listed] of entries) {
    const other = found.get(key);
    if (other === undefined || other.expiresIn < listed.expiresIn) found.set(key, listed);
  }
  return found;
}

/**
 * /proc/net/ip_vs_conn, read more than once, by {@link keyOf}; a template has the port 0, and its state tells whether one of its connections
 * was ever established, which is only asked for when entries are dropped for want of memory.
 */
export function kernelConnections(text: string): Map<string, Listed> {
  const lines = text
    .trim()
    .split("\n")
    .filter((line) => !line.startsWith("Pro "));
  return byKey(
    lines.map((line) => {
      const [protocol = "", client = "", port = "", , , , , state = "", expires = ""] = line.trim().split(/\s+/);
      const bytes = Buffer.from(client.replaceAll(/[[\]:]/g, ""), "hex");
      const key = keyOf(protocol.toLowerCase(), bytes, Number.parseInt(port, 16));
      return [key, { state: state === "ASSURED" ? "NONE" : state, expiresIn: Number(expires) }];
    }),
  );
}

/** The same of the XDP plane's. */
export function ownConnections(connections: readonly Connection[]): Map<string, Listed> {
  return byKey(
    connections.map(({ identity, client, clientPort, state, expiresIn }) => {
      const protocol = identity.kind === "address" ? identity.protocol : "";
      return [keyOf(protocol, addressBytes(client), clientPort), { state, expiresIn }];
    }),
  );
}

/** What a story's client has in a list: its connection, and its template if it has one. */
export function listedOf(story: ConnectionStory, list: ReadonlyMap<string, Listed>): (Listed | undefined)[] {
  const { target, client, clientPort } = story;
  const bytes = addressBytes(client);
  const own = list.get(keyOf(target.protocol, bytes, clientPort));
  if (!persistent.has(target.name)) return [own];
  return [own, list.get(keyOf(target.protocol, Buffer.from([...bytes.subarray(0, 3), 0]), 0))];
}
