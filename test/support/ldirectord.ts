// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Debian's ldirectord, unpacked but not installed. */
export const ldirectordProgram = fileURLToPath(new URL("../../debian/usr/sbin/ldirectord", import.meta.url));

/** Why the original cannot be compared with or driven here: Perl compiles it, which needs every module it names. */
export function ldirectordMissing(): string | false {
  if (!existsSync(ldirectordProgram)) return "ldirectord is not unpacked: make build/debian";
  const { status, stderr } = spawnSync("perl", ["-c", ldirectordProgram], { encoding: "utf8" });
  return status === 0 ? false : `ldirectord cannot run: ${stderr?.split("\n")[0] ?? "perl is missing"}`;
}
