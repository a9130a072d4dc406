import type { Native } from "../../native.ts";
import { parseAddress, prefixOf, printAddress } from "../netlink/address.ts";
import type { Address } from "../netlink/address.ts";
import { Neighbours } from "./netlink-neighbours.ts";
import type { Target } from "./netlink-neighbours.ts";
import { RouteCache } from "./netlink-routes.ts";
import type { Route } from "./netlink-routes.ts";
import { NETLINK_ROUTE, NetlinkError, NetlinkSocket } from "../netlink/socket.ts";
import { AF_INET6, MalformedMessage } from "../netlink/messages.ts";
import type { Message } from "../netlink/messages.ts";
import {
  ARPHRD_ETHER,
  ETH_P_8021Q,
  IFF_LOOPBACK,
  IFF_RUNNING,
  IFF_UP,
  RTM_DELADDR,
  RTM_DELLINK,
  RTM_DELNEIGH,
  RTM_DELNEXTHOP,
  RTM_DELROUTE,
  RTM_DELRULE,
  RTM_F_CLONED,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETNEIGH,
  RTM_GETROUTE,
  RTM_GETRULE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWNEXTHOP,
  RTM_NEWROUTE,
  RTM_NEWRULE,
  RTN_ANYCAST,
  RTN_BLACKHOLE,
  RTN_BROADCAST,
  RTN_LOCAL,
  RTN_MULTICAST,
  RTN_PROHIBIT,
  RTN_UNICAST,
  RT_TABLE_MAIN,
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  decodeRule,
  encodeDump,
  encodeRouteQuery,
  familyOfBytes,
} from "./netlink.ts";
import type { InterfaceAddress, Link, NeighbourMessage, RouteMessage } from "./netlink.ts";
import type { Network, NetworkInterface, Resolution } from "./network.ts";

/** RTNLGRP_*: links, neighbours, IPv4 and IPv6 addresses, routes and rules, nexthop objects. */
const GROUPS = [1, 3, 5, 7, 8, 9, 11, 19] as const;
/** Since Linux 5.3. */
const RTNLGRP_NEXTHOP = 32;
/** 8 MiB hold the events of about 10,000 neighbours that change at once. */
const RECEIVE_BUFFER = 8 << 20;
/** Datagrams read before Node's loop gets its turn. */
const DATAGRAMS_AT_A_TIME = 256;
/** Listeners are called at most this often, milliseconds; after a quiet time at once. */
const CHANGE_PAUSE = 20;
/** Their work may take this part of the time at most: a round of t milliseconds is followed by a pause of four t. */
const CHANGE_PAUSE_FACTOR = 4;
const RESYNC_PAUSE = 100;
/** Prefixes that came since the last dump, and may be gone again, before everything is dumped anew. */
const MAXIMUM_NEW_PREFIXES = 65536;
const RELEVANT_FLAGS = IFF_UP | IFF_RUNNING | IFF_LOOPBACK;

export interface NetworkLog {
  debug(object: object, message: string): void;
  info(object: object, message: string): void;
  warn(object: object, message: string): void;
}

export interface NetworkOptions {
  /** Bytes of the socket that receives events; without CAP_NET_ADMIN at most net.core.rmem_max. */
  readonly receiveBuffer?: number;
}

/**
 * Opens rtnetlink in the network namespace of the process and reads everything once, so that all questions can be asked
 * at once; changes are seen, and neighbours asked for, while {@link Network.run} runs. Throws what the kernel refuses.
 */
export async function openNetwork(native: Native, log: NetworkLog, options: NetworkOptions = {}): Promise<Network> {
  return new NetlinkNetwork(native, log, options);
}

class NetlinkNetwork implements Network {
  readonly #native: Native;
  readonly #log: NetworkLog;
  readonly #events: NetlinkSocket;
  readonly #requests: NetlinkSocket;
  readonly #neighbours: Neighbours;
  readonly #routes: RouteCache;
  /** By ifindex. */
  #links = new Map<number, Link>();
  /** By ifindex, then by address and prefix length. */
  #addresses = new Map<number, Map<string, InterfaceAddress>>();
  /** Keys of {@link Address}; undefined after a change. */
  #own: ReadonlySet<string> | undefined;
  #ownTexts: readonly string[] | undefined;
  #interfaces: readonly NetworkInterface[] | undefined;
  /** By family; undefined after a change. */
  #defaultInterfaces: ReadonlyMap<number, readonly number[]> | undefined;
  /** Gateways of the preferred default routes, as they were when those were read. */
  #defaultGateways: readonly Target[] = [];
  #watchesGateways = false;
  #prefixesAtDump = 0;
  #watched = new Map<string, Address>();
  readonly #listeners: (() => void)[] = [];
  #changed = false;
  #targetsOutdated = false;
  #quietUntil = 0;
  #changeTimer: NodeJS.Timeout | undefined;
  #lost = false;
  #resyncTimer: NodeJS.Timeout | undefined;
  #resyncedAt = -Infinity;
  #fail: ((error: unknown) => void) | undefined;
  #closed = false;

