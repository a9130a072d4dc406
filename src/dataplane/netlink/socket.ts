import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import type { Native, NativeError } from "../../native.ts";
import {
  NLM_F_DUMP_INTR,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_OVERRUN,
  decodeErrorNumber,
  decodeMessages,
} from "./messages.ts";
import type { Message } from "./messages.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
/** Protocols. */
export const NETLINK_ROUTE = 0;
export const NETLINK_GENERIC = 16;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
/** The kernel makes dump datagrams of up to 32 KiB for a reader that takes them. */
const DATAGRAM_SIZE = 65536;
const INTERRUPTED_DUMPS = 20;

/** What the kernel answered to one request of a batch. */
export interface RefusedRequest {
  readonly sequence: number;
  /** errno name. */
  readonly code: string;
}

/** A request the kernel refused; `code` is the errno name. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  readonly code: string;
  constructor(what: string, errorNumber: number) {
    const code = getSystemErrorName(-errorNumber);
    super(`${what}: ${code}`);
    this.code = code;
  }
}

export interface NetlinkOptions {
  /** Multicast groups (RTNLGRP_*) to join. */
  readonly groups?: readonly number[];
  /** Bytes; default: the system's. */
  readonly receiveBuffer?: number;
}

/**
 * A netlink socket of the present network namespace. The kernel works on a request inside send(2), so the answer is
 * there when `send` returns and nothing here ever waits.
 */
export class NetlinkSocket {
  readonly fd: number;
  readonly #native: Native;
  #sequence = 0;

  /** `protocol` is one of NETLINK_*. */
  constructor(native: Native, protocol: number, { groups = [], receiveBuffer }: NetlinkOptions = {}) {
    this.#native = native;
    this.fd = native.socketOpen(AF_NETLINK, SOCK_RAW, protocol);
    try {
      if (receiveBuffer !== undefined) this.#setReceiveBuffer(receiveBuffer);
      native.socketOption(this.fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
      const address = Buffer.alloc(12);
      address.writeUInt16LE(AF_NETLINK, 0);
      native.socketBind(this.fd, address);
      for (const group of groups) this.join(group);
    } catch (error) {
      native.socketClose(this.fd);
      throw error;
    }
  }

  #setReceiveBuffer(bytes: number): void {
    try {
      this.#native.socketOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
    } catch {
      // Without CAP_NET_ADMIN the system's limit holds.
      this.#native.socketOption(this.fd, SOL_SOCKET, SO_RCVBUF, bytes);
    }
  }

  /** Joins a multicast group. */
  join(group: number): void {
    this.#native.socketOption(this.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
  }

  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }

  /** Messages of one datagram; undefined: none is there; "lost": the queue has overflowed (ENOBUFS). */
  receive(): readonly Message[] | "lost" | undefined {
    let received: { data: Buffer; address: Buffer } | undefined;
    try {
      received = this.#native.socketReceive(this.fd, DATAGRAM_SIZE);
    } catch (error) {
      // The addon's errors carry the errno name.
      if ((error as NativeError).code === "ENOBUFS") return "lost";
      throw error;
    }
    if (received === undefined) return undefined;
    // Any process may send here; only port 0 is the kernel.
    const fromKernel = received.address.length >= 8 && received.address.readUInt32LE(4) === 0;
    return fromKernel ? decodeMessages(received.data) : [];
  }

  /** One request with one answer. Throws {@link NetlinkError} when the kernel refuses. */
  ask(what: string, encode: (sequence: number) => Buffer): Message {
    const sequence = this.nextSequence();
    this.#native.socketSend(this.fd, encode(sequence));
    for (const message of this.#answers(what)) {
      if (message.sequence !== sequence) continue;
      if (message.type === NLMSG_ERROR) throw new NetlinkError(what, decodeErrorNumber(message.payload));
      return message;
    }
    throw new Error(`${what}: no answer from the kernel`);
  }

  /**
   * One request that is acknowledged and answered by nothing else. Throws {@link NetlinkError} when the kernel refuses;
   * EINTR stands for no answer.
   */
  command(what: string, encode: (sequence: number) => Buffer): void {
    const sequence = this.nextSequence();
    this.#native.socketSend(this.fd, encode(sequence));
    for (const message of this.#answers(what)) {
      if (message.sequence !== sequence || message.type !== NLMSG_ERROR) continue;
      const errorNumber = decodeErrorNumber(message.payload);
      if (errorNumber !== 0) throw new NetlinkError(what, errorNumber);
      return;
    }
    // net/netlink/af_netlink.c, netlink_rcv_skb: of all errors this one is not told.
    throw new NetlinkError(what, constants.errno.EINTR);
  }

  /** All messages of a dump; one that was interrupted by a change is repeated. */
  dump(what: string, encode: (sequence: number) => Buffer): Message[] {
    let result: Message[] = [];
    for (let attempt = 0; attempt < INTERRUPTED_DUMPS; attempt++) {
      const dumped = this.#dumpOnce(what, encode);
      result = dumped.messages;
      if (!dumped.interrupted) break;
    }
    // Still interrupted: what is missing comes as an event.
    return result;
  }

  #dumpOnce(what: string, encode: (sequence: number) => Buffer): { messages: Message[]; interrupted: boolean } {
    const sequence = this.nextSequence();
    this.#native.socketSend(this.fd, encode(sequence));
    const messages: Message[] = [];
    let interrupted = false;
    for (const message of this.#answers(what)) {
      if (message.sequence !== sequence) continue;
      interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
      if (message.type === NLMSG_OVERRUN) throw new Error(`${what}: overrun`);
      if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
        const errorNumber = decodeErrorNumber(message.payload);
        if (errorNumber !== 0) throw new NetlinkError(what, errorNumber);
        return { messages, interrupted };
      }
      messages.push(message);
    }
    throw new Error(`${what}: the dump ends early`);
  }

  /** Sends requests that ask for no acknowledgement, as one datagram; returns those that were refused. */
  send(requests: readonly Buffer[]): RefusedRequest[] {
    if (requests.length === 0) return [];
    this.#native.socketSend(this.fd, Buffer.concat(requests));
    const refused: RefusedRequest[] = [];
    for (const message of this.#answers("neighbour requests")) {
      if (message.type !== NLMSG_ERROR) continue;
      const errorNumber = decodeErrorNumber(message.payload);
      if (errorNumber !== 0) refused.push({ sequence: message.sequence, code: getSystemErrorName(-errorNumber) });
    }
    return refused;
  }

  *#answers(what: string): Generator<Message> {
    for (;;) {
      const messages = this.receive();
      if (messages === undefined) return;
      if (messages === "lost") throw new Error(`${what}: the kernel's answer did not fit the receive buffer`);
      yield* messages;
    }
  }

  close(): void {
    this.#native.socketClose(this.fd);
  }
}
