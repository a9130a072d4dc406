/**
 * The vocabulary of the director: virtual services and their real servers, as ipvsadm's user knows them.
 * Addresses are text in canonical form: dotted quads, or RFC 5952 lower-case IPv6 without brackets.
 */

export type Family = "ipv4" | "ipv6";
export type Protocol = "tcp" | "udp" | "sctp";

export const schedulers = [
  "rr",
  "wrr",
  "lc",
  "wlc",
  "lblc",
  "lblcr",
  "dh",
  "sh",
  "sed",
  "nq",
  "fo",
  "ovf",
  "mh",
  "twos",
] as const;
export type Scheduler = (typeof schedulers)[number];

export const forwardingMethods = ["gate", "masq", "ipip"] as const;
export type ForwardingMethod = (typeof forwardingMethods)[number];

/** What makes a virtual service itself: an address, or a firewall mark of one family. */
export type ServiceIdentity =
  | { readonly kind: "address"; readonly protocol: Protocol; readonly address: string; readonly port: number }
  | { readonly kind: "mark"; readonly mark: number; readonly family: Family };

/** Persistence template: `timeout` in seconds; `prefix` is the netmask's length (32 or 128: the whole address). */
export interface Persistence {
  readonly timeout: number;
  readonly prefix: number;
}

export const tunnelTypes = ["ipip", "gue", "gre"] as const;
export type TunnelType = (typeof tunnelTypes)[number];

/** How packets are wrapped for a real server of the method ipip: `ipvsadm --tun-type` and what belongs to it. */
export interface Tunnel {
  readonly type: TunnelType;
  /** UDP port of gue; 0 with the others. */
  readonly port: number;
  /** `--tun-nocsum`, `--tun-csum`, `--tun-remcsum`; of gue and gre. */
  readonly checksum: "none" | "full" | "remote";
}

export interface RealServer {
  readonly address: string;
  /** With gate and ipip the virtual service's. Under a firewall mark as configured, 0 if left out. */
  readonly port: number;
  readonly method: ForwardingMethod;
  /** 0 is quiescent: no new connections, the live ones go on. */
  readonly weight: number;
  /** Connections above which it gets no new ones; 0: no limit. */
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  /** Of the method ipip; absent: plain IP in IP. */
  readonly tunnel?: Tunnel;
}

/** New connections a second, of the whole service and of one source of it (an IPv4 address, an IPv6 /64); 0: no limit. */
export interface ConnectionLimits {
  readonly perSecond: number;
  readonly perSource: number;
}

export interface VirtualService {
  readonly identity: ServiceIdentity;
  readonly scheduler: Scheduler;
  /** `sh-fallback`, `sh-port`, `mh-fallback`, `mh-port`, or `flag-1` to `flag-3`. */
  readonly schedulerFlags: readonly string[];
  readonly persistence?: Persistence;
  /** Every UDP datagram is scheduled on its own. */
  readonly onePacket: boolean;
  /** Seconds after which an idle connection expires, in any state but closing ones; absent: the plane's timeouts. */
  readonly idleTimeout?: number;
  /** New connections a second, 0: no limit; absent: none at all. */
  readonly limits?: ConnectionLimits;
  /** `ipvsadm --pe`; only the kernel's IPVS has one, `sip`. */
  readonly persistenceEngine?: string;
  /** In the order of addition; ipvsadm and the schedulers look at the newest first. */
  readonly realServers: readonly RealServer[];
}

export function familyOf(address: string): Family {
  return address.includes(":") ? "ipv6" : "ipv4";
}

export function familyOfService(identity: ServiceIdentity): Family {
  return identity.kind === "mark" ? identity.family : familyOf(identity.address);
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function printEndpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The key of a service wherever one is needed: `tcp:10.0.0.1:80`, `udp:[fd00::1]:53`, `fwm:7`, `fwm6:7`. */
export function printIdentity(identity: ServiceIdentity): string {
  if (identity.kind === "mark") return `${identity.family === "ipv6" ? "fwm6" : "fwm"}:${identity.mark}`;
  return `${identity.protocol}:${printEndpoint(identity.address, identity.port)}`;
}

/** The key of a real server inside its service: `10.0.0.2:80`. */
export function realServerKey(realServer: { readonly address: string; readonly port: number }): string {
  return printEndpoint(realServer.address, realServer.port);
}
