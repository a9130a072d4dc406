import type { Config, ConfiguredRealServer, ConfiguredService } from "../model/config.ts";
import type { DrainStage } from "../model/drain.ts";
import type { Health } from "../model/health.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";

/** What is known of a real server of a service; `unknown` for one that nobody checks. */
export type HealthLookup = (identity: ServiceIdentity, realServer: ConfiguredRealServer) => Health;

/** What the operator has made of a real server. */
export type DrainLookup = (realServer: ConfiguredRealServer) => DrainStage;

/** Why no data plane can serve the service; undefined if one can. */
export type Refusal = (service: ConfiguredService) => string | undefined;

export interface NotActive {
  /** As `printIdentity` prints it. */
  readonly service: string;
  readonly reason: string;
}

export interface Desired {
  readonly state: DirectorState;
  /** Configured services that are left out of the state. */
  readonly notActive: readonly NotActive[];
  /** Of each service of the state, as `printIdentity` prints it: whether no real server is up, so that the fallback serves. */
  readonly onFallback: ReadonlyMap<string, boolean>;
}

/**
 * What the director should do now, computed afresh from the configuration and the health of the real servers.
 * As ldirectord 4.12: up is the full weight; down is absent, or weight 0 with `quiescent=yes`; never checked is as
 * down; the fallback is there, with weight 1, exactly while no real server is up. One that is drained has weight 0
 * while it is up, and is absent from its deadline on.
 */
export function desire(
  config: Config,
  healthOf: HealthLookup,
  refusal: Refusal,
  drainOf: DrainLookup = () => "serving",
): Desired {
  const services: VirtualService[] = [];
  const notActive: NotActive[] = [];
  const onFallback = new Map<string, boolean>();
  for (const service of config.services) {
    const reason = refusal(service);
    if (reason !== undefined) {
      notActive.push({ service: printIdentity(service.identity), reason });
      continue;
    }
    const { identity, realServers } = service;
    const isUp = (each: ConfiguredRealServer) => healthOf(identity, each).state === "up";
    onFallback.set(printIdentity(identity), !realServers.some((each) => isUp(each) && drainOf(each) === "serving"));
    services.push(desiredService(service, isUp, drainOf));
  }
  return { state: { services }, notActive, onFallback };
}

/** A real server is known by address and port: of two lines with equal ones the last says the weight. */
function desiredService(
  service: ConfiguredService,
  isUp: (realServer: ConfiguredRealServer) => boolean,
  drainOf: DrainLookup,
): VirtualService {
  const { identity, scheduler, schedulerFlags, persistence, onePacket, idleTimeout, limits } = service;
  const byKey = new Map<string, RealServer>();
  const up = new Set<string>();
  for (const configured of service.realServers) {
    const key = realServerKey(configured);
    const drain = drainOf(configured);
    if (drain === "ended") continue;
    if (isUp(configured) && drain === "serving") up.add(key);
    if (up.has(key)) byKey.set(key, inTable(configured));
    else if (service.quiescent || (drain === "draining" && isUp(configured))) byKey.set(key, quiescent(configured));
  }
  if (up.size === 0 && service.fallback !== undefined) {
    // It replaces a quiescent real server of the same address, which is the same entry of the table.
    byKey.set(realServerKey(service.fallback), fallbackInTable(service.fallback));
  }
  const realServers = [...byKey.values()];
  return {
    ...{ identity, scheduler, schedulerFlags, onePacket, realServers },
    ...(persistence !== undefined && { persistence }),
    ...(idleTimeout !== undefined && { idleTimeout }),
    ...(limits !== undefined && { limits }),
  };
}

function inTable(configured: ConfiguredRealServer): RealServer {
  const { address, port, method, weight, upperThreshold, lowerThreshold } = configured;
  return { address, port, method, weight, upperThreshold, lowerThreshold };
}

/** ldirectord takes a real server down by `-e ... -w 0`, which resets the thresholds too. */
function quiescent(configured: ConfiguredRealServer): RealServer {
  return { ...inTable(configured), weight: 0, upperThreshold: 0, lowerThreshold: 0 };
}

function fallbackInTable(fallback: Pick<RealServer, "address" | "port" | "method">): RealServer {
  const { address, port, method } = fallback;
  return { address, port, method, weight: 1, upperThreshold: 0, lowerThreshold: 0 };
}
