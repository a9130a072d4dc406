/**
 * Messages of the generic netlink family IPVS, encoded and decoded: bytes in, plain values out, no sockets. Numbers are
 * those of linux/ip_vs.h and linux/genetlink.h. Addresses, ports and IPv4 netmasks are in network byte order, all else in
 * the host's. Values are the kernel's own; `translate.ts` stands between them and the director's vocabulary.
 */
import { familyOfService } from "../../model/service.ts";
import type { Family, Protocol, ServiceIdentity } from "../../model/service.ts";
import type { Traffic } from "../../model/statistics.ts";
import { parseAddress, printAddress } from "../netlink/address.ts";
import {
  AF_INET,
  AF_INET6,
  MalformedMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  attribute,
  eachAttribute,
  encodeMessage,
  need,
  nested,
  text,
  u32,
  u32Bytes,
} from "../netlink/messages.ts";

export const familyName = "IPVS";

/** The family that tells the others' numbers. */
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_VERSION = 1;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;

const IPVS_VERSION = 1;

/** IPVS_CMD_*. */
export const ipvsCommand = {
  newService: 1,
  setService: 2,
  deleteService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  deleteDestination: 7,
  getDestination: 8,
  newDaemon: 9,
  deleteDaemon: 10,
  getDaemon: 11,
  setConfig: 12,
  getConfig: 13,
  getInfo: 15,
  zero: 16,
  flush: 17,
} as const;
export type IpvsCommand = (typeof ipvsCommand)[keyof typeof ipvsCommand];

/** IP_VS_SVC_F_*: bits of a service. The last three mean what the scheduler wants them to. */
export const serviceFlag = {
  persistent: 0x1,
  hashed: 0x2,
  onePacket: 0x4,
  scheduler1: 0x8,
  scheduler2: 0x10,
  scheduler3: 0x20,
} as const;

/** IP_VS_CONN_F_*: forwarding methods. */
export const forwardingMethodNumber = { masquerade: 0, local: 1, tunnel: 2, directRoute: 3, bypass: 4 } as const;

/** IP_VS_CONN_F_TUNNEL_TYPE_*. */
export const tunnelTypeNumber = { ipip: 0, gue: 1, gre: 2 } as const;

/** IP_VS_TUNNEL_ENCAP_FLAG_*. */
export const tunnelFlag = { checksum: 0x1, remoteChecksum: 0x2 } as const;

/** IP_VS_STATE_*: the two synchronisation daemons. */
export const daemonState = { master: 1, backup: 2 } as const;

export interface IpvsInfo {
  /** `1.2.1`. */
  readonly version: string;
  /** Buckets of the kernel's connection table, which has no limit. */
  readonly connectionTableSize: number;
}

/** A service as `IPVS_CMD_NEW_SERVICE` wants it. */
export interface IpvsServiceSettings {
  readonly identity: ServiceIdentity;
  /** The name of a module `ip_vs_NAME`, 15 bytes at most; empty: none. */
  readonly scheduler: string;
  /** Bits of {@link serviceFlag}. */
  readonly flags: number;
  /** Of persistence, seconds. */
  readonly timeout: number;
  /** Length of the persistence netmask; of one with holes, up to the first. */
  readonly prefix: number;
  /** An IPv4 netmask with holes, as a number. */
  readonly netmask?: number;
  /** `sip`; absent: none. */
  readonly persistenceEngine?: string;
}

export interface IpvsService extends IpvsServiceSettings {
  readonly statistics: Traffic;
}

/** Which destination of a service. */
export interface IpvsDestinationKey {
  readonly address: string;
  readonly port: number;
}

export interface IpvsDestinationSettings extends IpvsDestinationKey {
  /** One of {@link forwardingMethodNumber}. */
  readonly method: number;
  /** 32 bits, signed. */
  readonly weight: number;
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  /** One of {@link tunnelTypeNumber}. */
  readonly tunnelType: number;
  readonly tunnelPort: number;
  /** Bits of {@link tunnelFlag}. */
  readonly tunnelFlags: number;
}

export interface IpvsDestination extends IpvsDestinationSettings {
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  readonly persistentConnections: number;
  readonly statistics: Traffic;
}

/** Seconds; 0 in a request: as it is. */
export interface IpvsTimeouts {
  readonly tcp: number;
  readonly tcpFin: number;
  readonly udp: number;
}

