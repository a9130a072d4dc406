/** What the packets look like, and the addresses that both they and the programs under test know. */
import type { Protocol } from "../src/model/service.ts";

export interface Traffic {
  readonly family: "ipv4" | "ipv6";
  readonly protocol: Extract<Protocol, "tcp" | "udp">;
  /** Virtual services, a power of two; a flow's number says which is its own. */
  readonly services: number;
}

export const servicePort = 80;
/** Of the frames that come in: the director's own, and the gateway's. */
export const directorMac = Uint8Array.of(2, 0, 0, 0, 0, 1);
const gatewayMac = Uint8Array.of(2, 0, 0, 0, 0, 2);

const protocolNumbers = { tcp: 6, udp: 17 } as const;
const ethernetLength = 14;

/** 10.100.0.0 or fd00:100:: and the addresses after it. */
export function virtualAddress(family: Traffic["family"], service: number): string {
  if (family === "ipv6") return `fd00:100::${service === 0 ? "" : service.toString(16)}`;
  return `10.100.${service >> 8}.${service & 255}`;
}

/** 10.200.0.1 or fd00:200::1 and the addresses after it. */
export function realAddress(family: Traffic["family"], index: number): string {
  const host = index + 1;
  if (family === "ipv6") return `fd00:200::${host.toString(16)}`;
  return `10.${200 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`;
}

/** 6 bytes, different for every real server. */
export function realMac(index: number): Uint8Array {
  return Uint8Array.of(2, 1, 0, 0, index >> 8, index & 255);
}

/**
 * The frame of every packet, 64 or 80 bytes: the generator fills in what tells flows apart, the last 16 bits of both
 * addresses (those of the client 10.50.0.0 or fd00:50::), the client's port and the TCP flags. The IPv4 checksum is 0.
 */
export function frameTemplate({ family, protocol }: Traffic): Buffer {
  const frame = Buffer.alloc(family === "ipv6" ? 80 : 64);
  frame.set(directorMac, 0);
  frame.set(gatewayMac, 6);
  frame.writeUInt16BE(family === "ipv6" ? 0x86dd : 0x0800, 12);
  const transport = ethernetLength + (family === "ipv6" ? 40 : 20);
  if (family === "ipv6") {
    frame[14] = 0x60;
    frame.writeUInt16BE(frame.length - transport, 18);
    frame[20] = protocolNumbers[protocol];
    frame[21] = 64;
    frame.set([0xfd, 0, 0, 0x50], 22);
    frame.set([0xfd, 0, 1, 0], 38);
  } else {
    frame[14] = 0x45;
    frame.writeUInt16BE(frame.length - ethernetLength, 16);
    frame[20] = 0x40;
    frame[22] = 64;
    frame[23] = protocolNumbers[protocol];
    frame.set([10, 50, 0, 0], 26);
    frame.set([10, 100, 0, 0], 30);
  }
  frame.writeUInt16BE(servicePort, transport + 2);
  if (protocol === "udp") {
    frame.writeUInt16BE(frame.length - transport, transport + 4);
  } else {
    frame[transport + 7] = 1;
    frame[transport + 12] = 0x50;
    frame[transport + 14] = 0x20;
  }
  return frame;
}
