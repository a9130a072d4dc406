/** Between the director's vocabulary and the kernel's numbers. Pure. */
import { familyOfService, schedulers } from "../../model/service.ts";
import type {
  ForwardingMethod,
  Persistence,
  RealServer,
  ServiceIdentity,
  Tunnel,
  VirtualService,
} from "../../model/service.ts";
import { forwardingMethodNumber, serviceFlag, tunnelFlag, tunnelTypeNumber } from "./messages.ts";
import type { IpvsDestinationSettings, IpvsServiceSettings } from "./messages.ts";

const schedulerBits = [serviceFlag.scheduler1, serviceFlag.scheduler2, serviceFlag.scheduler3] as const;
/** What `ipvsadm -b` calls the first two bits of these schedulers. */
const flagNames: ReadonlyMap<string, readonly [string, string]> = new Map([
  ["sh", ["sh-fallback", "sh-port"]],
  ["mh", ["mh-fallback", "mh-port"]],
] as const);

export function toIpvsService(service: VirtualService): IpvsServiceSettings {
  const { identity, scheduler, persistence, onePacket, persistenceEngine } = service;
  return {
    identity,
    scheduler,
    flags:
      encodeSchedulerFlags(scheduler, service.schedulerFlags) |
      (persistence === undefined ? 0 : serviceFlag.persistent) |
      (onePacket ? serviceFlag.onePacket : 0),
    timeout: persistence?.timeout ?? 0,
    prefix: persistence?.prefix ?? wholeAddress(identity),
    ...(persistenceEngine === undefined ? {} : { persistenceEngine }),
  };
}

/** `realServers` in the order of their addition. A scheduler that has no name here counts as `rr`. */
export function fromIpvsService(service: IpvsServiceSettings, realServers: readonly RealServer[]): VirtualService {
  const { identity, flags, timeout, prefix, persistenceEngine } = service;
  const scheduler = schedulers.find((name) => name === service.scheduler) ?? "rr";
  const persistence: Persistence = { timeout, prefix };
  return {
    identity,
    scheduler,
    schedulerFlags: decodeSchedulerFlags(scheduler, flags),
    ...((flags & serviceFlag.persistent) === 0 ? {} : { persistence }),
    onePacket: (flags & serviceFlag.onePacket) !== 0,
    ...(persistenceEngine === undefined ? {} : { persistenceEngine }),
    realServers,
  };
}

/** `scheduler` may also be one that has no name here. */
export function encodeSchedulerFlags(scheduler: string, flags: readonly string[]): number {
  const names: readonly string[] = flagNames.get(scheduler) ?? [];
  let bits = 0;
  for (const flag of flags) {
    const number = /^flag-([123])$/.exec(flag)?.[1];
    const index = number === undefined ? names.indexOf(flag) : Number(number) - 1;
    bits |= schedulerBits[index] ?? 0;
  }
  return bits;
}

/** The first bit first. */
export function decodeSchedulerFlags(scheduler: string, flags: number): string[] {
  const names: readonly string[] = flagNames.get(scheduler) ?? [];
  return schedulerBits.flatMap((bit, index) => ((flags & bit) === 0 ? [] : (names[index] ?? `flag-${index + 1}`)));
}

const methodNumbers = {
  masq: forwardingMethodNumber.masquerade,
  ipip: forwardingMethodNumber.tunnel,
  gate: forwardingMethodNumber.directRoute,
} as const satisfies Record<ForwardingMethod, number>;

const checksumFlags = {
  none: 0,
  full: tunnelFlag.checksum,
  remote: tunnelFlag.remoteChecksum,
} as const satisfies Record<Tunnel["checksum"], number>;

export function toIpvsDestination(realServer: RealServer): IpvsDestinationSettings {
  const { address, port, method, weight, upperThreshold, lowerThreshold, tunnel } = realServer;
  return {
    address,
    port,
    method: methodNumbers[method],
    weight,
    upperThreshold,
    lowerThreshold,
    tunnelType: tunnelTypeNumber[tunnel?.type ?? "ipip"],
    tunnelPort: tunnel?.port ?? 0,
    tunnelFlags: checksumFlags[tunnel?.checksum ?? "none"],
  };
}

/** The methods local and bypass, which no command sets, count as `gate`. */
export function fromIpvsDestination(destination: IpvsDestinationSettings): RealServer {
  const { address, port, weight, upperThreshold, lowerThreshold } = destination;
  const method =
    destination.method === forwardingMethodNumber.masquerade
      ? "masq"
      : destination.method === forwardingMethodNumber.tunnel
        ? "ipip"
        : "gate";
  const common = { address, port, method, weight, upperThreshold, lowerThreshold } as const;
  const tunnel = decodeTunnel(destination);
  return method === "ipip" && tunnel !== undefined ? { ...common, tunnel } : common;
}

/** Undefined for plain IP in IP. */
function decodeTunnel({ tunnelType, tunnelPort, tunnelFlags }: IpvsDestinationSettings): Tunnel | undefined {
  const checksum =
    (tunnelFlags & tunnelFlag.checksum) !== 0
      ? "full"
      : (tunnelFlags & tunnelFlag.remoteChecksum) !== 0
        ? "remote"
        : "none";
  if (tunnelType === tunnelTypeNumber.gue) return { type: "gue", port: tunnelPort, checksum };
  if (tunnelType === tunnelTypeNumber.gre) return { type: "gre", port: 0, checksum };
  return undefined;
}

function wholeAddress(identity: ServiceIdentity): number {
  return familyOfService(identity) === "ipv6" ? 128 : 32;
}
