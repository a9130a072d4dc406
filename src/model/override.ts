/** What somebody has set by hand, in place of what the file and the checks ask for: kept until it is taken back. */
import { familyOfService, printIdentity, realServerKey } from "./service.ts";
import type { Family, Persistence, RealServer, ServiceIdentity, Tunnel, VirtualService } from "./service.ts";

/** Who has set something, as far as the command could tell. */
export interface Owner {
  readonly uid: number;
  /** Of the one who logged in, also behind sudo. */
  readonly user: string;
  /** The command, and what called it: `ipvsadm, called by bash`. */
  readonly program: string;
}

/** What ipvsadm can say of a virtual service; the rest is the file's. */
export type ServiceSettings = Pick<
  VirtualService,
  "scheduler" | "schedulerFlags" | "persistence" | "onePacket" | "persistenceEngine"
>;

/**
 * `added`: something that the file does not have. When it gets it, the file takes over.
 * `despiteChecks`: set while the checks said that the real server is down: it serves until they pass, and from then on
 * follows them.
 */
export type OverrideSetting =
  | { readonly kind: "service"; readonly settings: ServiceSettings; readonly added: boolean }
  | {
      readonly kind: "real-server";
      readonly realServer: RealServer;
      readonly added: boolean;
      readonly despiteChecks: boolean;
    }
  | { readonly kind: "removed" };

export interface Override {
  readonly identity: ServiceIdentity;
  /** Absent: it is about the service itself. */
  readonly realServer?: { readonly address: string; readonly port: number };
  readonly setting: OverrideSetting;
  readonly owner: Owner;
  readonly since: Date;
}

/** `SERVICE`, or `SERVICE REAL-SERVER`: there is one override of each at most. */
export function overrideTarget({ identity, realServer }: Pick<Override, "identity" | "realServer">): string {
  const service = printIdentity(identity);
  return realServer === undefined ? service : `${service} ${realServerKey(realServer)}`;
}

/** The overrides of one service. */
export interface ServiceOverrides {
  readonly service?: Override;
  /** By `realServerKey`. */
  readonly realServers: ReadonlyMap<string, Override>;
}

const none: ServiceOverrides = { realServers: new Map() };

/** Finds a service's overrides by its key. */
export function indexOverrides(overrides: readonly Override[]): (serviceKey: string) => ServiceOverrides {
  const index = new Map<string, { service?: Override; realServers: Map<string, Override> }>();
  for (const override of overrides) {
    const key = printIdentity(override.identity);
    const entry = index.get(key) ?? { realServers: new Map<string, Override>() };
    if (override.realServer === undefined) entry.service = override;
    else entry.realServers.set(realServerKey(override.realServer), override);
    index.set(key, entry);
  }
  return (serviceKey) => index.get(serviceKey) ?? none;
}

/** What is set, in a few words: `removed`, `added, weight 5, gate`, `weight 0, ipip by gre`, `scheduler wlc`. */
export function describeSetting({ identity, setting }: Pick<Override, "identity" | "setting">): string {
  switch (setting.kind) {
    case "removed":
      return "removed";
    case "service": {
      const { scheduler, schedulerFlags, persistence, onePacket } = setting.settings;
      return [
        ...(setting.added ? ["added"] : []),
        `scheduler ${scheduler}`,
        ...schedulerFlags,
        ...(persistence === undefined ? [] : [describePersistence(persistence, familyOfService(identity))]),
        ...(onePacket ? ["ops"] : []),
      ].join(", ");
    }
    case "real-server": {
      const { method, weight, upperThreshold, lowerThreshold, tunnel } = setting.realServer;
      return [
        ...(setting.added ? ["added"] : []),
        `weight ${weight}`,
        tunnel === undefined || tunnel.type === "ipip" ? method : `${method} by ${describeTunnel(tunnel)}`,
        ...(upperThreshold === 0 ? [] : [`thresholds ${upperThreshold} and ${lowerThreshold}`]),
        ...(setting.despiteChecks ? ["against its checks"] : []),
      ].join(", ");
    }
  }
}

function describePersistence({ timeout, prefix }: Persistence, family: Family): string {
  return `persistent ${timeout}${prefix === (family === "ipv6" ? 128 : 32) ? "" : ` for each /${prefix}`}`;
}

function describeTunnel({ type, port, checksum }: Tunnel): string {
  const checksums = { none: "", full: " with checksums", remote: " with remote checksums" };
  return `${type}${type === "gue" ? ` port ${port}` : ""}${checksums[checksum]}`;
}

/** `tcp:10.0.0.1:80 10.0.0.2:80: weight 0, gate, by alice with ipvsadm, called by bash`. */
export function describeOverride(override: Override): string {
  const { user, program } = override.owner;
  return `${overrideTarget(override)}: ${describeSetting(override)}, by ${user} with ${program}`;
}

/** What a command asks for by hand; ipvsadm's options in order: -A, -E, -D, -C, -a, -e, -d. */
export type HandChange =
  | { readonly kind: "add-service"; readonly identity: ServiceIdentity; readonly settings: ServiceSettings }
  | { readonly kind: "edit-service"; readonly identity: ServiceIdentity; readonly settings: ServiceSettings }
  | { readonly kind: "remove-service"; readonly identity: ServiceIdentity }
  | { readonly kind: "remove-all-services" }
  | { readonly kind: "add-real-server"; readonly identity: ServiceIdentity; readonly realServer: RealServer }
  | { readonly kind: "edit-real-server"; readonly identity: ServiceIdentity; readonly realServer: RealServer }
  | {
      readonly kind: "remove-real-server";
      readonly identity: ServiceIdentity;
      readonly address: string;
      readonly port: number;
    };

export type RealServerChange = Extract<HandChange, { readonly kind: `${string}-real-server` }>;
