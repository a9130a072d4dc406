/** Between the vocabulary of src/model and the numbers that lie in the maps. */
import {
  addressFamily,
  connectionState,
  forwardingMethod,
  scheduler,
  tunnelChecksum,
  tunnelType,
} from "./layout.generated.ts";
import type { Tunnel as TunnelRecord } from "./layout.generated.ts";
import { schedulers, tunnelTypes } from "../../model/service.ts";
import type { Family, ForwardingMethod, Protocol, Scheduler, Tunnel, TunnelType } from "../../model/service.ts";

export const familyNumbers = {
  ipv4: addressFamily.FAMILY_IPV4,
  ipv6: addressFamily.FAMILY_IPV6,
} as const satisfies Record<Family, number>;

/** IPPROTO_*. */
export const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const satisfies Record<Protocol, number>;

export const schedulerNumbers = {
  rr: scheduler.SCHEDULER_RR,
  wrr: scheduler.SCHEDULER_WRR,
  lc: scheduler.SCHEDULER_LC,
  wlc: scheduler.SCHEDULER_WLC,
  lblc: scheduler.SCHEDULER_LBLC,
  lblcr: scheduler.SCHEDULER_LBLCR,
  dh: scheduler.SCHEDULER_DH,
  sh: scheduler.SCHEDULER_SH,
  sed: scheduler.SCHEDULER_SED,
  nq: scheduler.SCHEDULER_NQ,
  fo: scheduler.SCHEDULER_FO,
  ovf: scheduler.SCHEDULER_OVF,
  mh: scheduler.SCHEDULER_MH,
  twos: scheduler.SCHEDULER_TWOS,
} as const satisfies Record<Scheduler, number>;

export const methodNumbers = {
  masq: forwardingMethod.METHOD_MASQ,
  ipip: forwardingMethod.METHOD_IPIP,
  gate: forwardingMethod.METHOD_GATE,
} as const satisfies Record<ForwardingMethod, number>;

const tunnelTypeNumbers = {
  ipip: tunnelType.TUNNEL_IPIP,
  gue: tunnelType.TUNNEL_GUE,
  gre: tunnelType.TUNNEL_GRE,
} as const satisfies Record<TunnelType, number>;

const tunnelChecksumNumbers = {
  none: tunnelChecksum.TUNNEL_CHECKSUM_NONE,
  full: tunnelChecksum.TUNNEL_CHECKSUM_FULL,
  remote: tunnelChecksum.TUNNEL_CHECKSUM_REMOTE,
} as const satisfies Record<Tunnel["checksum"], number>;

export const plainTunnel: Tunnel = { type: "ipip", port: 0, checksum: "none" };

/** Bytes that the tunnel's own headers take behind the outer IP header. */
function tunnelHeader({ type, checksum }: Tunnel): number {
  if (type === "gue") return 12;
  if (type === "gre") return checksum === "full" ? 8 : 4;
  return 0;
}

/** `source` is the address that packets leave from; undefined: not known yet. `outer`: the real server's family. */
export function encodeTunnel(tunnel: Tunnel, outer: Family, source: string | undefined): TunnelRecord {
  return {
    source: source === undefined ? [0, 0, 0, 0] : addressWords(source),
    port: tunnel.port,
    type: tunnelTypeNumbers[tunnel.type],
    checksum: tunnelChecksumNumbers[tunnel.checksum],
    overhead: (outer === "ipv6" ? 40 : 20) + tunnelHeader(tunnel),
    path_mtu: 0,
    path_mtu_tick: 0,
  };
}

/** Undefined: plain IP in IP. */
export function decodeTunnel({ type, port, checksum }: TunnelRecord): Tunnel | undefined {
  const name = tunnelTypes.find((candidate) => tunnelTypeNumbers[candidate] === type) ?? "ipip";
  if (name === "ipip") return undefined;
  const { TUNNEL_CHECKSUM_FULL, TUNNEL_CHECKSUM_REMOTE } = tunnelChecksum;
  return {
    type: name,
    port,
    checksum: checksum === TUNNEL_CHECKSUM_FULL ? "full" : checksum === TUNNEL_CHECKSUM_REMOTE ? "remote" : "none",
  };
}

export function familyFromNumber(number: number): Family {
  return number === familyNumbers.ipv6 ? "ipv6" : "ipv4";
}

export function protocolFromNumber(number: number): Protocol {
  return number === protocolNumbers.udp ? "udp" : number === protocolNumbers.sctp ? "sctp" : "tcp";
}

export function schedulerFromNumber(number: number): Scheduler {
  return schedulers.find((name) => schedulerNumbers[name] === number) ?? "rr";
}

export function methodFromNumber(number: number): ForwardingMethod {
  return number === methodNumbers.masq ? "masq" : number === methodNumbers.ipip ? "ipip" : "gate";
}

