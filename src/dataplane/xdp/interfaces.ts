/** The director's interfaces and addresses: where the program is attached, and what it knows of this machine. */
import type { Native, ProgramHandle } from "../../native.ts";
import type { Attachments } from "./attach.ts";
import { addressText, addressWords, familyFromNumber, macText } from "./codec.ts";
import type { Control } from "./control.ts";
import { encodeIndex } from "./maps.ts";
import type { DirectorMaps } from "./maps.ts";
import * as layout from "./layout.generated.ts";
import type { Network, NetworkInterface } from "./network.ts";
import { readSlots } from "./stored.ts";

const { SERVICE_SLOT_OWN_IPV4, SERVICE_SLOT_OWN_IPV6 } = layout.serviceSlotKind;

/** The data path looks at this many entries from an interface's own on. */
const interfaceProbes = 8;

export interface PlaneLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export interface InterfacesDeps {
  readonly native: Native;
  readonly maps: DirectorMaps;
  readonly control: Control;
  readonly network: Network;
  readonly attachments: Attachments;
  readonly program: ProgramHandle;
  readonly log: PlaneLog;
}

/** Brings the maps and the program's places in line with what the kernel says about the network. */
export class Interfaces {
  readonly #deps: InterfacesDeps;
  /** Names asked for by the operator; undefined: derived from addresses and routes. */
  readonly #names: readonly string[] | undefined;
  /** As they were at the last look, by name. */
  readonly #seen = new Map<string, NetworkInterface>();
  readonly #unusable = new Set<string>();
  readonly #refused = new Map<string, string>();

  constructor(deps: InterfacesDeps, names: readonly string[] | undefined) {
    this.#deps = deps;
    this.#names = names;
  }

  /** `outgoing`: physical interfaces towards the real servers. Writes only what differs. */
  sync(virtualAddresses: Iterable<string>, realAddresses: Iterable<string>, outgoing: ReadonlySet<number>): void {
    const all = this.#forgetGone(this.#deps.network.interfaces());
    this.#followNames(all);
    const wanted = this.#wanted(all, [...virtualAddresses], [...realAddresses]);
    this.#attach(wanted);
    const { attachments } = this.#deps;
    const attached = all.filter(({ name }) => attachments.names.includes(name));
    this.#report(attached);
    this.#writeInterfaces(attached, all);
    this.#writeRedirectPorts([...outgoing, ...attached.map(({ ifindex }) => ifindex)], all);
    this.#writeVlanLinks(all);
    this.#writeOwnAddresses();
  }

  /** Interfaces that are there, are wanted, and could not be attached to: ifindex to name and reason. */
  failed(): ReadonlyMap<number, string> {
    const { attachments } = this.#deps;
    return new Map(
      attachments
        .statuses()
        .filter(({ mode, ifindex }) => mode === "detached" && ifindex !== 0)
        .map(({ name, ifindex, reason }) => [ifindex, `interface ${name}: ${reason || "the program is detached"}`]),
    );
  }

