/**
 * Frames that nobody has thought of: the stories of frame-classes.ts, and sequences in any order, with fields, lengths
 * and bits of their frames changed by chance, the same for the same seed.
 */
import { familyOf } from "../../src/model/service.ts";
import { checksum, frame, pseudoHeader } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { crc32c } from "../support/transport.ts";
import { classes, directorAddresses, icmp, letters, quoted, sctp, stories } from "./frame-classes.ts";
import type { Class, Scene, Story } from "./frame-classes.ts";
import { directorMac } from "./play.ts";
import { createRandom } from "./seeded.ts";

type Below = (bound: number) => number;

const ethernet = 14;
export const protocols = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
const extensionTypes = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, noNext: 59, options: 60 } as const;

function pick<T>(below: Below, values: readonly [T, ...T[]]): T {
  return values[below(values.length)] ?? values[0];
}

export interface Parts {
  readonly ipv6: boolean;
  /** Where the IP header, and what is behind it and behind extension headers, begins. */
  readonly network: number;
  readonly transport: number;
  readonly protocol: number;
  /** Where the IP packet ends, and at most the frame. */
  readonly end: number;
  /** Of each IPv6 fragment header the place, and whether more follow: 0 of a whole packet. */
  readonly fragmentPlaces: readonly number[];
}

/** As far as the frame is one of IP. */
export function partsOf(bytes: Buffer): Parts | undefined {
  let network = 12;
  while (network + 4 <= bytes.length && [0x8100, 0x88a8].includes(bytes.readUInt16BE(network))) network += 4;
  if (network + 2 > bytes.length) return undefined;
  const type = bytes.readUInt16BE(network);
  network += 2;
  if (type === 0x0800 && network + 20 <= bytes.length) {
    const transport = network + ((bytes[network] ?? 0) & 15) * 4;
    const end = Math.min(bytes.length, network + bytes.readUInt16BE(network + 2));
    if (transport < network + 20 || transport > end) return undefined;
    return { ipv6: false, network, transport, protocol: bytes[network + 9] ?? 0, end, fragmentPlaces: [] };
  }
  if (type !== 0x86dd || network + 40 > bytes.length) return undefined;
  const end = Math.min(bytes.length, network + 40 + bytes.readUInt16BE(network + 4));
  let protocol = bytes[network + 6] ?? 0;
  let transport = network + 40;
  const fragmentPlaces: number[] = [];
  const { hopByHop, routing, fragment, authentication, options } = extensionTypes;
  for (let i = 0; i < 24 && transport + 8 <= end; i++) {
    const units = (bytes[transport + 1] ?? 0) + 1;
    let length: number;
    if (protocol === fragment) {
      length = 8;
      fragmentPlaces.push(bytes.readUInt16BE(transport + 2) & 0xfff9);
    } else if (protocol === authentication) length = (units + 1) * 4;
    else if (protocol === hopByHop || protocol === routing || protocol === options) length = units * 8;
    else break;
    protocol = bytes[transport] ?? 0;
    transport += length;
  }
  return { ipv6: true, network, transport: Math.min(transport, end), protocol, end, fragmentPlaces };
}

/** Source and destination of an IP header. */
export function addressesOf({ ipv6, network }: Pick<Parts, "ipv6" | "network">, bytes: Buffer): [Buffer, Buffer] {
  const [at, length] = ipv6 ? [network + 8, 16] : [network + 12, 4];
  return [bytes.subarray(at, at + length), bytes.subarray(at + length, at + 2 * length)];
}

/** Writes the checksums that the frame's fields ask for, as far as there is room. */
function resum(bytes: Buffer): void {
  const parts = partsOf(bytes);
  if (parts === undefined) return;
  const { ipv6, network, transport, protocol, end } = parts;
  if (!ipv6) {
    bytes.writeUInt16BE(0, network + 10);
    bytes.writeUInt16BE(checksum(bytes.subarray(network, transport)), network + 10);
  }
  const content = bytes.subarray(transport, end);
  const place = { 1: 2, 6: 16, 17: 6, 58: 2 }[protocol];
  if (protocol === protocols.sctp && content.length >= 12) {
    content.writeUInt32LE(0, 8);
    content.writeUInt32LE(crc32c(content), 8);
  }
  if (place === undefined || content.length < place + 2) return;
  content.writeUInt16BE(0, place);
  const sum =
    protocol === protocols.icmp
      ? checksum(content)
      : checksum(pseudoHeader(...addressesOf(parts, bytes), protocol, content.length), content);
  content.writeUInt16BE(protocol === protocols.udp ? sum || 0xffff : sum, place);
}

