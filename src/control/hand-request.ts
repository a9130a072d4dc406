/** Checks what the control socket says of changes by hand: shapes and ranges, so that what comes after can trust them. */
import { isIP } from "node:net";
import type { HandChange, Owner, ServiceSettings } from "../model/override.ts";
import { forwardingMethods, schedulers, tunnelTypes } from "../model/service.ts";
import type { Persistence, RealServer, ServiceIdentity, Tunnel } from "../model/service.ts";
import type { Timeouts } from "../model/state.ts";

type Members = Readonly<Record<string, unknown>>;

const checksums = ["none", "full", "remote"] as const;
const protocols = ["tcp", "udp", "sctp"] as const;
const families = ["ipv4", "ipv6"] as const;
const longestText = 256;

/** Undefined: it is none. */
export function parseHandChange(value: unknown): HandChange | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const { kind } = members;
  if (kind === "remove-all-services") return { kind };
  const identity = parseIdentity(members["identity"]);
  if (identity === undefined) return undefined;
  switch (kind) {
    case "add-service":
    case "edit-service": {
      const settings = parseSettings(members["settings"]);
      return settings && { kind, identity, settings };
    }
    case "remove-service":
      return { kind, identity };
    case "add-real-server":
    case "edit-real-server": {
      const realServer = parseRealServer(members["realServer"]);
      return realServer && { kind, identity, realServer };
    }
    case "remove-real-server": {
      const { address, port } = members;
      return isAddress(address) && isPort(port) ? { kind, identity, address, port } : undefined;
    }
    default:
      return undefined;
  }
}

export function parseIdentity(value: unknown): ServiceIdentity | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const { kind, address, port, mark } = members;
  if (kind === "mark") {
    const family = families.find((each) => each === members["family"]);
    return isWhole(mark, 0xffffffff) && family !== undefined ? { kind, mark, family } : undefined;
  }
  const protocol = protocols.find((each) => each === members["protocol"]);
  if (kind !== "address" || protocol === undefined) return undefined;
  return isAddress(address) && isPort(port) ? { kind, protocol, address, port } : undefined;
}

export function parseOwner(value: unknown): Owner | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const { uid, user, program } = members;
  return isWhole(uid, 0xffffffff) && isText(user) && isText(program) ? { uid, user, program } : undefined;
}

export function parseTimeouts(value: unknown): Timeouts | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const { tcp, tcpFin, udp } = members;
  const longest = 0x7fffffff;
  return isWhole(tcp, longest) && isWhole(tcpFin, longest) && isWhole(udp, longest) ? { tcp, tcpFin, udp } : undefined;
}

function parseSettings(value: unknown): ServiceSettings | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const { schedulerFlags, onePacket, persistenceEngine } = members;
  const scheduler = schedulers.find((each) => each === members["scheduler"]);
  const persistence = members["persistence"] === undefined ? undefined : parsePersistence(members["persistence"]);
  if (
    scheduler === undefined ||
    !Array.isArray(schedulerFlags) ||
    !schedulerFlags.every(isText) ||
    typeof onePacket !== "boolean" ||
    (members["persistence"] !== undefined && persistence === undefined) ||
    (persistenceEngine !== undefined && !isText(persistenceEngine))
  ) {
    return undefined;
  }
  return {
    scheduler,
    schedulerFlags,
    onePacket,
    ...(persistence !== undefined && { persistence }),
    ...(persistenceEngine !== undefined && { persistenceEngine }),
  };
}

function parsePersistence(value: unknown): Persistence | undefined {
  const { timeout, prefix } = membersOf(value) ?? {};
  return isWhole(timeout, 0xffffffff) && isWhole(prefix, 128) ? { timeout, prefix } : undefined;
}

function parseRealServer(value: unknown): RealServer | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const { address, port, weight, upperThreshold, lowerThreshold } = members;
  const method = forwardingMethods.find((each) => each === members["method"]);
  const tunnel = members["tunnel"] === undefined ? undefined : parseTunnel(members["tunnel"]);
  if (
    method === undefined ||
    !isAddress(address) ||
    !isPort(port) ||
    !isWhole(weight, 0x7fffffff) ||
    !isWhole(upperThreshold, 0xffffffff) ||
    !isWhole(lowerThreshold, 0xffffffff) ||
    (members["tunnel"] !== undefined && tunnel === undefined)
  ) {
    return undefined;
  }
  return {
    ...{ address, port, method, weight, upperThreshold, lowerThreshold },
    ...(tunnel !== undefined && { tunnel }),
  };
}

function parseTunnel(value: unknown): Tunnel | undefined {
  const members = membersOf(value);
  if (members === undefined) return undefined;
  const { port } = members;
  const type = tunnelTypes.find((each) => each === members["type"]);
  const checksum = checksums.find((each) => each === members["checksum"]);
  return type !== undefined && checksum !== undefined && isPort(port) ? { type, port, checksum } : undefined;
}

function membersOf(value: unknown): Members | undefined {
  return typeof value === "object" && value !== null ? (value as Members) : undefined;
}

function isAddress(value: unknown): value is string {
  return typeof value === "string" && isIP(value) !== 0 && !value.includes("%");
}

function isPort(value: unknown): value is number {
  return isWhole(value, 0xffff);
}

function isWhole(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= longestText;
}
