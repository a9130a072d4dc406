/**
 * NETLINK_ROUTE messages, encoded and decoded: bytes in, plain values out, no sockets. Numbers are those of
 * linux/rtnetlink.h, if_link.h, if_addr.h, fib_rules.h and neighbour.h. Addresses and VLAN protocols inside are in network
 * byte order.
 */
import {
  AF_INET,
  AF_INET6,
  MalformedMessage,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  align,
  attribute,
  eachAttribute,
  encodeMessage,
  need,
  text,
  u32,
  u32Bytes,
} from "../netlink/messages.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;
export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;
export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;
export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;

export const IFF_UP = 0x1;
export const IFF_LOOPBACK = 0x8;
export const IFF_RUNNING = 0x40;
export const ARPHRD_ETHER = 1;
export const ETH_P_8021Q = 0x8100;

export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
export const RTN_BROADCAST = 3;
export const RTN_ANYCAST = 4;
export const RTN_MULTICAST = 5;
export const RTN_BLACKHOLE = 6;
export const RTN_PROHIBIT = 8;
export const RT_TABLE_MAIN = 254;
export const RTM_F_CLONED = 0x200;

export const NUD_NONE = 0x00;
export const NUD_INCOMPLETE = 0x01;
export const NUD_REACHABLE = 0x02;
export const NUD_STALE = 0x04;
export const NUD_DELAY = 0x08;
export const NUD_PROBE = 0x10;
export const NUD_FAILED = 0x20;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;
/** The kernel sends packets to a neighbour in one of these states (NUD_VALID). */
export const NUD_USABLE = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_NOARP | NUD_PERMANENT;

export const NTF_USE = 0x01;
export const NTF_PROXY = 0x08;
export const NTF_EXT_LEARNED = 0x10;
/** In NDA_FLAGS_EXT, since Linux 5.16. */
export const NTF_EXT_MANAGED = 0x1;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_LINKINFO = 18;
const IFLA_LINK_NETNSID = 37;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_VLAN_ID = 1;
const IFLA_VLAN_PROTOCOL = 5;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTA_NH_ID = 30;
const RTAX_MTU = 2;
const FRA_DST = 1;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NDA_PROTOCOL = 12;
const NDA_FLAGS_EXT = 15;

export interface Link {
  /** AF_UNSPEC; AF_BRIDGE messages tell of bridge ports and are not about the interface's life. */
  readonly family: number;
  readonly ifindex: number;
  readonly name: string;
  /** ARPHRD_*. */
  readonly hardware: number;
  /** IFF_*. */
  readonly flags: number;
  /** 6 bytes on Ethernet, empty where there is none. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  /** `protocol` is ETH_P_8021Q or ETH_P_8021AD; `parent` is 0 if it lives in another network namespace. */
  readonly vlan?: { readonly parent: number; readonly id: number; readonly protocol: number };
}

export interface InterfaceAddress {
  readonly family: number;
  readonly ifindex: number;
  readonly prefixLength: number;
  /** The machine's own address: 4 or 16 bytes. */
  readonly local: Buffer;
  /** What the prefix length belongs to: on a point-to-point link the peer's address, else `local`. */
  readonly subnet: Buffer;
}

export interface RouteMessage {
  readonly family: number;
  readonly prefixLength: number;
  /** Absent for a default route. */
  readonly destination?: Buffer;
  /** RTN_*. */
  readonly kind: number;
  readonly table: number;
  readonly flags: number;
  /** IPv6 metric or IPv4 priority; less is preferred. */
  readonly metric: number;
  /** 0: none, as with several paths. */
  readonly ifindex: number;
  /** Of either family, also for an IPv4 destination (RTA_VIA). */
  readonly gateway?: Buffer;
  /** The address to send from, of an answer to a question always. */
  readonly source?: Buffer;
  /** Of the route; 0: the interface's. */
  readonly mtu: number;
  /** Several paths, or a nexthop object that may have several: the path depends on the address. */
  readonly multipath: boolean;
  /** Outgoing interfaces of the paths of a multipath route. */
  readonly pathInterfaces: readonly number[];
}

export interface RuleMessage {
  readonly family: number;
  readonly prefixLength: number;
  readonly destination?: Buffer;
}

export interface NeighbourMessage {
  readonly family: number;
  readonly ifindex: number;
  /** NUD_*. */
  readonly state: number;
  /** NTF_*. */
  readonly flags: number;
  /** NTF_EXT_*. */
  readonly extendedFlags: number;
  /** RTPROT_* of who set it; 0: the kernel. */
  readonly protocol: number;
  readonly address: Buffer;
  /** Empty while it is not known. */
  readonly mac: Uint8Array;
}

