/**
 * Messages of the kernel's connection synchronisation, version 1 (net/netfilter/ipvs/ip_vs_sync.c): what a director tells
 * others of its connections. Integers are big-endian. Pure.
 */
import { isIPv4 } from "node:net";
import { parseAddress } from "../netlink/address.ts";

/** Of the standard group, port and payload: 1500 bytes less the headers of IPv4 and UDP. */
export const syncDefaults = { group: "224.0.0.81", port: 8848, maxLength: 1472 } as const;

/** IP_VS_CONN_F_* that a receiver takes; the lowest three bits are the forwarding method. */
export const syncFlag = { inactive: 0x0100, template: 0x1000 } as const;

const tcpStates = [
  "NONE",
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "SYNACK",
] as const;

const sctpStates = [
  "NONE",
  "INIT1",
  "INIT",
  "C-SENT",
  "C-REPLIED",
  "C-WAIT",
  "COOKIE",
  "C-ECHOED",
  "ESTABLISHED",
  "S-SENT",
  "S-RECEIVED",
  "S-ACK-SENT",
  "REJECTED",
  "CLOSED",
] as const;

/** By the names that /proc/net/ip_vs_conn has for them, what they are on the wire. */
export const syncStates = { tcp: tcpStates, udp: ["UDP"], sctp: sctpStates } as const satisfies Record<
  string,
  readonly string[]
>;

/** A connection or a template, as a record says it. */
export interface SyncRecord {
  /** IPPROTO_*; 0 in the template of a firewall mark. */
  readonly protocol: number;
  /** Of {@link syncFlag}, and the forwarding method. */
  readonly flags: number;
  readonly state: number;
  /** All three of one family. */
  readonly client: string;
  readonly virtualAddress: string;
  readonly realServer: string;
  /** 0: a template. */
  readonly clientPort: number;
  readonly virtualPort: number;
  readonly realPort: number;
  readonly mark?: number;
  /** Seconds that the receiver gives it, 0: as long as its state has there. */
  readonly timeout: number;
}

const headerSize = 8;
const maxRecords = 255;
const fixedSize = 24;
const typeIpv6 = 1;

function addressBytes(text: string): Uint8Array {
  // A million clients are parsed.
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  const bytes = parseAddress(text)?.bytes;
  if (bytes === undefined) throw new Error(`${text} is no address`);
  return bytes;
}

/** 36 bytes for IPv4, 72 for IPv6: multiples of four, as records have to begin at one, so that none needs padding. */
export function encodeSyncRecord(record: SyncRecord): Buffer {
  const addresses = [record.client, record.virtualAddress, record.realServer].map(addressBytes);
  const ipv6 = addresses[0]?.length === 16;
  const bytes = Buffer.concat([Buffer.alloc(fixedSize), ...addresses]);
  bytes.writeUInt8(ipv6 ? typeIpv6 : 0, 0);
  bytes.writeUInt8(record.protocol, 1);
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt32BE(record.flags, 4);
  bytes.writeUInt16BE(record.state, 8);
  bytes.writeUInt16BE(record.clientPort, 10);
  bytes.writeUInt16BE(record.virtualPort, 12);
  bytes.writeUInt16BE(record.realPort, 14);
  bytes.writeUInt32BE(record.mark ?? 0, 16);
  bytes.writeUInt32BE(record.timeout, 20);
  return bytes;
}

/** Collects records into messages of `maxLength` bytes at most. */
export class SyncMessageBuilder {
  readonly #syncId: number;
  readonly #maxLength: number;
  #parts: Buffer[] = [];
  #length = headerSize;
  #records = 0;

  constructor(syncId: number, maxLength: number = syncDefaults.maxLength) {
    this.#syncId = syncId;
    this.#maxLength = maxLength;
  }

  /** Returns the message before if the record found no room in it. */
  add(record: Buffer): Buffer | undefined {
    const fits = this.#length + record.length <= this.#maxLength && this.#records < maxRecords;
    const full = fits ? undefined : this.take();
    this.#parts.push(record);
    this.#length += record.length;
    this.#records++;
    return full;
  }

  /** What was collected since the last message; undefined: nothing. */
  take(): Buffer | undefined {
    if (this.#records === 0) return undefined;
    const header = Buffer.alloc(headerSize);
    header.writeUInt8(this.#syncId, 1);
    header.writeUInt16BE(this.#length, 2);
    header.writeUInt8(this.#records, 4);
    header.writeUInt8(1, 5);
    const message = Buffer.concat([header, ...this.#parts]);
    this.#parts = [];
    this.#length = headerSize;
    this.#records = 0;
    return message;
  }
}