  constructor(native: Native, log: NetworkLog, options: NetworkOptions) {
    this.#native = native;
    this.#log = log;
    this.#events = new NetlinkSocket(native, NETLINK_ROUTE, {
      groups: GROUPS,
      receiveBuffer: options.receiveBuffer ?? RECEIVE_BUFFER,
    });
    try {
      this.#events.join(RTNLGRP_NEXTHOP);
      this.#requests = new NetlinkSocket(native, NETLINK_ROUTE);
    } catch (error) {
      this.#events.close();
      throw error;
    }
    this.#routes = new RouteCache((address) => this.#askRoute(address));
    this.#neighbours = new Neighbours(this.#requests, log, {
      ready: (ifindex) => this.#obstacle(this.#links.get(ifindex)) === undefined,
      catchUp: () => {
        this.#readEvents();
      },
      fail: (error) => this.#fail?.(error),
    });
    try {
      this.#resync();
    } catch (error) {
      this.close();
      throw error;
    }
    this.#changed = false;
  }

  interfaces(): readonly NetworkInterface[] {
    this.#interfaces ??= [...this.#links.values()]
      .sort((a, b) => a.ifindex - b.ifindex)
      .map((link) => this.#describe(link));
    return this.#interfaces;
  }

  #describe(link: Link): NetworkInterface {
    const addresses = [...(this.#addresses.get(link.ifindex)?.values() ?? [])];
    return {
      name: link.name,
      ifindex: link.ifindex,
      mac: link.mac,
      up: (link.flags & IFF_UP) !== 0,
      running: (link.flags & IFF_RUNNING) !== 0,
      mtu: link.mtu,
      loopback: (link.flags & IFF_LOOPBACK) !== 0,
      ...(link.vlan === undefined ? {} : { vlan: { parent: link.vlan.parent, id: link.vlan.id } }),
      addresses: addresses.map(({ local, prefixLength }) => `${printAddress(local)}/${prefixLength}`),
    };
  }

  ownAddresses(): readonly string[] {
    this.#ownTexts ??= [...new Set([...this.#allAddresses()].map(({ local }) => printAddress(local)))];
    return this.#ownTexts;
  }

  *#allAddresses(): Generator<InterfaceAddress> {
    for (const addresses of this.#addresses.values()) yield* addresses.values();
  }

  #isLocal(address: Address): boolean {
    if (address.bytes.length === 4 && address.bytes[0] === 127) return true;
    if (address.bytes.length === 16 && address.value === 1n) return true;
    this.#own ??= new Set([...this.#allAddresses()].map(({ local }) => local.toString("hex")));
    return this.#own.has(address.key);
  }

  resolve(text: string): Resolution {
    const address = this.#watched.get(text) ?? parseAddress(text);
    if (address === undefined) return unresolved(`${text} is not an address`);
    if (this.#isLocal(address)) return { kind: "local" };
    const route = this.#routes.look(address);
    if (route.kind === "local") return { kind: "local" };
    if (route.kind === "none") return unresolved(this.#whyNoRoute(address, route.because));
    const link = this.#links.get(route.ifindex);
    const because = this.#obstacle(link);
    if (link === undefined || because !== undefined) {
      return unresolved(because ?? `no interface towards ${address.text}`);
    }
    const neighbourAddress = route.gateway ?? address;
    const neighbour = this.#neighbours.get(link.ifindex, neighbourAddress);
    if (!neighbour.usable) {
      const who = `neighbour ${neighbourAddress.text} on ${link.name}`;
      return unresolved(neighbour.failed ? `no answer from ${who}` : `waiting for an answer from ${who}`);
    }
    return {
      kind: "resolved",
      hop: {
        ifindex: link.vlan === undefined ? link.ifindex : link.vlan.parent,
        vlan: link.vlan?.id ?? 0,
        mtu: route.mtu === 0 ? link.mtu : Math.min(route.mtu, link.mtu),
        sourceMac: link.mac,
        mac: neighbour.mac,
        ...(route.source === undefined ? {} : { source: route.source }),
      },
    };
  }

  /** Why nothing can be sent through an interface, or undefined. */
  #obstacle(link: Link | undefined): string | undefined {
    if (link === undefined) return "the interface is gone";
    if ((link.flags & IFF_UP) === 0) return `interface ${link.name} is down`;
    if ((link.flags & IFF_RUNNING) === 0) return `interface ${link.name} has no carrier`;
    if (link.hardware !== ARPHRD_ETHER || link.mac.length !== 6) {
      return `interface ${link.name} has no Ethernet address`;
    }
    if (link.vlan === undefined) return undefined;
    const parent = this.#links.get(link.vlan.parent);
    if (parent === undefined) return `the parent of VLAN interface ${link.name} is in another network namespace`;
    if (parent.vlan !== undefined)
      return `VLAN interface ${link.name} lies on another one, and one tag is all there is`;
    if (link.vlan.protocol !== ETH_P_8021Q) return `VLAN interface ${link.name} does not use 802.1Q tags`;
    return undefined;
  }

  /** When an interface goes down its routes go too, and the operator wants to hear of the interface. */
  #whyNoRoute(address: Address, because: string): string {
    for (const [ifindex, addresses] of this.#addresses) {
      const link = this.#links.get(ifindex);
      if (link === undefined || (link.flags & IFF_UP) !== 0) continue;
      for (const each of addresses.values()) if (covers(each, address)) return `interface ${link.name} is down`;
    }
    return `no route to ${address.text}${because}`;
  }

  #askRoute(address: Address): Route {
    let reply: Message;
    try {
      reply = this.#requests.ask(`route to ${address.text}`, (sequence) => encodeRouteQuery(address.bytes, sequence));
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      return { kind: "none", because: whyRefused(error.code) };
    }
    const route = decodeRoute(reply.payload);
    if (route === undefined) return { kind: "none", because: "" };
    switch (route.kind) {
      case RTN_UNICAST: {
        const gateway = route.gateway === undefined ? undefined : parseAddress(printAddress(route.gateway));
        const source = route.source === undefined ? {} : { source: printAddress(route.source) };
        return { kind: "unicast", ifindex: route.ifindex, gateway, mtu: route.mtu, ...source };
      }
      case RTN_LOCAL:
      case RTN_ANYCAST:
        return { kind: "local" };
      case RTN_BROADCAST:
        return { kind: "none", because: ": it is a broadcast address" };
      case RTN_MULTICAST:
        return { kind: "none", because: ": it is a multicast address" };
      case RTN_BLACKHOLE:
        return { kind: "none", because: " (blackhole)" };
      case RTN_PROHIBIT:
        return { kind: "none", because: " (prohibited)" };
      default:
        return { kind: "none", because: "" };
    }
  }

  watch(addresses: Iterable<string>, gateways = false): void {
    const watched = new Map<string, Address>();
    let same = gateways === this.#watchesGateways;
    this.#watchesGateways = gateways;
    for (const text of addresses) {
      const known = this.#watched.get(text);
      const address = known ?? parseAddress(text);
      if (address === undefined) continue;
      same &&= known !== undefined;
      watched.set(text, address);
    }
    if (same && watched.size === this.#watched.size) return;
    this.#watched = watched;
    this.#updateTargets();
  }

  /** Finds the neighbours on the way to the watched addresses. */
  #updateTargets(): void {
    this.#targetsOutdated = false;
    const targets: Target[] = [];
    for (const address of this.#watched.values()) {
      if (this.#isLocal(address)) continue;
      const route = this.#routes.look(address);
      if (route.kind !== "unicast" || this.#obstacle(this.#links.get(route.ifindex)) !== undefined) continue;
      const { ifindex, gateway } = route;
      targets.push({ ifindex, address: gateway ?? address, gateway: gateway !== undefined });
    }
    if (this.#watchesGateways) {
      this.#defaults();
      targets.push(...this.#defaultGateways);
    }
    this.#neighbours.keep(targets);
  }

  derive(virtualAddresses: readonly string[], realAddresses: readonly string[]): readonly NetworkInterface[] {
    const chosen = new Set<number>();
    for (const text of virtualAddresses) {
      const address = parseAddress(text);
      if (address === undefined) continue;
      for (const ifindex of this.#interfacesOf(address)) chosen.add(ifindex);
    }
    for (const text of realAddresses) {
      const address = this.#watched.get(text) ?? parseAddress(text);
      if (address === undefined || this.#isLocal(address)) continue;
      const route = this.#routes.look(address);
      if (route.kind === "unicast") chosen.add(route.ifindex);
    }
    const physical = new Set<number>();
    for (const ifindex of chosen) {
      let link = this.#links.get(ifindex);
      // A VLAN interface may lie on another; a parent in another namespace is 0 and not found.
      while (link?.vlan !== undefined) link = this.#links.get(link.vlan.parent);
      if (link !== undefined && (link.flags & IFF_LOOPBACK) === 0) physical.add(link.ifindex);
    }
    return this.interfaces().filter(({ ifindex }) => physical.has(ifindex));
  }

  #interfacesOf(virtualAddress: Address): readonly number[] {
    const found: number[] = [];
    for (const [ifindex, addresses] of this.#addresses) {
      const link = this.#links.get(ifindex);
      if (link === undefined || (link.flags & IFF_LOOPBACK) !== 0) continue;
      for (const each of addresses.values()) {
        if (!covers(each, virtualAddress) && each.local.compare(virtualAddress.bytes) !== 0) continue;
        found.push(ifindex);
        break;
      }
    }
    if (found.length > 0) return found;
    return this.#defaults().get(familyOfBytes(virtualAddress.bytes)) ?? [];
  }

  /** `type` is one of RTM_GET*. */
  #dump(what: string, type: number): Message[] {
    return this.#requests.dump(what, (sequence) => encodeDump(type, sequence));
  }

  /** Outgoing interfaces of the preferred default route of the main table, by family. */
  #defaults(): ReadonlyMap<number, readonly number[]> {
    if (this.#defaultInterfaces !== undefined) return this.#defaultInterfaces;
    const best = new Map<number, { metric: number; interfaces: number[]; gateways: Target[] }>();
    for (const message of this.#dump("routes", RTM_GETROUTE)) {
      const route = decodeRoute(message.payload);
      if (route === undefined || !isDefault(route)) continue;
      const { family, metric, ifindex } = route;
      const interfaces = [...route.pathInterfaces, ...(ifindex === 0 ? [] : [ifindex])];
      const gateway = route.gateway === undefined ? undefined : parseAddress(printAddress(route.gateway));
      const gateways = gateway === undefined || ifindex === 0 ? [] : [{ ifindex, address: gateway, gateway: true }];
      const known = best.get(family);
      if (known === undefined || metric < known.metric) best.set(family, { metric, interfaces, gateways });
      else if (metric === known.metric && family === AF_INET6) {
        known.interfaces.push(...interfaces);
        known.gateways.push(...gateways);
      }
    }
    this.#defaultGateways = [...best.values()].flatMap(({ gateways }) => gateways);
    this.#defaultInterfaces = new Map([...best].map(([family, { interfaces }]) => [family, interfaces]));
    return this.#defaultInterfaces;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let onAbort: (() => void) | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        onAbort = () => {
          resolve();
        };
        signal.addEventListener("abort", onAbort, { once: true });
        this.#fail = reject;
        this.#native.pollStart(this.#events.fd, () => {
          try {
            this.#readEvents();
          } catch (error) {
            // The owner of the task learns of it.
            reject(error instanceof Error ? error : new Error(String(error)));
          }
        });
        this.#neighbours.start();
      });
    } finally {
      if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
      this.#fail = undefined;
      this.#native.pollStop(this.#events.fd);
      this.#neighbours.stop();
      clearTimeout(this.#changeTimer);
      clearTimeout(this.#resyncTimer);
      this.#changeTimer = undefined;
      this.#resyncTimer = undefined;
    }
  }

  close(keepNeighbours = false): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!keepNeighbours) this.#neighbours.releaseAll();
    } catch (error) {
      // Best effort: the entries stay and the next director adopts them.
      this.#log.debug({ err: error }, "neighbour entries could not be released");
    }
    this.#events.close();
    this.#requests.close();
  }

  #readEvents(): void {
    for (let count = 0; ; count++) {
      if (count === DATAGRAMS_AT_A_TIME) break;
      try {
        const messages = this.#events.receive();
        if (messages === undefined) {
          if (this.#lost) this.#resyncSoon();
          break;
        }
        if (messages === "lost") this.#lost = true;
        else for (const message of messages) this.#apply(message);
      } catch (error) {
        if (!(error instanceof MalformedMessage)) throw error;
        this.#log.warn({ err: error }, "a malformed netlink message is left out");
      }
    }
    if (this.#changed) this.#tellSoon();
  }

  #apply({ type, payload }: Message): void {
    switch (type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        this.#applyLink(decodeLink(payload), type === RTM_DELLINK);
        break;
      case RTM_NEWADDR:
      case RTM_DELADDR: {
        const address = decodeAddress(payload);
        if (address !== undefined) this.#applyAddress(address, type === RTM_DELADDR);
        break;
      }
      case RTM_NEWROUTE:
      case RTM_DELROUTE: {
        const route = decodeRoute(payload);
        if (route === undefined || (route.flags & RTM_F_CLONED) !== 0) break;
        if (type === RTM_NEWROUTE) this.#addPrefix(route);
        if (route.prefixLength === 0) this.#defaultInterfaces = undefined;
        this.#routesChanged();
        break;
      }
      case RTM_NEWRULE:
      case RTM_DELRULE: {
        const rule = decodeRule(payload);
        if (rule === undefined) break;
        if (type === RTM_NEWRULE) this.#addPrefix(rule);
        this.#routesChanged();
        break;
      }
      case RTM_NEWNEXTHOP:
      case RTM_DELNEXTHOP:
        this.#defaultInterfaces = undefined;
        this.#routesChanged();
        break;
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH: {
        const neighbour = decodeNeighbour(payload);
        if (neighbour === undefined) break;
        const { changed, gateway } = this.#neighbours.apply(neighbour, type === RTM_DELNEIGH);
        if (changed) this.#changed = true;
        if (gateway) this.#routesChanged();
        break;
      }
    }
  }

  #applyLink(link: Link, removed: boolean): void {
    // A message of family AF_BRIDGE tells that an interface joined or left a bridge.
    if (link.family !== 0) return;
    const before = this.#links.get(link.ifindex);
    if (removed) {
      if (before === undefined) return;
      this.#links.delete(link.ifindex);
      this.#addresses.delete(link.ifindex);
      this.#neighbours.removeInterface(link.ifindex);
      this.#log.debug({ interface: before.name }, `interface ${before.name} is gone`);
    } else {
      if (before !== undefined && sameLink(before, link)) return;
      this.#links.set(link.ifindex, link);
      if (before === undefined) this.#log.debug({ interface: link.name }, `interface ${link.name} appeared`);
      else this.#logLink(before, link);
    }
    this.#surroundingsChanged();
  }

  #logLink(before: Link, link: Link): void {
    const was = this.#obstacle(before);
    const is = this.#obstacle(link);
    if (before.name !== link.name) {
      this.#log.info({ interface: link.name }, `interface ${before.name} is now named ${link.name}`);
    }
    if (was !== is) this.#log.debug({ interface: link.name }, is ?? `interface ${link.name} is up`);
  }

  #applyAddress(address: InterfaceAddress, removed: boolean): void {
    let addresses = this.#addresses.get(address.ifindex);
    if (addresses === undefined) {
      // An address of an interface that is gone comes after the interface's own message.
      if (removed || !this.#links.has(address.ifindex)) return;
      addresses = new Map();
      this.#addresses.set(address.ifindex, addresses);
    }
    const key = `${address.local.toString("hex")}/${address.prefixLength}`;
    if (removed) {
      if (!addresses.delete(key)) return;
    } else {
      const known = addresses.get(key);
      if (known?.subnet.equals(address.subnet) === true) return;
      addresses.set(key, address);
    }
    this.#surroundingsChanged();
  }

  #addPrefix(route: { family: number; prefixLength: number; destination?: Buffer; multipath?: boolean }): void {
    const size = route.family === AF_INET6 ? 16 : 4;
    this.#routes.add(size, route.destination, route.prefixLength, route.multipath === true);
  }

  #surroundingsChanged(): void {
    this.#own = undefined;
    this.#ownTexts = undefined;
    this.#interfaces = undefined;
    this.#defaultInterfaces = undefined;
    this.#routesChanged();
  }

  #routesChanged(): void {
    this.#routes.forget();
    this.#targetsOutdated = true;
    this.#changed = true;
    if (this.#routes.size > 2 * this.#prefixesAtDump + MAXIMUM_NEW_PREFIXES) this.#resyncSoon();
  }

  #resyncSoon(): void {
    if (this.#resyncTimer !== undefined) return;
    const wait = this.#resyncedAt + RESYNC_PAUSE - performance.now();
    if (wait <= 0) {
      this.#resync();
      return;
    }
    this.#resyncTimer = setTimeout(() => {
      this.#resyncTimer = undefined;
      try {
        this.#resync();
        this.#tellSoon();
      } catch (error) {
        this.#fail?.(error);
      }
    }, wait);
  }

  /** Dumps everything in place of what is known. Events that come meanwhile are read after it and tell the same. */
  #resync(): void {
    if (this.#lost) this.#log.info({}, "netlink events were lost: everything is read anew");
    this.#lost = false;
    this.#links = new Map();
    for (const { payload } of this.#dump("interfaces", RTM_GETLINK)) {
      const link = decodeLink(payload);
      if (link.family === 0) this.#links.set(link.ifindex, link);
    }
    this.#addresses = new Map();
    for (const { payload } of this.#dump("addresses", RTM_GETADDR)) {
      const address = decodeAddress(payload);
      if (address !== undefined) this.#applyAddress(address, false);
    }
    this.#routes.clear();
    for (const type of [RTM_GETROUTE, RTM_GETRULE]) {
      for (const { payload } of this.#dump(type === RTM_GETROUTE ? "routes" : "rules", type)) {
        const message = type === RTM_GETROUTE ? decodeRoute(payload) : decodeRule(payload);
        if (message !== undefined) this.#addPrefix(message);
      }
    }
    this.#prefixesAtDump = this.#routes.size;
    const neighbours: NeighbourMessage[] = [];
    for (const { payload } of this.#dump("neighbours", RTM_GETNEIGH)) {
      const neighbour = decodeNeighbour(payload);
      if (neighbour !== undefined) neighbours.push(neighbour);
    }
    this.#neighbours.replace(neighbours);
    this.#surroundingsChanged();
    this.#resyncedAt = performance.now();
  }

  /** Calls the listeners: at once after a quiet time, else when the pause is over. */
  #tellSoon(): void {
    if (this.#changeTimer !== undefined) return;
    const wait = this.#quietUntil - performance.now();
    if (wait <= 0) {
      this.#tell();
      return;
    }
    this.#changeTimer = setTimeout(() => {
      this.#changeTimer = undefined;
      try {
        this.#tell();
      } catch (error) {
        this.#fail?.(error);
      }
    }, wait);
  }

  #tell(): void {
    const began = performance.now();
    this.#changed = false;
    if (this.#targetsOutdated) this.#updateTargets();
    for (const listener of this.#listeners) listener();
    const ended = performance.now();
    this.#quietUntil = ended + Math.max(CHANGE_PAUSE, CHANGE_PAUSE_FACTOR * (ended - began));
  }
}

