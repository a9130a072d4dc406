/**
 * Generated from bpf/director.h and the BTF of its object by `make generate`; do not edit.
 *
 * Names of fields are those of the C structs. Values of type __be16 and __be32 are big-endian in memory and plain
 * numbers here; all others are little-endian. Reserved fields are written as zero. A codec takes single bytes: words
 * of mapped memory that the data path changes meanwhile are to be read and written by typed arrays, lest they tear.
 */

/** How a struct lies in memory; `at` counts bytes from the start of the view. */
export interface Codec<T> {
  /** Bytes. */
  readonly size: number;
  /** Of every field, reserved ones too, in bytes. */
  readonly fields: Readonly<Record<string, { readonly offset: number; readonly size: number }>>;
  read(view: DataView, at: number): T;
  write(view: DataView, at: number, value: T): void;
  decode(bytes: Uint8Array, at?: number): T;
  encode(value: T): Uint8Array;
}

export const LAYOUT_VERSION = 6;
export const MAX_INTERFACES = 256;
export const MIN_SERVICE_SLOTS = 64;
export const MAX_SERVICE_SLOTS = 16384;
export const MAX_SERVICES = 4096;
export const MAX_REAL_SERVERS = 65536;
export const SLOTS_PER_LINE = 8;
export const TREE_LEVELS = 17;
export const TREE_NODES = 1048576;
export const LOAD_OVERLOADED = 0x80000000;
export const SLOT_TICK_BITS = 12;
export const SLOT_STATE_SHIFT = 12;
export const SLOT_REAL_SERVER_SHIFT = 17;
export const SLOT_TAG_SHIFT = 33;
export const SLOT_TICK_MASK = 0xfffn;
export const SLOT_STATE_MASK = 0x1fn;
export const SLOT_REAL_SERVER_MASK = 0xffffn;
export const TAG_DISPLACED = 1n;
export const FRAGMENT_OF_REPLY = 0x80000000;
export const FRAGMENT_OF_STACK = 0x40000000;
export const FRAGMENT_AWAITED = 0x20000000;
export const HELD_FRAME_MAX = 2000;
export const REUSE_FIN_WAIT = 2;
export const EXPIRE_QUIESCENT = 2;
export const MAX_IMPORTS = 96;

/** `enum connection_state`. */
export const connectionState = {
  STATE_NONE: 0,
  STATE_ESTABLISHED: 1,
  STATE_SYN_SENT: 2,
  STATE_SYN_RECV: 3,
  STATE_FIN_WAIT: 4,
  STATE_TIME_WAIT: 5,
  STATE_CLOSE: 6,
  STATE_CLOSE_WAIT: 7,
  STATE_LAST_ACK: 8,
  STATE_LISTEN: 9,
  STATE_SYNACK: 10,
  STATE_UDP: 11,
  STATE_TEMPLATE: 12,
  STATE_ESTABLISHED_IDLE: 13,
  STATE_UDP_IDLE: 14,
  STATE_FIN_WAIT_IDLE: 15,
  STATE_SCTP_NONE: 16,
  STATE_SCTP_INIT1: 17,
  STATE_SCTP_INIT: 18,
  STATE_SCTP_COOKIE_SENT: 19,
  STATE_SCTP_COOKIE_REPLIED: 20,
  STATE_SCTP_COOKIE_WAIT: 21,
  STATE_SCTP_COOKIE: 22,
  STATE_SCTP_COOKIE_ECHOED: 23,
  STATE_SCTP_ESTABLISHED: 24,
  STATE_SCTP_SHUTDOWN_SENT: 25,
  STATE_SCTP_SHUTDOWN_RECEIVED: 26,
  STATE_SCTP_SHUTDOWN_ACK_SENT: 27,
  STATE_SCTP_REJECTED: 28,
  STATE_SCTP_CLOSED: 29,
  STATE_SCTP_ESTABLISHED_IDLE: 30,
  STATE_UDP_NEW: 31,
  STATE_COUNT: 32,
} as const;
export type ConnectionState = (typeof connectionState)[keyof typeof connectionState];

/** `enum scheduler`. */
export const scheduler = {
  SCHEDULER_RR: 0,
  SCHEDULER_WRR: 1,
  SCHEDULER_LC: 2,
  SCHEDULER_WLC: 3,
  SCHEDULER_LBLC: 4,
  SCHEDULER_LBLCR: 5,
  SCHEDULER_DH: 6,
  SCHEDULER_SH: 7,
  SCHEDULER_SED: 8,
  SCHEDULER_NQ: 9,
  SCHEDULER_FO: 10,
  SCHEDULER_OVF: 11,
  SCHEDULER_MH: 12,
  SCHEDULER_TWOS: 13,
} as const;
export type Scheduler = (typeof scheduler)[keyof typeof scheduler];

/** `enum forwarding_method`. */
export const forwardingMethod = {
  METHOD_MASQ: 0,
  METHOD_LOCAL: 1,
  METHOD_IPIP: 2,
  METHOD_GATE: 3,
} as const;
export type ForwardingMethod = (typeof forwardingMethod)[keyof typeof forwardingMethod];

/** `enum tunnel_type`. */
export const tunnelType = {
  TUNNEL_IPIP: 0,
  TUNNEL_GUE: 1,
  TUNNEL_GRE: 2,
} as const;
export type TunnelType = (typeof tunnelType)[keyof typeof tunnelType];

/** `enum tunnel_checksum`. */
export const tunnelChecksum = {
  TUNNEL_CHECKSUM_NONE: 0,
  TUNNEL_CHECKSUM_FULL: 1,
  TUNNEL_CHECKSUM_REMOTE: 2,
} as const;
export type TunnelChecksum = (typeof tunnelChecksum)[keyof typeof tunnelChecksum];

/** `enum address_family`. */
export const addressFamily = {
  FAMILY_NONE: 0,
  FAMILY_IPV4: 4,
  FAMILY_IPV6: 6,
} as const;
export type AddressFamily = (typeof addressFamily)[keyof typeof addressFamily];

/** `enum service_slot_kind`. */
export const serviceSlotKind = {
  SERVICE_SLOT_FREE: 0,
  SERVICE_SLOT_IPV4: 4,
  SERVICE_SLOT_IPV6: 6,
  SERVICE_SLOT_OWN_IPV4: 20,
  SERVICE_SLOT_OWN_IPV6: 22,
  SERVICE_SLOT_REPLY_IPV4: 30,
  SERVICE_SLOT_REPLY_IPV6: 32,
  SERVICE_SLOT_STATION: 40,
  SERVICE_SLOT_DELETED: 255,
} as const;
export type ServiceSlotKind = (typeof serviceSlotKind)[keyof typeof serviceSlotKind];

/** `enum scheduler_flag`. */
export const schedulerFlag = {
  SCHEDULER_FALLBACK: 1,
  SCHEDULER_PORT: 2,
} as const;
export type SchedulerFlag = (typeof schedulerFlag)[keyof typeof schedulerFlag];

/** `enum service_flag`. */
export const serviceFlag = {
  SERVICE_ONE_PACKET: 1,
  SERVICE_THRESHOLDS: 2,
  SERVICE_WIDE_WEIGHTS: 4,
  SERVICE_LEAVING: 8,
} as const;
export type ServiceFlag = (typeof serviceFlag)[keyof typeof serviceFlag];

/** `enum real_server_flag`. */
export const realServerFlag = {
  REAL_SERVER_AVAILABLE: 1,
  REAL_SERVER_LOCAL: 2,
  REAL_SERVER_RESOLVED: 4,
  REAL_SERVER_FELLOW: 8,
} as const;
export type RealServerFlag = (typeof realServerFlag)[keyof typeof realServerFlag];

/** `struct interface`, 16 bytes. */
export interface Interface {
  readonly ifindex: number;
  readonly vlan: number;
  readonly mac: Uint8Array;
  readonly mtu: number;
}

