/** What a real server gets out of frames: tunnels taken off, fragments put together. */

const ethernet = 14;
const fragmentHeader = 44;
const protocols = { ipip: 4, udp: 17, ipv6: 41, gre: 47 } as const;
const guePort = 6080;

interface Packet {
  /** The header without what fragmentation changes: lengths, identification of IPv6, checksum. */
  readonly header: Buffer;
  readonly protocol: number;
  readonly identification: number;
  readonly offset: number;
  readonly more: boolean;
  readonly content: Buffer;
}

function parse(bytes: Buffer): Packet {
  if ((bytes[0] ?? 0) >> 4 === 6) {
    const header = Buffer.from(bytes.subarray(0, 40));
    header.writeUInt16BE(0, 4);
    const end = 40 + bytes.readUInt16BE(4);
    const whole = { header, protocol: bytes[6] ?? 0, identification: 0, offset: 0, more: false };
    if (whole.protocol !== fragmentHeader) return { ...whole, content: bytes.subarray(40, end) };
    header[6] = bytes[40] ?? 0;
    const word = bytes.readUInt16BE(42);
    return {
      header,
      protocol: header[6] ?? 0,
      identification: bytes.readUInt32BE(44),
      offset: word & 0xfff8,
      more: (word & 1) === 1,
      content: bytes.subarray(48, end),
    };
  }
  const length = ((bytes[0] ?? 0) & 15) * 4;
  const header = Buffer.from(bytes.subarray(0, length));
  const word = bytes.readUInt16BE(6);
  header.writeUInt16BE(0, 2);
  header.writeUInt16BE(word & 0xc000, 6);
  header.writeUInt16BE(0, 10);
  return {
    header,
    protocol: bytes[9] ?? 0,
    identification: bytes.readUInt16BE(4),
    offset: (word & 0x1fff) * 8,
    more: (word & 0x2000) !== 0,
    content: bytes.subarray(length, bytes.readUInt16BE(2)),
  };
}

/** The packet inside; undefined: it is no tunnel's. */
function inner({ protocol, content }: Packet): Buffer | undefined {
  if (protocol === protocols.ipip || protocol === protocols.ipv6) return content;
  if (protocol === protocols.gre) return content.subarray(content.readUInt16BE(0) & 0x8000 ? 8 : 4);
  if (protocol === protocols.udp && content.length > 12 && content.readUInt16BE(2) === guePort) {
    return content.subarray(12);
  }
  return undefined;
}

/** Whole packets of those given, each as text; what is not whole is told so. */
function assembled(packets: readonly { readonly to: string; readonly bytes: Buffer }[]): string[] {
  const found: string[] = [];
  const insides: { to: string; bytes: Buffer }[] = [];
  const pieces = new Map<string, { to: string; packets: Packet[] }>();
  const arrived = (to: string, packet: Packet): void => {
    const inside = inner(packet);
    if (inside === undefined) found.push(`${to} ${packet.header.toString("hex")} ${packet.content.toString("hex")}`);
    else insides.push({ to, bytes: inside });
  };
  for (const { to, bytes } of packets) {
    const packet = parse(bytes);
    if (packet.offset === 0 && !packet.more) {
      arrived(to, packet);
      continue;
    }
    const key = `${to} ${packet.header.toString("hex")} ${packet.identification}`;
    const entry = pieces.get(key) ?? { to, packets: [] };
    pieces.set(key, entry);
    entry.packets.push(packet);
  }
  for (const [key, entry] of pieces) {
    const sorted = entry.packets.sort((a, b) => a.offset - b.offset);
    let at = 0;
    for (const { offset, content } of sorted) if (offset === at) at += content.length;
    const [first] = sorted;
    const last = sorted.at(-1);
    const whole = last?.more === false && last.offset + last.content.length === at;
    if (!whole || first === undefined) found.push(`${key} is not whole`);
    else arrived(entry.to, { ...first, content: Buffer.concat(sorted.map(({ content }) => content)) });
  }
  return insides.length === 0 ? found : [...found, ...assembled(insides)];
}

/** Of frames to several stations what each of them gets, in an order of its own. */
export function arrivals(frames: readonly Buffer[]): string[] {
  return assembled(
    frames.map((bytes) => ({ to: bytes.toString("hex", 0, 6), bytes: bytes.subarray(ethernet) })),
  ).sort();
}
