import { randomBytes } from "node:crypto";
import { Address4, Address6 } from "ip-address";
import { familyOf } from "../model/service.ts";
import type { Family } from "../model/service.ts";
import type { Native } from "../native.ts";
import { describeError, errorCode, OwnTrouble } from "./check.ts";

export type EchoNative = Pick<
  Native,
  "socketOpen" | "socketOption" | "socketSend" | "socketReceive" | "pollStart" | "pollStop" | "socketClose"
>;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
/** Bytes: room for the replies to some thousand requests at once, beyond net.core.rmem_max. */
const receiveBuffer = 4 << 20;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const ICMP6_FILTER = 1;

const headerLength = 8;
/** ldirectord sends 64 bytes after the ICMP header. */
const payloadLength = 64;
const tokenLength = 8;

interface IcmpFamily {
  readonly domain: number;
  readonly protocol: number;
  readonly request: number;
  readonly reply: number;
}

const families: Readonly<Record<Family, IcmpFamily>> = {
  ipv4: { domain: AF_INET, protocol: IPPROTO_ICMP, request: 8, reply: 0 },
  ipv6: { domain: AF_INET6, protocol: IPPROTO_ICMPV6, request: 128, reply: 129 },
};

interface PendingEcho {
  readonly address: Buffer;
  readonly token: Buffer;
  readonly answered: () => void;
}

/** One open ICMP socket with the requests that wait on it. */
interface EchoSocket {
  readonly fd: number;
  readonly raw: boolean;
  readonly identifier: number;
  readonly pending: Map<number, PendingEcho>;
  nextSequence: number;
}

/**
 * ICMP echo for all ping checks: one socket of each family, opened when first needed. An answer counts if it comes from
 * the address that was asked and repeats identifier, sequence number and a random token.
 */
export class EchoSockets {
  readonly #native: EchoNative;
  readonly #sockets = new Map<Family, EchoSocket>();

  constructor(native: EchoNative) {
    this.#native = native;
  }

  /**
   * Asks once. True if the answer came in time, false if the time was over or the signal aborted. Rejects with the
   * system's error if the request cannot be sent.
   */
  async ask(address: string, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const family = familyOf(address);
    const socket = this.#socket(family);
    const bytes = addressBytes(address);
    const sequence = freeSequence(socket);
    const token = randomBytes(tokenLength);
    const request = echoRequest(families[family], socket.identifier, sequence, token);
    return await new Promise<boolean>((resolve, reject) => {
      const settle = (answered: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
        socket.pending.delete(sequence);
        resolve(answered);
      };
      const giveUp = (): void => settle(false);
      const timer = setTimeout(giveUp, timeoutMs);
      signal.addEventListener("abort", giveUp, { once: true });
      socket.pending.set(sequence, { address: bytes, token, answered: () => settle(true) });
      try {
        this.#native.socketSend(socket.fd, request, socketAddress(family, bytes));
      } catch (error) {
        // What is thrown here is a NativeError; the promise is rejected before `settle` can resolve it.
        reject(error as Error);
        settle(false);
      }
    });
  }

  /** Closes the sockets; requests under way end as unanswered by their own timers. */
  close(): void {
    for (const socket of this.#sockets.values()) {
      this.#native.pollStop(socket.fd);
      this.#native.socketClose(socket.fd);
    }
    this.#sockets.clear();
  }