export interface IpvsDaemonSettings {
  /** One of {@link daemonState}. */
  readonly state: number;
  readonly interfaceName: string;
  readonly syncId: number;
  /** Absent ones: the kernel's defaults. */
  readonly maxLength?: number;
  readonly group?: string;
  readonly port?: number;
  readonly ttl?: number;
}

export type IpvsDaemon = Required<IpvsDaemonSettings>;

// --- requests

/** Asks for the number of the family; its module is loaded by the kernel if need be. */
export function encodeFamilyQuery(sequence: number): Buffer {
  const name = attribute(CTRL_ATTR_FAMILY_NAME, terminated(familyName));
  return encodeMessage(GENL_ID_CTRL, NLM_F_REQUEST, sequence, header(CTRL_CMD_GETFAMILY, CTRL_VERSION), [name]);
}

/** A request that is acknowledged. */
export function encodeCommand(
  family: number,
  command: IpvsCommand,
  attributes: readonly Buffer[],
  sequence: number,
): Buffer {
  return encodeMessage(family, NLM_F_REQUEST | NLM_F_ACK, sequence, header(command, IPVS_VERSION), attributes);
}

/** A request that is answered by one message. */
export function encodeQuery(
  family: number,
  command: IpvsCommand,
  attributes: readonly Buffer[],
  sequence: number,
): Buffer {
  return encodeMessage(family, NLM_F_REQUEST, sequence, header(command, IPVS_VERSION), attributes);
}

/** A request that is answered by any number of messages. */
export function encodeDump(
  family: number,
  command: IpvsCommand,
  attributes: readonly Buffer[],
  sequence: number,
): Buffer {
  const flags = NLM_F_REQUEST | NLM_F_DUMP;
  return encodeMessage(family, flags, sequence, header(command, IPVS_VERSION), attributes);
}

function header(command: number, version: number): Buffer {
  return Buffer.of(command, version, 0, 0);
}

// --- attributes

const IPVS_CMD_ATTR_SERVICE = 1;
const IPVS_CMD_ATTR_DEST = 2;
const IPVS_CMD_ATTR_DAEMON = 3;
const IPVS_CMD_ATTR_TIMEOUT_TCP = 4;
const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN = 5;
const IPVS_CMD_ATTR_TIMEOUT_UDP = 6;

const IPVS_SVC_ATTR_AF = 1;
const IPVS_SVC_ATTR_PROTOCOL = 2;
const IPVS_SVC_ATTR_ADDR = 3;
const IPVS_SVC_ATTR_PORT = 4;
const IPVS_SVC_ATTR_FWMARK = 5;
const IPVS_SVC_ATTR_SCHED_NAME = 6;
const IPVS_SVC_ATTR_FLAGS = 7;
const IPVS_SVC_ATTR_TIMEOUT = 8;
const IPVS_SVC_ATTR_NETMASK = 9;
const IPVS_SVC_ATTR_STATS = 10;
const IPVS_SVC_ATTR_PE_NAME = 11;
const IPVS_SVC_ATTR_STATS64 = 12;

const IPVS_DEST_ATTR_ADDR = 1;
const IPVS_DEST_ATTR_PORT = 2;
const IPVS_DEST_ATTR_FWD_METHOD = 3;
const IPVS_DEST_ATTR_WEIGHT = 4;
const IPVS_DEST_ATTR_U_THRESH = 5;
const IPVS_DEST_ATTR_L_THRESH = 6;
const IPVS_DEST_ATTR_ACTIVE_CONNS = 7;
const IPVS_DEST_ATTR_INACT_CONNS = 8;
const IPVS_DEST_ATTR_PERSIST_CONNS = 9;
const IPVS_DEST_ATTR_STATS = 10;
const IPVS_DEST_ATTR_ADDR_FAMILY = 11;
const IPVS_DEST_ATTR_STATS64 = 12;
const IPVS_DEST_ATTR_TUN_TYPE = 13;
const IPVS_DEST_ATTR_TUN_PORT = 14;
const IPVS_DEST_ATTR_TUN_FLAGS = 15;