export function decodeLink(payload: Buffer): Link {
  need(payload, 16, "link");
  let name = "";
  let mac: Uint8Array = new Uint8Array(0);
  let mtu = 0;
  let parent = 0;
  let parentElsewhere = false;
  let info: Buffer | undefined;
  eachAttribute(payload, 16, (type, value) => {
    if (type === IFLA_IFNAME) name = text(value);
    else if (type === IFLA_ADDRESS) mac = Uint8Array.from(value);
    else if (type === IFLA_MTU) mtu = u32(value, "MTU");
    else if (type === IFLA_LINK) parent = u32(value, "parent link");
    else if (type === IFLA_LINK_NETNSID) parentElsewhere = true;
    else if (type === IFLA_LINKINFO) info = value;
  });
  const vlan = info === undefined ? undefined : decodeVlan(info);
  return {
    family: payload.readUInt8(0),
    hardware: payload.readUInt16LE(2),
    ifindex: payload.readInt32LE(4),
    flags: payload.readUInt32LE(8),
    name,
    mac,
    mtu,
    ...(vlan === undefined ? {} : { vlan: { ...vlan, parent: parentElsewhere ? 0 : parent } }),
  };
}

function decodeVlan(info: Buffer): { id: number; protocol: number } | undefined {
  let kind = "";
  let data: Buffer | undefined;
  eachAttribute(info, 0, (type, value) => {
    if (type === IFLA_INFO_KIND) kind = text(value);
    else if (type === IFLA_INFO_DATA) data = value;
  });
  if (kind !== "vlan" || data === undefined) return undefined;
  let id = 0;
  let protocol = ETH_P_8021Q;
  eachAttribute(data, 0, (type, value) => {
    if (type === IFLA_VLAN_ID) {
      need(value, 2, "VLAN id");
      id = value.readUInt16LE(0);
    } else if (type === IFLA_VLAN_PROTOCOL) {
      need(value, 2, "VLAN protocol");
      protocol = value.readUInt16BE(0);
    }
  });
  return { id, protocol };
}

/** Undefined for an address of another family than IPv4 and IPv6. */
export function decodeAddress(payload: Buffer): InterfaceAddress | undefined {
  need(payload, 8, "address");
  const family = payload.readUInt8(0);
  let local: Buffer | undefined;
  let subnet: Buffer | undefined;
  eachAttribute(payload, 8, (type, value) => {
    if (type === IFA_LOCAL) local = value;
    else if (type === IFA_ADDRESS) subnet = value;
  });
  local ??= subnet;
  subnet ??= local;
  const size = addressSize(family);
  if (size === 0) return undefined;
  if (local?.length !== size || subnet?.length !== size) throw new MalformedMessage("address of a wrong length");
  return { family, prefixLength: payload.readUInt8(1), ifindex: payload.readUInt32LE(4), local, subnet };
}