  #socket(family: Family): EchoSocket {
    const open = this.#sockets.get(family);
    if (open !== undefined) return open;
    const socket: EchoSocket = {
      ...this.#open(families[family]),
      identifier: randomBytes(2).readUInt16BE(),
      pending: new Map(),
      nextSequence: 0,
    };
    this.#sockets.set(family, socket);
    this.#native.pollStart(socket.fd, () => this.#receive(family, socket));
    return socket;
  }

  /** A raw socket, or the unprivileged kind where raw ones are forbidden (net.ipv4.ping_group_range). */
  #open(family: IcmpFamily): { fd: number; raw: boolean } {
    let fd: number;
    try {
      fd = this.#native.socketOpen(family.domain, SOCK_RAW, family.protocol);
    } catch (error) {
      return { fd: this.#openUnprivileged(family, error), raw: false };
    }
    // A raw socket sees every ICMP message of the machine; the filter leaves it the echo replies.
    if (family.domain === AF_INET) {
      this.#native.socketOption(fd, SOL_RAW, ICMP_FILTER, littleEndian32(~(1 << family.reply)));
    } else {
      const blocked = Buffer.alloc(32, 0xff);
      blocked.writeUInt32LE(~(1 << (family.reply & 31)) >>> 0, (family.reply >> 5) * 4);
      this.#native.socketOption(fd, IPPROTO_ICMPV6, ICMP6_FILTER, blocked);
    }
    this.#native.socketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer);
    return { fd, raw: true };
  }

  #openUnprivileged(family: IcmpFamily, rawError: unknown): number {
    try {
      return this.#native.socketOpen(family.domain, SOCK_DGRAM, family.protocol);
    } catch {
      // Why the better kind was refused says more.
      throw new OwnTrouble(`cannot open an ICMP socket: ${describeError(rawError)}`, { cause: rawError });
    }
  }

  #receive(family: Family, socket: EchoSocket): void {
    for (;;) {
      let datagram: { data: Buffer; address: Buffer } | undefined;
      try {
        datagram = this.#native.socketReceive(socket.fd, 2048);
      } catch (error) {
        // The kernel hands an ICMP error of some destination to the socket; that destination's request times out.
        if (errorCode(error) === "EBADF") throw error;
        return;
      }
      if (datagram === undefined) return;
      const message = family === "ipv4" && socket.raw ? withoutIpv4Header(datagram.data) : datagram.data;
      matchReply(families[family], socket, message, datagram.address)?.answered();
    }
  }
}

function matchReply(family: IcmpFamily, socket: EchoSocket, message: Buffer, from: Buffer): PendingEcho | undefined {
  if (message.length < headerLength + tokenLength || message[0] !== family.reply) return undefined;
  // The kernel chooses the identifier of an unprivileged socket, and sorts the answers by it.
  if (socket.raw && message.readUInt16BE(4) !== socket.identifier) return undefined;
  const pending = socket.pending.get(message.readUInt16BE(6));
  if (pending === undefined) return undefined;
  if (!message.subarray(headerLength, headerLength + tokenLength).equals(pending.token)) return undefined;
  const offset = family.domain === AF_INET ? 4 : 8;
  return from.subarray(offset, offset + pending.address.length).equals(pending.address) ? pending : undefined;
}

function echoRequest(family: IcmpFamily, identifier: number, sequence: number, token: Buffer): Buffer {
  const message = Buffer.alloc(headerLength + payloadLength);
  message[0] = family.request;
  message.writeUInt16BE(identifier, 4);
  message.writeUInt16BE(sequence, 6);
  token.copy(message, headerLength);
  // The kernel fills in the checksum of ICMPv6, which covers the source address.
  if (family.domain === AF_INET) message.writeUInt16BE(internetChecksum(message), 2);
  return message;
}

/** RFC 1071, over an even number of bytes. */
export function internetChecksum(bytes: Buffer): number {
  let sum = 0;
  for (let offset = 0; offset < bytes.length; offset += 2) sum += bytes.readUInt16BE(offset);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function withoutIpv4Header(packet: Buffer): Buffer {
  return packet.subarray(((packet[0] ?? 0) & 0x0f) * 4);
}

function freeSequence(socket: EchoSocket): number {
  for (let tries = 0; tries <= 0xffff; tries++) {
    const sequence = socket.nextSequence;
    socket.nextSequence = (sequence + 1) & 0xffff;
    if (!socket.pending.has(sequence)) return sequence;
  }
  throw Object.assign(new Error("65536 echo requests are under way"), { code: "EAGAIN" });
}

function addressBytes(address: string): Buffer {
  const parsed =
    familyOf(address) === "ipv4" ? new Address4(address).toArray() : new Address6(address).toUnsignedByteArray();
  return Buffer.from(parsed);
}

/** `struct sockaddr_in` or `struct sockaddr_in6`; the family is in host byte order (little endian where XDP runs). */
function socketAddress(family: Family, address: Buffer): Buffer {
  const bytes = Buffer.alloc(family === "ipv4" ? 16 : 28);
  bytes.writeUInt16LE(families[family].domain, 0);
  address.copy(bytes, family === "ipv4" ? 4 : 8);
  return bytes;
}

function littleEndian32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}
