/** Frames for the packet tests, built and read by code that knows nothing of the data path. */
import { Address6 } from "ip-address";

export interface FrameSpec {
  readonly to?: string;
  readonly from?: string;
  /** Tags from the outer to the inner; `type` 0x8100 unless given. */
  readonly vlans?: readonly { readonly id: number; readonly priority?: number; readonly type?: number }[];
  readonly etherType?: number;
  readonly source?: string;
  readonly destination?: string;
  readonly ttl?: number;
  readonly tos?: number;
  readonly id?: number;
  /** IPv4's flags and fragment offset as one word: 0x4000 is DF, 0x2000 more fragments, offset in units of 8. */
  readonly fragment?: number;
  /** IPv4 options, padded to a multiple of 4 with zeroes. */
  readonly options?: readonly number[];
  /** IPv6 extension headers: type and whole bytes, the first of which is replaced by the next header's number. */
  readonly extensions?: readonly { readonly type: number; readonly bytes: readonly number[] }[];
  readonly protocol?: "tcp" | "udp" | number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Letters of SFRPA. */
  readonly flags?: string;
  readonly payload?: Uint8Array;
  /** The transport header and payload, in place of what the fields above give. */
  readonly transport?: Uint8Array;
}

const flagBits: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };

export function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(":", ""), "hex");
}

/** 4 or 16 bytes. */
export function addressBytes(address: string): Buffer {
  if (!address.includes(":")) return Buffer.from(address.split(".").map(Number));
  return Buffer.from(new Address6(address).toUnsignedByteArray().slice(-16));
}

/** The Internet checksum (RFC 1071) over all bytes. */
export function checksum(...parts: readonly Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

export function pseudoHeader(source: Buffer, destination: Buffer, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail.writeUInt32BE(protocol, 4);
  return Buffer.concat([source, destination, tail]);
}

function transportOf(spec: FrameSpec, protocol: number, source: Buffer, destination: Buffer): Buffer {
  if (spec.transport !== undefined) return Buffer.from(spec.transport);
  const payload = Buffer.from(spec.payload ?? []);
  const header = Buffer.alloc(protocol === 17 ? 8 : 20);
  header.writeUInt16BE(spec.sourcePort ?? 40000, 0);
  header.writeUInt16BE(spec.destinationPort ?? 80, 2);
  if (protocol === 17) {
    header.writeUInt16BE(8 + payload.length, 4);
  } else {
    header.writeUInt32BE(0x01020304, 4);
    header[12] = 0x50;
    header[13] = [...(spec.flags ?? "S")].reduce((bits, letter) => bits | (flagBits[letter] ?? 0), 0);
    header.writeUInt16BE(64240, 14);
  }
  const sum = checksum(pseudoHeader(source, destination, protocol, header.length + payload.length), header, payload);
  // UDP's 0 says that there is none.
  header.writeUInt16BE(protocol === 17 ? sum || 0xffff : sum, protocol === 17 ? 6 : 16);
  return Buffer.concat([header, payload]);
}

/** A frame with right checksums; by default a SYN from 192.0.2.1:40000 to 10.10.10.53:80. */
export function frame(spec: FrameSpec = {}): Buffer {
  const source = addressBytes(spec.source ?? "192.0.2.1");
  const destination = addressBytes(spec.destination ?? "10.10.10.53");
  const ipv6 = source.length === 16;
  const protocol = spec.protocol === "udp" ? 17 : typeof spec.protocol === "number" ? spec.protocol : 6;
  const transport = transportOf(spec, protocol, source, destination);
  const link = [macBytes(spec.to ?? "02:00:00:00:00:01"), macBytes(spec.from ?? "02:00:00:00:00:02")];
  for (const { id, priority = 0, type = 0x8100 } of spec.vlans ?? []) {
    link.push(Buffer.from([type >> 8, type & 255, (priority << 5) | (id >> 8), id & 255]));
  }
  const etherType = spec.etherType ?? (ipv6 ? 0x86dd : 0x0800);
  link.push(Buffer.from([etherType >> 8, etherType & 255]));
  if (ipv6) {
    const chain = [...(spec.extensions ?? [])];
    const extensions = chain.map(({ bytes }, i) => Buffer.from([chain[i + 1]?.type ?? protocol, ...bytes.slice(1)]));
    const header = Buffer.alloc(8);
    header.writeUInt32BE(0x60000000 | ((spec.tos ?? 0) << 20), 0);
    header.writeUInt16BE(extensions.reduce((sum, { length }) => sum + length, 0) + transport.length, 4);
    header[6] = chain[0]?.type ?? protocol;
    header[7] = spec.ttl ?? 64;
    return Buffer.concat([...link, header, source, destination, ...extensions, transport]);
  }
  const options = Buffer.alloc(Math.ceil((spec.options?.length ?? 0) / 4) * 4);
  options.set(spec.options ?? []);
  const header = Buffer.alloc(20);
  header[0] = 0x45 + options.length / 4;
  header[1] = spec.tos ?? 0;
  header.writeUInt16BE(20 + options.length + transport.length, 2);
  header.writeUInt16BE(spec.id ?? 0x1234, 4);
  header.writeUInt16BE(spec.fragment ?? 0x4000, 6);
  header[8] = spec.ttl ?? 64;
  header[9] = protocol;
  source.copy(header, 12);
  destination.copy(header, 16);
  header.writeUInt16BE(checksum(header, options), 10);
  return Buffer.concat([...link, header, options, transport]);
}

/** What direct routing makes of a frame: both MAC addresses, one TTL less, tags gone; all else untouched. */
export function routed(bytes: Buffer, to: string, from: string, tag?: number): Buffer {
  let network = 12;
  while ([0x8100, 0x88a8].includes(bytes.readUInt16BE(network))) network += 4;
  const packet = Buffer.from(bytes.subarray(network + 2));
  if (packet[0] !== undefined && packet[0] >> 4 === 4) {
    const header = (packet[0] & 15) * 4;
    packet[8] = (packet[8] ?? 0) - 1;
    packet.writeUInt16BE(0, 10);
    packet.writeUInt16BE(checksum(packet.subarray(0, header)), 10);
  } else {
    packet[7] = (packet[7] ?? 0) - 1;
  }
  const tags = tag === undefined ? [] : [Buffer.from([0x81, 0, tag >> 8, tag & 255])];
  return Buffer.concat([macBytes(to), macBytes(from), ...tags, bytes.subarray(network, network + 2), packet]);
}
