/** Plays to the XDP data path: a data plane of its own, attached to nothing, and BPF_PROG_RUN for the frames. */
import { join } from "node:path";
import { Control } from "../../src/dataplane/xdp/control.ts";
import { connectionState, serviceState } from "../../src/dataplane/xdp/layout.generated.ts";
import { mapPath } from "../../src/dataplane/xdp/load.ts";
import { ConnectionTable, openMaps } from "../../src/dataplane/xdp/maps.ts";
import type { DirectorMaps } from "../../src/dataplane/xdp/maps.ts";
import type { NetworkInterface, Resolution } from "../../src/dataplane/xdp/network.ts";
import { familyOf } from "../../src/model/service.ts";
import type { Connection } from "../../src/model/statistics.ts";
import type { Native } from "../../src/native.ts";
import { tunings } from "../../src/model/tuning.ts";
import { PlaneFolder } from "../dataplane/planes.ts";
import { macBytes } from "../support/packet.ts";
import { directorMac } from "./play.ts";
import type { Play } from "./play.ts";

/** The sysctls of net.ipv4.vs whose defaults are others here. */
const asKernel = { expire_nodest_conn: 0, resets_per_second: 0, icmp_per_second: 1_000_000 } as const;

const mtu = 1500;
const verdictNames = ["aborted", "drop", "pass", "tx", "redirect"] as const;

export interface Verdict {
  readonly verdict: (typeof verdictNames)[number];
  /** The frame as it goes on. */
  readonly bytes: Buffer;
}

export interface Played {
  /** Of each step that is a frame what becomes of it. */
  readonly verdicts: readonly (Verdict | undefined)[];
  /** Of each step that asks for them. */
  readonly connections: readonly (readonly Connection[])[];
}

/** The addresses that the play gives to the director, of eth0 first. */
function ownAddresses(play: Play): string[] {
  const found: string[] = [];
  for (const line of play.network) {
    const [, address, device] = /^address add ([^/]+)\/\d+ dev (\S+)/.exec(line) ?? [];
    if (address !== undefined && device === "eth0") found.unshift(address);
    else if (address !== undefined) found.push(address);
  }
  return found;
}

/** The VLAN interface on eth0 that a line of a play's network adds. */
export function vlanOf(line: string): { readonly name: string; readonly id: number } | undefined {
  const [, name, id] = /^link add link eth0 name (\S+) type vlan id (\d+)/.exec(line) ?? [];
  return name === undefined ? undefined : { name, id: Number(id) };
}

/** The play's VLAN interfaces, by name. */
function vlansOf(play: Play): Map<string, number> {
  return new Map(play.network.flatMap((line) => vlanOf(line) ?? []).map(({ name, id }) => [name, id]));
}

/** The interfaces that stand for VLANs here, as the data plane is told of them. */
function vlanInterfaces(play: Play, parent: number, native: Native): NetworkInterface[] {
  return [...vlansOf(play)].map(([name, id]) => ({
    name,
    ifindex: native.interfaceIndex(name),
    mac: macBytes(directorMac),
    up: true,
    running: true,
    mtu,
    loopback: false,
    vlan: { parent, id },
    addresses: [],
  }));
}

/** The way to every neighbour, from the play's lines for ip. */
function neighbours(play: Play, ifindex: number): Map<string, Resolution> {
  const own = ownAddresses(play);
  const vlans = vlansOf(play);
  const found = new Map<string, Resolution>();
  for (const line of play.network) {
    const [, address, mac, device = ""] = /^neighbour add (\S+) lladdr (\S+) dev (\S+)/.exec(line) ?? [];
    if (address === undefined || mac === undefined) continue;
    const source = own.find((candidate) => familyOf(candidate) === familyOf(address));
    const hop = { ifindex, vlan: vlans.get(device) ?? 0, mtu, sourceMac: macBytes(directorMac), mac: macBytes(mac) };
    found.set(address, { kind: "resolved", hop: source === undefined ? hop : { ...hop, source } });
  }
  return found;
}

/** What the play sets in net.ipv4.vs. */
function tuningsOf({ sysctls = {} }: Play): Readonly<Record<string, number>> {
  const set = tunings.flatMap(({ name }) => {
    const value = sysctls[`net/ipv4/vs/${name}`];
    return value === undefined ? [] : [[name, Number(value)] as const];
  });
  return Object.fromEntries(set);
}

const ticksOfState = (["sticky_used", "scheduled", "replicas_changed"] as const).map(
  (field) => serviceState.fields[field].offset / 4,
);
const tickMask = 0xfff;
/** Longer than any state lasts, and less than what a slot's tick counts. */
const longAgo = 3000;

