/**
 * What the kernel's IPVS and the XDP data path make of a frame differently on purpose, one rule for each: docs/IPVS.md
 * gives the reasons. A rule looks at the frame and at what came of it, so that it excuses nothing else.
 */
import { addressBytes, checksum, macBytes, pseudoHeader } from "../support/packet.ts";
import { crc32c } from "../support/transport.ts";
import { directorAddresses, routerMac, routers, targets } from "./frame-classes.ts";
import type { Story } from "./frame-classes.ts";
import type { Difference } from "./frame-comparison.ts";
import { addressesOf, partsOf, protocols } from "./frame-mutations.ts";
import type { Parts } from "./frame-mutations.ts";

/** A frame of the story that came in before, and what the kernel sent then. */
export interface Earlier {
  readonly frame: Buffer;
  readonly kernel: readonly Buffer[];
}

interface Told {
  readonly difference: Difference;
  readonly earlier: readonly Earlier[];
  readonly story: Story;
  readonly frame: Buffer;
  readonly parts: Parts;
  /** The first frame that went out there and here; empty: none did. */
  readonly there: Buffer;
  readonly here: Buffer;
  /** The way to the real server may be shorter for one of both, which alone heard of it. */
  readonly apart: boolean;
}

const synAndReset = 0x06;
const icmpHeader = 8;
const ipv6Header = 40;
/** Of an IPv6 extension header what IPVS reads. */
const extensionHeader = 8;
const timestampReply = 14;
const parameterProblem = 4;
const doNotFragment = 0x4000;
const icmpErrors: readonly number[] = [3, 4, 11];
/** What IPVS reads of a packet that may open a connection, of SCTP the first chunk's header as well. */
const opening: Readonly<Record<number, number>> = {
  [protocols.tcp]: 20,
  [protocols.udp]: 8,
  [protocols.sctp]: 16,
};

/** Whether the frame is one piece of an IP packet. */
export function isFragment(bytes: Buffer): boolean {
  const parts = partsOf(bytes);
  if (parts === undefined) return false;
  if (!parts.ipv6) return (bytes.readUInt16BE(parts.network + 6) & 0x3fff) !== 0;
  return parts.fragmentPlaces.some((place) => place !== 0);
}

/** Of the packet's own family. */
export function isIcmp({ ipv6, protocol }: Pick<Parts, "ipv6" | "protocol">): boolean {
  return protocol === (ipv6 ? protocols.icmpv6 : protocols.icmp);
}

/** Whether the frame is an ICMP error of a kind that IPVS looks into. */
function isError({ parts, frame }: Pick<Told, "parts" | "frame">): boolean {
  const type = frame[parts.transport] ?? 255;
  return isIcmp(parts) && parts.transport < parts.end && (parts.ipv6 ? type < 128 : icmpErrors.includes(type));
}

/** Of an ICMP message what follows its header. */
function quoteOf({ frame, parts }: Pick<Told, "parts" | "frame">): Buffer {
  return frame.subarray(Math.min(parts.transport + icmpHeader, parts.end), parts.end);
}

function sameLength({ there, here }: Told): boolean {
  return there.length > 0 && there.length === here.length;
}

/** An ICMP error about the frame: by its type, and by the addresses that it quotes. */
function answerTo({ frame, parts }: Told, bytes: Buffer): Parts | undefined {
  const answer = partsOf(bytes);
  if (answer === undefined || !isError({ parts: answer, frame: bytes })) return undefined;
  const quote = quoteOf({ parts: answer, frame: bytes });
  const [source, destination] = addressesOf({ ipv6: parts.ipv6, network: 0 }, quote);
  const [from, to] = addressesOf(parts, frame);
  return source.equals(from) && destination.equals(to) ? answer : undefined;
}

/** Whether it tells the client that the frame is too big for the way. */
function isTooBig(told: Told, bytes: Buffer): boolean {
  const answer = answerTo(told, bytes);
  return answer !== undefined && bytes.readUInt16BE(answer.transport) === (answer.ipv6 ? 0x0200 : 0x0304);
}

/** Whether the ICMP checksum of the frame is right. */
function icmpSound({ frame, parts }: Told): boolean {
  const content = frame.subarray(parts.transport, parts.end);
  if (!parts.ipv6) return checksum(content) === 0;
  return checksum(pseudoHeader(...addressesOf(parts, frame), parts.protocol, content.length), content) === 0;
}

