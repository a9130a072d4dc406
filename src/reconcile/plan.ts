import type { Change } from "../model/change.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { RealServer, VirtualService } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";

/**
 * The changes that lead from the actual to the desired state; none if they are equal. Whatever is not desired is
 * removed. Everything is added and raised before anything is lowered or removed, so that a service that has and will
 * have a real server to choose never stands without one. The order of real servers in a table is the order in which
 * they came and is no difference.
 */
export function plan(desired: DirectorState, actual: DirectorState): Change[] {
  const present = new Map(actual.services.map((service) => [printIdentity(service.identity), service]));
  const wanted = new Set(desired.services.map((service) => printIdentity(service.identity)));
  const gains: Change[] = [];
  const losses: Change[] = [];
  for (const service of desired.services) {
    const before = present.get(printIdentity(service.identity));
    if (before === undefined) gains.push({ kind: "add-service", service });
    else if (!sameSettings(service, before)) gains.push({ kind: "edit-service", service });
    planRealServers(service, before?.realServers ?? [], gains, losses);
  }
  for (const { identity } of actual.services) {
    if (!wanted.has(printIdentity(identity))) losses.push({ kind: "remove-service", identity });
  }
  return [...gains, ...losses];
}

function planRealServers(
  { identity, realServers }: VirtualService,
  actual: readonly RealServer[],
  gains: Change[],
  losses: Change[],
): void {
  const present = new Map(actual.map((realServer) => [realServerKey(realServer), realServer]));
  const wanted = new Set(realServers.map(realServerKey));
  for (const realServer of realServers) {
    const before = present.get(realServerKey(realServer));
    if (before === undefined) gains.push({ kind: "add-real-server", identity, realServer });
    else if (!sameRealServer(realServer, before)) {
      const changes = realServer.weight < before.weight ? losses : gains;
      changes.push({ kind: "edit-real-server", identity, realServer });
    }
  }
  for (const realServer of actual) {
    if (wanted.has(realServerKey(realServer))) continue;
    const { address, port } = realServer;
    losses.push({ kind: "remove-real-server", identity, address, port });
  }
}

export function sameSettings(a: Omit<VirtualService, "realServers">, b: Omit<VirtualService, "realServers">): boolean {
  return (
    a.scheduler === b.scheduler &&
    a.onePacket === b.onePacket &&
    a.persistence?.timeout === b.persistence?.timeout &&
    a.persistence?.prefix === b.persistence?.prefix &&
    a.idleTimeout === b.idleTimeout &&
    a.limits?.perSecond === b.limits?.perSecond &&
    a.limits?.perSource === b.limits?.perSource &&
    a.persistenceEngine === b.persistenceEngine &&
    a.schedulerFlags.length === b.schedulerFlags.length &&
    a.schedulerFlags.every((flag) => b.schedulerFlags.includes(flag))
  );
}

export function sameRealServer(a: RealServer, b: RealServer): boolean {
  return (
    a.method === b.method &&
    a.weight === b.weight &&
    a.upperThreshold === b.upperThreshold &&
    a.lowerThreshold === b.lowerThreshold &&
    a.tunnel?.type === b.tunnel?.type &&
    a.tunnel?.port === b.tunnel?.port &&
    a.tunnel?.checksum === b.tunnel?.checksum
  );
}
