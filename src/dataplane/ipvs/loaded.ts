import { existsSync } from "node:fs";

/** Whether the module is loaded, so that this namespace has an IPVS; asking does not load it. */
export function ipvsIsLoaded(): boolean {
  return existsSync("/proc/net/ip_vs");
}
