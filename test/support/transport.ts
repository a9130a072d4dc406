/** Transport headers and tunnels for packet tests, built by code that knows nothing of the data path. */
import { addressBytes, checksum, pseudoHeader } from "./packet.ts";

/** An ICMP or ICMPv6 message with a right checksum; `word` is what follows it. IPv6 needs the addresses. */
export function icmp(
  type: number,
  code: number,
  word: number,
  body: Uint8Array,
  ipv6?: { readonly source: string; readonly destination: string },
): Buffer {
  const header = Buffer.alloc(8);
  header[0] = type;
  header[1] = code;
  header.writeUInt32BE(word, 4);
  const before =
    ipv6 === undefined
      ? []
      : [pseudoHeader(addressBytes(ipv6.source), addressBytes(ipv6.destination), 58, 8 + body.length)];
  header.writeUInt16BE(checksum(...before, header, body), 2);
  return Buffer.concat([header, body]);
}

/** CRC-32C, bit by bit. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** An SCTP packet with one chunk and a right checksum. */
export function sctp(sourcePort: number, destinationPort: number, chunk: Uint8Array): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(sourcePort, 0);
  header.writeUInt16BE(destinationPort, 2);
  header.writeUInt32BE(0x01020304, 4);
  const packet = Buffer.concat([header, chunk]);
  packet.writeUInt32LE(crc32c(packet), 8);
  return packet;
}

/** Checks the transport checksum of an IP packet: 0 if it is right. TCP and UDP without extension headers or options. */
export function transportChecksum(packet: Buffer): number {
  const ipv6 = (packet[0] ?? 0) >> 4 === 6;
  const header = ipv6 ? 40 : 20;
  const body = packet.subarray(header, ipv6 ? undefined : packet.readUInt16BE(2));
  const addresses = ipv6 ? packet.subarray(8, 40) : packet.subarray(12, 20);
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(body.length, 0);
  tail[7] = packet[ipv6 ? 6 : 9] ?? 0;
  return checksum(addresses, tail, body);
}
