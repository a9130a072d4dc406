/** Names to numbers: host names, all forms of addresses that getaddrinfo takes, service names, address ranges. */
import { lookup } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { isIPv4, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { Address6 } from "ip-address";
import type { Family } from "../model/service.ts";

/** What the parser asks of its surroundings about names. Answers are remembered by the parser, for one file. */
export interface Resolver {
  /** The first address of the family, in canonical form; undefined if there is none. Never rejects. */
  host(name: string, family: Family): Promise<string | undefined>;
  /** The port of a service name; undefined if there is none. Without a protocol any will do. */
  service(name: string, protocol: "tcp" | "udp" | undefined): number | undefined;
}

/** Asks the system as getaddrinfo and getservbyname do: files, DNS, and `/etc/services`. */
export function createSystemResolver(servicesFile = "/etc/services"): Resolver {
  let services: ReadonlyMap<string, number> | undefined;
  return {
    host: async (name, family) => {
      try {
        return (await lookup(name, { family: family === "ipv4" ? 4 : 6 })).address;
      } catch {
        // No such host, or no answer: the caller reports the name with its place.
        return undefined;
      }
    },
    service: (name, protocol) => {
      services ??= readServices(servicesFile);
      return services.get(protocol === undefined ? name : `${name}/${protocol}`);
    },
  };
}

function readServices(file: string): ReadonlyMap<string, number> {
  try {
    return parseServices(readFileSync(file, "utf8"));
  } catch {
    // Without the file no service has a name, as for getservbyname.
    return new Map();
  }
}

/** The text of `/etc/services` as `NAME` and `NAME/PROTOCOL` to port; the first of a kind counts. */
export function parseServices(text: string): Map<string, number> {
  const services = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [name, portAndProtocol = "", ...aliases] = line.replace(/#.*/s, "").trim().split(/\s+/);
    const [, digits, protocol] = /^(\d+)\/(\w+)$/.exec(portAndProtocol) ?? [];
    if (name === undefined || digits === undefined || protocol === undefined) continue;
    for (const each of [name, ...aliases]) {
      for (const key of [each, `${each}/${protocol}`]) {
        if (!services.has(key)) services.set(key, Number(digits));
      }
    }
  }
  return services;
}

/**
 * An address in one of inet_aton's forms: `a.b.c.d`, `a.b.c`, `a.b`, `a`, each number decimal, octal (`010`) or
 * hexadecimal (`0x8`), the last one filling what is left. Undefined if it is none.
 */
export function parseInetAton(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const parts = text.split(".");
  if (parts.length > 4) return undefined;
  const numbers = parts.map((part) => {
    if (/^0[xX][0-9a-fA-F]+$/.test(part)) return Number.parseInt(part, 16);
    if (/^0[0-7]*$/.test(part)) return Number.parseInt(part, 8);
    return /^[1-9]\d*$/.test(part) ? Number(part) : Number.NaN;
  });
  const last = numbers.pop() ?? Number.NaN;
  if (!numbers.every((each) => each <= 255) || !(last < 256 ** (4 - numbers.length))) return undefined;
  return printIpv4(numbers.reduce((sum, each, index) => sum + each * 256 ** (3 - index), last));
}

/** A dotted quad of a number below 2^32. */
export function printIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join(".");
}

export function ipv4Value(address: string): number {
  return address.split(".").reduce((sum, each) => sum * 256 + Number(each), 0);
}

/**
 * The address a text stands for without asking anyone: `address` in canonical form, `none` if it cannot be a
 * name either, `name` if only a resolver can tell. Empty is the loopback address, as for ldirectord.
 */
export function readAddress(
  text: string,
  family: Family,
): { kind: "address"; address: string } | { kind: "none" } | { kind: "name" } {
  if (text === "") return { kind: "address", address: family === "ipv4" ? "127.0.0.1" : "::1" };
  if (family === "ipv6") {
    if (text.includes(":")) {
      return isIPv6(text) && !text.includes("%")
        ? { kind: "address", address: new Address6(text).correctForm() }
        : { kind: "none" };
    }
    return parseInetAton(text) === undefined && /[A-Za-z]/.test(text) ? { kind: "name" } : { kind: "none" };
  }
  const address = parseInetAton(text);
  if (address !== undefined) return { kind: "address", address };
  return /[A-Za-z]/.test(text) && !text.includes(":") ? { kind: "name" } : { kind: "none" };
}

/** A link-local address of an interface that this machine has: `fe80::1%eth0`. */
export function isScoped(text: string): boolean {
  const zone = /^fe[89ab][0-9a-f]:.*%(.+)$/i.exec(text)?.[1];
  return zone !== undefined && isIPv6(text) && (/^\d+$/.test(zone) || Object.hasOwn(networkInterfaces(), zone));
}

/** The largest number of real servers one line may name. */
export const largestRange = 65_536;

/** Every address from the first to the last, both included; undefined if the first is greater. IPv4. */
export function addressRange(first: string, last: string): { size: number; addresses: () => string[] } | undefined {
  const from = ipv4Value(first);
  const size = ipv4Value(last) - from + 1;
  if (size < 1) return undefined;
  return { size, addresses: () => Array.from({ length: size }, (_, index) => printIpv4(from + index)) };
}