/** Shorter than the enumerators: the names of the kernel's sctp_state_name_table that differ. */
const sctpNames: Readonly<Record<string, string>> = {
  COOKIE_SENT: "C-SENT",
  COOKIE_REPLIED: "C-REPLIED",
  COOKIE_WAIT: "C-WAIT",
  COOKIE_ECHOED: "C-ECHOED",
  SHUTDOWN_SENT: "S-SENT",
  SHUTDOWN_RECEIVED: "S-RECEIVED",
  SHUTDOWN_ACK_SENT: "S-ACK-SENT",
};

function stateName(enumerator: string): string {
  const [, sctp = "", name = ""] = /^STATE_(SCTP_)?(.*?)(?:_IDLE|_NEW)?$/.exec(enumerator) ?? [];
  return sctp === "" ? name : (sctpNames[name] ?? name);
}

/**
 * By `enum connection_state`; the names of the kernel's tcp_state_name_table and sctp_state_name_table. A connection
 * that rests for long keeps the name of its state, and one of a single datagram has that of any of UDP.
 */
export const stateNames: readonly string[] = Array.from({ length: connectionState.STATE_COUNT }, (_, state) => {
  const found = Object.entries(connectionState).find(([, value]) => value === state);
  return found === undefined ? "" : stateName(found[0]);
});

/** By `enum connection_state`: what a state of rest is otherwise; undefined: it is none. */
export const awakeStates: ReadonlyMap<number, number> = new Map([
  [connectionState.STATE_ESTABLISHED_IDLE, connectionState.STATE_ESTABLISHED],
  [connectionState.STATE_UDP_IDLE, connectionState.STATE_UDP],
  [connectionState.STATE_FIN_WAIT_IDLE, connectionState.STATE_FIN_WAIT],
  [connectionState.STATE_SCTP_ESTABLISHED_IDLE, connectionState.STATE_SCTP_ESTABLISHED],
]);

/** The states that a service's own idle timeout is for. */
export const idleTimeoutStates: ReadonlySet<number> = new Set([
  connectionState.STATE_ESTABLISHED,
  connectionState.STATE_UDP,
  connectionState.STATE_SCTP_ESTABLISHED,
]);

/** Bits of `service.scheduler_flags`: IP_VS_SVC_F_SCHED1 to 3. */
export function encodeSchedulerFlags(flags: readonly string[]): number {
  let bits = 0;
  for (const flag of flags) {
    if (flag === "sh-fallback" || flag === "mh-fallback" || flag === "flag-1") bits |= 1;
    else if (flag === "sh-port" || flag === "mh-port" || flag === "flag-2") bits |= 2;
    else if (flag === "flag-3") bits |= 4;
  }
  return bits;
}

export function decodeSchedulerFlags(bits: number, scheduler: Scheduler): string[] {
  const hashes = scheduler === "sh" || scheduler === "mh";
  const names = hashes ? [`${scheduler}-fallback`, `${scheduler}-port`, "flag-3"] : ["flag-1", "flag-2", "flag-3"];
  return names.filter((_, bit) => (bits >> bit) & 1);
}

// --- addresses: four words as in the maps, each read in network byte order; IPv4 is the last one

/** `address` is canonical text. */
export function addressWords(address: string): number[] {
  if (!address.includes(":")) return [0, 0, 0, ipv4Word(address)];
  const groups = ipv6Groups(address);
  return [0, 2, 4, 6].map((index) => (((groups[index] ?? 0) << 16) | (groups[index + 1] ?? 0)) >>> 0);
}

export function addressText(words: readonly number[], family: Family): string {
  return family === "ipv4" ? ipv4Text(words[3] ?? 0) : ipv6Text(words);
}

/** The netmask of a prefix length, 32 or 128 being the whole address. */
export function netmaskWords(prefix: number, family: Family): number[] {
  if (family === "ipv4") return [0, 0, 0, maskWord(prefix)];
  return [0, 32, 64, 96].map((start) => maskWord(prefix - start));
}

export function prefixOf(netmask: readonly number[]): number {
  return netmask.reduce((bits, word) => bits + (word === 0 ? 0 : 32 - Math.log2((~word >>> 0) + 1)), 0);
}

function maskWord(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? 0xffffffff : (0xffffffff << (32 - bits)) >>> 0;
}

function ipv4Word(address: string): number {
  return address.split(".").reduce((word, part) => word * 256 + Number(part), 0);
}

export function ipv4Text(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

function ipv6Groups(address: string): number[] {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  const text =
    dotted === null
      ? address
      : `${dotted[1]}${(ipv4Word(dotted[2] ?? "") >>> 16).toString(16)}:${(ipv4Word(dotted[2] ?? "") & 0xffff).toString(16)}`;
  const [head = "", tail] = text.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const before = groups(head);
  if (tail === undefined) return before;
  const after = groups(tail);
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups shortened. */
function ipv6Text(words: readonly number[]): string {
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let longestStart = -1;
  let longest = 1;
  for (let start = 0; start < 8;) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > longest) [longestStart, longest] = [start, end - start];
    start = Math.max(end, start + 1);
  }
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(":");
  if (longestStart < 0) return hex(groups);
  return `${hex(groups.slice(0, longestStart))}::${hex(groups.slice(longestStart + longest))}`;
}

export function macText(mac: Iterable<number>): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