/** Undefined for a route of another family than IPv4 and IPv6. */
export function decodeRoute(payload: Buffer): RouteMessage | undefined {
  need(payload, 12, "route");
  const family = payload.readUInt8(0);
  if (addressSize(family) === 0) return undefined;
  let destination: Buffer | undefined;
  let gateway: Buffer | undefined;
  let source: Buffer | undefined;
  let table = payload.readUInt8(4);
  let ifindex = 0;
  let metric = 0;
  let mtu = 0;
  let multipath = false;
  const pathInterfaces: number[] = [];
  eachAttribute(payload, 12, (type, value) => {
    if (type === RTA_DST) destination = addressOfFamily(value, family);
    else if (type === RTA_OIF) ifindex = u32(value, "outgoing interface");
    else if (type === RTA_GATEWAY) gateway = addressOfFamily(value, family);
    else if (type === RTA_VIA) gateway = decodeVia(value);
    else if (type === RTA_PREFSRC) source = addressOfFamily(value, family);
    else if (type === RTA_PRIORITY) metric = u32(value, "priority");
    else if (type === RTA_TABLE) table = u32(value, "table");
    else if (type === RTA_NH_ID) multipath = true;
    else if (type === RTA_MULTIPATH) {
      multipath = true;
      decodePaths(value, pathInterfaces);
    } else if (type === RTA_METRICS) {
      eachAttribute(value, 0, (metricType, metricValue) => {
        if (metricType === RTAX_MTU) mtu = u32(metricValue, "route MTU");
      });
    }
  });
  return {
    family,
    prefixLength: payload.readUInt8(1),
    kind: payload.readUInt8(7),
    flags: payload.readUInt32LE(8),
    table,
    metric,
    ifindex,
    mtu,
    multipath,
    pathInterfaces,
    ...(destination === undefined ? {} : { destination }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(source === undefined ? {} : { source }),
  };
}

function decodeVia(value: Buffer): Buffer {
  need(value, 2, "gateway of another family");
  return addressOfFamily(value.subarray(2), value.readUInt16LE(0));
}

/** struct rtnexthop: length (2 bytes), flags, hops, interface (4 bytes), then attributes. */
function decodePaths(value: Buffer, interfaces: number[]): void {
  for (let offset = 0; offset + 8 <= value.length;) {
    const length = value.readUInt16LE(offset);
    if (length < 8 || length > value.length - offset) throw new MalformedMessage(`path of ${length} bytes`);
    interfaces.push(value.readInt32LE(offset + 4));
    offset += align(length);
  }
}

/** Undefined for a rule of another family than IPv4 and IPv6. */
export function decodeRule(payload: Buffer): RuleMessage | undefined {
  need(payload, 12, "rule");
  const family = payload.readUInt8(0);
  if (addressSize(family) === 0) return undefined;
  let destination: Buffer | undefined;
  eachAttribute(payload, 12, (type, value) => {
    if (type === FRA_DST) destination = addressOfFamily(value, family);
  });
  return { family, prefixLength: payload.readUInt8(1), ...(destination === undefined ? {} : { destination }) };
}

/** Undefined for what is no IPv4 or IPv6 neighbour: bridge forwarding entries, proxy entries. */
export function decodeNeighbour(payload: Buffer): NeighbourMessage | undefined {
  need(payload, 12, "neighbour");
  const family = payload.readUInt8(0);
  const flags = payload.readUInt8(10);
  if (addressSize(family) === 0 || (flags & NTF_PROXY) !== 0) return undefined;
  let address: Buffer | undefined;
  let mac: Uint8Array = new Uint8Array(0);
  let protocol = 0;
  let extendedFlags = 0;
  eachAttribute(payload, 12, (type, value) => {
    if (type === NDA_DST) address = addressOfFamily(value, family);
    else if (type === NDA_LLADDR) mac = Uint8Array.from(value);
    else if (type === NDA_PROTOCOL) {
      need(value, 1, "neighbour protocol");
      protocol = value.readUInt8(0);
    } else if (type === NDA_FLAGS_EXT) extendedFlags = u32(value, "neighbour flags");
  });
  if (address === undefined) throw new MalformedMessage("neighbour without an address");
  return {
    family,
    ifindex: payload.readInt32LE(4),
    state: payload.readUInt16LE(8),
    flags,
    extendedFlags,
    protocol,
    address,
    mac,
  };
}

/** Dump request for every family (AF_UNSPEC); `type` is one of RTM_GET*. */
export function encodeDump(type: number, sequence: number): Buffer {
  const header = Buffer.alloc(type === RTM_GETLINK ? 16 : 12);
  return encodeMessage(type, NLM_F_REQUEST | NLM_F_DUMP, sequence, header, []);
}

/** Asks how the kernel itself would send to an address of 4 or 16 bytes. */
export function encodeRouteQuery(address: Uint8Array, sequence: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(familyOfBytes(address), 0);
  header.writeUInt8(address.length * 8, 1);
  return encodeMessage(RTM_GETROUTE, NLM_F_REQUEST, sequence, header, [attribute(RTA_DST, address)]);
}

/**
 * RTM_NEWNEIGH that changes no address: `state` NUD_PROBE has the kernel ask the known address at once; NTF_USE or
 * NTF_EXT_MANAGED leave the state alone and have it ask if it knows none. Both flags would take NUD_PERMANENT away.
 */
export function encodeNeighbourRequest(
  request: {
    readonly ifindex: number;
    readonly address: Uint8Array;
    readonly state: number;
    readonly flags: number;
    readonly extendedFlags: number;
    readonly protocol: number;
    readonly create: boolean;
  },
  sequence: number,
): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(familyOfBytes(request.address), 0);
  header.writeInt32LE(request.ifindex, 4);
  header.writeUInt16LE(request.state, 8);
  header.writeUInt8(request.flags, 10);
  const attributes = [attribute(NDA_DST, request.address)];
  if (request.protocol !== 0) attributes.push(attribute(NDA_PROTOCOL, Uint8Array.of(request.protocol)));
  if (request.extendedFlags !== 0) attributes.push(attribute(NDA_FLAGS_EXT, u32Bytes(request.extendedFlags)));
  const flags = NLM_F_REQUEST | (request.create ? NLM_F_CREATE : 0);
  return encodeMessage(RTM_NEWNEIGH, flags, sequence, header, attributes);
}

function addressOfFamily(value: Buffer, family: number): Buffer {
  if (value.length !== addressSize(family)) throw new MalformedMessage(`address of ${value.length} bytes`);
  return value;
}

function addressSize(family: number): number {
  return family === AF_INET ? 4 : family === AF_INET6 ? 16 : 0;
}

export function familyOfBytes(address: Uint8Array): number {
  return address.length === 4 ? AF_INET : AF_INET6;
}
