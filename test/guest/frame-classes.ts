/**
 * Frames of every class that a director meets, for comparison with the kernel's IPVS: each class is a story of one or
 * more frames about a client of its own, told for every virtual service there is.
 */
import type { Change } from "../../src/model/change.ts";
import { familyOf } from "../../src/model/service.ts";
import type { Family, Protocol, RealServer, ServiceIdentity, Tunnel } from "../../src/model/service.ts";
import { addressBytes, checksum, frame, pseudoHeader } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { crc32c } from "../support/transport.ts";
import { directorMac } from "./play.ts";
import { createRandom } from "./seeded.ts";

export const routerMac = "02:00:00:00:00:02";
export const routers = { ipv4: "192.168.255.2", ipv6: "fd00:1::2" } as const;
export const directorAddresses: Readonly<Record<Family, string>> = { ipv4: "192.168.255.1", ipv6: "fd00:1::1" };
const loopbackAddresses: typeof directorAddresses = { ipv4: "127.0.0.1", ipv6: "::1" };

/** A virtual service with one real server, so that there is no choice. */
export interface Target {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly realServer: RealServer;
  /** Where packets reach the real server. */
  readonly realPort: number;
  readonly realMac: string;
  /** The service takes any port of its address, and is persistent. */
  readonly allPorts: boolean;
  readonly onePacket: boolean;
}

const methods = [
  { name: "gate", method: "gate", port: 80 },
  { name: "masq", method: "masq", port: 8080 },
  { name: "masq, same port", method: "masq", port: 80 },
  { name: "ipip", method: "ipip", port: 80 },
  { name: "ipip, other family", method: "ipip", port: 80, other: true },
  { name: "gue", method: "ipip", port: 80, tunnel: { type: "gue", port: 6080, checksum: "none" } },
  { name: "gue with checksum", method: "ipip", port: 80, tunnel: { type: "gue", port: 6080, checksum: "full" } },
  { name: "gre", method: "ipip", port: 80, tunnel: { type: "gre", port: 0, checksum: "none" } },
  { name: "gre with checksum", method: "ipip", port: 80, tunnel: { type: "gre", port: 0, checksum: "full" } },
  { name: "gate, weight 0", method: "gate", port: 80, weight: 0 },
  { name: "gate, one connection at most", method: "gate", port: 80, upperThreshold: 1 },
  { name: "gate, this machine by its loopback address", method: "gate", port: 80, local: loopbackAddresses },
  { name: "gate, this machine by its own address", method: "gate", port: 80, local: directorAddresses },
  { name: "gate, all ports", method: "gate", port: 0 },
  { name: "masq, all ports", method: "masq", port: 0 },
  { name: "gate, one packet", method: "gate", port: 80, onePacket: true },
  { name: "masq, one packet", method: "masq", port: 8080, onePacket: true },
  { name: "ipip, one packet", method: "ipip", port: 80, onePacket: true },
] as const satisfies readonly {
  name: string;
  method: RealServer["method"];
  /** 0: the service is one of all ports. */
  port: number;
  other?: boolean;
  local?: typeof directorAddresses;
  onePacket?: boolean;
  tunnel?: Tunnel;
  weight?: number;
  upperThreshold?: number;
}[];

function realAddress(number: number, ipv6: boolean): string {
  return ipv6 ? `fd00:1::1:${number.toString(16)}` : `192.168.1.${number}`;
}

const places = { tcp: 0, udp: 30, sctp: 60 } as const;

function protocolsOf(way: (typeof methods)[number]): readonly Protocol[] {
  return "onePacket" in way ? ["udp"] : ["tcp", "udp", "sctp"];
}

/** Every method, in both families, over TCP, UDP and SCTP. */
export const targets: readonly Target[] = methods.flatMap((way, index) =>
  [false, true].flatMap((ipv6) =>
    protocolsOf(way).map((protocol): Target => {
      const number = 1 + index + (ipv6 ? 100 : 0) + places[protocol];
      return {
        name: `${way.name}, ${ipv6 ? "IPv6" : "IPv4"}, ${protocol}`,
        address: ipv6 ? `fd00:10::${(index + 1).toString(16)}` : `10.10.10.${index + 1}`,
        port: 80,
        protocol,
        realMac: `02:00:00:01:00:${number.toString(16).padStart(2, "0")}`,
        realPort: way.port || 80,
        allPorts: way.port === 0,
        onePacket: "onePacket" in way,
        realServer: {
          address:
            "local" in way ? way.local[ipv6 ? "ipv6" : "ipv4"] : realAddress(number, "other" in way ? !ipv6 : ipv6),
          port: way.port,
          method: way.method,
          weight: "weight" in way ? way.weight : 1,
          upperThreshold: "upperThreshold" in way ? way.upperThreshold : 0,
          lowerThreshold: 0,
          ...("tunnel" in way ? { tunnel: way.tunnel } : {}),
        },
      };
    }),
  ),
);

