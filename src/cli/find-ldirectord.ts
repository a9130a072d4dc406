import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";

/** The original ldirectord, a Perl program, in this network namespace; undefined: none runs. `proc`: for tests. */
export function findLdirectord(proc = "/proc"): number | undefined {
  const own = linkOf(join(proc, "self", "ns", "net"));
  for (const name of readdirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    if (isLdirectord(join(proc, name)) && linkOf(join(proc, name, "ns", "net")) === own) return Number(name);
  }
  return undefined;
}

function isLdirectord(folder: string): boolean {
  let text: string;
  try {
    text = readFileSync(join(folder, "cmdline"), "latin1");
  } catch {
    return false; // Ended between two calls.
  }
  const [interpreter = "", ...args] = text.split("\0");
  const script = args.find((arg) => !arg.startsWith("-")) ?? "";
  // It gives itself another name once it runs: `ldirectord CONFIGURATION`.
  return (
    (/^perl/.test(basename(interpreter)) && basename(script) === "ldirectord") || /^ldirectord\b/.test(interpreter)
  );
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // Another's process, or none any more.
  }
}
