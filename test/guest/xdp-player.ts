/** Plays to the XDP data path: a data plane of its own, attached to nothing, and BPF_PROG_RUN for the frames. */
import { join } from "node:path";
import { openMaps } from "../../src/dataplane/xdp/maps.ts";
import type { Resolution } from "../../src/dataplane/xdp/network.ts";
import { familyOf } from "../../src/model/service.ts";
import type { Connection } from "../../src/model/statistics.ts";
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

/** The way to every neighbour, from the play's lines for ip. */
function neighbours(play: Play, ifindex: number): Map<string, Resolution> {
  const own = ownAddresses(play);
  const found = new Map<string, Resolution>();
  for (const line of play.network) {
    const [, address, mac] = /^neighbour add (\S+) lladdr (\S+)/.exec(line) ?? [];
    if (address === undefined || mac === undefined) continue;
    const source = own.find((candidate) => familyOf(candidate) === familyOf(address));
    const hop = { ifindex, vlan: 0, mtu, sourceMac: macBytes(directorMac), mac: macBytes(mac) };
    found.set(address, { kind: "resolved", hop: source === undefined ? hop : { ...hop, source } });
  }
  return found;
}

/** By default the frames come in by the loopback interface of this namespace. */
export async function playToXdp(play: Play, ifindex = 1): Promise<Played> {
  const folder = new PlaneFolder({ tableSlots: 2 ** 17, tunings: asKernel });
  folder.network.own = ownAddresses(play);
  for (const address of [...folder.network.own, "127.0.0.1", "::1"]) {
    folder.network.resolutions.set(address, { kind: "local" });
  }
  for (const [address, resolution] of neighbours(play, ifindex)) folder.network.resolutions.set(address, resolution);
  const plane = await folder.open();
  const director = folder.native.programOpenPinned(join(folder.bpffs, "director"));
  const maps = openMaps(folder.native, folder.bpffs, true);
  const verdicts: (Verdict | undefined)[] = [];
  const connections: Connection[][] = [];
  try {
    for (const step of play.steps) {
      let result: Verdict | undefined;
      switch (step.kind) {
        case "change":
          await folder.apply(step.change);
          // As if the program were attached there: frames for other link addresses, and of other VLANs, are not ours.
          maps.interfaces.write((ifindex * 31) & 255, { ifindex, vlan: 0, mac: macBytes(directorMac), mtu });
          break;
        case "timeouts":
          plane.setTimeouts(step.timeouts);
          break;
        case "pause":
          await new Promise((resolve) => setTimeout(resolve, step.milliseconds));
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
  }
  return { verdicts, connections };
}

/** What went out. */
export function sentBy(result: Verdict | undefined): Buffer[] {
  return result !== undefined && (result.verdict === "tx" || result.verdict === "redirect") ? [result.bytes] : [];
}
