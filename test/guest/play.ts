/** The same frames and changes played to the kernel's IPVS, in a guest, and to the XDP data path, by BPF_PROG_RUN. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Change } from "../../src/model/change.ts";
import type { Timeouts } from "../../src/model/state.ts";
import { guest } from "../support/guest.ts";
import type { GuestKernel } from "../support/guest.ts";
import { changeMessage, timeoutsMessage } from "./ipvs-messages.ts";

export type Step =
  | { readonly kind: "frame"; readonly bytes: Uint8Array }
  | { readonly kind: "change"; readonly change: Change }
  | { readonly kind: "timeouts"; readonly timeouts: Timeouts }
  | { readonly kind: "pause"; readonly milliseconds: number }
  /** The same for long: a guest's clock leaps over it, and the XDP data path's past becomes so much older. */
  | { readonly kind: "rest"; readonly seconds: number }
  /** What connections there are. */
  | { readonly kind: "connections" };

export interface Play {
  /** Lines of `ip -batch`; the director's only interface, eth0, is there already, and up. */
  readonly network: readonly string[];
  /** Beyond what {@link quiet} sets. */
  readonly sysctls?: Readonly<Record<string, string | number>>;
  /** Kernel modules that do not load by themselves. */
  readonly modules?: readonly string[];
  readonly steps: readonly Step[];
}

/** Of the director's interface. */
export const directorMac = "02:00:00:00:00:01";

const player = join(import.meta.dirname, "..", "..", "test-guest", "player");

/** Nothing is sent without being asked for, nothing that is asked for is held back. */
const quiet: Readonly<Record<string, string | number>> = {
  "net/ipv4/ip_forward": 1,
  "net/ipv4/conf/all/rp_filter": 0,
  "net/ipv4/conf/default/rp_filter": 0,
  "net/ipv4/conf/all/send_redirects": 0,
  "net/ipv4/conf/default/send_redirects": 0,
  "net/ipv4/icmp_ratelimit": 0,
  "net/ipv4/icmp_msgs_per_sec": 1_000_000,
  "net/ipv4/icmp_msgs_burst": 1_000_000,
  "net/ipv6/icmp/ratelimit": 0,
  "net/ipv6/auto_flowlabels": 0,
  "net/ipv6/conf/all/forwarding": 1,
  "net/ipv6/conf/all/accept_ra": 0,
  "net/ipv6/conf/default/accept_ra": 0,
  "net/ipv6/conf/default/addr_gen_mode": 1,
  "net/ipv6/conf/default/router_solicitations": 0,
};

function record(kind: "F" | "N" | "S" | "C", bytes: Uint8Array): Buffer {
  const padded = Buffer.alloc(8 + Math.ceil(bytes.length / 4) * 4);
  padded[0] = kind.charCodeAt(0);
  padded.writeUInt32LE(bytes.length, 4);
  padded.set(bytes, 8);
  return padded;
}

function stepRecord(step: Step): Buffer {
  switch (step.kind) {
    case "frame":
      return record("F", step.bytes);
    case "change":
      return record("N", changeMessage(step.change));
    case "timeouts":
      return record("N", timeoutsMessage(step.timeouts));
    case "pause":
    case "rest": {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(step.kind === "rest" ? step.seconds * 1000 : step.milliseconds);
      return record("S", bytes);
    }
    case "connections":
      return record("C", Buffer.alloc(0));
  }
}

function readAnswers(bytes: Buffer, play: Play): Buffer[][] {
  let at = 0;
  const u32 = (): number => bytes.readUInt32LE((at += 4) - 4);
  return play.steps.map((step, index) => {
    const answers = Array.from({ length: u32() }, () => {
      const length = u32();
      const answer = bytes.subarray(at, at + length);
      at += Math.ceil(length / 4) * 4;
      return answer;
    });
    if (step.kind !== "change" && step.kind !== "timeouts") return answers;
    const error = answers[0]?.readInt32LE() ?? 0;
    if (error !== 0) throw new Error(`the kernel refuses step ${index}, ${JSON.stringify(step)}: error ${-error}`);
    return [];
  });
}

/** Lines of a shell that make the play's network in a namespace that is new. `file`: a name that is free. */
export function arrangement({ network, sysctls }: Play, file: string): string[] {
  const lines = [
    "link set lo up",
    `link add eth0 address ${directorMac} type veth peer name wire`,
    "link set wire arp off up",
    "link set eth0 up",
    ...network,
  ];
  writeFileSync(`${file}.network`, `${lines.join("\n")}\n`);
  return [
    "set -e",
    ...Object.entries({ ...quiet, ...sysctls }).map(([name, value]) => `echo ${value} >/proc/sys/${name}`),
    `ip -batch ${file}.network`,
    "ethtool -K eth0 tx off >/dev/null",
  ];
}

/** Every play in a network namespace of its own. */
function script(folder: string, plays: readonly Play[]): string {
  const lines = ["set -e", ["modprobe -a ip_vs veth", ...plays.flatMap(({ modules = [] }) => modules)].join(" ")];
  plays.forEach((play, index) => {
    const file = join(folder, String(index));
    const commands = [...arrangement(play, file), `exec ${player} ${file}.steps ${file}.answers wire eth0`];
    writeFileSync(`${file}.sh`, `${commands.join("\n")}\n`);
    lines.push(`unshare --net bash ${file}.sh`);
  });
  return lines.join("\n");
}

/**
 * Of each play and each of its steps the frames that the kernel's IPVS sent then, or its list of connections, read three
 * times. Throws when the kernel refuses a change. Plays with rests need an emulated kernel.
 */
export async function playToKernel(plays: readonly Play[], kernel: GuestKernel = "uml"): Promise<Buffer[][][]> {
  const folder = mkdtempSync(join(tmpdir(), "xlb-play-"));
  try {
    plays.forEach(({ steps }, index) => {
      writeFileSync(join(folder, `${index}.steps`), Buffer.concat(steps.map(stepRecord)));
    });
    writeFileSync(join(folder, "script"), script(folder, plays));
    const leap = plays.some(({ steps }) => steps.some(({ kind }) => kind === "rest"));
    if (leap && kernel === "uml") throw new Error("user-mode Linux cannot leap over rests");
    const options = { kernel, rw: [folder], timeoutMs: 550_000, leap };
    const result = await guest.run(["bash", join(folder, "script")], options);
    if (result.status !== 0) throw new Error(`the guest ended with ${result.status}: ${result.stdout}${result.stderr}`);
    return plays.map((play, index) => readAnswers(readFileSync(join(folder, `${index}.answers`)), play));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
