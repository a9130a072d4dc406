/** Who runs a command: what an override remembers. */
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import type { Owner } from "../model/override.ts";

const longestName = 64;

/** `command`: as it was called. */
export function ownerOf(command: string): Owner {
  const caller = nameOf(process.ppid);
  return {
    uid: process.getuid?.() ?? 0,
    user: (process.env["SUDO_USER"] ?? userName()).slice(0, longestName),
    program: `${command}${caller === "" ? "" : `, called by ${caller}`}`.slice(0, 2 * longestName),
  };
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return ""; // It has ended already.
  }
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? 0}`; // Of nobody that the system knows.
  }
}
