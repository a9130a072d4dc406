import { createRequire } from "node:module";
import { isIPv4 } from "node:net";

const require = createRequire(import.meta.url);

/** Loading it takes longer than all else that a list of IPv4 addresses needs, so it is loaded with the first IPv6 one. */
function ipv6(): typeof import("ip-address").Address6 {
  return (require("ip-address") as typeof import("ip-address")).Address6;
}

/** An address in every form the netlink code needs. */
export interface Address {
  /** Dotted quad, or RFC 5952 IPv6. */
  readonly text: string;
  /** 4 or 16 bytes, network byte order. */
  readonly bytes: Buffer;
  /** Hexadecimal digits of the bytes: a map key, unique over both families. */
  readonly key: string;
  readonly value: bigint;
}

/** Undefined if it is no address. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return addressOf(Uint8Array.from(text.split("."), Number));
  // Without a colon it is none, which the many words that are names need not wait for.
  if (!text.includes(":")) return undefined;
  const Address6 = ipv6();
  if (!Address6.isValid(text)) return undefined;
  return addressOf(Uint8Array.from(new Address6(text).toUnsignedByteArray()));
}

/** Of 4 or 16 bytes, which are copied. */
export function addressOf(source: Uint8Array): Address {
  const bytes = Buffer.from(source);
  const key = bytes.toString("hex");
  return { text: printAddress(bytes), bytes, key, value: BigInt(`0x${key}`) };
}

export function printAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  return ipv6()
    .fromUnsignedByteArray([...bytes])
    .correctForm();
}

/** The first `length` bits. */
export function prefixOf(address: { readonly bytes: Uint8Array; readonly value: bigint }, length: number): bigint {
  return address.value >> BigInt(address.bytes.length * 8 - length);
}
