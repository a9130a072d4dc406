/** Plays to the XDP data path: a data plane of its own, attached to nothing, and BPF_PROG_RUN for the frames. */
import { join } from "node:path";
import type { Resolution } from "../../src/dataplane/xdp/network.ts";
import { PlaneFolder } from "../dataplane/planes.ts";
import { macBytes } from "../support/packet.ts";
import { directorMac } from "./play.ts";
import type { Play } from "./play.ts";

/** The sysctls of net.ipv4.vs whose defaults are others here. */
const asKernel = { expire_nodest_conn: 0, resets_per_second: 0 } as const;

const verdict = { tx: 3, redirect: 4 } as const;

/** The MAC address of every neighbour, from the play's lines for ip. */
function neighbours(play: Play): Map<string, Resolution> {
  const found = new Map<string, Resolution>();
  for (const line of play.network) {
    const [, address, mac] = /^neighbour add (\S+) lladdr (\S+)/.exec(line) ?? [];
    if (address === undefined || mac === undefined) continue;
    const hop = { ifindex: 1, vlan: 0, mtu: 1500, sourceMac: macBytes(directorMac), mac: macBytes(mac) };
    found.set(address, { kind: "resolved", hop });
  }
  return found;
}

/** Of each step the frame that went out, if one did. */
export async function playToXdp(play: Play): Promise<Buffer[][]> {
  const folder = new PlaneFolder({ tableSlots: 2 ** 16, tunings: asKernel });
  for (const [address, resolution] of neighbours(play)) folder.network.resolutions.set(address, resolution);
  const plane = await folder.open();
  const director = folder.native.programOpenPinned(join(folder.bpffs, "director"));
  const answers: Buffer[][] = [];
  try {
    for (const step of play.steps) {
      let sent: Buffer | undefined;
      switch (step.kind) {
        case "change":
          await folder.apply(step.change);
          break;
        case "timeouts":
          plane.setTimeouts(step.timeouts);
          break;
        case "pause":
          await new Promise((resolve) => setTimeout(resolve, step.milliseconds));
          break;
        case "frame": {
          const result = folder.native.programTestRun(director, step.bytes, 1, 1);
          if (result.verdict === verdict.tx || result.verdict === verdict.redirect) sent = result.data;
        }
      }
      answers.push(sent === undefined ? [] : [sent]);
    }
  } finally {
    folder.native.programClose(director);
  }
  return answers;
}
