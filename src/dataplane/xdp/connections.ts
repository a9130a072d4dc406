/** The live connection table: one pass over its words, details only of what is asked for. */
import { familyOf, printEndpoint, printIdentity } from "../../model/service.ts";
import type { Family, ServiceIdentity } from "../../model/service.ts";
import type { Connection, ConnectionFilter } from "../../model/statistics.ts";
import { addressText, addressWords, awakeStates, idleTimeoutStates, netmaskWords, stateNames } from "./codec.ts";
import { connectionState } from "./layout.generated.ts";
import type { DirectorMaps } from "./maps.ts";
import type { StoredRealServer, StoredService } from "./stored.ts";

/** One slot, taken apart as director.h says: 63..33 tag, 32..17 real server, 16..12 state, 11..0 tick. */
interface Slot {
  readonly realServer: number;
  readonly state: number;
  readonly tick: number;
}

const tickMask = 0xfff;

function slotOf(low: number, high: number): Slot {
  return { realServer: (low >>> 17) | ((high & 1) << 15), state: (low >>> 12) & 0x1f, tick: low & tickMask };
}

/**
 * Every connection and template that passes the filter, in the table's order. `filter.client` is an address or a
 * network (`address/prefix`), `filter.realServer` an address or an endpoint. What expires or opens meanwhile may or
 * may not be among them.
 */
export function* listConnections(
  maps: DirectorMaps,
  stored: readonly StoredService[],
  filter: ConnectionFilter,
): Generator<Connection> {
  const realServers = wantedRealServers(stored, filter);
  if (realServers.size === 0) return;
  const isClient = filter.client === undefined ? undefined : clientFilter(filter.client);
  const { connections: table } = maps;
  const settings = maps.settings.read(0);
  const now = maps.sweep.read(0).tick;
  for (let index = 0; index < table.size; index++) {
    const at = table.wordAt(index);
    const low = table.words[at] as number; // within table.size
    if (low === 0) continue;
    const slot = slotOf(low, table.words[at + 1] as number);
    const found = realServers.get(slot.realServer);
    if (found === undefined) continue;
    const template = slot.state === connectionState.STATE_TEMPLATE;
    const state = template ? "NONE" : stateNames[slot.state] || String(slot.state);
    if (filter.state !== undefined && filter.state !== state) continue;
    const detail = table.detail(index);
    const client = clientWords(maps, index, detail.client, found.family);
    if (isClient !== undefined && !isClient(client, found.family)) continue;
    const { service, realServer } = found;
    const awake = awakeStates.get(slot.state);
    const rested =
      template || awake !== undefined
        ? (now - maps.connectionExtras.read(index).used) >>> 0 // Both are 32 bits that may wrap.
        : (now - slot.tick) & tickMask;
    const timeout = template
      ? service.record.persistence_timeout
      : timeoutOf(awake ?? slot.state, service.record.idle_timeout, settings.timeout);
    yield {
      identity: service.identity,
      client: addressText(client, found.family),
      clientPort: detail.client_port,
      virtualAddress: found.virtualAddress,
      virtualPort: detail.virtual_port,
      realServer: realServer.realServer.address,
      // Of a real server without a port, packets go to the port that they came for.
      realPort: realServer.realServer.port || detail.virtual_port,
      state,
      template,
      expiresIn: Math.max(timeout - rested, 0),
    };
  }
}

function timeoutOf(given: number, ownTimeout: number, timeouts: readonly number[]): number {
  const state = given === connectionState.STATE_UDP_NEW ? connectionState.STATE_UDP : given;
  return ownTimeout > 0 && idleTimeoutStates.has(state) ? ownTimeout : (timeouts[state] ?? 0);
}

/** An IPv6 client's address lies in two places, so that IPv4 needs only one. */
function clientWords(maps: DirectorMaps, index: number, last: number, family: Family): readonly number[] {
  return family === "ipv6" ? [...maps.connectionExtras.read(index).client, last] : [0, 0, 0, last];
}

interface Found {
  readonly service: StoredService;
  readonly realServer: StoredRealServer;
  readonly family: Family;
  readonly virtualAddress: string;
}

/** By id. Real servers that were taken away still have connections. */
function wantedRealServers(stored: readonly StoredService[], filter: ConnectionFilter): Map<number, Found> {
  const wanted = new Map<number, Found>();
  const identity = filter.service === undefined ? undefined : printIdentity(filter.service);
  for (const service of stored) {
    if (identity !== undefined && printIdentity(service.identity) !== identity) continue;
    const virtualAddress = addressOf(service.identity);
    for (const realServer of [...service.members, ...service.lingering]) {
      const { address, port } = realServer.realServer;
      if (
        filter.realServer !== undefined &&
        filter.realServer !== address &&
        filter.realServer !== printEndpoint(address, port)
      ) {
        continue;
      }
      wanted.set(realServer.id, { service, realServer, family: familyOf(virtualAddress), virtualAddress });
    }
  }
  return wanted;
}

function addressOf(identity: ServiceIdentity): string {
  return identity.kind === "address" ? identity.address : "";
}

function clientFilter(text: string): (client: readonly number[], family: Family) => boolean {
  const [address = "", prefix] = text.split("/");
  const wanted = familyOf(address);
  const mask = netmaskWords(prefix === undefined ? 128 : Number(prefix), wanted);
  const network = addressWords(address).map((word, index) => (word & (mask[index] ?? 0)) >>> 0);
  return (client, family) =>
    family === wanted && network.every((word, index) => ((client[index] ?? 0) & (mask[index] ?? 0)) >>> 0 === word);
}