/** Says that the IP packet is as long as its frame, behind which nothing follows. */
function tellLength(bytes: Buffer): void {
  const parts = partsOf(bytes);
  if (parts === undefined) return;
  const { ipv6, network } = parts;
  const length = bytes.length - network - (ipv6 ? 40 : 0);
  bytes.writeUInt16BE(length, network + (ipv6 ? 4 : 2));
}

const edges8 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 41, 44, 58, 59, 60, 63, 64, 127, 128, 132, 254, 255] as const;
const edges16 = [0, 1, 7, 8, 19, 20, 21, 28, 40, 79, 80, 81, 0x1fff, 0x2000, 0x4000, 0x7fff, 0x8000, 0xffff] as const;

/** A change of a frame; undefined: it does not fit the frame. */
type Mutation = (bytes: Buffer, parts: Parts, below: Below, story: Story) => Buffer | undefined;

function write16(bytes: Buffer, at: number, value: number): Buffer | undefined {
  if (at + 2 > bytes.length) return undefined;
  bytes.writeUInt16BE(value & 0xffff, at);
  return bytes;
}

function near(below: Below, value: number): number {
  return (value + below(17) - 8) & 0xffff;
}

const oddSources: Readonly<Record<"ipv4" | "ipv6", readonly [string, ...string[]]>> = {
  ipv4: [
    ...(["0.0.0.0", "127.0.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"] as const),
    ...["192.168.255.255", "192.168.0.0", "169.254.1.1", "0.1.2.3", "10.255.255.255", "100.64.0.1", "255.0.0.1"],
  ],
  ipv6: [
    ...(["::", "::1", "ff02::1", "ff0e::1", "fe80::1", "fec0::1", "::ffff:10.10.10.1", "::10.10.10.1"] as const),
    ...["64:ff9b::a0a:a01", "2002:a0a:a01::1", "100::1", "fd00:1::", "2001:db8::1", "::2", "::1:0"],
  ],
};

/** An address as the bytes of a frame built for it have it. */
function bytesOf(address: string): Buffer {
  const ipv6 = familyOf(address) === "ipv6";
  const built = frame({ source: address, destination: ipv6 ? "::" : "0.0.0.0" });
  return built.subarray(ethernet + (ipv6 ? 8 : 12), ethernet + (ipv6 ? 24 : 16));
}

interface Extension {
  readonly type: number;
  readonly bytes: readonly number[];
}

