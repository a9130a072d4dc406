/** What the XDP plane can do. */
import type { ConfiguredService } from "../../model/config.ts";

/** In words for the operator; undefined if the plane can serve it. `isLocal`: an address of this machine. */
export function refusalOf(service: ConfiguredService, isLocal: (address: string) => boolean): string | undefined {
  const { identity, persistence, fallback } = service;
  if (identity.kind === "mark") return "firewall marks are set after XDP has seen the packet";
  if (identity.port === 0 && persistence === undefined) return "a service for all ports needs persistence";
  for (const { address, port, method } of [...service.realServers, ...(fallback === undefined ? [] : [fallback])]) {
    const samePort = port === identity.port || identity.port === 0;
    if (address.includes(":") !== identity.address.includes(":")) {
      return `real server ${address} is of another address family than the service`;
    }
    // Packets for this machine go to its stack as they are, whatever the method.
    if (isLocal(address) && samePort) continue;
    if (method !== "gate") return `forwarding method ${method} is not yet active in XDP`;
    if (!samePort) return `real server ${address} has port ${port}, but gate cannot change the port`;
  }
  return undefined;
}