const IPVS_DAEMON_ATTR_STATE = 1;
const IPVS_DAEMON_ATTR_MCAST_IFN = 2;
const IPVS_DAEMON_ATTR_SYNC_ID = 3;
const IPVS_DAEMON_ATTR_SYNC_MAXLEN = 4;
const IPVS_DAEMON_ATTR_MCAST_GROUP = 5;
const IPVS_DAEMON_ATTR_MCAST_GROUP6 = 6;
const IPVS_DAEMON_ATTR_MCAST_PORT = 7;
const IPVS_DAEMON_ATTR_MCAST_TTL = 8;

const IPVS_INFO_ATTR_VERSION = 1;
const IPVS_INFO_ATTR_CONN_TAB_SIZE = 2;

/** IPPROTO_*. */
const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const satisfies Record<Protocol, number>;
const familyNumbers = { ipv4: AF_INET, ipv6: AF_INET6 } as const satisfies Record<Family, number>;
/** union nf_inet_addr: an IPv4 address is the first 4 bytes, the others are 0. */
const addressSize = 16;

/** Enough to find a service: family, and firewall mark or protocol, address and port. */
export function encodeServiceKey(identity: ServiceIdentity): Buffer {
  return nested(IPVS_CMD_ATTR_SERVICE, serviceKey(identity));
}

/** The whole service. Flags that it does not have are cleared, but for `hashed`, which is the kernel's own. */
export function encodeService(service: IpvsServiceSettings): Buffer {
  const flags = Buffer.alloc(8); // struct ip_vs_flags
  flags.writeUInt32LE(service.flags, 0);
  flags.writeUInt32LE(0xffffffff, 4);
  return nested(IPVS_CMD_ATTR_SERVICE, [
    ...serviceKey(service.identity),
    ...(service.scheduler === "" ? [] : [attribute(IPVS_SVC_ATTR_SCHED_NAME, terminated(service.scheduler))]),
    ...(service.persistenceEngine === undefined
      ? []
      : [attribute(IPVS_SVC_ATTR_PE_NAME, terminated(service.persistenceEngine))]),
    attribute(IPVS_SVC_ATTR_FLAGS, flags),
    attribute(IPVS_SVC_ATTR_TIMEOUT, u32Bytes(service.timeout)),
    attribute(IPVS_SVC_ATTR_NETMASK, netmaskBytes(service, familyOfService(service.identity))),
  ]);
}

function serviceKey(identity: ServiceIdentity): Buffer[] {
  const family = attribute(IPVS_SVC_ATTR_AF, u16Bytes(familyNumbers[familyOfService(identity)]));
  if (identity.kind === "mark") return [family, attribute(IPVS_SVC_ATTR_FWMARK, u32Bytes(identity.mark))];
  return [
    family,
    attribute(IPVS_SVC_ATTR_PROTOCOL, u16Bytes(protocolNumbers[identity.protocol])),
    attribute(IPVS_SVC_ATTR_ADDR, addressBytes(identity.address)),
    attribute(IPVS_SVC_ATTR_PORT, portBytes(identity.port)),
  ];
}

/** Enough to find a destination: address, family and port. */
export function encodeDestinationKey(key: IpvsDestinationKey): Buffer {
  return nested(IPVS_CMD_ATTR_DEST, destinationKey(key));
}

export function encodeDestination(destination: IpvsDestinationSettings): Buffer {
  return nested(IPVS_CMD_ATTR_DEST, [
    ...destinationKey(destination),
    attribute(IPVS_DEST_ATTR_FWD_METHOD, u32Bytes(destination.method)),
    attribute(IPVS_DEST_ATTR_WEIGHT, u32Bytes(destination.weight >>> 0)),
    attribute(IPVS_DEST_ATTR_TUN_TYPE, Uint8Array.of(destination.tunnelType)),
    attribute(IPVS_DEST_ATTR_TUN_PORT, portBytes(destination.tunnelPort)),
    attribute(IPVS_DEST_ATTR_TUN_FLAGS, u16Bytes(destination.tunnelFlags)),
    attribute(IPVS_DEST_ATTR_U_THRESH, u32Bytes(destination.upperThreshold)),
    attribute(IPVS_DEST_ATTR_L_THRESH, u32Bytes(destination.lowerThreshold)),
  ]);
}

function destinationKey({ address, port }: IpvsDestinationKey): Buffer[] {
  return [
    attribute(IPVS_DEST_ATTR_ADDR_FAMILY, u16Bytes(address.includes(":") ? AF_INET6 : AF_INET)),
    attribute(IPVS_DEST_ATTR_ADDR, addressBytes(address)),
    attribute(IPVS_DEST_ATTR_PORT, portBytes(port)),
  ];
}

