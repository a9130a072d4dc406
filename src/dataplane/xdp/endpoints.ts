/**
 * What leads packets that are not for a virtual address to a real server of ours: the replies of masqueraded ones, by the
 * endpoint that they come from, and what a fellow director sends, by its MAC address; and by which addresses a later
 * fragment, which has no port, may be ours.
 */
import type { Native } from "../../native.ts";
import { addressWords } from "./codec.ts";
import type { Control } from "./control.ts";
import { fragmentAddress, settings as settingsCodec, serviceSlotKind } from "./layout.generated.ts";
import type { ServiceSlot } from "./layout.generated.ts";
import type { DirectorMaps } from "./maps.ts";
import { readSlots } from "./stored.ts";

const { SERVICE_SLOT_REPLY_IPV4, SERVICE_SLOT_REPLY_IPV6, SERVICE_SLOT_STATION } = serviceSlotKind;

/** SAME_ENDPOINTS_MAX of bpf/reply.h: services whose real servers a reply may be of. */
const sameEndpointsMax = 64;

/** Where a masqueraded real server answers from; `port` 0: any. */
export interface ReplyEndpoint {
  /** IPPROTO_*. */
  readonly protocol: number;
  readonly address: string;
  readonly port: number;
}

function setFlag(maps: DirectorMaps, name: "masquerades" | "fellows", value: boolean): void {
  new Uint32Array(maps.settings.memory)[settingsCodec.fields[name].offset / 4] = value ? 1 : 0;
}

function slotKey({ kind, protocol, port, address }: ServiceSlot): string {
  return [kind, protocol, port, ...address].join();
}

function replySlot({ protocol, address, port }: ReplyEndpoint, service: number): ServiceSlot {
  const kind = address.includes(":") ? SERVICE_SLOT_REPLY_IPV6 : SERVICE_SLOT_REPLY_IPV4;
  return { address: addressWords(address), port, protocol, kind, service };
}

/** Real servers by the endpoint that their replies come from. Several services may share one. */
export class ReplyTable {
  readonly #maps: DirectorMaps;
  readonly #control: Control;
  /** Ids in the order in which packets meet them, by the key of their slot. */
  readonly #chains = new Map<string, number[]>();
  readonly #endpoints = new Map<number, ReplyEndpoint>();

  constructor(maps: DirectorMaps, control: Control) {
    this.#maps = maps;
    this.#control = control;
  }

  /** Removes what an earlier daemon has left behind. */
  repair(): void {
    for (const { slot } of [...readSlots(this.#maps)]) {
      if (slot.kind !== SERVICE_SLOT_REPLY_IPV4 && slot.kind !== SERVICE_SLOT_REPLY_IPV6) continue;
      if (!this.#chains.has(slotKey(slot))) this.#control.deleteService(slot);
    }
    this.#setFlag();
  }

  /** Replies of this real server are met from now on. Throws if too many services share the endpoint. */
  put(id: number, endpoint: ReplyEndpoint): void {
    const present = this.#endpoints.get(id);
    const slot = replySlot(endpoint, id);
    const key = slotKey(slot);
    if (present !== undefined && slotKey(replySlot(present, id)) === key) return;
    if (present !== undefined) this.remove(id);
    const chain = this.#chains.get(key) ?? [];
    if (chain.length >= sameEndpointsMax) {
      throw new Error(`more than ${sameEndpointsMax} services masquerade ${endpoint.address} port ${endpoint.port}`);
    }
    this.#maps.sameEndpoints.write(id, Uint32Array.of(chain[0] ?? 0));
    this.#control.putService(slot);
    chain.unshift(id);
    this.#chains.set(key, chain);
    this.#endpoints.set(id, endpoint);
    this.#setFlag();
  }

  /** Removing one that is not there is no error. */
  remove(id: number): void {
    const endpoint = this.#endpoints.get(id);
    if (endpoint === undefined) return;
    const slot = replySlot(endpoint, id);
    const key = slotKey(slot);
    const chain = this.#chains.get(key) ?? [];
    const at = chain.indexOf(id);
    const [before, next] = [chain[at - 1], chain[at + 1]];
    if (before !== undefined) this.#maps.sameEndpoints.write(before, Uint32Array.of(next ?? 0));
    else if (next !== undefined) this.#control.putService({ ...slot, service: next });
    else this.#control.deleteService(slot);
    chain.splice(at, 1);
    if (chain.length === 0) this.#chains.delete(key);
    this.#endpoints.delete(id);
    this.#setFlag();
  }

  #setFlag(): void {
    setFlag(this.#maps, "masquerades", this.#endpoints.size > 0);
  }
}

/** A real server that may be a director, too. */
export interface Station {
  readonly realServer: number;
  readonly service: number;
  /** 6 bytes. */
  readonly mac: Uint8Array;
}

/** Makes the slots of fellow directors those given; writes only what differs. */
export function writeStations(maps: DirectorMaps, control: Control, stations: readonly Station[]): void {
  const wanted = new Map<string, ServiceSlot>();
  for (const { realServer, service, mac } of stations) {
    const view = new DataView(mac.buffer, mac.byteOffset, mac.byteLength);
    const address = [0, service, view.getUint16(0), view.getUint32(2)];
    const slot = { address, port: 0, protocol: 0, kind: SERVICE_SLOT_STATION, service: realServer };
    wanted.set(slotKey(slot), slot);
  }
  const present = new Map<string, ServiceSlot>();
  for (const { slot } of readSlots(maps)) {
    if (slot.kind === SERVICE_SLOT_STATION) present.set(slotKey(slot), slot);
  }
  for (const [key, slot] of wanted) if (present.get(key)?.service !== slot.service) control.putService(slot);
  for (const [key, slot] of present) if (!wanted.has(key)) control.deleteService(slot);
  setFlag(maps, "fellows", wanted.size > 0);
}

const nothing = new Uint8Array(4);

/** Virtual addresses, and those of masqueraded real servers. */
export class FragmentAddresses {
  readonly #native: Native;
  readonly #map: DirectorMaps["fragmentAddresses"];
  /** Keys, by their bytes. */
  readonly #present = new Map<string, Uint8Array>();

  constructor(native: Native, maps: DirectorMaps) {
    this.#native = native;
    this.#map = maps.fragmentAddresses;
    const keys = native.mapKeys(this.#map);
    for (let at = 0; at < keys.length; at += fragmentAddress.size) {
      const key = keys.subarray(at, at + fragmentAddress.size);
      this.#present.set(key.toString("latin1"), key);
    }
  }

  /** Writes only what differs. */
  write(addresses: Iterable<string>): void {
    const wanted = new Set<string>();
    for (const address of addresses) {
      const key = fragmentAddress.encode({ address: addressWords(address) });
      const name = Buffer.from(key).toString("latin1");
      wanted.add(name);
      if (this.#present.has(name)) continue;
      this.#native.mapUpdate(this.#map, key, nothing, 0);
      this.#present.set(name, key);
    }
    for (const [name, key] of this.#present) {
      if (wanted.has(name)) continue;
      this.#native.mapDelete(this.#map, key);
      this.#present.delete(name);
    }
  }
}