const extensionKinds: readonly [Extension, ...Extension[]] = [
  { type: extensionTypes.hopByHop, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
  { type: extensionTypes.hopByHop, bytes: [0, 0, 5, 2, 0, 0, 1, 0] },
  { type: extensionTypes.options, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
  { type: extensionTypes.options, bytes: [0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
  { type: extensionTypes.routing, bytes: [0, 0, 4, 0, 0, 0, 0, 0] },
  { type: extensionTypes.routing, bytes: [0, 2, 0, 1, 0, 0, 0, 0, ...Array.from({ length: 16 }, () => 1)] },
  { type: extensionTypes.authentication, bytes: [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1] },
  { type: extensionTypes.authentication, bytes: [0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0] },
  { type: extensionTypes.fragment, bytes: [0, 0, 0, 0, 0, 0, 0, 1] },
  { type: extensionTypes.noNext, bytes: [0, 0, 0, 0, 0, 0, 0, 0] },
  { type: 50, bytes: [0, 0, 0, 0, 0, 0, 0, 0] },
  { type: 135, bytes: [0, 0, 0, 0, 0, 0, 0, 0] },
  { type: 139, bytes: [0, 0, 0, 0, 0, 0, 0, 0] },
  { type: 140, bytes: [0, 0, 0, 0, 0, 0, 0, 0] },
];

const mutations: Readonly<Record<string, Mutation>> = {
  "a bit": (bytes, { network }, below) => {
    const at = network + below(Math.min(80, bytes.length - network));
    bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
    return bytes;
  },
  "a bit anywhere": (bytes, _, below) => {
    const at = below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
    return bytes;
  },
  "a byte": (bytes, { network }, below) => {
    bytes[network + below(Math.min(100, bytes.length - network))] = pick(below, edges8);
    return bytes;
  },
  "a word": (bytes, { network }, below) =>
    write16(bytes, network + 2 * below(40), below(2) === 0 ? pick(below, edges16) : below(65536)),
  "the IP length": (bytes, { ipv6, network }, below) =>
    write16(
      bytes,
      network + (ipv6 ? 4 : 2),
      pick(below, [
        near(below, bytes.length - network - (ipv6 ? 40 : 0)),
        near(below, 20),
        below(bytes.length),
        0,
        65535,
      ]),
    ),
  "version and header length": (bytes, { network }, below) => {
    bytes[network] = below(3) === 0 ? below(256) : 0x40 | below(16);
    return bytes;
  },
  TTL: (bytes, { ipv6, network }, below) => {
    bytes[network + (ipv6 ? 7 : 8)] = pick(below, [0, 1, 1, 2, 255]);
    return bytes;
  },
  "the protocol": (bytes, { ipv6, network }, below) => {
    bytes[network + (ipv6 ? 6 : 9)] =
      below(2) === 0 ? pick(below, [0, 1, 6, 17, 58, 132, 33, 136, 50, 51]) : below(256);
    return bytes;
  },
  "the source": (bytes, { ipv6, network }, below, { target }) => {
    const family = ipv6 ? "ipv6" : "ipv4";
    const odd = pick(below, oddSources[family]);
    const source = pick(below, [odd, odd, odd, target.address, directorAddresses[family], target.realServer.address]);
    if (familyOf(source) !== family) return undefined;
    bytes.set(bytesOf(source), network + (ipv6 ? 8 : 12));
    return bytes;
  },
  "the destination": (bytes, { ipv6, network }, below, { target }) => {
    const family = ipv6 ? "ipv6" : "ipv4";
    const destination = pick(below, [target.address, directorAddresses[family], target.realServer.address]);
    if (familyOf(destination) !== family) return undefined;
    bytes.set(bytesOf(destination), network + (ipv6 ? 24 : 16));
    return bytes;
  },
  "source port 0": (bytes, { transport }) => write16(bytes, transport, 0),
  "destination port": (bytes, { transport }, below) =>
    write16(bytes, transport + 2, pick(below, [0, 20, 21, 79, 81, 8080, 1023, 1024, 65535])),
  "the same ports": (bytes, { transport }) =>
    transport + 4 > bytes.length ? undefined : write16(bytes, transport, bytes.readUInt16BE(transport + 2)),
  "the ports of FTP": (bytes, { transport }, below) => write16(bytes, transport + 2 * below(2), 20 + below(2)),
  "the UDP length": (bytes, { transport, protocol, end }, below) =>
    protocol === protocols.udp
      ? write16(bytes, transport + 4, pick(below, [0, 7, 8, 9, near(below, end - transport), 65535]))
      : undefined,
  "the TCP data offset": (bytes, { transport, protocol }, below) => {
    if (protocol !== protocols.tcp || transport + 13 > bytes.length) return undefined;
    bytes[transport + 12] = below(256);
    return bytes;
  },
  "the TCP flags": (bytes, { transport, protocol }, below) => {
    if (protocol !== protocols.tcp || transport + 14 > bytes.length) return undefined;
    bytes[transport + 13] = below(256);
    return bytes;
  },
  "the first SCTP chunk": (bytes, { transport, protocol }, below) => {
    if (protocol !== protocols.sctp || transport + 16 > bytes.length) return undefined;
    bytes[transport + 12 + below(2)] = below(3) === 0 ? below(256) : below(16);
    if (below(2) === 0) write16(bytes, transport + 14, pick(below, [0, 3, 4, 5, 16, 20, 65535, 65532]));
    return bytes;
  },
  "another SCTP chunk": (bytes, { transport, protocol, end }, below) => {
    if (protocol !== protocols.sctp || end !== bytes.length || transport + 16 > end) return undefined;
    const length = pick(below, [4, 8, 5, 6, 7]);
    if (below(2) === 0) {
      bytes[transport + 12] = pick(below, [10, 11]);
      write16(bytes, transport + 14, end - transport - 12 - below(4));
    }
    const longer = Buffer.concat([bytes, Buffer.from([pick(below, [6, 0, 14, 7]), 0, 0, length, 0, 0, 0, 0])]);
    tellLength(longer);
    return longer;
  },
  "an ICMP type": (bytes, { ipv6, transport, protocol }, below) => {
    if (protocol !== protocols.icmp && protocol !== protocols.icmpv6) return undefined;
    if (transport + 2 > bytes.length) return undefined;
    bytes[transport] = below(2) === 0 ? below(256) : ipv6 ? below(6) : below(20);
    bytes[transport + 1] = below(4) === 0 ? below(256) : below(17);
    return bytes;
  },
  "the word behind the ICMP checksum": (bytes, { transport, protocol }, below) => {
    if (protocol !== protocols.icmp && protocol !== protocols.icmpv6) return undefined;
    if (transport + 8 > bytes.length) return undefined;
    bytes.writeUInt32BE(
      pick(below, [0, 1, 67, 68, 552, 575, 576, 1279, 1280, 1400, 1500, 65535, 65536, 0xffffffff]),
      transport + 4,
    );
    return bytes;
  },
  "what is quoted": (bytes, { transport, protocol, end }, below) => {
    if (protocol !== protocols.icmp && protocol !== protocols.icmpv6) return undefined;
    const quote = transport + 8;
    if (end < quote + 20) return undefined;
    const at = quote + below(Math.min(48, end - quote));
    bytes[at] = below(2) === 0 ? pick(below, edges8) : (bytes[at] ?? 0) ^ (1 << below(8));
    return bytes;
  },
  "flags of fragments": (bytes, { ipv6, network }, below) =>
    ipv6 ? undefined : write16(bytes, network + 6, pick(below, [0, 0x4000, 0x8000, 0xc000])),
  "a place among fragments": (bytes, { ipv6, network }, below) =>
    ipv6
      ? undefined
      : write16(bytes, network + 6, pick(below, [0x2000, 1, 0x2001, 0x1fff, 0x3fff, 0x6000, 0x4001, below(65536)])),
  cut: (bytes, { network }, below) => bytes.subarray(0, network + 1 + below(bytes.length - network)),
  "cut, and told": (bytes, { transport }, below) => {
    const copy = Buffer.from(bytes.subarray(0, transport + below(Math.min(90, bytes.length - transport + 1))));
    tellLength(copy);
    return copy;
  },
  padded: (bytes, _, below) => Buffer.concat([bytes, Buffer.alloc(1 + below(60), below(256))]),
  "longer, and told": (bytes, _, below) => {
    const copy = Buffer.concat([bytes, Buffer.alloc(1 + below(300), below(256))]);
    tellLength(copy);
    return copy;
  },
  "about as long as the way lets through": (bytes, { network }, below) => {
    const length = network + 1500 - pick(below, [0, 20, 40, 24, 28, 32, 44, 48, 52, 56, 60]) + below(5) - 2;
    if (bytes.length >= length || length > ethernet + 1500) return undefined;
    const copy = Buffer.concat([bytes, Buffer.alloc(length - bytes.length, 3)]);
    tellLength(copy);
    return copy;
  },
  "IPv4 options": (bytes, { ipv6, network }, below) => {
    if (ipv6 || bytes[network] !== 0x45) return undefined;
    const words = 1 + below(10);
    const options = Buffer.from(Array.from({ length: words * 4 }, () => (below(3) === 0 ? below(256) : below(12))));
    options[0] = pick(below, [0, 1, 7, 68, 130, 131, 134, 137, 148, 136, 30, below(256)]);
    if (below(2) === 0) options[1] = 2 + below(options.length - 1);
    const copy = Buffer.concat([bytes.subarray(0, network + 20), options, bytes.subarray(network + 20)]);
    copy[network] = 0x45 + words;
    write16(copy, network + 2, copy.readUInt16BE(network + 2) + words * 4);
    return copy;
  },
  "IPv6 extension headers": (bytes, { ipv6, network }, below) => {
    if (!ipv6) return undefined;
    let copy: Buffer = bytes;
    for (let i = 1 + below(4); i > 0; i--) {
      const kind = pick(below, extensionKinds);
      const header = Buffer.from(kind.bytes);
      header[0] = copy[network + 6] ?? 0;
      if (below(12) === 0) header[1 + below(header.length - 1)] = pick(below, edges8);
      copy = Buffer.concat([copy.subarray(0, network + 40), header, copy.subarray(network + 40)]);
      copy[network + 6] = kind.type;
      write16(copy, network + 4, copy.readUInt16BE(network + 4) + header.length);
    }
    return copy;
  },
  "a priority tag": (bytes, { network }, below) => {
    if (network > ethernet + 4) return undefined;
    const tag = Buffer.from([pick(below, [0x81, 0x88]), 0, below(8) << 5, 0]);
    if (tag[0] === 0x88) tag[1] = 0xa8;
    return Buffer.concat([bytes.subarray(0, 12), tag, bytes.subarray(12)]);
  },
  "an ICMP error about it": (bytes, { ipv6, network }, below) => {
    const source = bytes.subarray(network + (ipv6 ? 8 : 12), network + (ipv6 ? 24 : 16));
    const destination = bytes.subarray(network + (ipv6 ? 24 : 16), network + (ipv6 ? 40 : 20));
    const quote = Buffer.from(bytes.subarray(network, network + 1 + below(Math.min(130, bytes.length - network))));
    const type = ipv6 ? 1 + below(4) : pick(below, [3, 3, 4, 11, 12, 5]);
    const message = Buffer.concat([Buffer.from([type, below(6), 0, 0, 0, 0, 0, 0]), quote]);
    if (below(2) === 0) message.writeUInt16BE(pick(below, [68, 576, 1280, 1400, 1499]), 6);
    const header = Buffer.from(bytes.subarray(network, network + (ipv6 ? 40 : 20)));
    // As if it had gone the other way: from where it went to the one who has sent it, or as it is.
    if (below(3) > 0) {
      header.set(destination, ipv6 ? 8 : 12);
      header.set(source, ipv6 ? 24 : 16);
    }
    if (!ipv6) header[0] = 0x45;
    header[ipv6 ? 6 : 9] = ipv6 ? protocols.icmpv6 : protocols.icmp;
    const copy = Buffer.concat([bytes.subarray(0, network), header, message]);
    tellLength(copy);
    return copy;
  },
};

/** Some of the frames that a connection may meet, in any order. */
const anySequence: Class = (scene) => {
  const { below, packet, reply, target, clientPort, ipv6, client } = scene;
  const masq = target.realServer.method === "masq" && familyOf(target.realServer.address) === familyOf(client);
  const fromService = (): FrameSpec =>
    target.protocol === "sctp" ? { transport: sctp(target.port, clientPort, below(16), below(4)) } : {};
  const kinds: (() => Buffer)[] = [
    () => packet(),
    () => packet({ flags: "A" }),
    () => packet({ flags: "PA", payload: Buffer.alloc(below(1400), 1) }),
    () => packet({ flags: letters(below(64)) }),
    () => packet({ flags: pick(below, ["FA", "R", "RA", "F", "S", "SA"]) }),
    () => packet({ flags: "A", ttl: below(4) }),
    () => packet({ flags: "A", ...(ipv6 ? {} : { fragment: 0 }), payload: Buffer.alloc(1300 + below(120), 2) }),
    () => icmp(scene, ipv6 ? 1 + below(4) : pick(below, [3, 11, 4]), below(6), 1400, quoted(scene, below(60))),
    ...(target.protocol === "sctp"
      ? [() => packet({ transport: sctp(clientPort, target.port, below(16), below(4), 4 + below(40)) })]
      : []),
    ...(masq
      ? [
          () => reply({ flags: pick(below, ["SA", "A", "FA", "R", "PA"]), payload: Buffer.alloc(below(1400), 4) }),
          () => reply({ flags: letters(below(64)), ttl: below(4) }),
          () => icmpOfRealServer(scene, fromService()),
        ]
      : []),
  ];
  return Array.from({ length: 3 + below(6) }, () => (kinds[below(kinds.length)] ?? packet)());
};

/** A router on the way to the real server tells of what it has got by a tunnel of IPv4. */
const errorOfTunnel: Class = (scene) => {
  const { below, packet, opened, target, ipv6 } = scene;
  const { method, address, tunnel } = target.realServer;
  if (method !== "ipip" || familyOf(address) === "ipv6") return [];
  const inner = packet({ flags: "A", payload: Buffer.alloc(below(60)) }).subarray(ethernet);
  const header = Buffer.alloc(tunnel?.checksum === "full" ? 8 : 4);
  header.writeUInt16BE(header.length === 8 ? 0x8000 : 0);
  header.writeUInt16BE(ipv6 ? 0x86dd : 0x0800, 2);
  const outside: FrameSpec =
    tunnel?.type === "gue"
      ? {
          protocol: "udp",
          sourcePort: 40000,
          destinationPort: tunnel.port,
          payload: Buffer.concat([Buffer.from([0, ipv6 ? 41 : 4, 0, 0]), inner]),
        }
      : tunnel?.type === "gre"
        ? { protocol: 47, transport: Buffer.concat([header, inner]) }
        : { protocol: ipv6 ? 41 : 4, transport: inner };
  const sent = frame({ source: directorAddresses.ipv4, destination: address, ...outside });
  const quote = sent.subarray(ethernet, ethernet + 28 + below(sent.length - ethernet - 27));
  const source = pick(below, [address, "192.168.255.2", "203.0.113.9"]);
  const message = Buffer.concat([Buffer.from([pick(below, [3, 3, 11, 4]), below(6), 0, 0, 0, 0, 0, 0]), quote]);
  message.writeUInt16BE(pick(below, [0, 68, 552, 1300, 1400, 1480, 1500, 65535]), 6);
  const error = frame({
    to: directorMac,
    from: target.realMac,
    source,
    destination: directorAddresses.ipv4,
    protocol: protocols.icmp,
    transport: message,
  });
  resum(error);
  return [...opened(), error, packet({ flags: "A" })];
};

/** A masqueraded real server, or a router there, tells of what has come from the client. */
function icmpOfRealServer(scene: Scene, spec: FrameSpec): Buffer {
  const { target, client, clientPort, ipv6, below } = scene;
  const seen = frame({
    source: client,
    destination: target.realServer.address,
    sourcePort: clientPort,
    destinationPort: target.realPort,
    ...(target.protocol === "sctp" ? { protocol: 132 } : { protocol: target.protocol }),
    ...spec,
  });
  const quote = seen.subarray(ethernet, ethernet + (ipv6 ? 40 : 20) + below(21));
  return icmp(scene, ipv6 ? 1 + below(4) : pick(below, [3, 11, 4]), below(6), 1400, quote, {
    source: target.realServer.address,
    destination: client,
    from: target.realMac,
  });
}

const names = Object.keys(mutations);

function mutate(story: Story, below: Below): Story {
  const frames: Buffer[] = story.frames.map((bytes) => Buffer.from(bytes));
  const told: string[] = [];
  if (frames.length > 1 && below(6) === 0) {
    const [a, b] = [below(frames.length), below(frames.length)];
    const moved = frames.splice(a, 1);
    frames.splice(b, 0, ...moved);
    told.push(`${a} to the place of ${b}`);
  }
  if (below(8) === 0) {
    const at = below(frames.length);
    frames.splice(at, 0, Buffer.from(frames[at] ?? []));
    told.push(`${at} twice`);
  }
  for (let i = 1 + below(3); i > 0; i--) {
    const at = below(2) === 0 ? frames.length - 1 : below(frames.length);
    const bytes = frames[at];
    const parts = bytes && partsOf(bytes);
    const name = names[below(names.length)] ?? "";
    const result = bytes && parts && mutations[name]?.(Buffer.from(bytes), parts, below, story);
    if (result === undefined || result.length < ethernet || result.length > ethernet + 1500) continue;
    frames[at] = result;
    const right = below(5) > 0;
    if (right) resum(result);
    told.push(`${at}: ${name}${right ? "" : ", checksums as they were"}`);
  }
  return { ...story, frames, mutations: told };
}

/** So many stories, each about a client of its own, of services whose limits are not reached by other stories. */
export function mutatedStories(count: number, seed: number): Story[] {
  const random = createRandom(seed);
  const below: Below = (bound) => Math.floor(random() * bound);
  const told = {
    ...classes,
    "a sequence in any order": anySequence,
    "another sequence in any order": anySequence,
    "errors about a tunnel": errorOfTunnel,
  };
  const all = stories(Math.ceil(count / 2500), below(2 ** 31), told).filter(
    ({ target }) => target.realServer.upperThreshold === 0,
  );
  for (let at = all.length - 1; at > 0; at--) {
    const other = below(at + 1);
    const [a, b] = [all[at], all[other]];
    if (a !== undefined && b !== undefined) [all[at], all[other]] = [b, a];
  }
  return all.slice(0, count).map((story) => mutate(story, below));
}