export function encodeTimeouts({ tcp, tcpFin, udp }: IpvsTimeouts): Buffer[] {
  return [
    attribute(IPVS_CMD_ATTR_TIMEOUT_TCP, u32Bytes(tcp)),
    attribute(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, u32Bytes(tcpFin)),
    attribute(IPVS_CMD_ATTR_TIMEOUT_UDP, u32Bytes(udp)),
  ];
}

export function encodeDaemon(daemon: IpvsDaemonSettings): Buffer {
  const { state, interfaceName, syncId, maxLength, group, port, ttl } = daemon;
  const attributes = [
    attribute(IPVS_DAEMON_ATTR_STATE, u32Bytes(state)),
    attribute(IPVS_DAEMON_ATTR_MCAST_IFN, terminated(interfaceName)),
    attribute(IPVS_DAEMON_ATTR_SYNC_ID, u32Bytes(syncId)),
  ];
  if (maxLength !== undefined) attributes.push(attribute(IPVS_DAEMON_ATTR_SYNC_MAXLEN, u16Bytes(maxLength)));
  if (group !== undefined) {
    const bytes = addressOfText(group);
    attributes.push(
      attribute(bytes.length === 4 ? IPVS_DAEMON_ATTR_MCAST_GROUP : IPVS_DAEMON_ATTR_MCAST_GROUP6, bytes),
    );
  }
  // Unlike the ports of services it is in host byte order.
  if (port !== undefined) attributes.push(attribute(IPVS_DAEMON_ATTR_MCAST_PORT, u16Bytes(port)));
  if (ttl !== undefined) attributes.push(attribute(IPVS_DAEMON_ATTR_MCAST_TTL, Uint8Array.of(ttl)));
  return nested(IPVS_CMD_ATTR_DAEMON, attributes);
}

function terminated(name: string): Buffer {
  return Buffer.from(`${name}\0`, "latin1");
}