/** Whether the kernel has sent something on, before, for the client that the error's quote was for. */
function isKnown(told: Told): boolean {
  const { parts, earlier, story } = told;
  const quote = quoteOf(told);
  if (story.target.onePacket) return false;
  const [, client] = addressesOf({ ipv6: parts.ipv6, network: 0 }, quote);
  const transport = parts.ipv6 ? ipv6Header : ((quote[0] ?? 0) & 15) * 4;
  const protocol = quote[parts.ipv6 ? 6 : 9];
  const [from, to] = [quote.subarray(transport, transport + 2), quote.subarray(transport + 2, transport + 4)];
  return earlier.some(({ frame, kernel }) => {
    const opened = partsOf(frame);
    if (opened === undefined || opened.transport + 4 > frame.length || opened.protocol !== protocol) return false;
    return (
      addressesOf(opened, frame)[0].equals(client) &&
      addressesOf(opened, frame)[1].equals(addressBytes(story.target.address)) &&
      frame.subarray(opened.transport, opened.transport + 4).equals(Buffer.concat([to, from])) &&
      kernel.some((bytes) => !bytes.subarray(0, 6).equals(macBytes(routerMac)))
    );
  });
}

/** Whether both are as long, and the same up to what follows an ICMP header. */
function sameStart(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && a.length > 0 && a.subarray(0, 36).equals(b.subarray(0, 36));
}

function isMulticast(address: Buffer): boolean {
  const [first = 0] = address;
  return address.length === 16 ? first === 0xff : first >> 4 === 14;
}

export const ownAddresses = [...Object.values(directorAddresses), ...targets.map(({ address }) => address)].map(
  addressBytes,
);
const neighbours = [...Object.values(routers), ...targets.map(({ realServer }) => realServer.address)].map(
  addressBytes,
);

/** One of the director's own, or on its link but nobody there. */
function isNoNeighbour(address: Buffer): boolean {
  const { ipv4, ipv6 } = directorAddresses;
  const onLink = [addressBytes(ipv4).subarray(0, 2), addressBytes(ipv6).subarray(0, 8), Buffer.from([0xfe, 0x80])];
  const isOnLink = onLink.some((prefix) => address.subarray(0, prefix.length).equals(prefix));
  const isIn = (list: readonly Buffer[]): boolean => list.some((other) => other.equals(address));
  return isIn(ownAddresses) || (isOnLink && !isIn(neighbours));
}

function hasSynAndReset({ frame, parts }: Told): boolean {
  return parts.protocol === protocols.tcp && ((frame[parts.transport + 13] ?? 0) & synAndReset) === synAndReset;
}

function isTcpBehindExtensions(frame: Buffer): boolean {
  const parts = partsOf(frame);
  return parts?.ipv6 === true && parts.protocol === protocols.tcp && parts.transport > parts.network + ipv6Header;
}