/**
 * Lets time go by: the clock of the data path is the kernel's, so everything that it remembers is made older. Seconds that
 * go by between two rests count for the second one.
 */
class Past {
  readonly #maps: DirectorMaps;
  readonly #connections: ConnectionTable;
  readonly #control: Control;
  #since: number;

  /** `connections`: the table, to be written to. */
  constructor(maps: DirectorMaps, connections: ConnectionTable, control: Control) {
    this.#maps = maps;
    this.#connections = connections;
    this.#control = control;
    this.#since = maps.sweep.read(0).tick;
  }

  rest(seconds: number): void {
    const { tick } = this.#maps.sweep.read(0);
    const more = seconds - (tick - this.#since);
    this.#since = tick;
    const { memory, size } = this.#maps.serviceStates;
    const words = new Uint32Array(memory);
    for (let state = 0; state < words.length; state += size / 4) {
      for (const field of ticksOfState) words[state + field] = (words[state + field] ?? 0) - more;
    }
    this.#ageConnections(tick, more);
    this.#control.sweep();
  }

  /** The sweep frees slots meanwhile: a word is only changed if it is what it was. */
  #ageConnections(tick: number, more: number): void {
    const { words, size } = this.#connections;
    for (let index = 0; index < size; index++) {
      const at = this.#connections.wordAt(index);
      const low = words[at] ?? 0;
      if (low === 0) continue;
      const state = (low >> 12) & 31;
      if (state === connectionState.STATE_TEMPLATE) throw new Error("a play with rests has persistent services");
      const age = Math.min(((tick - low) & tickMask) + more, longAgo);
      Atomics.compareExchange(words, at, low, (low & ~tickMask) | ((tick - age) & tickMask));
    }
  }
}

/** By default the frames come in by the loopback interface of this namespace. */
export async function playToXdp(play: Play, ifindex = 1): Promise<Played> {
  const folder = new PlaneFolder({ tableSlots: 2 ** 17, tunings: { ...asKernel, ...tuningsOf(play) }, interfaces: [] });
  folder.network.present = vlanInterfaces(play, ifindex, folder.native);
  folder.network.own = ownAddresses(play);
  for (const address of [...folder.network.own, "127.0.0.1", "::1"]) {
    folder.network.resolutions.set(address, { kind: "local" });
  }
  for (const [address, resolution] of neighbours(play, ifindex)) folder.network.resolutions.set(address, resolution);
  const plane = await folder.open();
  const director = folder.native.programOpenPinned(join(folder.bpffs, "director"));
  const maps = openMaps(folder.native, folder.bpffs, true);
  const control = folder.native.programOpenPinned(join(folder.bpffs, "control"));
  const table = folder.native.mapOpenPinned(mapPath(folder.bpffs, "connections"));
  const connectionTable = new ConnectionTable(folder.native.mapMemory(table, true));
  const past = new Past(maps, connectionTable, new Control(folder.native, control));
  const verdicts: (Verdict | undefined)[] = [];
  const connections: Connection[][] = [];
  try {
    for (const step of play.steps) {
      let result: Verdict | undefined;
      switch (step.kind) {
        case "change":
          await folder.apply(step.change);
          // As if the program were attached there: frames for other link addresses, and of other VLANs, are not ours.
          for (const vlan of [0, ...vlansOf(play).values()]) {
            const mac = macBytes(directorMac);
            maps.interfaces.write((ifindex * 31 + vlan) & 255, { ifindex, vlan, mac, mtu });
          }
          break;
        case "timeouts":
          plane.setTimeouts(step.timeouts);
          break;
        case "pause":
          await new Promise((resolve) => setTimeout(resolve, step.milliseconds));
          break;
        case "rest":
          past.rest(step.seconds);
          break;
        case "connections":
          connections.push([...plane.connections({})]);
          break;
        case "frame": {
          const { verdict, data } = folder.native.programTestRun(director, step.bytes, 1, ifindex);
          result = { verdict: verdictNames[verdict] ?? "aborted", bytes: data };
        }
      }
      verdicts.push(result);
    }
  } finally {
    maps.close();
    folder.native.programClose(director);
    folder.native.programClose(control);
    folder.native.mapClose(table);
  }
  return { verdicts, connections };
}

/** What went out. */
export function sentBy(result: Verdict | undefined): Buffer[] {
  return result !== undefined && (result.verdict === "tx" || result.verdict === "redirect") ? [result.bytes] : [];
}