export function identityOf({ protocol, address, port, allPorts }: Target): ServiceIdentity {
  return { kind: "address", protocol, address, port: allPorts ? 0 : port };
}

export function changesFor(target: Target): Change[] {
  const identity = identityOf(target);
  const { onePacket, allPorts, address } = target;
  const persistence = { timeout: 300, prefix: familyOf(address) === "ipv6" ? 128 : 32 };
  return [
    {
      kind: "add-service",
      service: {
        identity,
        scheduler: "rr",
        schedulerFlags: [],
        onePacket,
        realServers: [],
        ...(allPorts ? { persistence } : {}),
      },
    },
    { kind: "add-real-server", identity, realServer: target.realServer },
  ];
}

export interface Story {
  readonly name: string;
  readonly target: Target;
  readonly frames: readonly Buffer[];
  /** What chance has done to the frames, if it has. */
  readonly mutations?: readonly string[];
}

/** What a class needs to write its frames. */
export interface Scene {
  readonly target: Target;
  readonly ipv6: boolean;
  readonly client: string;
  readonly clientPort: number;
  /** A whole number below the bound. */
  readonly below: (bound: number) => number;
  /** From the client to the service; a SYN unless told otherwise. */
  readonly packet: (spec?: FrameSpec) => Buffer;
  /** From the real server to the client, as a masqueraded one sends it. */
  readonly reply: (spec?: FrameSpec) => Buffer;
  /** What makes a connection that lives. */
  readonly opened: () => Buffer[];
}

const ethernet = 14;
const sctpProtocol = 132;

/** An IPv4 header whose checksum is right again after it was changed. */
export function resummed(bytes: Buffer): Buffer {
  const length = ((bytes[ethernet] ?? 0) & 15) * 4;
  if (length < 20 || ethernet + length > bytes.length) return bytes;
  bytes.writeUInt16BE(0, ethernet + 10);
  bytes.writeUInt16BE(checksum(bytes.subarray(ethernet, ethernet + length)), ethernet + 10);
  return bytes;
}

function changed(bytes: Buffer, at: number, ...values: readonly number[]): Buffer {
  const copy = Buffer.from(bytes);
  copy.set(values, at);
  return copy;
}

/** An SCTP packet whose checksum (CRC-32C, RFC 9260) is right again, if it reaches so far. */
function sctpSummed(bytes: Buffer): Buffer {
  if (bytes.length < 12) return bytes;
  bytes.writeUInt32LE(0, 8);
  bytes.writeUInt32LE(crc32c(bytes), 8);
  return bytes;
}

/** The frame's IP packet cut to so many bytes behind the IP header, its length fields told so. */
function cut(bytes: Buffer, transportBytes: number, ipv6: boolean): Buffer {
  const header = ipv6 ? 40 : 20;
  const copy = Buffer.from(bytes.subarray(0, ethernet + header + transportBytes));
  if (ipv6) copy.writeUInt16BE(transportBytes, ethernet + 4);
  else copy.writeUInt16BE(header + transportBytes, ethernet + 2);
  if (copy[ethernet + (ipv6 ? 6 : 9)] === sctpProtocol) sctpSummed(copy.subarray(ethernet + header));
  return ipv6 ? copy : resummed(copy);
}