function u16Bytes(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function portBytes(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}

function addressOfText(address: string): Buffer {
  const parsed = parseAddress(address);
  if (parsed === undefined) throw new Error(`${address} is no address`);
  return parsed.bytes;
}

function addressBytes(address: string): Buffer {
  const bytes = Buffer.alloc(addressSize);
  addressOfText(address).copy(bytes);
  return bytes;
}

/** IPv4: a mask in network byte order. IPv6: the prefix length, in host byte order. */
function netmaskBytes({ prefix, netmask }: Pick<IpvsServiceSettings, "prefix" | "netmask">, family: Family): Buffer {
  if (family === "ipv6") return u32Bytes(prefix);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(netmask ?? maskOfPrefix(prefix));
  return bytes;
}

function maskOfPrefix(prefix: number): number {
  return prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
}

// --- answers

/** Of a family query. */
export function decodeFamily(payload: Buffer): number {
  const id = attributesOf(payload).get(CTRL_ATTR_FAMILY_ID);
  if (id === undefined) throw new MalformedMessage("generic netlink family without a number");
  return u16(id, "family number");
}

export function decodeInfo(payload: Buffer): IpvsInfo {
  const attributes = attributesOf(payload);
  const version = u32(wanted(attributes, IPVS_INFO_ATTR_VERSION, "version"), "version");
  return {
    version: `${(version >> 16) & 0xff}.${(version >> 8) & 0xff}.${version & 0xff}`,
    connectionTableSize: u32(wanted(attributes, IPVS_INFO_ATTR_CONN_TAB_SIZE, "table size"), "table size"),
  };
}

/** Undefined for a service of a protocol that has no name here. */
export function decodeService(payload: Buffer): IpvsService | undefined {
  const attributes = attributesOf(wanted(attributesOf(payload), IPVS_CMD_ATTR_SERVICE, "service"), 0);
  const identity = decodeIdentity(attributes);
  if (identity === undefined) return undefined;
  const engine = attributes.get(IPVS_SVC_ATTR_PE_NAME);
  const scheduler = attributes.get(IPVS_SVC_ATTR_SCHED_NAME);
  return {
    identity,
    scheduler: scheduler === undefined ? "" : text(scheduler),
    flags: u32(wanted(attributes, IPVS_SVC_ATTR_FLAGS, "service flags"), "service flags"),
    timeout: u32(wanted(attributes, IPVS_SVC_ATTR_TIMEOUT, "service timeout"), "service timeout"),
    ...decodeNetmask(wanted(attributes, IPVS_SVC_ATTR_NETMASK, "netmask"), familyOfService(identity)),
    ...(engine === undefined ? {} : { persistenceEngine: text(engine) }),
    statistics: decodeStatistics(attributes, IPVS_SVC_ATTR_STATS64, IPVS_SVC_ATTR_STATS),
  };
}

function decodeIdentity(attributes: Attributes): ServiceIdentity | undefined {
  const family = familyOfNumber(u16(wanted(attributes, IPVS_SVC_ATTR_AF, "service family"), "service family"));
  const mark = attributes.get(IPVS_SVC_ATTR_FWMARK);
  if (mark !== undefined) return { kind: "mark", mark: u32(mark, "firewall mark"), family };
  const number = u16(wanted(attributes, IPVS_SVC_ATTR_PROTOCOL, "protocol"), "protocol");
  const protocol = (["tcp", "udp", "sctp"] as const).find((name) => protocolNumbers[name] === number);
  if (protocol === undefined) return undefined;
  return {
    kind: "address",
    protocol,
    address: decodeAddress(wanted(attributes, IPVS_SVC_ATTR_ADDR, "service address"), family),
    port: port(wanted(attributes, IPVS_SVC_ATTR_PORT, "service port")),
  };
}

/** `family` is the service's, for kernels before 4.0 that don't tell the destination's own. */
export function decodeDestination(payload: Buffer, family: Family): IpvsDestination {
  const attributes = attributesOf(wanted(attributesOf(payload), IPVS_CMD_ATTR_DEST, "destination"), 0);
  const number = (type: number, what: string) => u32(wanted(attributes, type, what), what);
  const ownFamily = attributes.get(IPVS_DEST_ATTR_ADDR_FAMILY);
  const tunnelType = attributes.get(IPVS_DEST_ATTR_TUN_TYPE);
  const tunnelPort = attributes.get(IPVS_DEST_ATTR_TUN_PORT);
  const tunnelFlags = attributes.get(IPVS_DEST_ATTR_TUN_FLAGS);
  return {
    address: decodeAddress(
      wanted(attributes, IPVS_DEST_ATTR_ADDR, "destination address"),
      ownFamily === undefined ? family : familyOfNumber(u16(ownFamily, "destination family")),
    ),
    port: port(wanted(attributes, IPVS_DEST_ATTR_PORT, "destination port")),
    method: number(IPVS_DEST_ATTR_FWD_METHOD, "forwarding method"),
    weight: number(IPVS_DEST_ATTR_WEIGHT, "weight") | 0,
    upperThreshold: number(IPVS_DEST_ATTR_U_THRESH, "upper threshold"),
    lowerThreshold: number(IPVS_DEST_ATTR_L_THRESH, "lower threshold"),
    tunnelType: tunnelType === undefined ? tunnelTypeNumber.ipip : byte(tunnelType, "tunnel type"),
    tunnelPort: tunnelPort === undefined ? 0 : port(tunnelPort),
    tunnelFlags: tunnelFlags === undefined ? 0 : u16(tunnelFlags, "tunnel flags"),
    activeConnections: number(IPVS_DEST_ATTR_ACTIVE_CONNS, "active connections"),
    inactiveConnections: number(IPVS_DEST_ATTR_INACT_CONNS, "inactive connections"),
    persistentConnections: number(IPVS_DEST_ATTR_PERSIST_CONNS, "persistent connections"),
    statistics: decodeStatistics(attributes, IPVS_DEST_ATTR_STATS64, IPVS_DEST_ATTR_STATS),
  };
}

export function decodeTimeouts(payload: Buffer): IpvsTimeouts {
  const attributes = attributesOf(payload);
  const seconds = (type: number, what: string) => u32(wanted(attributes, type, what), what);
  return {
    tcp: seconds(IPVS_CMD_ATTR_TIMEOUT_TCP, "TCP timeout"),
    tcpFin: seconds(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, "FIN timeout"),
    // A kernel without UDP in IPVS leaves it out.
    udp: attributes.has(IPVS_CMD_ATTR_TIMEOUT_UDP) ? seconds(IPVS_CMD_ATTR_TIMEOUT_UDP, "UDP timeout") : 0,
  };
}

export function decodeDaemon(payload: Buffer): IpvsDaemon {
  const attributes = attributesOf(wanted(attributesOf(payload), IPVS_CMD_ATTR_DAEMON, "daemon"), 0);
  const maxLength = attributes.get(IPVS_DAEMON_ATTR_SYNC_MAXLEN);
  const mcastPort = attributes.get(IPVS_DAEMON_ATTR_MCAST_PORT);
  const ttl = attributes.get(IPVS_DAEMON_ATTR_MCAST_TTL);
  const group = attributes.get(IPVS_DAEMON_ATTR_MCAST_GROUP) ?? attributes.get(IPVS_DAEMON_ATTR_MCAST_GROUP6);
  return {
    state: u32(wanted(attributes, IPVS_DAEMON_ATTR_STATE, "daemon state"), "daemon state"),
    interfaceName: text(wanted(attributes, IPVS_DAEMON_ATTR_MCAST_IFN, "daemon interface")),
    syncId: u32(wanted(attributes, IPVS_DAEMON_ATTR_SYNC_ID, "syncid"), "syncid"),
    maxLength: maxLength === undefined ? 0 : u16(maxLength, "daemon message length"),
    group: group === undefined ? "" : printAddress(group),
    port: mcastPort === undefined ? 0 : u16(mcastPort, "daemon port"),
    ttl: ttl === undefined ? 0 : byte(ttl, "daemon TTL"),
  };
}

type Attributes = ReadonlyMap<number, Buffer>;

/** From offset 4 on, after the generic netlink header; a nested attribute has none. */
function attributesOf(bytes: Buffer, start = 4): Attributes {
  need(bytes, start, "generic netlink message");
  const found = new Map<number, Buffer>();
  eachAttribute(bytes, start, (type, value) => void found.set(type, value));
  return found;
}

function wanted(attributes: Attributes, type: number, what: string): Buffer {
  const value = attributes.get(type);
  if (value === undefined) throw new MalformedMessage(`no ${what} in an answer of IPVS`);
  return value;
}

/** IPVS_STATS_ATTR_* from CONNS on; the 32-bit set has the same numbers, and is all that kernels before 4.1 have. */
const statisticsMembers = [
  "connections",
  "packetsIn",
  "packetsOut",
  "bytesIn",
  "bytesOut",
  "connectionRate",
  "packetRateIn",
  "packetRateOut",
  "byteRateIn",
  "byteRateOut",
] as const satisfies readonly (keyof Traffic)[];

function decodeStatistics(attributes: Attributes, wide: number, narrow: number): Traffic {
  const values = new Map<number, bigint>();
  const bytes = attributes.get(wide) ?? attributes.get(narrow) ?? Buffer.alloc(0);
  eachAttribute(bytes, 0, (type, value) => {
    if (value.length >= 8) values.set(type, value.readBigUInt64LE(0));
    else if (value.length >= 4) values.set(type, BigInt(value.readUInt32LE(0)));
  });
  const entries = statisticsMembers.map((name, index) => [name, values.get(index + 1) ?? 0n] as const);
  // fromEntries forgets the names, which `satisfies` above has checked.
  return Object.fromEntries(entries) as unknown as Traffic;
}

function decodeNetmask(value: Buffer, family: Family): Pick<IpvsServiceSettings, "prefix" | "netmask"> {
  need(value, 4, "netmask");
  if (family === "ipv6") return { prefix: value.readUInt32LE(0) };
  const mask = value.readUInt32BE(0);
  const prefix = Math.clz32(~mask);
  return mask === maskOfPrefix(prefix) ? { prefix } : { prefix, netmask: mask };
}

function decodeAddress(value: Buffer, family: Family): string {
  need(value, addressSize, "address");
  return printAddress(family === "ipv6" ? value : value.subarray(0, 4));
}

function familyOfNumber(number: number): Family {
  return number === AF_INET6 ? "ipv6" : "ipv4";
}

function u16(value: Buffer, what: string): number {
  need(value, 2, what);
  return value.readUInt16LE(0);
}

function byte(value: Buffer, what: string): number {
  need(value, 1, what);
  return value.readUInt8(0);
}

function port(value: Buffer): number {
  need(value, 2, "port");
  return value.readUInt16BE(0);
}
