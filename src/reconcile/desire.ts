import type { Config, ConfiguredRealServer, ConfiguredService, PlannedService } from "../model/config.ts";
import type { DrainStage } from "../model/drain.ts";
import type { Health } from "../model/health.ts";
import { indexOverrides } from "../model/override.ts";
import type { Override, ServiceOverrides } from "../model/override.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";

/** What is known of a real server of a service; `unknown` for one that nobody checks. */
export type HealthLookup = (identity: ServiceIdentity, realServer: ConfiguredRealServer) => Health;

/** What the operator has made of a real server. */
export type DrainLookup = (realServer: Pick<RealServer, "address" | "port">) => DrainStage;

/** Why no data plane can serve the service; undefined if one can. */
export type Refusal = (service: PlannedService) => string | undefined;

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

/** Of a service: its settings without its real servers. */
type Frame = Omit<VirtualService, "realServers">;

/**
 * What the director should do now, computed afresh from the configuration and the health of the real servers.
 * As ldirectord 4.12: up is the full weight; down is absent, or weight 0 with `quiescent=yes`; never checked is as
 * down; the fallback is there, with weight 1, exactly while no real server is up. One that is drained has weight 0
 * while it is up, and is absent from its deadline on.
 *
 * Overrides are laid over that. What was removed by hand is absent; what was added by hand is there, unchecked. A real
 * server of the file has the weight and the rest that was set by hand while it is up: its checks still take it down, and
 * weight 0 holds whatever they say. So the fallback serves, too, when every real server is out of service by hand.
 */
export function desire(
  config: Config,
  healthOf: HealthLookup,
  refusal: Refusal,
  drainOf: DrainLookup = () => "serving",
  overrides: readonly Override[] = [],
): Desired {
  const services: VirtualService[] = [];
  const notActive: NotActive[] = [];
  const onFallback = new Map<string, boolean>();
  const overridesOf = indexOverrides(overrides);
  const place = (planned: PlannedService): boolean => {
    const reason = refusal(planned);
    if (reason !== undefined) notActive.push({ service: printIdentity(planned.identity), reason });
    return reason === undefined;
  };
  for (const service of config.services) {
    const byHand = overridesOf(printIdentity(service.identity));
    if (byHand.service?.setting.kind === "removed") continue;
    const frame = frameOf(service, byHand);
    if (!place({ ...frame, ...plannedRealServers(service, byHand) })) continue;
    const isUp = (each: ConfiguredRealServer) => healthOf(service.identity, each).state === "up";
    const { realServers, serving } = desiredRealServers(service, isUp, drainOf, byHand);
    onFallback.set(printIdentity(service.identity), !serving);
    services.push({ ...frame, realServers });
  }
  const configured = new Set(config.services.map(({ identity }) => printIdentity(identity)));
  for (const { identity, setting } of overrides) {
    const key = printIdentity(identity);
    if (setting.kind !== "service" || !setting.added || configured.has(key)) continue;
    const realServers = addedByHand(overridesOf(key), drainOf);
    if (place({ identity, ...setting.settings, realServers })) {
      services.push({ identity, ...setting.settings, realServers });
    }
  }
  return { state: { services }, notActive, onFallback };
}

/** Limits and idle timeout are never set by hand. */
function frameOf(service: ConfiguredService, { service: override }: ServiceOverrides): Frame {
  const { identity, scheduler, schedulerFlags, persistence, onePacket, idleTimeout, limits } = service;
  const settings =
    override?.setting.kind === "service"
      ? override.setting.settings
      : { scheduler, schedulerFlags, onePacket, ...(persistence !== undefined && { persistence }) };
  return {
    identity,
    ...settings,
    ...(idleTimeout !== undefined && { idleTimeout }),
    ...(limits !== undefined && { limits }),
  };
}

/** Every real server that the service may have while nobody changes the file or the overrides. */
function plannedRealServers(
  { realServers, fallback }: ConfiguredService,
  byHand: ServiceOverrides,
): Pick<PlannedService, "realServers" | "fallback"> {
  const planned = new Map<string, Pick<RealServer, "address" | "port" | "method">>();
  for (const each of realServers) planned.set(realServerKey(each), each);
  for (const [key, { setting }] of byHand.realServers) {
    if (setting.kind === "removed") planned.delete(key);
    else if (setting.kind === "real-server") planned.set(key, setting.realServer);
  }
  return { realServers: [...planned.values()], ...(fallback !== undefined && { fallback }) };
}

function addedByHand({ realServers }: ServiceOverrides, drainOf: DrainLookup): RealServer[] {
  return [...realServers.values()].flatMap(({ setting }) => {
    if (setting.kind !== "real-server" || !setting.added) return [];
    const drain = drainOf(setting.realServer);
    if (drain === "ended") return [];
    return drain === "draining" ? quiescent(setting.realServer) : setting.realServer;
  });
}

/** A real server is known by address and port: of two lines with equal ones the last says the weight. */
function desiredRealServers(
  service: ConfiguredService,
  isUp: (realServer: ConfiguredRealServer) => boolean,
  drainOf: DrainLookup,
  byHand: ServiceOverrides,
): { readonly realServers: readonly RealServer[]; readonly serving: boolean } {
  const byKey = new Map<string, RealServer>();
  const up = new Set<string>();
  let serving = false;
  for (const configured of service.realServers) {
    const key = realServerKey(configured);
    const setting = byHand.realServers.get(key)?.setting;
    const drain = drainOf(configured);
    if (setting?.kind === "removed" || drain === "ended") continue;
    const set = setting?.kind === "real-server" ? setting : undefined;
    const entry = set?.realServer ?? inTable(configured);
    const isGood = isUp(configured) || set?.despiteChecks === true;
    if (isGood && drain === "serving") {
      up.add(key);
      // Weight 0 in the file is the file's matter, by hand it is out of service.
      serving ||= set === undefined || entry.weight > 0;
    }
    if (up.has(key)) byKey.set(key, entry);
    else if (service.quiescent || (drain === "draining" && isGood)) byKey.set(key, quiescent(entry));
  }
  for (const added of addedByHand(byHand, drainOf)) {
    const key = realServerKey(added);
    if (service.realServers.some((each) => realServerKey(each) === key)) continue;
    byKey.set(key, added);
    serving ||= added.weight > 0;
  }
  const { fallback } = service;
  if (!serving && fallback !== undefined) {
    // It replaces a quiescent real server of the same address, which is the same entry of the table.
    const setting = byHand.realServers.get(realServerKey(fallback))?.setting;
    if (setting === undefined) byKey.set(realServerKey(fallback), fallbackInTable(fallback));
    else if (setting.kind === "real-server") byKey.set(realServerKey(fallback), setting.realServer);
  }
  return { realServers: [...byKey.values()], serving };
}

/** One that is up. */
export function inTable(configured: ConfiguredRealServer): RealServer {
  const { address, port, method, weight, upperThreshold, lowerThreshold } = configured;
  return { address, port, method, weight, upperThreshold, lowerThreshold };
}

/** ldirectord takes a real server down by `-e ... -w 0`, which resets the thresholds too. */
function quiescent(realServer: RealServer): RealServer {
  return { ...realServer, weight: 0, upperThreshold: 0, lowerThreshold: 0 };
}

export function fallbackInTable(fallback: Pick<RealServer, "address" | "port" | "method">): RealServer {
  const { address, port, method } = fallback;
  return { address, port, method, weight: 1, upperThreshold: 0, lowerThreshold: 0 };
}
