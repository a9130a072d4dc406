/** Where a director keeps its files and pins when nobody says so: one place for each network namespace. */
import { readFileSync, readlinkSync, statfsSync } from "node:fs";

export interface Places {
  readonly stateDir: string;
  readonly bpffs: string;
}

export const homePlaces: Places = { stateDir: "/run/xlb", bpffs: "/sys/fs/bpf/xlb" };

const bpfFilesystem = 0xcafe4a11;
/** More generations than that have no process tree. */
const maxAncestors = 64;

/**
 * In the machine's own network namespace {@link homePlaces}. In another one names of its own, as its tables are its own;
 * and where `ip netns exec` has covered /sys, the bpf filesystem of the shell outside: what is pinned in one that such a
 * command mounts is gone when it ends.
 */
export function defaultPlaces(): Places {
  const own = namespaceOf("self", "net");
  const outside = ancestors();
  const home = outside.map((pid) => namespaceOf(pid, "net")).findLast((name) => name !== undefined);
  if (own === undefined || home === undefined || own === home) return homePlaces;
  const suffix = /\d+/.exec(own)?.[0] ?? "";
  const roots = ["", ...outside.map((pid) => `/proc/${pid}/root`)];
  const root = roots.find((each) => isBpfFilesystem(`${each}/sys/fs/bpf`)) ?? "";
  return { stateDir: `${homePlaces.stateDir}-${suffix}`, bpffs: `${root}${homePlaces.bpffs}-${suffix}` };
}

/** Parent, its parent, and so on. */
function ancestors(): number[] {
  const found: number[] = [];
  for (let pid = process.ppid; pid > 0 && found.length < maxAncestors; pid = parentOf(pid)) found.push(pid);
  return found;
}

/** 0 if there is none, or it is not told. */
function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may hold anything.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0;
  }
}

/** `net:[4026531840]`; undefined if it is not told. */
function namespaceOf(pid: number | "self", kind: "net"): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined; // Another user's, or gone.
  }
}

function isBpfFilesystem(path: string): boolean {
  try {
    // Node tells the type as a signed number.
    return statfsSync(path).type >>> 0 === bpfFilesystem;
  } catch {
    return false; // There is no such folder, or it is not ours to see.
  }
}
