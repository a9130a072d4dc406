/** The part of DNS messages (RFC 1035, section 4.1) that a check needs; numbers are in network byte order. */
import { randomInt } from "node:crypto";

/** The bytes are no message. */
export class DnsError extends Error {}

export interface DnsQuestion {
  readonly type: "A" | "PTR";
  readonly name: string;
}

export interface DnsAnswer {
  /** It did not fit, and is to be asked for by TCP. */
  readonly truncated: boolean;
  /** 0 is no error. */
  readonly responseCode: number;
  /** The addresses (A) and names (PTR) among the answers. */
  readonly values: readonly string[];
}

const headerBytes = 12;
const types = { A: 1, PTR: 12 } as const;
const internet = 1;
const flags = { response: 0x8000, truncated: 0x0200, recursionDesired: 0x0100 } as const;
/** The two upper bits of a length say that it is a pointer. */
const pointer = 0xc0;
const longestName = 255;
/** More than any server makes. */
const mostPointers = 32;

/** A query with an identifier that nobody can guess. */
export function encodeQuery({ type, name }: DnsQuestion): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt16BE(randomInt(1 << 16), 0);
  header.writeUInt16BE(flags.recursionDesired, 2);
  header.writeUInt16BE(1, 4);
  const labels = name === "" ? [] : name.split(".").map((label) => Buffer.from(label));
  const encoded = labels.flatMap((label) => [Buffer.from([label.length]), label]);
  return Buffer.concat([header, ...encoded, Buffer.from([0, 0, types[type], 0, internet])]);
}

/** The answer to the query; undefined if it is one to another query, or none. Throws {@link DnsError} if it is broken. */
export function decodeAnswer(message: Buffer, query: Buffer): DnsAnswer | undefined {
  if (message.length < headerBytes || message.readUInt16BE(0) !== query.readUInt16BE(0)) return undefined;
  const bits = message.readUInt16BE(2);
  if ((bits & flags.response) === 0) return undefined;
  const questions = message.readUInt16BE(4);
  const answers = message.readUInt16BE(6);
  let at = headerBytes;
  // A server that does not understand the question may leave it out.
  for (let left = questions; left > 0; left--) {
    const { name, end } = readName(message, at);
    const asked = readName(query, headerBytes);
    if (end + 4 > message.length) throw new DnsError("the message ends in its question");
    const same = message.subarray(end, end + 4).equals(query.subarray(asked.end));
    if (!same || name.toLowerCase() !== asked.name.toLowerCase()) return undefined;
    at = end + 4;
  }
  const truncated = (bits & flags.truncated) !== 0;
  const values: string[] = [];
  // What a cut-off message still holds does not count.
  for (let left = truncated ? 0 : answers; left > 0; left--) {
    const { end } = readName(message, at);
    const begin = end + 10;
    if (begin > message.length) throw new DnsError("the message ends in an answer");
    const type = message.readUInt16BE(end);
    const next = begin + message.readUInt16BE(end + 8);
    if (next > message.length) throw new DnsError("the message ends in an answer");
    if (type === types.A && next - begin === 4) values.push(message.subarray(begin, next).join("."));
    if (type === types.PTR) values.push(readName(message, begin).name);
    at = next;
  }
  return { truncated, responseCode: bits & 0xf, values };
}

/** The name at a place, and where what follows it begins. A pointer leads back, always further, so that it ends. */
function readName(message: Buffer, start: number): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let end: number | undefined;
  let bytes = 0;
  let pointers = 0;
  let limit = start;
  for (let at = start; ;) {
    const length = message[at];
    if (length === undefined) throw new DnsError("the message ends in a name");
    if (length === 0) return { name: labels.join("."), end: end ?? at + 1 };
    if (length >= pointer) {
      const low = message[at + 1];
      if (low === undefined) throw new DnsError("the message ends in a name");
      end ??= at + 2;
      at = ((length & ~pointer) << 8) | low;
      if (at >= limit) throw new DnsError("a name points ahead");
      if (++pointers > mostPointers) throw new DnsError("a name is all pointers");
      limit = at;
      continue;
    }
    bytes += length + 1;
    if (length > 63 || bytes >= longestName) throw new DnsError("a name is too long");
    if (at + 1 + length > message.length) throw new DnsError("the message ends in a name");
    labels.push(message.toString("utf8", at + 1, at + 1 + length));
    at += 1 + length;
  }
}
