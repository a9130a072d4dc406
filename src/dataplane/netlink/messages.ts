/**
 * What all netlink protocols share: messages and attributes as bytes, no sockets. Numbers are those of linux/netlink.h.
 * Netlink speaks host byte order, which is little-endian wherever this runs.
 */

export const AF_INET = 2;
export const AF_INET6 = 10;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_CREATE = 0x400;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;

const NLA_F_NESTED = 0x8000;
/** Leaves out NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff;

const NLMSG_HEADER = 16;
const ATTRIBUTE_HEADER = 4;

/** A message that contradicts its own lengths. */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage";
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** After the message header. */
  readonly payload: Buffer;
}

/** Splits a datagram; throws {@link MalformedMessage} when a length does not fit. */
export function decodeMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  for (let offset = 0; offset < datagram.length;) {
    if (datagram.length - offset < NLMSG_HEADER) throw new MalformedMessage(`${datagram.length - offset} bytes left`);
    const length = datagram.readUInt32LE(offset);
    if (length < NLMSG_HEADER || length > datagram.length - offset) {
      throw new MalformedMessage(`message of ${length} bytes in ${datagram.length - offset}`);
    }
    messages.push({
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      payload: datagram.subarray(offset + NLMSG_HEADER, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** The errno (positive) of an NLMSG_ERROR or NLMSG_DONE payload; 0: success. */
export function decodeErrorNumber(payload: Buffer): number {
  return payload.length < 4 ? 0 : Math.abs(payload.readInt32LE(0));
}

/** `header` is the protocol's own, after that of netlink. */
export function encodeMessage(
  type: number,
  flags: number,
  sequence: number,
  header: Buffer,
  attributes: readonly Buffer[],
): Buffer {
  const body = Buffer.concat([Buffer.alloc(NLMSG_HEADER), header, ...attributes]);
  body.writeUInt32LE(body.length, 0);
  body.writeUInt16LE(type, 4);
  body.writeUInt16LE(flags, 6);
  body.writeUInt32LE(sequence, 8);
  return body;
}

export function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(ATTRIBUTE_HEADER + value.length));
  bytes.writeUInt16LE(ATTRIBUTE_HEADER + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(value, ATTRIBUTE_HEADER);
  return bytes;
}

/** An attribute made of attributes. */
export function nested(type: number, attributes: readonly Buffer[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

/** Throws {@link MalformedMessage} when a length does not fit. */
export function eachAttribute(bytes: Buffer, start: number, visit: (type: number, value: Buffer) => void): void {
  for (let offset = start; offset + ATTRIBUTE_HEADER <= bytes.length;) {
    const length = bytes.readUInt16LE(offset);
    if (length < ATTRIBUTE_HEADER || length > bytes.length - offset) {
      throw new MalformedMessage(`attribute of ${length} bytes in ${bytes.length - offset}`);
    }
    visit(bytes.readUInt16LE(offset + 2) & NLA_TYPE_MASK, bytes.subarray(offset + ATTRIBUTE_HEADER, offset + length));
    offset += align(length);
  }
}

/** Throws {@link MalformedMessage} if there are fewer bytes than `size`. */
export function need(bytes: Buffer, size: number, what: string): void {
  if (bytes.length < size) throw new MalformedMessage(`${what} of ${bytes.length} bytes`);
}

export function u32(value: Buffer, what: string): number {
  need(value, 4, what);
  return value.readUInt32LE(0);
}

export function u32Bytes(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** Up to the terminating 0. */
export function text(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString("utf8", 0, end < 0 ? value.length : end);
}

export function align(length: number): number {
  return (length + 3) & ~3;
}