export const interfaceStruct = {
  size: 16,
  fields: {
    ifindex: { offset: 0, size: 4 },
    vlan: { offset: 4, size: 2 },
    reserved: { offset: 6, size: 2 },
    mac: { offset: 8, size: 6 },
    mtu: { offset: 14, size: 2 },
  },
  read(view: DataView, at: number): Interface {
    return {
      ifindex: view.getUint32(at, true),
      vlan: view.getUint16(at + 4, true),
      mac: readBytes(view, at + 8, 6),
      mtu: view.getUint16(at + 14, true),
    };
  },
  write(view: DataView, at: number, value: Interface): void {
    view.setUint32(at, value.ifindex, true);
    view.setUint16(at + 4, value.vlan, true);
    clear(view, at + 6, 2);
    writeBytes(view, at + 8, value.mac, 6);
    view.setUint16(at + 14, value.mtu, true);
  },
  decode(bytes: Uint8Array, at = 0): Interface {
    return interfaceStruct.read(viewOf(bytes), at);
  },
  encode(value: Interface): Uint8Array {
    const bytes = new Uint8Array(16);
    interfaceStruct.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<Interface>;

/** `struct service_slot`, 32 bytes. */
export interface ServiceSlot {
  readonly address: readonly number[];
  readonly port: number;
  readonly protocol: number;
  readonly kind: number;
  readonly service: number;
}

export const serviceSlot = {
  size: 32,
  fields: {
    address: { offset: 0, size: 16 },
    port: { offset: 16, size: 2 },
    protocol: { offset: 18, size: 1 },
    kind: { offset: 19, size: 1 },
    service: { offset: 20, size: 4 },
    reserved: { offset: 24, size: 8 },
  },
  read(view: DataView, at: number): ServiceSlot {
    return {
      address: [
        view.getUint32(at, false),
        view.getUint32(at + 4, false),
        view.getUint32(at + 8, false),
        view.getUint32(at + 12, false),
      ],
      port: view.getUint16(at + 16, false),
      protocol: view.getUint8(at + 18),
      kind: view.getUint8(at + 19),
      service: view.getUint32(at + 20, true),
    };
  },
  write(view: DataView, at: number, value: ServiceSlot): void {
    checkLength(value.address, 4);
    value.address.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
    view.setUint16(at + 16, value.port, false);
    view.setUint8(at + 18, value.protocol);
    view.setUint8(at + 19, value.kind);
    view.setUint32(at + 20, value.service, true);
    clear(view, at + 24, 8);
  },
  decode(bytes: Uint8Array, at = 0): ServiceSlot {
    return serviceSlot.read(viewOf(bytes), at);
  },
  encode(value: ServiceSlot): Uint8Array {
    const bytes = new Uint8Array(32);
    serviceSlot.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ServiceSlot>;

/** `struct service`, 128 bytes. */
export interface Service {
  readonly address: readonly number[];
  readonly port: number;
  readonly protocol: number;
  readonly family: number;
  readonly scheduler: number;
  readonly flags: number;
  readonly scheduler_flags: number;
  readonly persistence_timeout: number;
  readonly persistence_netmask: readonly number[];
  readonly ring_segment: number;
  readonly ring_segments: number;
  readonly ring_length: number;
  readonly tree: number;
  readonly tree_leaves: number;
  readonly spread: number;
  readonly spread_length: number;
  readonly idle_timeout: number;
  readonly new_per_second: number;
  readonly retired_packets: bigint;
  readonly retired_bytes: bigint;
  readonly retired_connections: bigint;
  readonly ring_cursor: bigint;
  readonly ring_origin: number;
  readonly new_per_source: number;
}

export const service = {
  size: 128,
  fields: {
    address: { offset: 0, size: 16 },
    port: { offset: 16, size: 2 },
    protocol: { offset: 18, size: 1 },
    family: { offset: 19, size: 1 },
    scheduler: { offset: 20, size: 1 },
    flags: { offset: 21, size: 1 },
    scheduler_flags: { offset: 22, size: 2 },
    persistence_timeout: { offset: 24, size: 4 },
    persistence_netmask: { offset: 28, size: 16 },
    ring_segment: { offset: 44, size: 4 },
    ring_segments: { offset: 48, size: 4 },
    ring_length: { offset: 52, size: 4 },
    tree: { offset: 56, size: 4 },
    tree_leaves: { offset: 60, size: 4 },
    spread: { offset: 64, size: 4 },
    spread_length: { offset: 68, size: 4 },
    idle_timeout: { offset: 72, size: 4 },
    new_per_second: { offset: 76, size: 4 },
    retired_packets: { offset: 80, size: 8 },
    retired_bytes: { offset: 88, size: 8 },
    retired_connections: { offset: 96, size: 8 },
    ring_cursor: { offset: 104, size: 8 },
    ring_origin: { offset: 112, size: 4 },
    new_per_source: { offset: 116, size: 4 },
    reserved: { offset: 120, size: 8 },
  },
  read(view: DataView, at: number): Service {
    return {
      address: [
        view.getUint32(at, false),
        view.getUint32(at + 4, false),
        view.getUint32(at + 8, false),
        view.getUint32(at + 12, false),
      ],
      port: view.getUint16(at + 16, false),
      protocol: view.getUint8(at + 18),
      family: view.getUint8(at + 19),
      scheduler: view.getUint8(at + 20),
      flags: view.getUint8(at + 21),
      scheduler_flags: view.getUint16(at + 22, true),
      persistence_timeout: view.getUint32(at + 24, true),
      persistence_netmask: [
        view.getUint32(at + 28, false),
        view.getUint32(at + 32, false),
        view.getUint32(at + 36, false),
        view.getUint32(at + 40, false),
      ],
      ring_segment: view.getUint32(at + 44, true),
      ring_segments: view.getUint32(at + 48, true),
      ring_length: view.getUint32(at + 52, true),
      tree: view.getUint32(at + 56, true),
      tree_leaves: view.getUint32(at + 60, true),
      spread: view.getUint32(at + 64, true),
      spread_length: view.getUint32(at + 68, true),
      idle_timeout: view.getUint32(at + 72, true),
      new_per_second: view.getUint32(at + 76, true),
      retired_packets: view.getBigUint64(at + 80, true),
      retired_bytes: view.getBigUint64(at + 88, true),
      retired_connections: view.getBigUint64(at + 96, true),
      ring_cursor: view.getBigUint64(at + 104, true),
      ring_origin: view.getUint32(at + 112, true),
      new_per_source: view.getUint32(at + 116, true),
    };
  },
  write(view: DataView, at: number, value: Service): void {
    checkLength(value.address, 4);
    value.address.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
    view.setUint16(at + 16, value.port, false);
    view.setUint8(at + 18, value.protocol);
    view.setUint8(at + 19, value.family);
    view.setUint8(at + 20, value.scheduler);
    view.setUint8(at + 21, value.flags);
    view.setUint16(at + 22, value.scheduler_flags, true);
    view.setUint32(at + 24, value.persistence_timeout, true);
    checkLength(value.persistence_netmask, 4);
    value.persistence_netmask.forEach((item, i) => {
      view.setUint32(at + 28 + i * 4, item, false);
    });
    view.setUint32(at + 44, value.ring_segment, true);
    view.setUint32(at + 48, value.ring_segments, true);
    view.setUint32(at + 52, value.ring_length, true);
    view.setUint32(at + 56, value.tree, true);
    view.setUint32(at + 60, value.tree_leaves, true);
    view.setUint32(at + 64, value.spread, true);
    view.setUint32(at + 68, value.spread_length, true);
    view.setUint32(at + 72, value.idle_timeout, true);
    view.setUint32(at + 76, value.new_per_second, true);
    view.setBigUint64(at + 80, value.retired_packets, true);
    view.setBigUint64(at + 88, value.retired_bytes, true);
    view.setBigUint64(at + 96, value.retired_connections, true);
    view.setBigUint64(at + 104, value.ring_cursor, true);
    view.setUint32(at + 112, value.ring_origin, true);
    view.setUint32(at + 116, value.new_per_source, true);
    clear(view, at + 120, 8);
  },
  decode(bytes: Uint8Array, at = 0): Service {
    return service.read(viewOf(bytes), at);
  },
  encode(value: Service): Uint8Array {
    const bytes = new Uint8Array(128);
    service.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<Service>;

/** `struct service_state`, 64 bytes. */
export interface ServiceState {
  readonly cursor: bigint;
  readonly sticky: number;
  readonly sticky_used: number;
  readonly light: number;
  readonly scheduled: number;
  readonly replicas_changed: number;
  readonly replicas_round: number;
  readonly replicas_lock: number;
  readonly restarted: number;
  readonly limit_tick: number;
  readonly limit_count: number;
  readonly retired_replies: bigint;
  readonly retired_reply_bytes: bigint;
}

export const serviceState = {
  size: 64,
  fields: {
    cursor: { offset: 0, size: 8 },
    sticky: { offset: 8, size: 4 },
    sticky_used: { offset: 12, size: 4 },
    light: { offset: 16, size: 4 },
    scheduled: { offset: 20, size: 4 },
    replicas_changed: { offset: 24, size: 4 },
    replicas_round: { offset: 28, size: 4 },
    replicas_lock: { offset: 32, size: 4 },
    restarted: { offset: 36, size: 4 },
    limit_tick: { offset: 40, size: 4 },
    limit_count: { offset: 44, size: 4 },
    retired_replies: { offset: 48, size: 8 },
    retired_reply_bytes: { offset: 56, size: 8 },
  },
  read(view: DataView, at: number): ServiceState {
    return {
      cursor: view.getBigUint64(at, true),
      sticky: view.getUint32(at + 8, true),
      sticky_used: view.getUint32(at + 12, true),
      light: view.getUint32(at + 16, true),
      scheduled: view.getUint32(at + 20, true),
      replicas_changed: view.getUint32(at + 24, true),
      replicas_round: view.getUint32(at + 28, true),
      replicas_lock: view.getUint32(at + 32, true),
      restarted: view.getUint32(at + 36, true),
      limit_tick: view.getUint32(at + 40, true),
      limit_count: view.getUint32(at + 44, true),
      retired_replies: view.getBigUint64(at + 48, true),
      retired_reply_bytes: view.getBigUint64(at + 56, true),
    };
  },
  write(view: DataView, at: number, value: ServiceState): void {
    view.setBigUint64(at, value.cursor, true);
    view.setUint32(at + 8, value.sticky, true);
    view.setUint32(at + 12, value.sticky_used, true);
    view.setUint32(at + 16, value.light, true);
    view.setUint32(at + 20, value.scheduled, true);
    view.setUint32(at + 24, value.replicas_changed, true);
    view.setUint32(at + 28, value.replicas_round, true);
    view.setUint32(at + 32, value.replicas_lock, true);
    view.setUint32(at + 36, value.restarted, true);
    view.setUint32(at + 40, value.limit_tick, true);
    view.setUint32(at + 44, value.limit_count, true);
    view.setBigUint64(at + 48, value.retired_replies, true);
    view.setBigUint64(at + 56, value.retired_reply_bytes, true);
  },
  decode(bytes: Uint8Array, at = 0): ServiceState {
    return serviceState.read(viewOf(bytes), at);
  },
  encode(value: ServiceState): Uint8Array {
    const bytes = new Uint8Array(64);
    serviceState.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ServiceState>;

/** `struct ring_segment`, 16 bytes. */
export interface RingSegment {
  readonly end: number;
  readonly first: number;
  readonly length: number;
  readonly weight: number;
}

export const ringSegment = {
  size: 16,
  fields: {
    end: { offset: 0, size: 4 },
    first: { offset: 4, size: 4 },
    length: { offset: 8, size: 4 },
    weight: { offset: 12, size: 4 },
  },
  read(view: DataView, at: number): RingSegment {
    return {
      end: view.getUint32(at, true),
      first: view.getUint32(at + 4, true),
      length: view.getUint32(at + 8, true),
      weight: view.getUint32(at + 12, true),
    };
  },
  write(view: DataView, at: number, value: RingSegment): void {
    view.setUint32(at, value.end, true);
    view.setUint32(at + 4, value.first, true);
    view.setUint32(at + 8, value.length, true);
    view.setUint32(at + 12, value.weight, true);
  },
  decode(bytes: Uint8Array, at = 0): RingSegment {
    return ringSegment.read(viewOf(bytes), at);
  },
  encode(value: RingSegment): Uint8Array {
    const bytes = new Uint8Array(16);
    ringSegment.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<RingSegment>;

/** `struct real_server`, 64 bytes. */
export interface RealServer {
  readonly next_hop_mac: Uint8Array;
  readonly source_mac: Uint8Array;
  readonly ifindex: number;
  readonly vlan: number;
  readonly mtu: number;
  readonly service: number;
  readonly flags: number;
  readonly address: readonly number[];
  readonly port: number;
  readonly family: number;
  readonly method: number;
  readonly leaf: number;
  readonly upper_threshold: number;
  readonly lower_threshold: number;
  readonly idle_timeout: number;
}

export const realServer = {
  size: 64,
  fields: {
    next_hop_mac: { offset: 0, size: 6 },
    source_mac: { offset: 6, size: 6 },
    ifindex: { offset: 12, size: 4 },
    vlan: { offset: 16, size: 2 },
    mtu: { offset: 18, size: 2 },
    service: { offset: 20, size: 4 },
    flags: { offset: 24, size: 4 },
    address: { offset: 28, size: 16 },
    port: { offset: 44, size: 2 },
    family: { offset: 46, size: 1 },
    method: { offset: 47, size: 1 },
    leaf: { offset: 48, size: 4 },
    upper_threshold: { offset: 52, size: 4 },
    lower_threshold: { offset: 56, size: 4 },
    idle_timeout: { offset: 60, size: 4 },
  },
  read(view: DataView, at: number): RealServer {
    return {
      next_hop_mac: readBytes(view, at, 6),
      source_mac: readBytes(view, at + 6, 6),
      ifindex: view.getUint32(at + 12, true),
      vlan: view.getUint16(at + 16, true),
      mtu: view.getUint16(at + 18, true),
      service: view.getUint32(at + 20, true),
      flags: view.getUint32(at + 24, true),
      address: [
        view.getUint32(at + 28, false),
        view.getUint32(at + 32, false),
        view.getUint32(at + 36, false),
        view.getUint32(at + 40, false),
      ],
      port: view.getUint16(at + 44, false),
      family: view.getUint8(at + 46),
      method: view.getUint8(at + 47),
      leaf: view.getUint32(at + 48, true),
      upper_threshold: view.getUint32(at + 52, true),
      lower_threshold: view.getUint32(at + 56, true),
      idle_timeout: view.getUint32(at + 60, true),
    };
  },
  write(view: DataView, at: number, value: RealServer): void {
    writeBytes(view, at, value.next_hop_mac, 6);
    writeBytes(view, at + 6, value.source_mac, 6);
    view.setUint32(at + 12, value.ifindex, true);
    view.setUint16(at + 16, value.vlan, true);
    view.setUint16(at + 18, value.mtu, true);
    view.setUint32(at + 20, value.service, true);
    view.setUint32(at + 24, value.flags, true);
    checkLength(value.address, 4);
    value.address.forEach((item, i) => {
      view.setUint32(at + 28 + i * 4, item, false);
    });
    view.setUint16(at + 44, value.port, false);
    view.setUint8(at + 46, value.family);
    view.setUint8(at + 47, value.method);
    view.setUint32(at + 48, value.leaf, true);
    view.setUint32(at + 52, value.upper_threshold, true);
    view.setUint32(at + 56, value.lower_threshold, true);
    view.setUint32(at + 60, value.idle_timeout, true);
  },
  decode(bytes: Uint8Array, at = 0): RealServer {
    return realServer.read(viewOf(bytes), at);
  },
  encode(value: RealServer): Uint8Array {
    const bytes = new Uint8Array(64);
    realServer.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<RealServer>;

/** `struct tunnel`, 32 bytes. */
export interface Tunnel {
  readonly source: readonly number[];
  readonly port: number;
  readonly type: number;
  readonly checksum: number;
  readonly overhead: number;
  readonly path_mtu: number;
  readonly path_mtu_tick: number;
}

export const tunnel = {
  size: 32,
  fields: {
    source: { offset: 0, size: 16 },
    port: { offset: 16, size: 2 },
    type: { offset: 18, size: 1 },
    checksum: { offset: 19, size: 1 },
    overhead: { offset: 20, size: 2 },
    path_mtu: { offset: 22, size: 2 },
    path_mtu_tick: { offset: 24, size: 4 },
    reserved: { offset: 28, size: 4 },
  },
  read(view: DataView, at: number): Tunnel {
    return {
      source: [
        view.getUint32(at, false),
        view.getUint32(at + 4, false),
        view.getUint32(at + 8, false),
        view.getUint32(at + 12, false),
      ],
      port: view.getUint16(at + 16, false),
      type: view.getUint8(at + 18),
      checksum: view.getUint8(at + 19),
      overhead: view.getUint16(at + 20, true),
      path_mtu: view.getUint16(at + 22, true),
      path_mtu_tick: view.getUint32(at + 24, true),
    };
  },
  write(view: DataView, at: number, value: Tunnel): void {
    checkLength(value.source, 4);
    value.source.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
    view.setUint16(at + 16, value.port, false);
    view.setUint8(at + 18, value.type);
    view.setUint8(at + 19, value.checksum);
    view.setUint16(at + 20, value.overhead, true);
    view.setUint16(at + 22, value.path_mtu, true);
    view.setUint32(at + 24, value.path_mtu_tick, true);
    clear(view, at + 28, 4);
  },
  decode(bytes: Uint8Array, at = 0): Tunnel {
    return tunnel.read(viewOf(bytes), at);
  },
  encode(value: Tunnel): Uint8Array {
    const bytes = new Uint8Array(32);
    tunnel.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<Tunnel>;

/** `struct reply_counters`, 16 bytes. */
export interface ReplyCounters {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export const replyCounters = {
  size: 16,
  fields: {
    packets: { offset: 0, size: 8 },
    bytes: { offset: 8, size: 8 },
  },
  read(view: DataView, at: number): ReplyCounters {
    return {
      packets: view.getBigUint64(at, true),
      bytes: view.getBigUint64(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: ReplyCounters): void {
    view.setBigUint64(at, value.packets, true);
    view.setBigUint64(at + 8, value.bytes, true);
  },
  decode(bytes: Uint8Array, at = 0): ReplyCounters {
    return replyCounters.read(viewOf(bytes), at);
  },
  encode(value: ReplyCounters): Uint8Array {
    const bytes = new Uint8Array(16);
    replyCounters.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ReplyCounters>;

/** `struct vlan_link`, 8 bytes. */
export interface VlanLink {
  readonly ifindex: number;
  readonly vlan: number;
}

export const vlanLink = {
  size: 8,
  fields: {
    ifindex: { offset: 0, size: 4 },
    vlan: { offset: 4, size: 2 },
    reserved: { offset: 6, size: 2 },
  },
  read(view: DataView, at: number): VlanLink {
    return {
      ifindex: view.getUint32(at, true),
      vlan: view.getUint16(at + 4, true),
    };
  },
  write(view: DataView, at: number, value: VlanLink): void {
    view.setUint32(at, value.ifindex, true);
    view.setUint16(at + 4, value.vlan, true);
    clear(view, at + 6, 2);
  },
  decode(bytes: Uint8Array, at = 0): VlanLink {
    return vlanLink.read(viewOf(bytes), at);
  },
  encode(value: VlanLink): Uint8Array {
    const bytes = new Uint8Array(8);
    vlanLink.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<VlanLink>;

/** `struct real_server_load`, 16 bytes. */
export interface RealServerLoad {
  readonly active: number;
  readonly inactive: number;
  readonly persistent: number;
  readonly weight: number;
}

export const realServerLoad = {
  size: 16,
  fields: {
    active: { offset: 0, size: 4 },
    inactive: { offset: 4, size: 4 },
    persistent: { offset: 8, size: 4 },
    weight: { offset: 12, size: 4 },
  },
  read(view: DataView, at: number): RealServerLoad {
    return {
      active: view.getUint32(at, true),
      inactive: view.getUint32(at + 4, true),
      persistent: view.getUint32(at + 8, true),
      weight: view.getUint32(at + 12, true),
    };
  },
  write(view: DataView, at: number, value: RealServerLoad): void {
    view.setUint32(at, value.active, true);
    view.setUint32(at + 4, value.inactive, true);
    view.setUint32(at + 8, value.persistent, true);
    view.setUint32(at + 12, value.weight, true);
  },
  decode(bytes: Uint8Array, at = 0): RealServerLoad {
    return realServerLoad.read(viewOf(bytes), at);
  },
  encode(value: RealServerLoad): Uint8Array {
    const bytes = new Uint8Array(16);
    realServerLoad.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<RealServerLoad>;

/** `struct real_server_history`, 16 bytes. */
export interface RealServerHistory {
  readonly last_weight: number;
  readonly next_replica: number;
  readonly replicas_round: number;
}

export const realServerHistory = {
  size: 16,
  fields: {
    last_weight: { offset: 0, size: 4 },
    next_replica: { offset: 4, size: 4 },
    replicas_round: { offset: 8, size: 4 },
    reserved: { offset: 12, size: 4 },
  },
  read(view: DataView, at: number): RealServerHistory {
    return {
      last_weight: view.getUint32(at, true),
      next_replica: view.getUint32(at + 4, true),
      replicas_round: view.getUint32(at + 8, true),
    };
  },
  write(view: DataView, at: number, value: RealServerHistory): void {
    view.setUint32(at, value.last_weight, true);
    view.setUint32(at + 4, value.next_replica, true);
    view.setUint32(at + 8, value.replicas_round, true);
    clear(view, at + 12, 4);
  },
  decode(bytes: Uint8Array, at = 0): RealServerHistory {
    return realServerHistory.read(viewOf(bytes), at);
  },
  encode(value: RealServerHistory): Uint8Array {
    const bytes = new Uint8Array(16);
    realServerHistory.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<RealServerHistory>;

/** `struct real_server_counters`, 32 bytes. */
export interface RealServerCounters {
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly connections: bigint;
}

export const realServerCounters = {
  size: 32,
  fields: {
    packets: { offset: 0, size: 8 },
    bytes: { offset: 8, size: 8 },
    connections: { offset: 16, size: 8 },
    reserved: { offset: 24, size: 8 },
  },
  read(view: DataView, at: number): RealServerCounters {
    return {
      packets: view.getBigUint64(at, true),
      bytes: view.getBigUint64(at + 8, true),
      connections: view.getBigUint64(at + 16, true),
    };
  },
  write(view: DataView, at: number, value: RealServerCounters): void {
    view.setBigUint64(at, value.packets, true);
    view.setBigUint64(at + 8, value.bytes, true);
    view.setBigUint64(at + 16, value.connections, true);
    clear(view, at + 24, 8);
  },
  decode(bytes: Uint8Array, at = 0): RealServerCounters {
    return realServerCounters.read(viewOf(bytes), at);
  },
  encode(value: RealServerCounters): Uint8Array {
    const bytes = new Uint8Array(32);
    realServerCounters.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<RealServerCounters>;

/** `struct connection_detail`, 8 bytes. */
export interface ConnectionDetail {
  readonly client: number;
  readonly client_port: number;
  readonly virtual_port: number;
}

export const connectionDetail = {
  size: 8,
  fields: {
    client: { offset: 0, size: 4 },
    client_port: { offset: 4, size: 2 },
    virtual_port: { offset: 6, size: 2 },
  },
  read(view: DataView, at: number): ConnectionDetail {
    return {
      client: view.getUint32(at, false),
      client_port: view.getUint16(at + 4, false),
      virtual_port: view.getUint16(at + 6, false),
    };
  },
  write(view: DataView, at: number, value: ConnectionDetail): void {
    view.setUint32(at, value.client, false);
    view.setUint16(at + 4, value.client_port, false);
    view.setUint16(at + 6, value.virtual_port, false);
  },
  decode(bytes: Uint8Array, at = 0): ConnectionDetail {
    return connectionDetail.read(viewOf(bytes), at);
  },
  encode(value: ConnectionDetail): Uint8Array {
    const bytes = new Uint8Array(8);
    connectionDetail.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ConnectionDetail>;

/** `struct connection_line`, 128 bytes. */
export interface ConnectionLine {
  readonly slot: readonly bigint[];
  readonly detail: readonly ConnectionDetail[];
}

export const connectionLine = {
  size: 128,
  fields: {
    slot: { offset: 0, size: 64 },
    detail: { offset: 64, size: 64 },
  },
  read(view: DataView, at: number): ConnectionLine {
    return {
      slot: [
        view.getBigUint64(at, true),
        view.getBigUint64(at + 8, true),
        view.getBigUint64(at + 16, true),
        view.getBigUint64(at + 24, true),
        view.getBigUint64(at + 32, true),
        view.getBigUint64(at + 40, true),
        view.getBigUint64(at + 48, true),
        view.getBigUint64(at + 56, true),
      ],
      detail: [
        connectionDetail.read(view, at + 64),
        connectionDetail.read(view, at + 72),
        connectionDetail.read(view, at + 80),
        connectionDetail.read(view, at + 88),
        connectionDetail.read(view, at + 96),
        connectionDetail.read(view, at + 104),
        connectionDetail.read(view, at + 112),
        connectionDetail.read(view, at + 120),
      ],
    };
  },
  write(view: DataView, at: number, value: ConnectionLine): void {
    checkLength(value.slot, 8);
    value.slot.forEach((item, i) => {
      view.setBigUint64(at + i * 8, item, true);
    });
    checkLength(value.detail, 8);
    value.detail.forEach((item, i) => {
      connectionDetail.write(view, at + 64 + i * 8, item);
    });
  },
  decode(bytes: Uint8Array, at = 0): ConnectionLine {
    return connectionLine.read(viewOf(bytes), at);
  },
  encode(value: ConnectionLine): Uint8Array {
    const bytes = new Uint8Array(128);
    connectionLine.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ConnectionLine>;

/** `struct connection_extra`, 16 bytes. */
export interface ConnectionExtra {
  readonly client: readonly number[];
  readonly used: number;
}

export const connectionExtra = {
  size: 16,
  fields: {
    client: { offset: 0, size: 12 },
    used: { offset: 12, size: 4 },
  },
  read(view: DataView, at: number): ConnectionExtra {
    return {
      client: [view.getUint32(at, false), view.getUint32(at + 4, false), view.getUint32(at + 8, false)],
      used: view.getUint32(at + 12, true),
    };
  },
  write(view: DataView, at: number, value: ConnectionExtra): void {
    checkLength(value.client, 3);
    value.client.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
    view.setUint32(at + 12, value.used, true);
  },
  decode(bytes: Uint8Array, at = 0): ConnectionExtra {
    return connectionExtra.read(viewOf(bytes), at);
  },
  encode(value: ConnectionExtra): Uint8Array {
    const bytes = new Uint8Array(16);
    connectionExtra.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ConnectionExtra>;

/** `struct source_key`, 24 bytes. */
export interface SourceKey {
  readonly network: readonly number[];
  readonly service: number;
}

export const sourceKey = {
  size: 24,
  fields: {
    network: { offset: 0, size: 16 },
    service: { offset: 16, size: 4 },
    reserved: { offset: 20, size: 4 },
  },
  read(view: DataView, at: number): SourceKey {
    return {
      network: [
        view.getUint32(at, false),
        view.getUint32(at + 4, false),
        view.getUint32(at + 8, false),
        view.getUint32(at + 12, false),
      ],
      service: view.getUint32(at + 16, true),
    };
  },
  write(view: DataView, at: number, value: SourceKey): void {
    checkLength(value.network, 4);
    value.network.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
    view.setUint32(at + 16, value.service, true);
    clear(view, at + 20, 4);
  },
  decode(bytes: Uint8Array, at = 0): SourceKey {
    return sourceKey.read(viewOf(bytes), at);
  },
  encode(value: SourceKey): Uint8Array {
    const bytes = new Uint8Array(24);
    sourceKey.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<SourceKey>;

/** `struct source`, 8 bytes. */
export interface Source {
  readonly tick: number;
  readonly count: number;
}

export const source = {
  size: 8,
  fields: {
    tick: { offset: 0, size: 4 },
    count: { offset: 4, size: 4 },
  },
  read(view: DataView, at: number): Source {
    return {
      tick: view.getUint32(at, true),
      count: view.getUint32(at + 4, true),
    };
  },
  write(view: DataView, at: number, value: Source): void {
    view.setUint32(at, value.tick, true);
    view.setUint32(at + 4, value.count, true);
  },
  decode(bytes: Uint8Array, at = 0): Source {
    return source.read(viewOf(bytes), at);
  },
  encode(value: Source): Uint8Array {
    const bytes = new Uint8Array(8);
    source.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<Source>;

/** `struct fragment_key`, 40 bytes. */
export interface FragmentKey {
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly id: number;
  readonly protocol: number;
}

export const fragmentKey = {
  size: 40,
  fields: {
    source: { offset: 0, size: 16 },
    destination: { offset: 16, size: 16 },
    id: { offset: 32, size: 4 },
    protocol: { offset: 36, size: 4 },
  },
  read(view: DataView, at: number): FragmentKey {
    return {
      source: [
        view.getUint32(at, false),
        view.getUint32(at + 4, false),
        view.getUint32(at + 8, false),
        view.getUint32(at + 12, false),
      ],
      destination: [
        view.getUint32(at + 16, false),
        view.getUint32(at + 20, false),
        view.getUint32(at + 24, false),
        view.getUint32(at + 28, false),
      ],
      id: view.getUint32(at + 32, true),
      protocol: view.getUint32(at + 36, true),
    };
  },
  write(view: DataView, at: number, value: FragmentKey): void {
    checkLength(value.source, 4);
    value.source.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
    checkLength(value.destination, 4);
    value.destination.forEach((item, i) => {
      view.setUint32(at + 16 + i * 4, item, false);
    });
    view.setUint32(at + 32, value.id, true);
    view.setUint32(at + 36, value.protocol, true);
  },
  decode(bytes: Uint8Array, at = 0): FragmentKey {
    return fragmentKey.read(viewOf(bytes), at);
  },
  encode(value: FragmentKey): Uint8Array {
    const bytes = new Uint8Array(40);
    fragmentKey.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<FragmentKey>;

/** `struct fragment_address`, 16 bytes. */
export interface FragmentAddress {
  readonly address: readonly number[];
}

export const fragmentAddress = {
  size: 16,
  fields: {
    address: { offset: 0, size: 16 },
  },
  read(view: DataView, at: number): FragmentAddress {
    return {
      address: [
        view.getUint32(at, false),
        view.getUint32(at + 4, false),
        view.getUint32(at + 8, false),
        view.getUint32(at + 12, false),
      ],
    };
  },
  write(view: DataView, at: number, value: FragmentAddress): void {
    checkLength(value.address, 4);
    value.address.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
  },
  decode(bytes: Uint8Array, at = 0): FragmentAddress {
    return fragmentAddress.read(viewOf(bytes), at);
  },
  encode(value: FragmentAddress): Uint8Array {
    const bytes = new Uint8Array(16);
    fragmentAddress.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<FragmentAddress>;

/** `struct fragment`, 8 bytes. */
export interface Fragment {
  readonly real_server: number;
  readonly tick: number;
}

export const fragment = {
  size: 8,
  fields: {
    real_server: { offset: 0, size: 4 },
    tick: { offset: 4, size: 4 },
  },
  read(view: DataView, at: number): Fragment {
    return {
      real_server: view.getUint32(at, true),
      tick: view.getUint32(at + 4, true),
    };
  },
  write(view: DataView, at: number, value: Fragment): void {
    view.setUint32(at, value.real_server, true);
    view.setUint32(at + 4, value.tick, true);
  },
  decode(bytes: Uint8Array, at = 0): Fragment {
    return fragment.read(viewOf(bytes), at);
  },
  encode(value: Fragment): Uint8Array {
    const bytes = new Uint8Array(8);
    fragment.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<Fragment>;

/** `struct fragment_record`, 48 bytes. */
export interface FragmentRecord {
  readonly key: FragmentKey;
  readonly ifindex: number;
  readonly length: number;
}

export const fragmentRecord = {
  size: 48,
  fields: {
    key: { offset: 0, size: 40 },
    ifindex: { offset: 40, size: 4 },
    length: { offset: 44, size: 4 },
  },
  read(view: DataView, at: number): FragmentRecord {
    return {
      key: fragmentKey.read(view, at),
      ifindex: view.getUint32(at + 40, true),
      length: view.getUint32(at + 44, true),
    };
  },
  write(view: DataView, at: number, value: FragmentRecord): void {
    fragmentKey.write(view, at, value.key);
    view.setUint32(at + 40, value.ifindex, true);
    view.setUint32(at + 44, value.length, true);
  },
  decode(bytes: Uint8Array, at = 0): FragmentRecord {
    return fragmentRecord.read(viewOf(bytes), at);
  },
  encode(value: FragmentRecord): Uint8Array {
    const bytes = new Uint8Array(48);
    fragmentRecord.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<FragmentRecord>;

/** `struct packet_counters`, 256 bytes. */
export interface PacketCounters {
  readonly pass_not_ip: bigint;
  readonly pass_not_service: bigint;
  readonly pass_other_mac: bigint;
  readonly pass_other_vlan: bigint;
  readonly pass_malformed: bigint;
  readonly pass_no_connection: bigint;
  readonly pass_source_address: bigint;
  readonly pass_option: bigint;
  readonly pass_fragment: bigint;
  readonly pass_directed: bigint;
  readonly pass_icmp: bigint;
  readonly drop_short_header: bigint;
  readonly drop_no_real_server: bigint;
  readonly drop_real_server_gone: bigint;
  readonly drop_unresolved: bigint;
  readonly drop_time_exceeded: bigint;
  readonly drop_too_big: bigint;
  readonly drop_rewrite: bigint;
  readonly drop_service_limit: bigint;
  readonly drop_source_limit: bigint;
  readonly icmp_unreachable: bigint;
  readonly icmp_time_exceeded: bigint;
  readonly icmp_too_big: bigint;
  readonly reset_real_server_gone: bigint;
  readonly forward_untracked: bigint;
  readonly forward_fragment: bigint;
  readonly forward_icmp: bigint;
  readonly expired: bigint;
  readonly victim_expired: bigint;
  readonly victim_closing: bigint;
  readonly victim_half_open: bigint;
  readonly hold_fragment: bigint;
}

export const packetCounters = {
  size: 256,
  fields: {
    pass_not_ip: { offset: 0, size: 8 },
    pass_not_service: { offset: 8, size: 8 },
    pass_other_mac: { offset: 16, size: 8 },
    pass_other_vlan: { offset: 24, size: 8 },
    pass_malformed: { offset: 32, size: 8 },
    pass_no_connection: { offset: 40, size: 8 },
    pass_source_address: { offset: 48, size: 8 },
    pass_option: { offset: 56, size: 8 },
    pass_fragment: { offset: 64, size: 8 },
    pass_directed: { offset: 72, size: 8 },
    pass_icmp: { offset: 80, size: 8 },
    drop_short_header: { offset: 88, size: 8 },
    drop_no_real_server: { offset: 96, size: 8 },
    drop_real_server_gone: { offset: 104, size: 8 },
    drop_unresolved: { offset: 112, size: 8 },
    drop_time_exceeded: { offset: 120, size: 8 },
    drop_too_big: { offset: 128, size: 8 },
    drop_rewrite: { offset: 136, size: 8 },
    drop_service_limit: { offset: 144, size: 8 },
    drop_source_limit: { offset: 152, size: 8 },
    icmp_unreachable: { offset: 160, size: 8 },
    icmp_time_exceeded: { offset: 168, size: 8 },
    icmp_too_big: { offset: 176, size: 8 },
    reset_real_server_gone: { offset: 184, size: 8 },
    forward_untracked: { offset: 192, size: 8 },
    forward_fragment: { offset: 200, size: 8 },
    forward_icmp: { offset: 208, size: 8 },
    expired: { offset: 216, size: 8 },
    victim_expired: { offset: 224, size: 8 },
    victim_closing: { offset: 232, size: 8 },
    victim_half_open: { offset: 240, size: 8 },
    hold_fragment: { offset: 248, size: 8 },
  },
  read(view: DataView, at: number): PacketCounters {
    return {
      pass_not_ip: view.getBigUint64(at, true),
      pass_not_service: view.getBigUint64(at + 8, true),
      pass_other_mac: view.getBigUint64(at + 16, true),
      pass_other_vlan: view.getBigUint64(at + 24, true),
      pass_malformed: view.getBigUint64(at + 32, true),
      pass_no_connection: view.getBigUint64(at + 40, true),
      pass_source_address: view.getBigUint64(at + 48, true),
      pass_option: view.getBigUint64(at + 56, true),
      pass_fragment: view.getBigUint64(at + 64, true),
      pass_directed: view.getBigUint64(at + 72, true),
      pass_icmp: view.getBigUint64(at + 80, true),
      drop_short_header: view.getBigUint64(at + 88, true),
      drop_no_real_server: view.getBigUint64(at + 96, true),
      drop_real_server_gone: view.getBigUint64(at + 104, true),
      drop_unresolved: view.getBigUint64(at + 112, true),
      drop_time_exceeded: view.getBigUint64(at + 120, true),
      drop_too_big: view.getBigUint64(at + 128, true),
      drop_rewrite: view.getBigUint64(at + 136, true),
      drop_service_limit: view.getBigUint64(at + 144, true),
      drop_source_limit: view.getBigUint64(at + 152, true),
      icmp_unreachable: view.getBigUint64(at + 160, true),
      icmp_time_exceeded: view.getBigUint64(at + 168, true),
      icmp_too_big: view.getBigUint64(at + 176, true),
      reset_real_server_gone: view.getBigUint64(at + 184, true),
      forward_untracked: view.getBigUint64(at + 192, true),
      forward_fragment: view.getBigUint64(at + 200, true),
      forward_icmp: view.getBigUint64(at + 208, true),
      expired: view.getBigUint64(at + 216, true),
      victim_expired: view.getBigUint64(at + 224, true),
      victim_closing: view.getBigUint64(at + 232, true),
      victim_half_open: view.getBigUint64(at + 240, true),
      hold_fragment: view.getBigUint64(at + 248, true),
    };
  },
  write(view: DataView, at: number, value: PacketCounters): void {
    view.setBigUint64(at, value.pass_not_ip, true);
    view.setBigUint64(at + 8, value.pass_not_service, true);
    view.setBigUint64(at + 16, value.pass_other_mac, true);
    view.setBigUint64(at + 24, value.pass_other_vlan, true);
    view.setBigUint64(at + 32, value.pass_malformed, true);
    view.setBigUint64(at + 40, value.pass_no_connection, true);
    view.setBigUint64(at + 48, value.pass_source_address, true);
    view.setBigUint64(at + 56, value.pass_option, true);
    view.setBigUint64(at + 64, value.pass_fragment, true);
    view.setBigUint64(at + 72, value.pass_directed, true);
    view.setBigUint64(at + 80, value.pass_icmp, true);
    view.setBigUint64(at + 88, value.drop_short_header, true);
    view.setBigUint64(at + 96, value.drop_no_real_server, true);
    view.setBigUint64(at + 104, value.drop_real_server_gone, true);
    view.setBigUint64(at + 112, value.drop_unresolved, true);
    view.setBigUint64(at + 120, value.drop_time_exceeded, true);
    view.setBigUint64(at + 128, value.drop_too_big, true);
    view.setBigUint64(at + 136, value.drop_rewrite, true);
    view.setBigUint64(at + 144, value.drop_service_limit, true);
    view.setBigUint64(at + 152, value.drop_source_limit, true);
    view.setBigUint64(at + 160, value.icmp_unreachable, true);
    view.setBigUint64(at + 168, value.icmp_time_exceeded, true);
    view.setBigUint64(at + 176, value.icmp_too_big, true);
    view.setBigUint64(at + 184, value.reset_real_server_gone, true);
    view.setBigUint64(at + 192, value.forward_untracked, true);
    view.setBigUint64(at + 200, value.forward_fragment, true);
    view.setBigUint64(at + 208, value.forward_icmp, true);
    view.setBigUint64(at + 216, value.expired, true);
    view.setBigUint64(at + 224, value.victim_expired, true);
    view.setBigUint64(at + 232, value.victim_closing, true);
    view.setBigUint64(at + 240, value.victim_half_open, true);
    view.setBigUint64(at + 248, value.hold_fragment, true);
  },
  decode(bytes: Uint8Array, at = 0): PacketCounters {
    return packetCounters.read(viewOf(bytes), at);
  },
  encode(value: PacketCounters): Uint8Array {
    const bytes = new Uint8Array(256);
    packetCounters.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<PacketCounters>;

/** `struct settings`, 256 bytes. */
export interface Settings {
  readonly layout_version: number;
  readonly line_mask: number;
  readonly key: readonly bigint[];
  readonly service_slots_used: number;
  readonly service_slots: number;
  readonly timeout: readonly number[];
  readonly all_ports_services: number;
  readonly icmp_per_second: number;
  readonly templates: number;
  readonly tuple_hash: number;
  readonly ftp_services: number;
  readonly masquerades: number;
  readonly fellows: number;
  readonly own_addresses: bigint;
  readonly conn_reuse_mode: number;
  readonly expire_nodest_conn: number;
  readonly expire_quiescent_template: number;
  readonly sloppy_tcp: number;
  readonly sloppy_sctp: number;
  readonly resets_per_second: number;
  readonly limits: number;
  readonly idle_timeouts: number;
  readonly lblc_expiration: number;
  readonly lblcr_expiration: number;
  readonly vlan_links: number;
  readonly fragment_room: number;
}

export const settings = {
  size: 256,
  fields: {
    layout_version: { offset: 0, size: 4 },
    line_mask: { offset: 4, size: 4 },
    key: { offset: 8, size: 32 },
    service_slots_used: { offset: 40, size: 4 },
    service_slots: { offset: 44, size: 4 },
    timeout: { offset: 48, size: 128 },
    all_ports_services: { offset: 176, size: 4 },
    icmp_per_second: { offset: 180, size: 4 },
    templates: { offset: 184, size: 2 },
    tuple_hash: { offset: 186, size: 2 },
    ftp_services: { offset: 188, size: 4 },
    masquerades: { offset: 192, size: 4 },
    fellows: { offset: 196, size: 4 },
    own_addresses: { offset: 200, size: 8 },
    conn_reuse_mode: { offset: 208, size: 4 },
    expire_nodest_conn: { offset: 212, size: 4 },
    expire_quiescent_template: { offset: 216, size: 4 },
    sloppy_tcp: { offset: 220, size: 4 },
    sloppy_sctp: { offset: 224, size: 4 },
    resets_per_second: { offset: 228, size: 4 },
    limits: { offset: 232, size: 4 },
    idle_timeouts: { offset: 236, size: 4 },
    lblc_expiration: { offset: 240, size: 4 },
    lblcr_expiration: { offset: 244, size: 4 },
    vlan_links: { offset: 248, size: 4 },
    fragment_room: { offset: 252, size: 4 },
  },
  read(view: DataView, at: number): Settings {
    return {
      layout_version: view.getUint32(at, true),
      line_mask: view.getUint32(at + 4, true),
      key: [
        view.getBigUint64(at + 8, true),
        view.getBigUint64(at + 16, true),
        view.getBigUint64(at + 24, true),
        view.getBigUint64(at + 32, true),
      ],
      service_slots_used: view.getUint32(at + 40, true),
      service_slots: view.getUint32(at + 44, true),
      timeout: Array.from({ length: 32 }, (_, i) => view.getUint32(at + 48 + i * 4, true)),
      all_ports_services: view.getUint32(at + 176, true),
      icmp_per_second: view.getUint32(at + 180, true),
      templates: view.getUint16(at + 184, true),
      tuple_hash: view.getUint16(at + 186, true),
      ftp_services: view.getUint32(at + 188, true),
      masquerades: view.getUint32(at + 192, true),
      fellows: view.getUint32(at + 196, true),
      own_addresses: view.getBigUint64(at + 200, true),
      conn_reuse_mode: view.getUint32(at + 208, true),
      expire_nodest_conn: view.getUint32(at + 212, true),
      expire_quiescent_template: view.getUint32(at + 216, true),
      sloppy_tcp: view.getUint32(at + 220, true),
      sloppy_sctp: view.getUint32(at + 224, true),
      resets_per_second: view.getUint32(at + 228, true),
      limits: view.getUint32(at + 232, true),
      idle_timeouts: view.getUint32(at + 236, true),
      lblc_expiration: view.getUint32(at + 240, true),
      lblcr_expiration: view.getUint32(at + 244, true),
      vlan_links: view.getUint32(at + 248, true),
      fragment_room: view.getInt32(at + 252, true),
    };
  },
  write(view: DataView, at: number, value: Settings): void {
    view.setUint32(at, value.layout_version, true);
    view.setUint32(at + 4, value.line_mask, true);
    checkLength(value.key, 4);
    value.key.forEach((item, i) => {
      view.setBigUint64(at + 8 + i * 8, item, true);
    });
    view.setUint32(at + 40, value.service_slots_used, true);
    view.setUint32(at + 44, value.service_slots, true);
    checkLength(value.timeout, 32);
    value.timeout.forEach((item, i) => {
      view.setUint32(at + 48 + i * 4, item, true);
    });
    view.setUint32(at + 176, value.all_ports_services, true);
    view.setUint32(at + 180, value.icmp_per_second, true);
    view.setUint16(at + 184, value.templates, true);
    view.setUint16(at + 186, value.tuple_hash, true);
    view.setUint32(at + 188, value.ftp_services, true);
    view.setUint32(at + 192, value.masquerades, true);
    view.setUint32(at + 196, value.fellows, true);
    view.setBigUint64(at + 200, value.own_addresses, true);
    view.setUint32(at + 208, value.conn_reuse_mode, true);
    view.setUint32(at + 212, value.expire_nodest_conn, true);
    view.setUint32(at + 216, value.expire_quiescent_template, true);
    view.setUint32(at + 220, value.sloppy_tcp, true);
    view.setUint32(at + 224, value.sloppy_sctp, true);
    view.setUint32(at + 228, value.resets_per_second, true);
    view.setUint32(at + 232, value.limits, true);
    view.setUint32(at + 236, value.idle_timeouts, true);
    view.setUint32(at + 240, value.lblc_expiration, true);
    view.setUint32(at + 244, value.lblcr_expiration, true);
    view.setUint32(at + 248, value.vlan_links, true);
    view.setInt32(at + 252, value.fragment_room, true);
  },
  decode(bytes: Uint8Array, at = 0): Settings {
    return settings.read(viewOf(bytes), at);
  },
  encode(value: Settings): Uint8Array {
    const bytes = new Uint8Array(256);
    settings.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<Settings>;

/** `struct sweep`, 296 bytes. */
export interface Sweep {
  readonly tick: number;
  readonly line: number;
  readonly rounds: bigint;
  readonly passes: bigint;
  readonly nanoseconds: bigint;
  readonly live: number;
  readonly live_counting: number;
  readonly live_by_state: readonly number[];
  readonly counting_by_state: readonly number[];
}

export const sweep = {
  size: 296,
  fields: {
    tick: { offset: 0, size: 4 },
    line: { offset: 4, size: 4 },
    rounds: { offset: 8, size: 8 },
    passes: { offset: 16, size: 8 },
    nanoseconds: { offset: 24, size: 8 },
    live: { offset: 32, size: 4 },
    live_counting: { offset: 36, size: 4 },
    live_by_state: { offset: 40, size: 128 },
    counting_by_state: { offset: 168, size: 128 },
  },
  read(view: DataView, at: number): Sweep {
    return {
      tick: view.getUint32(at, true),
      line: view.getUint32(at + 4, true),
      rounds: view.getBigUint64(at + 8, true),
      passes: view.getBigUint64(at + 16, true),
      nanoseconds: view.getBigUint64(at + 24, true),
      live: view.getUint32(at + 32, true),
      live_counting: view.getUint32(at + 36, true),
      live_by_state: Array.from({ length: 32 }, (_, i) => view.getUint32(at + 40 + i * 4, true)),
      counting_by_state: Array.from({ length: 32 }, (_, i) => view.getUint32(at + 168 + i * 4, true)),
    };
  },
  write(view: DataView, at: number, value: Sweep): void {
    view.setUint32(at, value.tick, true);
    view.setUint32(at + 4, value.line, true);
    view.setBigUint64(at + 8, value.rounds, true);
    view.setBigUint64(at + 16, value.passes, true);
    view.setBigUint64(at + 24, value.nanoseconds, true);
    view.setUint32(at + 32, value.live, true);
    view.setUint32(at + 36, value.live_counting, true);
    checkLength(value.live_by_state, 32);
    value.live_by_state.forEach((item, i) => {
      view.setUint32(at + 40 + i * 4, item, true);
    });
    checkLength(value.counting_by_state, 32);
    value.counting_by_state.forEach((item, i) => {
      view.setUint32(at + 168 + i * 4, item, true);
    });
  },
  decode(bytes: Uint8Array, at = 0): Sweep {
    return sweep.read(viewOf(bytes), at);
  },
  encode(value: Sweep): Uint8Array {
    const bytes = new Uint8Array(296);
    sweep.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<Sweep>;

/** `enum control_operation`. */
export const controlOperation = {
  CONTROL_START_SWEEP: 1,
  CONTROL_PUT_SERVICE: 2,
  CONTROL_DELETE_SERVICE: 3,
  CONTROL_BUILD_TREE: 4,
  CONTROL_SWEEP: 5,
  CONTROL_FORGET: 6,
  CONTROL_IMPORT: 7,
  CONTROL_MOVE_SERVICES: 8,
} as const;
export type ControlOperation = (typeof controlOperation)[keyof typeof controlOperation];

/** `enum import_flag`. */
export const importFlag = {
  IMPORT_REPLACE: 1,
} as const;
export type ImportFlag = (typeof importFlag)[keyof typeof importFlag];

/** `enum import_result`. */
export const importResult = {
  IMPORT_NONE: 0,
  IMPORT_OPENED: 1,
  IMPORT_PRESENT: 2,
  IMPORT_NO_ROOM: 3,
  IMPORT_REFUSED: 4,
} as const;
export type ImportResult = (typeof importResult)[keyof typeof importResult];

/** `struct connection_import`, 32 bytes. */
export interface ConnectionImport {
  readonly client: readonly number[];
  readonly client_port: number;
  readonly virtual_port: number;
  readonly real_server: number;
  readonly expires_in: number;
  readonly state: number;
  readonly result: number;
}

export const connectionImport = {
  size: 32,
  fields: {
    client: { offset: 0, size: 16 },
    client_port: { offset: 16, size: 2 },
    virtual_port: { offset: 18, size: 2 },
    real_server: { offset: 20, size: 4 },
    expires_in: { offset: 24, size: 4 },
    state: { offset: 28, size: 1 },
    result: { offset: 29, size: 1 },
    reserved: { offset: 30, size: 2 },
  },
  read(view: DataView, at: number): ConnectionImport {
    return {
      client: [
        view.getUint32(at, false),
        view.getUint32(at + 4, false),
        view.getUint32(at + 8, false),
        view.getUint32(at + 12, false),
      ],
      client_port: view.getUint16(at + 16, false),
      virtual_port: view.getUint16(at + 18, false),
      real_server: view.getUint32(at + 20, true),
      expires_in: view.getUint32(at + 24, true),
      state: view.getUint8(at + 28),
      result: view.getUint8(at + 29),
    };
  },
  write(view: DataView, at: number, value: ConnectionImport): void {
    checkLength(value.client, 4);
    value.client.forEach((item, i) => {
      view.setUint32(at + i * 4, item, false);
    });
    view.setUint16(at + 16, value.client_port, false);
    view.setUint16(at + 18, value.virtual_port, false);
    view.setUint32(at + 20, value.real_server, true);
    view.setUint32(at + 24, value.expires_in, true);
    view.setUint8(at + 28, value.state);
    view.setUint8(at + 29, value.result);
    clear(view, at + 30, 2);
  },
  decode(bytes: Uint8Array, at = 0): ConnectionImport {
    return connectionImport.read(viewOf(bytes), at);
  },
  encode(value: ConnectionImport): Uint8Array {
    const bytes = new Uint8Array(32);
    connectionImport.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ConnectionImport>;

/** `struct control_request`, 64 bytes. */
export interface ControlRequest {
  readonly operation: number;
  readonly index: number;
  readonly slot: ServiceSlot;
  readonly result: number;
  readonly tree: number;
  readonly tree_leaves: number;
  readonly scheduler: number;
  readonly flags: number;
}

export const controlRequest = {
  size: 64,
  fields: {
    operation: { offset: 0, size: 4 },
    index: { offset: 4, size: 4 },
    slot: { offset: 8, size: 32 },
    result: { offset: 40, size: 4 },
    tree: { offset: 44, size: 4 },
    tree_leaves: { offset: 48, size: 4 },
    scheduler: { offset: 52, size: 4 },
    flags: { offset: 56, size: 4 },
    reserved: { offset: 60, size: 4 },
  },
  read(view: DataView, at: number): ControlRequest {
    return {
      operation: view.getUint32(at, true),
      index: view.getUint32(at + 4, true),
      slot: serviceSlot.read(view, at + 8),
      result: view.getInt32(at + 40, true),
      tree: view.getUint32(at + 44, true),
      tree_leaves: view.getUint32(at + 48, true),
      scheduler: view.getUint32(at + 52, true),
      flags: view.getUint32(at + 56, true),
    };
  },
  write(view: DataView, at: number, value: ControlRequest): void {
    view.setUint32(at, value.operation, true);
    view.setUint32(at + 4, value.index, true);
    serviceSlot.write(view, at + 8, value.slot);
    view.setInt32(at + 40, value.result, true);
    view.setUint32(at + 44, value.tree, true);
    view.setUint32(at + 48, value.tree_leaves, true);
    view.setUint32(at + 52, value.scheduler, true);
    view.setUint32(at + 56, value.flags, true);
    clear(view, at + 60, 4);
  },
  decode(bytes: Uint8Array, at = 0): ControlRequest {
    return controlRequest.read(viewOf(bytes), at);
  },
  encode(value: ControlRequest): Uint8Array {
    const bytes = new Uint8Array(64);
    controlRequest.write(viewOf(bytes), 0, value);
    return bytes;
  },
} as const satisfies Codec<ControlRequest>;

/** Every struct by its name in C. */
export const layout = {
  interface: interfaceStruct,
  service_slot: serviceSlot,
  service,
  service_state: serviceState,
  ring_segment: ringSegment,
  real_server: realServer,
  tunnel,
  reply_counters: replyCounters,
  vlan_link: vlanLink,
  real_server_load: realServerLoad,
  real_server_history: realServerHistory,
  real_server_counters: realServerCounters,
  connection_detail: connectionDetail,
  connection_line: connectionLine,
  connection_extra: connectionExtra,
  source_key: sourceKey,
  source,
  fragment_key: fragmentKey,
  fragment_address: fragmentAddress,
  fragment,
  fragment_record: fragmentRecord,
  packet_counters: packetCounters,
  settings,
  sweep,
  connection_import: connectionImport,
  control_request: controlRequest,
} as const;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function readBytes(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
}

function writeBytes(view: DataView, at: number, value: Uint8Array, length: number): void {
  checkLength(value, length);
  new Uint8Array(view.buffer, view.byteOffset + at, length).set(value);
}

function clear(view: DataView, at: number, length: number): void {
  new Uint8Array(view.buffer, view.byteOffset + at, length).fill(0);
}

function checkLength(value: { readonly length: number }, length: number): void {
  if (value.length !== length) throw new RangeError(`${value.length} elements in place of ${length}`);
}
