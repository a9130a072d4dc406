/** The kernel's connection table, as /proc/net/ip_vs_conn tells it. */
import { closeSync, openSync, readSync } from "node:fs";
import { printEndpoint, printIdentity } from "../../model/service.ts";
import type { Protocol, ServiceIdentity, VirtualService } from "../../model/service.ts";
import type { Connection, ConnectionFilter } from "../../model/statistics.ts";
import { parseAddress, prefixOf, printAddress } from "../netlink/address.ts";

export const connectionsPath = "/proc/net/ip_vs_conn";

/** The kernel gives a page at a time whatever is asked for. */
const chunkSize = 1 << 16;

/** One line: addresses as text, ports as numbers. */
export interface ConnectionLine {
  /** `TCP`, `UDP`, `SCTP`, or `IP` of the template of a firewall mark. */
  readonly protocol: string;
  readonly client: string;
  readonly clientPort: number;
  /** Of the template of a firewall mark the mark, written as an address. */
  readonly virtualAddress: string;
  readonly virtualPort: number;
  readonly realServer: string;
  readonly realPort: number;
  readonly state: string;
  /** Seconds. */
  readonly expiresIn: number;
  /** Name and data, if one made it. */
  readonly persistenceEngine?: { readonly name: string; readonly data: string };
}

/**
 * Undefined for a line that is none of a connection. Numbers are hexadecimal but for the last; IPv4 addresses are eight
 * digits, IPv6 ones eight groups of four; a persistence engine's name and data may follow.
 */
export function parseConnectionLine(line: string): ConnectionLine | undefined {
  const [protocol, from, fromPort, to, toPort, real, realPort, state, expires, engine, data] = line.trim().split(/ +/);
  if (protocol === undefined || state === undefined || !/^\d+$/.test(expires ?? "")) return undefined;
  const [client, virtualAddress, realServer] = [from, to, real].map((text) => hexadecimalAddress(text ?? ""));
  if (client === undefined || virtualAddress === undefined || realServer === undefined) return undefined;
  return {
    protocol,
    client,
    clientPort: Number.parseInt(fromPort ?? "", 16),
    virtualAddress,
    virtualPort: Number.parseInt(toPort ?? "", 16),
    realServer,
    realPort: Number.parseInt(realPort ?? "", 16),
    state,
    expiresIn: Number(expires),
    ...(engine === undefined || data === undefined ? {} : { persistenceEngine: { name: engine, data } }),
  };
}

function hexadecimalAddress(text: string): string | undefined {
  const digits = text.replaceAll(":", "");
  if (!/^(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{32})$/.test(digits)) return undefined;
  return printAddress(Buffer.from(digits, "hex"));
}

/** The kernel's table as it is, read as it is asked for. */
export function* readConnections(path = connectionsPath): Generator<ConnectionLine> {
  for (const line of readLines(path)) {
    const found = parseConnectionLine(line);
    if (found !== undefined) yield found;
  }
}

/**
 * Every connection and template that passes the filter, in the kernel's order, read as they are asked for. `services` are
 * those of the table: the kernel does not tell which of them a connection belongs to, or by which firewall mark it came.
 */
export function* listConnections(
  services: readonly VirtualService[],
  filter: ConnectionFilter,
  path = connectionsPath,
): Generator<Connection> {
  const owners = new Owners(services);
  const wanted = filter.service === undefined ? undefined : printIdentity(filter.service);
  const isClient = filter.client === undefined ? undefined : clientFilter(filter.client);
  for (const found of readConnections(path)) {
    const { protocol: _, persistenceEngine: __, ...entry } = found;
    if (filter.realServer !== undefined) {
      const endpoint = printEndpoint(found.realServer, found.realPort);
      if (filter.realServer !== found.realServer && filter.realServer !== endpoint) continue;
    }
    if (isClient?.(found.client) === false) continue;
    const template = isTemplate(found);
    // A template that a connection came from is ASSURED since Linux 4.18.
    const state = template ? "NONE" : found.state;
    if (filter.state !== undefined && filter.state !== state) continue;
    const identity = owners.find(found);
    if (wanted !== undefined && printIdentity(identity) !== wanted) continue;
    const virtualAddress = found.protocol === "IP" ? "" : found.virtualAddress;
    yield { identity, ...entry, virtualAddress, state, template };
  }
}

function isTemplate({ clientPort, state }: ConnectionLine): boolean {
  return clientPort === 0 && (state === "NONE" || state === "ASSURED");
}

/** Which service a connection belongs to. */
class Owners {
  readonly #byEndpoint = new Map<string, ServiceIdentity>();
  /** Of firewall marks, by the address of a real server: the first service that has it. */
  readonly #byRealServer = new Map<string, ServiceIdentity>();

  constructor(services: readonly VirtualService[]) {
    for (const { identity, realServers } of services) {
      if (identity.kind === "address") this.#byEndpoint.set(printIdentity(identity), identity);
      else {
        for (const { address } of realServers) {
          if (!this.#byRealServer.has(address)) this.#byRealServer.set(address, identity);
        }
      }
    }
  }

  /** By address and port, by address, by firewall mark; one that is gone is made up from the connection itself. */
  find(line: ConnectionLine): ServiceIdentity {
    const { virtualAddress: address, virtualPort: port } = line;
    if (line.protocol === "IP") return markOf(line);
    const own: ServiceIdentity = { kind: "address", protocol: protocolOf(line.protocol), address, port };
    return (
      this.#byEndpoint.get(printIdentity(own)) ??
      this.#byEndpoint.get(printIdentity({ ...own, port: 0 })) ??
      this.#byRealServer.get(line.realServer) ??
      own
    );
  }
}

function protocolOf(name: string): Protocol {
  return name === "UDP" ? "udp" : name === "SCTP" ? "sctp" : "tcp";
}

/** The mark is in the first 4 bytes of the virtual address. */
function markOf({ virtualAddress, client }: ConnectionLine): ServiceIdentity {
  const bytes = parseAddress(virtualAddress)?.bytes;
  return { kind: "mark", mark: bytes?.readUInt32BE(0) ?? 0, family: client.includes(":") ? "ipv6" : "ipv4" };
}

/** `text` is an address or `address/prefix length`. */
function clientFilter(text: string): (client: string) => boolean {
  const [address = "", length] = text.split("/");
  const network = parseAddress(address);
  if (network === undefined) return () => false;
  const bits = length === undefined ? network.bytes.length * 8 : Number(length);
  const prefix = prefixOf(network, bits);
  return (client) => {
    const candidate = parseAddress(client);
    return candidate?.bytes.length === network.bytes.length && prefixOf(candidate, bits) === prefix;
  };
}

function* readLines(path: string): Generator<string> {
  const file = openSync(path, "r");
  try {
    const chunk = Buffer.alloc(chunkSize);
    let rest = "";
    for (;;) {
      const length = readSync(file, chunk, 0, chunk.length, null);
      if (length === 0) break;
      const lines = (rest + chunk.toString("latin1", 0, length)).split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
    if (rest !== "") yield rest;
  } finally {
    closeSync(file);
  }
}
