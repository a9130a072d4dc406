/** Where both data planes can be had: what goes from one to the other is tested there. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Why the kernel's IPVS cannot be used here; false if it can. For the `skip` option of a test. */
export function ipvsIsMissing(): string | false {
  if (existsSync("/proc/net/ip_vs")) return false;
  const { status } = spawnSync("modprobe", ["--dry-run", "--quiet", "ip_vs"]);
  return status === 0 ? false : "this kernel has no IPVS";
}