/** A packet in pieces of at most 1,200 bytes, as its sender's stack cuts it; without DF. */
function fragments({ ipv6, below }: Scene, whole: Buffer): Buffer[] {
  const header = ethernet + (ipv6 ? 40 : 20);
  const content = whole.subarray(header);
  // The first one has to have the whole of the ports and of TCP's header.
  const step = 8 * (8 + below(Math.min(143, Math.ceil(content.length / 8) - 8)));
  const identification = 1 + below(65535);
  return Array.from({ length: Math.ceil(content.length / step) }, (_, index) => {
    const at = index * step;
    const piece = content.subarray(at, at + step);
    const more = at + step < content.length;
    const copy = Buffer.concat([whole.subarray(0, header), ...(ipv6 ? [Buffer.alloc(8)] : []), piece]);
    if (ipv6) {
      copy[header] = copy[ethernet + 6] ?? 0;
      copy[ethernet + 6] = 44;
      copy.writeUInt16BE(at | (more ? 1 : 0), header + 2);
      copy.writeUInt32BE(identification, header + 4);
      copy.writeUInt16BE(8 + piece.length, ethernet + 4);
      return copy;
    }
    copy.writeUInt16BE(20 + piece.length, ethernet + 2);
    copy.writeUInt16BE(identification, ethernet + 4);
    copy.writeUInt16BE((more ? 0x2000 : 0) | (at / 8), ethernet + 6);
    return resummed(copy);
  });
}

/** An SCTP packet of one chunk, with a right checksum. */
export function sctp(sourcePort: number, destinationPort: number, type: number, chunkFlags = 0, length = 20): Buffer {
  const bytes = Buffer.alloc(12 + Math.ceil(length / 4) * 4);
  bytes.writeUInt16BE(sourcePort, 0);
  bytes.writeUInt16BE(destinationPort, 2);
  bytes.writeUInt32BE(0x01020304, 4);
  bytes[12] = type;
  bytes[13] = chunkFlags;
  bytes.writeUInt16BE(length, 14);
  return sctpSummed(bytes);
}

/** INIT in the place of a SYN, COOKIE ECHO of an acknowledgement, DATA of what has more. */
function sctpOf(spec: FrameSpec & { sourcePort: number; destinationPort: number }): Buffer {
  const type = spec.flags === undefined || spec.flags === "S" ? 1 : spec.flags === "A" ? 10 : 0;
  return sctp(spec.sourcePort, spec.destinationPort, type, type === 0 ? 3 : 0, 20 + (spec.payload?.length ?? 0));
}

export function letters(bits: number): string {
  return [..."FSRPAUEC"].filter((_, bit) => bits & (1 << bit)).join("");
}

/** An ICMP message with a right checksum. */
export function icmp(
  scene: Scene,
  type: number,
  code: number,
  rest: number,
  quote: Uint8Array,
  spec: FrameSpec = {},
): Buffer {
  const message = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 0, 0, 0]), quote]);
  message.writeUInt32BE(rest >>> 0, 4);
  const source = addressBytes(spec.source ?? scene.client);
  const destination = addressBytes(spec.destination ?? scene.target.address);
  if (scene.ipv6) {
    message.writeUInt16BE(checksum(pseudoHeader(source, destination, 58, message.length), message), 2);
  } else {
    message.writeUInt16BE(checksum(message), 2);
  }
  return scene.packet({ protocol: scene.ipv6 ? 58 : 1, transport: message, ...spec });
}

/** What the service's side has sent to the client, as far as an error about it quotes it. */
export function quoted(scene: Scene, bytes: number): Buffer {
  const { target, client, clientPort } = scene;
  const sent = frame({
    source: target.address,
    destination: client,
    sourcePort: target.port,
    destinationPort: clientPort,
    ...(target.protocol === "sctp"
      ? { protocol: 132, transport: sctp(target.port, clientPort, 0, 3, 40) }
      : { protocol: target.protocol, flags: "A", payload: Buffer.alloc(40, 7) }),
  });
  return Buffer.from(sent.subarray(ethernet, ethernet + (scene.ipv6 ? 40 : 20) + bytes));
}

export type Class = (scene: Scene) => Buffer[];
const tcpOnly =
  (write: Class): Class =>
  (scene) =>
    scene.target.protocol === "tcp" ? write(scene) : [];
const udpOnly =
  (write: Class): Class =>
  (scene) =>
    scene.target.protocol === "udp" ? write(scene) : [];
const ipv4Only =
  (write: Class): Class =>
  (scene) =>
    scene.ipv6 ? [] : write(scene);
const ipv6Only =
  (write: Class): Class =>
  (scene) =>
    scene.ipv6 ? write(scene) : [];
const masqOnly =
  (write: Class): Class =>
  (scene) =>
    scene.target.realServer.method === "masq" ? write(scene) : [];