function sameLink(a: Link, b: Link): boolean {
  return (
    a.name === b.name &&
    (a.flags & RELEVANT_FLAGS) === (b.flags & RELEVANT_FLAGS) &&
    a.mtu === b.mtu &&
    Buffer.compare(a.mac, b.mac) === 0 &&
    a.vlan?.parent === b.vlan?.parent &&
    a.vlan?.id === b.vlan?.id
  );
}

/** Whether an address lies in the connected subnet of an interface's address. */
function covers(each: InterfaceAddress, address: Address): boolean {
  if (each.subnet.length !== address.bytes.length) return false;
  const value = BigInt(`0x${each.subnet.toString("hex")}`);
  return prefixOf({ bytes: each.subnet, value }, each.prefixLength) === prefixOf(address, each.prefixLength);
}

function isDefault(route: RouteMessage): boolean {
  return route.prefixLength === 0 && route.table === RT_TABLE_MAIN && route.kind === RTN_UNICAST;
}

/** What the kernel answers to a route query instead of a route. */
function whyRefused(code: string): string {
  if (code === "EACCES") return " (prohibited)";
  if (code === "EINVAL") return " (blackhole)";
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return "";
  return ` (${code})`;
}

function unresolved(reason: string): Resolution {
  return { kind: "unresolved", reason };
}