  /** Asks the kernel, which knows before the network's events tell it. */
  #isThere(name: string, ifindex: number): boolean {
    return this.#deps.native.interfaceIndex(name) === ifindex;
  }

  /** Returns those that are there: a link knows that its interface is gone before the network's events tell it. */
  #forgetGone(all: readonly NetworkInterface[]): readonly NetworkInterface[] {
    const { attachments, log } = this.#deps;
    const gone = new Set<number>();
    for (const { name, ifindex } of attachments.lost()) {
      attachments.forget(name);
      this.#seen.delete(name);
      if (this.#isThere(name, ifindex)) {
        log.warn(`interface ${name}: somebody has detached the program`);
        continue;
      }
      gone.add(ifindex);
      const back = all.find((candidate) => candidate.name === name);
      if (back === undefined || back.ifindex === ifindex) log.warn(`interface ${name} is gone`);
      else log.warn(`interface ${name} has been replaced by another of that name`);
    }
    return all.filter(({ ifindex }) => !gone.has(ifindex));
  }

  #followNames(all: readonly NetworkInterface[]): void {
    const { attachments } = this.#deps;
    for (const { name, ifindex } of attachments.statuses()) {
      const now = all.find((candidate) => candidate.ifindex === ifindex)?.name;
      if (now === undefined || now === name || !attachments.names.includes(name)) continue;
      attachments.rename(name, now);
      const seen = this.#seen.get(name);
      this.#seen.delete(name);
      if (seen !== undefined) this.#seen.set(now, seen);
    }
  }

  /** Physical ones: frames of a VLAN interface come in by its parent. */
  #wanted(
    all: readonly NetworkInterface[],
    virtualAddresses: readonly string[],
    realAddresses: readonly string[],
  ): readonly NetworkInterface[] {
    const { network, attachments, log } = this.#deps;
    const named = this.#names?.flatMap((name) => {
      const found = all.find((candidate) => candidate.name === name);
      const trouble =
        found === undefined ? "does not exist (yet)" : found.loopback ? "is loopback, where nothing is met" : undefined;
      if (trouble !== undefined && !this.#unusable.has(name)) {
        this.#unusable.add(name);
        attachments.fail(name, trouble);
        log.warn(`interface ${name} ${trouble}`);
      }
      if (trouble === undefined && this.#unusable.delete(name)) attachments.forget(name);
      return found ?? [];
    });
    const chosen = named ?? (virtualAddresses.length === 0 ? [] : network.derive(virtualAddresses, realAddresses));
    const physical = new Map<number, NetworkInterface>();
    for (const candidate of chosen) {
      const parent = candidate.vlan === undefined ? candidate : byIndex(all, candidate.vlan.parent);
      if (parent !== undefined && !parent.loopback) physical.set(parent.ifindex, parent);
    }
    return [...physical.values()];
  }

  #attach(wanted: readonly NetworkInterface[]): void {
    const { attachments, program, log } = this.#deps;
    for (const { name, ifindex } of wanted) {
      const attached = attachments.attach(program, name, ifindex);
      const status = attachments.statuses().find((candidate) => candidate.name === name);
      if (status === undefined) continue;
      // Gone or renamed, of which the network's events will tell in a moment.
      if (status.mode === "detached" && !this.#isThere(name, ifindex)) {
        attachments.forget(name);
        continue;
      }
      const reason = status.reason === "" ? "" : ` (${status.reason})`;
      if (attached) {
        this.#refused.delete(name);
        log.info(`interface ${name}: attached in ${status.mode} mode${reason}`);
      } else if (status.mode === "detached" && this.#refused.get(name) !== status.reason) {
        this.#refused.set(name, status.reason);
        log.error(`interface ${name}: cannot attach${reason}`);
      }
    }
  }

  /** One line for what has happened to an interface since the last look. */
  #report(attached: readonly NetworkInterface[]): void {
    const { log } = this.#deps;
    for (const now of attached) {
      const before = this.#seen.get(now.name);
      this.#seen.set(now.name, now);
      if (before === undefined) {
        if (!now.up) log.warn(`interface ${now.name} is down`);
        else if (!now.running) log.warn(`interface ${now.name} has no carrier`);
        continue;
      }
      if (before.up !== now.up) log.warn(`interface ${now.name} is ${now.up ? "up again" : "down"}`);
      else if (before.running !== now.running) {
        log.warn(`interface ${now.name}: ${now.running ? "carrier is back" : "carrier lost, is the cable out?"}`);
      }
      if (macText(before.mac) !== macText(now.mac)) {
        log.warn(`interface ${now.name}: MAC address is now ${macText(now.mac)}, was ${macText(before.mac)}`);
      }
    }
  }

  /** A new entry is written before the place of an old one is used for something else. */
  #writeInterfaces(attached: readonly NetworkInterface[], all: readonly NetworkInterface[]): void {
    const { maps, log } = this.#deps;
    const table = new Map<number, layout.Interface>();
    for (const entry of entriesOf(attached, all)) {
      const home = entry.ifindex * 31 + entry.vlan;
      const place = Array.from({ length: interfaceProbes }, (_, probe) => (home + probe) % layout.MAX_INTERFACES).find(
        (index) => !table.has(index),
      );
      if (place === undefined) log.error(`no room for interface ${entry.ifindex} vlan ${entry.vlan}`);
      else table.set(place, entry);
    }
    const empty = layout.interfaceStruct.decode(new Uint8Array(layout.interfaceStruct.size));
    const changed: { place: number; wanted: layout.Interface; free: boolean }[] = [];
    for (const [place, present] of maps.interfaces.readRange(0, layout.MAX_INTERFACES).entries()) {
      const wanted = table.get(place) ?? empty;
      if (!sameInterface(present, wanted)) changed.push({ place, wanted, free: present.ifindex === 0 });
    }
    for (const { place, wanted } of changed.filter(({ free }) => free)) maps.interfaces.write(place, wanted);
    for (const { place, wanted } of changed.filter(({ free }) => !free)) maps.interfaces.write(place, wanted);
  }

  /**
   * Those that are needed first, then every other one there is: the data path may find another way than the one known
   * here while a next hop is not resolved.
   */
  #writeRedirectPorts(needed: readonly number[], all: readonly NetworkInterface[]): void {
    const { native, maps, log } = this.#deps;
    const others = all.filter(({ loopback, vlan }) => !loopback && vlan === undefined).map(({ ifindex }) => ifindex);
    const wanted = new Set([...new Set([...needed, ...others])].slice(0, layout.MAX_INTERFACES));
    const keys = native.mapKeys(maps.redirectPorts);
    const present = new Set<number>();
    for (let at = 0; at < keys.length; at += 4) present.add(keys.readUInt32LE(at));
    for (const ifindex of present) if (!wanted.has(ifindex)) native.mapDelete(maps.redirectPorts, encodeIndex(ifindex));
    for (const ifindex of wanted) {
      if (present.has(ifindex)) continue;
      try {
        // struct bpf_devmap_val: no program of its own.
        native.mapUpdate(
          maps.redirectPorts,
          encodeIndex(ifindex),
          new Uint8Array(Uint32Array.of(ifindex, 0).buffer),
          0,
        );
      } catch (error) {
        const { name = "" } = byIndex(all, ifindex) ?? {};
        if (!this.#isThere(name, ifindex)) continue;
        log.warn(`no redirection to interface ${name}: ${(error as Error).message}`);
      }
    }
  }

  /** For ways that the data path asks the kernel for, which names VLAN interfaces. */
  #writeVlanLinks(all: readonly NetworkInterface[]): void {
    const { native, maps } = this.#deps;
    const wanted = new Map<number, Uint8Array>();
    for (const { ifindex, vlan } of all) {
      if (vlan !== undefined && wanted.size < layout.MAX_INTERFACES) {
        wanted.set(ifindex, layout.vlanLink.encode({ ifindex: vlan.parent, vlan: vlan.id }));
      }
    }
    const keys = native.mapKeys(maps.vlanLinks);
    for (let at = 0; at < keys.length; at += 4) {
      const ifindex = keys.readUInt32LE(at);
      if (!wanted.has(ifindex)) native.mapDelete(maps.vlanLinks, encodeIndex(ifindex));
    }
    for (const [ifindex, link] of wanted) native.mapUpdate(maps.vlanLinks, encodeIndex(ifindex), link, 0);
    new Uint32Array(maps.settings.memory)[layout.settings.fields.vlan_links.offset / 4] = wanted.size > 0 ? 1 : 0;
  }

  /** Packets with a source address of this machine are not for us to forward. */
  #writeOwnAddresses(): void {
    const { maps, control, network } = this.#deps;
    const wanted = new Set(network.ownAddresses());
    const present = new Map<string, layout.ServiceSlot>();
    for (const { slot } of readSlots(maps)) {
      if (slot.kind !== SERVICE_SLOT_OWN_IPV4 && slot.kind !== SERVICE_SLOT_OWN_IPV6) continue;
      present.set(addressText(slot.address, familyFromNumber(slot.kind === SERVICE_SLOT_OWN_IPV6 ? 6 : 4)), slot);
    }
    for (const address of wanted) {
      if (present.has(address)) continue;
      const kind = address.includes(":") ? SERVICE_SLOT_OWN_IPV6 : SERVICE_SLOT_OWN_IPV4;
      control.putService({ address: addressWords(address), port: 0, protocol: 0, kind, service: 0 });
    }
    for (const [address, slot] of present) if (!wanted.has(address)) control.deleteService(slot);
  }
}

function byIndex(all: readonly NetworkInterface[], ifindex: number): NetworkInterface | undefined {
  return all.find((candidate) => candidate.ifindex === ifindex);
}

/** Of the attached interfaces and of the VLAN interfaces on them, in an order that does not change. */
function entriesOf(attached: readonly NetworkInterface[], all: readonly NetworkInterface[]): layout.Interface[] {
  const physical = new Set(attached.map(({ ifindex }) => ifindex));
  return all
    .flatMap(({ ifindex, mac, mtu, vlan }) => {
      const bounded = Math.min(mtu, 0xffff);
      if (vlan !== undefined) {
        return physical.has(vlan.parent) ? { ifindex: vlan.parent, vlan: vlan.id, mac, mtu: bounded } : [];
      }
      return physical.has(ifindex) ? { ifindex, vlan: 0, mac, mtu: bounded } : [];
    })
    .sort((a, b) => a.ifindex - b.ifindex || a.vlan - b.vlan);
}

function sameInterface(a: layout.Interface, b: layout.Interface): boolean {
  return a.ifindex === b.ifindex && a.vlan === b.vlan && a.mtu === b.mtu && macText(a.mac) === macText(b.mac);
}