/** Of services that take new connections: how a refusal is framed is not the business of the class. */
const servedOnly =
  (write: Class): Class =>
  (scene) =>
    scene.target.realServer.weight > 0 && scene.target.realServer.upperThreshold === 0 ? write(scene) : [];
/** Of services whose packets go on to a real server elsewhere. */
const forwardedOnly =
  (write: Class): Class =>
  (scene) =>
    isLocal(scene.target.realServer) ? [] : servedOnly(write)(scene);
const sctpOnly =
  (write: Class): Class =>
  (scene) =>
    scene.target.protocol === "sctp" ? write(scene) : [];
const portsOnly =
  (write: Class): Class =>
  (scene) =>
    scene.target.protocol === "sctp" ? [] : write(scene);
const tunnelOnly =
  (write: Class): Class =>
  (scene) =>
    scene.target.realServer.method === "ipip" ? write(scene) : [];

const option = (...bytes: number[]): FrameSpec => ({ options: bytes });

/** Of every class a name and its frames; a class that does not concern a service has none for it. */
export const classes: Readonly<Record<string, Class>> = {
  "a connection from its beginning to its end": tcpOnly(({ packet, below }) => [
    packet(),
    packet({ flags: "A" }),
    packet({ flags: "PA", payload: Buffer.alloc(1 + below(1000), 1) }),
    packet({ flags: "FA" }),
    packet({ flags: "A" }),
  ]),
  "datagrams of any length": udpOnly(({ packet, below }) => [
    packet({ payload: Buffer.alloc(below(1400), 2) }),
    packet({ payload: Buffer.alloc(below(1400), 3) }),
  ]),
  "any flags without a connection": tcpOnly(({ packet, below }) => [packet({ flags: letters(below(256)) })]),
  "any flags with a connection": tcpOnly(({ packet, opened, below }) => [
    ...opened(),
    packet({ flags: letters(below(256)) }),
    packet({ flags: letters(below(256)) }),
  ]),
  "a SYN again in any state": tcpOnly(({ packet, below }) => [
    packet(),
    ...(below(2) === 0 ? [packet({ flags: "A" })] : []),
    packet({ flags: below(2) === 0 ? "FA" : "R" }),
    packet(),
    packet({ flags: "A" }),
  ]),
  "replies of a masqueraded real server": portsOnly(
    masqOnly(({ packet, reply, opened, target, below }) => [
      packet(),
      ...(target.protocol === "tcp" ? [reply({ flags: "SA" })] : []),
      ...opened().slice(1),
      reply({ flags: "PA", payload: Buffer.alloc(below(1200), 5), ttl: 1 + below(255) }),
      reply({ flags: "FA" }),
    ]),
  ),
  "replies with options, or a header that is wrong": masqOnly(
    ipv4Only(({ opened, reply, below }) => {
      const options = [
        option(1, 1, 1, 1),
        option(0x82, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        option(0x94, 4, 0, 0),
        option(0x83, 7, 4, 10, 0, 0, 9),
        option(0x89, 7, 4, 10, 0, 0, 9),
        option(7, 0, 4, 0),
        option(0x44, 3, 5, 0),
      ][below(7)];
      const good = reply({ flags: "A", payload: Buffer.alloc(20) });
      const bad = [
        changed(good, ethernet + 10, below(256), below(256)),
        resummed(changed(good, ethernet, (below(16) << 4) | 5)),
        resummed(changed(good, ethernet + 2, 6, below(256))),
        changed(good, ethernet, 0x40 | (6 + below(10))),
      ][below(4)];
      return [...opened(), reply({ flags: "A", ...options }), ...(bad === undefined ? [] : [bad]), good];
    }),
  ),
  "replies with IPv6 extension headers": masqOnly(
    ipv6Only(({ opened, reply, below }) => {
      const kinds = [
        { type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
        { type: 43, bytes: [0, 0, 4, 0, 0, 0, 0, 0] },
        { type: 51, bytes: [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1] },
      ];
      const chain = Array.from({ length: 1 + below(3) }, () => kinds[below(kinds.length)]);
      return [...opened(), reply({ flags: "A", extensions: chain.flatMap((header) => header ?? []) })];
    }),
  ),
  "replies cut short": masqOnly(({ opened, reply, ipv6, below, target: { protocol } }) => [
    ...opened(),
    cut(reply({ flags: "A" }), below({ tcp: 20, udp: 8, sctp: 16 }[protocol]), ipv6),
  ]),
  "replies without a connection": masqOnly(({ reply }) => [reply({ flags: "SA" })]),
  "TTL and hop limit, new": ({ packet, below }) => [packet({ ttl: [0, 1, 2, 255, below(256)][below(5)] ?? 3 })],
  "TTL and hop limit, live": ({ packet, opened, below }) => [
    ...opened(),
    packet({ flags: "A", ttl: [0, 1, 2, 255, below(256)][below(5)] ?? 3 }),
  ],
  "type of service, ECN, identification": ({ packet, below, ipv6 }) => [
    packet({ tos: below(256), ...(ipv6 ? {} : { id: below(65536) }) }),
  ],
  "without DF, and with the reserved flag": ipv4Only(({ packet, below }) => [
    packet({ fragment: [0, 0x4000, 0x8000, 0xc000][below(4)] ?? 0 }),
  ]),
  "a flow label": ipv6Only(({ packet, below }) => [changed(packet(), ethernet + 1, below(16), below(256), below(256))]),
  "any SCTP chunk without a connection": sctpOnly(({ packet, clientPort, target, below }) => [
    packet({ transport: sctp(clientPort, target.port, below(20), below(4)) }),
  ]),
  "any SCTP chunks with a connection": sctpOnly(({ packet, opened, clientPort, target, below }) => [
    ...(below(2) === 0 ? opened() : opened().slice(0, 1)),
    packet({ transport: sctp(clientPort, target.port, below(16), below(4)) }),
    packet({ transport: sctp(clientPort, target.port, below(16)) }),
    packet({ transport: sctp(clientPort, target.port, below(16)) }),
  ]),
  "replies of a masqueraded SCTP server": sctpOnly(
    masqOnly(({ packet, reply, target, clientPort, below }) => [
      packet(),
      reply({ transport: sctp(target.realPort, clientPort, 2) }),
      packet({ flags: "A" }),
      reply({ transport: sctp(target.realPort, clientPort, 11) }),
      reply({ transport: sctp(target.realPort, clientPort, below(16), 0, 20 + below(200)) }),
    ]),
  ),
  "a second client where one is the limit": ({ packet, below }) => [
    packet(),
    packet({ sourcePort: 1 + below(1000), flags: "S" }),
  ],
  "ICMP errors about a tunnel": tunnelOnly((scene) => {
    const { target, below, ipv6, opened, packet } = scene;
    const ipv6Outside = familyOf(target.realServer.address) === "ipv6";
    if (ipv6Outside || ipv6 || target.realServer.tunnel !== undefined) return [];
    const inner = packet({ flags: "A" }).subarray(ethernet);
    const tunnelled = frame({
      source: directorAddresses.ipv4,
      destination: target.realServer.address,
      protocol: 4,
      transport: inner,
    });
    const quote = tunnelled.subarray(ethernet, ethernet + ([28, 40, 44, 48, 60][below(5)] ?? 28));
    const [type = 3, code = 1, rest = 0] =
      [
        [3, 1, 0],
        [3, 3, 0],
        [11, 0, 0],
      ][below(3)] ?? [];
    return [
      ...opened(),
      icmp(scene, type, code, rest, quote, { source: target.realServer.address, destination: directorAddresses.ipv4 }),
    ];
  }),
  "a wrong transport checksum": ({ packet, ipv6, target, below }) => {
    if (target.protocol === "sctp" && target.realPort !== target.port) return [];
    const places = { tcp: 16, udp: 6, sctp: 8 };
    const at = ethernet + (ipv6 ? 40 : 20) + places[target.protocol];
    return [changed(packet(), at, below(256), below(256))];
  },
  "no UDP checksum": udpOnly(({ packet, ipv6 }) => [changed(packet(), ethernet + (ipv6 ? 46 : 26), 0, 0)]),
  "a wrong UDP length": udpOnly(({ packet, ipv6, below }) => [
    changed(packet({ payload: Buffer.alloc(20) }), ethernet + (ipv6 ? 44 : 24), 0, below(100)),
  ]),
  "a transport header cut short, new": ({ packet, ipv6, below, target: { protocol } }) => [
    // The stack answers SCTP that has no ports.
    cut(packet(), protocol === "sctp" ? 4 + below(12) : below({ tcp: 20, udp: 8 }[protocol]), ipv6),
  ],
  "a transport header cut short, live": ({ packet, opened, ipv6, below, target: { protocol } }) => [
    ...opened(),
    cut(packet({ flags: "A" }), protocol === "sctp" ? 4 + below(12) : below({ tcp: 20, udp: 8 }[protocol]), ipv6),
  ],
  "a wrong TCP data offset": tcpOnly(({ packet, opened, ipv6, below }) => [
    ...(below(2) === 0 ? opened() : []),
    changed(packet({ payload: Buffer.alloc(30) }), ethernet + (ipv6 ? 52 : 32), below(16) << 4),
  ]),
  "port 0": ({ packet, below }) => [packet(below(2) === 0 ? { sourcePort: 0 } : { destinationPort: 0 })],
  "another port": ({ packet, below }) => [packet({ destinationPort: 81 + below(60000) })],
  "an IPv4 header that is wrong": ipv4Only(({ packet, below }) => {
    const good = packet({ payload: Buffer.alloc(20) });
    switch (below(5)) {
      case 0:
        return [changed(good, ethernet + 10, below(256), below(256))];
      case 1:
        return [resummed(changed(good, ethernet, (below(16) << 4) | 5))];
      case 2:
        return [resummed(changed(good, ethernet, 0x40 | below(5)))];
      case 3:
        return [resummed(changed(good, ethernet + 2, 6, below(256)))];
      default:
        return [changed(good, ethernet, 0x40 | (6 + below(10)))];
    }
  }),
  "an IPv6 header that is wrong": ipv6Only(({ packet, below }) => {
    const good = packet({ payload: Buffer.alloc(20) });
    return [below(2) === 0 ? changed(good, ethernet, below(16) << 4) : changed(good, ethernet + 4, 6, below(256))];
  }),
  "a total length that ends before the frame": portsOnly(({ packet, ipv6, below, opened }) => {
    const good = packet({ flags: "A", payload: Buffer.alloc(40, 9) });
    const length = 20 + below(60);
    const copy = Buffer.from(good);
    copy.writeUInt16BE(ipv6 ? length - 20 : length, ethernet + (ipv6 ? 4 : 2));
    return [...opened(), ipv6 ? copy : resummed(copy)];
  }),
  "IPv4 options that are harmless": ipv4Only(({ packet, below }) => [
    packet(
      [
        option(1, 1, 1, 1),
        option(0x82, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        option(0x94, 4, 0, 0),
        option(0x1e, 6, 1, 2, 3, 4),
        option(0, 0, 0, 0),
      ][below(5)],
    ),
  ]),
  "IPv4 options that the director is asked to fill in": servedOnly(
    ipv4Only(({ packet, below }) => [
      packet([option(7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0), option(0x44, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0)][below(2)]),
    ]),
  ),
  "IPv4 options that are refused": servedOnly(
    ipv4Only(({ packet, below }) => [
      packet(
        [
          option(0x83, 7, 4, 10, 0, 0, 9),
          option(0x89, 7, 4, 10, 0, 0, 9),
          option(7, 0, 4, 0),
          option(7, 60, 4, 0),
          option(0x44, 3, 5, 0),
          option(0x44, 8, 5, 1, 0, 0, 0, 0),
          option(0x44, 8, 4, 0, 0, 0, 0, 0),
          option(0x44, 8, 9, 0xf0, 0, 0, 0, 0),
          option(0x44, 8, 5, 2, 0, 0, 0, 0),
          option(7, 7, 3, 0, 0, 0, 0),
          option(7, 7, 5, 0, 0, 0, 0),
          option(7, 2, 0, 0),
          option(0x94, 2, 0, 0),
        ][below(13)],
      ),
    ]),
  ),
  "other protocols": ({ packet, below }) => [
    packet({ protocol: [2, 4, 41, 47, 50, 51, 89, 103, 136, 253][below(10)] ?? 253, transport: Buffer.alloc(40, 1) }),
  ],
  "sources that the stack refuses, and that it does not": servedOnly(({ packet, below, ipv6, target }) => {
    const sources = ipv6
      ? ["::", "::1", "ff02::1", "fe80::1", target.address, directorAddresses.ipv6, target.realServer.address]
      : [
          ...["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.168.255.255", "169.254.1.1"],
          ...[target.address, directorAddresses.ipv4, "0.1.2.3", target.realServer.address],
        ];
    const source = sources[below(sources.length)] ?? "::";
    return familyOf(source) === (ipv6 ? "ipv6" : "ipv4") ? [packet({ source })] : [];
  }),
  "link addresses": servedOnly(({ packet, below }) => {
    const others = ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "02:00:00:00:00:77"];
    const strange = ["00:00:00:00:00:00", "01:00:5e:00:00:01", directorMac, "ff:ff:ff:ff:ff:ff"];
    return [packet(below(2) === 0 ? { to: others[below(4)] ?? "" } : { from: strange[below(4)] ?? "" })];
  }),
  "priority tags": servedOnly(({ packet, below }) => [
    packet({
      vlans: Array.from({ length: 1 + below(2) }, () => ({
        id: 0,
        priority: below(8),
        type: below(2) === 0 ? 0x8100 : 0x88a8,
      })),
    }),
  ]),
  "VLANs that are not there": ({ packet, below }) => [packet({ vlans: [{ id: 1 + below(4094) }] })],
  "an ethertype that does not fit": ({ packet, below, ipv6 }) => [
    packet({ etherType: [ipv6 ? 0x0800 : 0x86dd, 0x0806, 0x88cc, 0x0600][below(4)] ?? 0 }),
  ],
  "padding behind the packet": ({ packet, below }) => [Buffer.concat([packet(), Buffer.alloc(1 + below(40), 0xaa)])],
  "too long for the way": portsOnly(({ packet, below, opened, ipv6 }) => {
    const header = ethernet + (ipv6 ? 40 : 20) + 20;
    const payload = Buffer.alloc(1400 + below(1514 - header - 1400 + 1), 4);
    return [...opened(), packet({ flags: "A", payload })];
  }),
  "echo requests": (scene) => [
    icmp(scene, scene.ipv6 ? 128 : 8, 0, 0x12340001, Buffer.alloc(scene.below(100), 8), {
      ...(scene.below(3) === 0 ? { ttl: 1 } : {}),
    }),
  ],
  "ICMP errors about a connection": servedOnly((scene) => {
    const { ipv6, below, opened } = scene;
    const kinds = ipv6
      ? [
          [1, 4, 0],
          [2, 0, 1400],
          [3, 0, 0],
          [4, 1, 6],
        ]
      : [
          [3, 1, 0],
          [3, 4, 1400],
          [11, 0, 0],
          [4, 0, 0],
          [3, 13, 0],
        ];
    const [type = 0, code = 0, rest = 0] = kinds[below(kinds.length)] ?? [];
    const bytes = [4, 8, 20, 40][below(4)] ?? 8;
    return [
      ...opened(),
      icmp(scene, type, code, rest, quoted(scene, bytes), { source: scene.client, ttl: 2 + below(60) }),
    ];
  }),
  "ICMP errors with a quote cut short": (scene) => [
    ...scene.opened(),
    icmp(scene, scene.ipv6 ? 1 : 3, 1, 0, quoted(scene, scene.below(4))),
  ],
  "other ICMP about a connection": (scene) => [
    ...scene.opened(),
    icmp(scene, scene.ipv6 ? 137 : scene.below(2) === 0 ? 5 : 12, 0, 0, quoted(scene, 8)),
  ],
  "ICMP errors of a masqueraded real server": portsOnly(
    masqOnly((scene) => {
      const { target, client, clientPort, ipv6, opened } = scene;
      if (ipv6) return [];
      const seen = frame({
        source: client,
        destination: target.realServer.address,
        sourcePort: clientPort,
        destinationPort: target.realPort,
        protocol: target.protocol === "udp" ? "udp" : "tcp",
      });
      const quote = seen.subarray(ethernet, ethernet + 28);
      const spec = { source: target.realServer.address, destination: client, from: target.realMac };
      return [...opened(), icmp(scene, 3, [1, 3, 4][scene.below(3)] ?? 1, 0, quote, spec)];
    }),
  ),
  "IPv6 extension headers": ipv6Only(({ packet, below }) => {
    const kinds = [
      { type: 0, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
      { type: 60, bytes: [0, 0, 1, 4, 0, 0, 0, 0] },
      { type: 60, bytes: [0, 0, 0x9e, 4, 0, 0, 0, 0] },
      { type: 43, bytes: [0, 0, 4, 0, 0, 0, 0, 0] },
      { type: 51, bytes: [0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1] },
    ];
    const some = Array.from({ length: 1 + below(3) }, () => kinds[1 + below(kinds.length - 1)] ?? kinds[1]);
    const chain = below(3) === 0 ? [kinds[0], ...some] : some;
    return [packet({ extensions: chain.flatMap((header) => header ?? []) })];
  }),
  "an atomic fragment": ipv6Only(({ packet }) => [
    packet({ extensions: [{ type: 44, bytes: [0, 0, 0, 0, 0, 0, 0, 1] }] }),
  ]),
  "fragments of a packet to the service": forwardedOnly(
    portsOnly((scene) => [
      ...(scene.target.protocol === "tcp" ? scene.opened() : []),
      ...fragments(scene, scene.packet({ flags: "A", payload: Buffer.alloc(100 + scene.below(3000), 6) })),
    ]),
  ),
  "fragments of a packet that opens a connection": forwardedOnly(
    portsOnly((scene) => fragments(scene, scene.packet({ payload: Buffer.alloc(100 + scene.below(1000), 6) }))),
  ),
  "fragments, the last one first": forwardedOnly(
    portsOnly((scene) => [
      ...scene.opened(),
      ...fragments(scene, scene.packet({ flags: "A", payload: Buffer.alloc(100 + scene.below(2000), 6) })).reverse(),
    ]),
  ),
  "fragments of a masqueraded real server's replies": portsOnly(
    masqOnly((scene) => [
      ...scene.opened(),
      ...fragments(scene, scene.reply({ flags: "A", payload: Buffer.alloc(100 + scene.below(2500), 6) })),
    ]),
  ),
  "no next header": ipv6Only(({ packet }) => [packet({ protocol: 59, transport: Buffer.alloc(10) })]),
};

/** Every class for every target, `rounds` times. */
export function stories(rounds: number, seed: number, told = classes): Story[] {
  const random = createRandom(seed);
  const below = (bound: number): number => Math.floor(random() * bound);
  let clients = 0;
  const all: Story[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) {
      for (const [name, write] of Object.entries(told)) {
        const ipv6 = familyOf(target.address) === "ipv6";
        const number = ++clients;
        const [a, b, c] = [number >> 16, (number >> 8) & 255, number & 255];
        const client = ipv6 ? `fd00:20::${a.toString(16)}:${((b << 8) | c).toString(16)}` : `11.${a}.${b}.${c}`;
        const clientPort = 1024 + below(60000);
        const packet = (spec: FrameSpec = {}): Buffer => {
          const ports = { sourcePort: clientPort, destinationPort: target.port, ...spec };
          return frame({
            to: directorMac,
            from: routerMac,
            source: client,
            destination: target.address,
            ...(target.protocol === "sctp"
              ? { protocol: 132, transport: sctpOf(ports) }
              : { protocol: target.protocol }),
            ...ports,
          });
        };
        const scene: Scene = {
          target,
          ipv6,
          client,
          clientPort,
          below,
          packet,
          reply: (spec = {}) =>
            packet({
              from: target.realMac,
              source: target.realServer.address,
              destination: client,
              sourcePort: target.realPort,
              destinationPort: clientPort,
              ...spec,
            }),
          opened: () => (target.protocol === "udp" ? [packet()] : [packet(), packet({ flags: "A" })]),
        };
        const frames = write(scene);
        if (frames.length > 0) all.push({ name, target, frames });
      }
    }
  }
  return all;
}

function isLocal({ address }: RealServer): boolean {
  return [directorAddresses, loopbackAddresses].some((own) => Object.values(own).includes(address));
}

/** Lines for `ip -batch`. */
export function network(): string[] {
  return [
    ...new Set(
      targets.map(
        ({ address }) => `address add ${address}/${familyOf(address) === "ipv6" ? "128 dev lo nodad" : "32 dev lo"}`,
      ),
    ),
    `address add ${directorAddresses.ipv4}/16 dev eth0`,
    `address add ${directorAddresses.ipv6}/64 dev eth0 nodad`,
    ...Object.values(routers).flatMap((router) => [
      `neighbour add ${router} lladdr ${routerMac} dev eth0 nud permanent`,
      `route add default via ${router}`,
    ]),
    ...targets
      .filter(({ realServer }) => !isLocal(realServer))
      .map(({ realServer, realMac }) => `neighbour add ${realServer.address} lladdr ${realMac} dev eth0 nud permanent`),
  ];
}
