/** What the XDP plane can do. */
import type { PlannedService } from "../../model/config.ts";

/** In words for the operator; undefined if the plane can serve it. `isLocal`: an address of this machine. */
export function refusalOf(service: PlannedService, isLocal: (address: string) => boolean): string | undefined {
  const { identity, persistence, persistenceEngine, fallback } = service;
  if (identity.kind === "mark") return "firewall marks are set after XDP has seen the packet";
  if (persistenceEngine !== undefined)
    return `only the kernel's IPVS has persistence engines, like ${persistenceEngine}`;
  if (identity.port === 0 && persistence === undefined) return "a service for all ports needs persistence";
  for (const { address, port, method } of [...service.realServers, ...(fallback === undefined ? [] : [fallback])]) {
    const samePort = port === identity.port || identity.port === 0;
    const mixed = address.includes(":") !== identity.address.includes(":");
    // As the kernel's IPVS: only a tunnel leads from one family into the other.
    if (mixed && method !== "ipip") return `real server ${address} is of another address family than the service`;
    if (samePort) continue;
    if (isLocal(address)) return `real server ${address} is this machine, where the port cannot change to ${port}`;
    if (method !== "masq") return `real server ${address} has port ${port}, but ${method} cannot change the port`;
  }
  return undefined;
}