const rules: Readonly<Record<string, (told: Told) => boolean>> = {
  "SYN and RST together on a closed connection": (told) => told.there.length === 0 && hasSynAndReset(told),

  // The kernel has taken the first of them for TCP's header, and the connection for closed; the stack takes no AH.
  "the state of a connection, by packets with IPv6 extension headers": (told) =>
    hasSynAndReset(told) &&
    told.earlier.some(({ frame }) => isTcpBehindExtensions(frame)) &&
    (told.there.length === 0 || answerTo(told, told.there) !== undefined),

  "IPv4 options that the director is asked to fill in, and what follows their end": (told) =>
    !told.parts.ipv6 && told.parts.transport > told.parts.network + 20 && sameLength(told),

  "the answer to a packet with IPv4 options has none": (told) => {
    const { frame, parts, there, here } = told;
    if (parts.ipv6 || parts.transport === parts.network + 20) return false;
    const [kernel, xdp] = [answerTo(told, there), answerTo(told, here)];
    if (kernel === undefined || xdp === undefined || xdp.transport !== xdp.network + 20) return false;
    // The quoted options are as the frame has them.
    const quoted = quoteOf({ frame: here, parts: xdp });
    return (
      there.readUInt16BE(kernel.transport) === here.readUInt16BE(xdp.transport) &&
      there.length - kernel.transport === here.length - xdp.transport &&
      quoted.subarray(20, 24).equals(frame.subarray(parts.network + 20, parts.network + 24))
    );
  },

  "an answer goes back to the link address that the packet came from": (told) =>
    answerTo(told, told.here) !== undefined &&
    told.here.subarray(0, 6).equals(told.frame.subarray(6, 12)) &&
    told.there.subarray(6).equals(told.here.subarray(6)),

  "a refused packet from a source that the director has no way to is answered": (told) =>
    told.there.length === 0 &&
    answerTo(told, told.here) !== undefined &&
    told.here.subarray(0, 6).equals(told.frame.subarray(6, 12)) &&
    isNoNeighbour(addressesOf(told.parts, told.frame)[0]),

  "the fragment header of a whole packet": (told) => {
    const { parts, there, here, difference } = told;
    if (parts.fragmentPlaces.length === 0) return false;
    if (difference.verdict === "pass") return true;
    const [kernel, xdp] = [answerTo(told, there), answerTo(told, here)];
    if (kernel === undefined) return here.length > 0 && here.subarray(0, 12).equals(there.subarray(0, 12));
    return xdp !== undefined && there.readUInt16BE(kernel.transport) === here.readUInt16BE(xdp.transport);
  },

  "UDP without a checksum, masq": (told) =>
    told.parts.protocol === protocols.udp &&
    told.parts.end >= told.parts.transport + 8 &&
    told.frame.readUInt16BE(told.parts.transport + 6) === 0 &&
    told.story.target.realServer.method === "masq" &&
    sameLength(told),

  "SCTP with a wrong checksum, masq with another port": (told) => {
    const { frame, parts } = told;
    if (parts.protocol !== protocols.sctp || parts.end < parts.transport + 12 || !sameLength(told)) return false;
    const content = Buffer.from(frame.subarray(parts.transport, parts.end));
    const sum = content.readUInt32LE(8);
    content.writeUInt32LE(0, 8);
    return crc32c(content) !== sum;
  },

  "an ICMPv6 error with a wrong checksum, masq": (told) =>
    told.parts.ipv6 && isError(told) && sameLength(told) && !icmpSound(told),

  "an ICMP error that quotes an IPv4 header with a wrong checksum, masq": (told) => {
    const quote = quoteOf(told);
    return (
      !told.parts.ipv6 &&
      isError(told) &&
      sameLength(told) &&
      checksum(quote.subarray(0, ((quote[0] ?? 0) & 15) * 4)) !== 0
    );
  },

  "a header cut short that is for no service": ({ parts, there, difference }) =>
    there.length === 0 &&
    difference.verdict === "pass" &&
    parts.end - parts.transport < (isIcmp(parts) ? icmpHeader : (opening[parts.protocol] ?? extensionHeader)),

  "a packet from port 0": ({ parts, frame }) =>
    parts.protocol in opening && parts.transport + 2 <= parts.end && frame.readUInt16BE(parts.transport) === 0,

  "an ICMP error about an unknown connection to a service": (told) => {
    const quote = quoteOf(told);
    const [source] = addressesOf({ ipv6: told.parts.ipv6, network: 0 }, quote);
    return (
      isError(told) &&
      told.there.length === 0 &&
      told.difference.xdp.length === 1 &&
      quote.length > (told.parts.ipv6 ? ipv6Header : 20) &&
      source.equals(addressBytes(told.story.target.address)) &&
      !isKnown(told)
    );
  },

  // Routed to where it is addressed to, if that can be, and then once more to the real server.
  "an ICMP error that is not for the virtual address": (told) => {
    const { parts, frame, story, there, here, difference } = told;
    const [, destination] = addressesOf(parts, frame);
    if (!isError(told) || destination.equals(addressBytes(story.target.address))) return false;
    const ttl = frame[parts.network + (parts.ipv6 ? 7 : 8)] ?? 0;
    if (there.length === 0) return difference.verdict === "pass" || ttl <= 2 || isMulticast(destination);
    return there.subarray(0, 12).equals(here.subarray(0, 12));
  },

  // The stack routes it, by a path of which it may have heard; IPVS takes what the stack answers for a reply.
  "a packet for the real server's own address": ({ parts, frame, story, difference }) =>
    difference.verdict === "pass" && addressesOf(parts, frame)[1].equals(addressBytes(story.target.realServer.address)),

  // The stack's answer to it is for the director itself.
  "a packet from one of the director's own IPv6 addresses": ({ parts, frame }) =>
    parts.ipv6 && ownAddresses.some((own) => own.equals(addressesOf(parts, frame)[0])),

  "an ICMP error that quotes another version of IP, which kernels before autumn 2026 take for IPv4": (told) =>
    !told.parts.ipv6 && isError(told) && told.difference.verdict === "pass" && (quoteOf(told)[0] ?? 0) >> 4 !== 4,

  "an ICMP error that quotes a later fragment": (told) => {
    const quote = quoteOf(told);
    return (
      !told.parts.ipv6 &&
      isError(told) &&
      told.difference.verdict === "pass" &&
      quote.length >= 20 &&
      (quote.readUInt16BE(6) & 0x1fff) !== 0
    );
  },

  "an ICMPv6 error about a packet to a masqueraded real server": (told) => {
    const { realServer } = told.story.target;
    const toReal = (bytes: Buffer, network: number): boolean =>
      bytes.length >= network + ipv6Header &&
      addressesOf({ ipv6: true, network }, bytes)[1].equals(addressBytes(realServer.address));
    if (!told.parts.ipv6 || told.there.length > 0 || realServer.method !== "masq") return false;
    // The error may be the stack's own: about a packet that was sent to the real server itself.
    if (told.difference.verdict === "pass") return toReal(told.frame, told.parts.network);
    return isError(told) && toReal(quoteOf(told), 0);
  },

  "an ICMP error about a tunnel": (told) => {
    const [kernel, xdp] = [partsOf(told.there), partsOf(told.here)];
    if (!isError(told) || xdp === undefined) return false;
    if (kernel === undefined) return xdp.ipv6 !== told.parts.ipv6;
    if (!isError({ parts: kernel, frame: told.there }) || !isError({ parts: xdp, frame: told.here })) return false;
    // Nothing is taken over behind the checksum, nor what follows the packet that is quoted.
    const [whole, quote] = [quoteOf({ frame: told.there, parts: kernel }), quoteOf({ frame: told.here, parts: xdp })];
    return (
      told.there.readUInt16BE(kernel.transport) === told.here.readUInt16BE(xdp.transport) &&
      told.here.readUInt32BE(xdp.transport + 4) === 0 &&
      whole.subarray(0, quote.length).equals(quote)
    );
  },

  "an ICMP error that is not for the one who has sent what it quotes": (told) => {
    const { parts, frame, difference } = told;
    if (!isError(told) || difference.verdict !== "pass") return false;
    return !addressesOf({ ipv6: parts.ipv6, network: 0 }, quoteOf(told))[0].equals(addressesOf(parts, frame)[1]);
  },

  "longer than the way, without DF": ({ frame, parts, there }) =>
    !parts.ipv6 && (frame.readUInt16BE(parts.network + 6) & doNotFragment) === 0 && isFragment(there),

  "a path MTU of which an error has told one of both": (told) => {
    if (!told.apart) return false;
    const [answered, sent] = isTooBig(told, told.there) ? [told.there, told.here] : [told.here, told.there];
    return isTooBig(told, answered) && sent.subarray(0, 6).equals(macBytes(told.story.target.realMac));
  },

  "an ICMP error that is longer than the tunnel": (told) =>
    isError(told) && told.difference.verdict === "drop" && isFragment(told.there),

  "an IPv6 packet that gives no length, but hop-by-hop options": ({ parts, frame, difference }) =>
    parts.ipv6 && frame.readUInt32BE(parts.network + 4) >>> 8 === 0 && difference.verdict === "pass",

  "the clock of the stack that answers": ({ parts, there, here, difference }) =>
    isIcmp(parts) &&
    difference.verdict === "pass" &&
    sameStart(there, here) &&
    there[parts.transport] === timestampReply,

  "IPv6 hop-by-hop options that ask to be dropped": (told) => {
    const { parts, frame, there } = told;
    if (!parts.ipv6 || frame[parts.network + 6] !== 0) return false;
    const answer = answerTo(told, there);
    return there.length === 0 || (answer !== undefined && there[answer.transport] === parameterProblem);
  },
};

/** The rule that the difference falls under; undefined: none, so it is a bug. */
export function reasonFor(
  difference: Difference,
  story: Story,
  earlier: readonly Earlier[],
  apart: boolean,
): string | undefined {
  const { frame } = difference;
  const parts = partsOf(frame);
  if (parts === undefined) return undefined;
  const first = ([text = ""]: readonly string[]): Buffer => Buffer.from(/^[0-9a-f]*/.exec(text)?.[0] ?? "", "hex");
  const [there, here] = [first(difference.kernel), first(difference.xdp)];
  const told = { difference, earlier, story, frame, parts, there, here, apart };
  return Object.entries(rules).find(([, rule]) => rule(told))?.[0];
}
