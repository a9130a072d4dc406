/**
 * The tables of dh, sh and mh: which real server lies at each place, as the kernel fills them on every change of a real
 * server (net/netfilter/ipvs/ip_vs_dh.c, ip_vs_sh.c, ip_vs_mh.c). What a packet hashes to in them is in
 * bpf/schedulers/hash.h. Real servers of weight 0 keep their places.
 */
import type { Member, Ring, RingScheduler } from "./rings.ts";
import { addressWords } from "./codec.ts";

/** Of dh and sh: 2 to the power of CONFIG_IP_VS_SH_TAB_BITS. */
const hashTableSize = 256;
/** Of mh: the prime that CONFIG_IP_VS_MH_TAB_INDEX=12 names. */
const maglevTableSize = 4093;
/** A weight takes no more turns than fit into this many bits. */
const maglevWeightBits = 6;
/** The kernel's hash1 and hash2, each half of their keys. */
const offsetKey = 2654435761n;
const skipKey = 2654446892n;

function tableRing(members: readonly number[]): Ring {
  if (members.length === 0) return { members: [], segments: [], length: 0 };
  return {
    members,
    segments: [{ end: members.length, first: 0, length: members.length, weight: 0 }],
    length: members.length,
  };
}

/** ip_vs_dh_reassign(): each in turn. */
export function destinationTable(members: readonly Member[]): number[] {
  if (members.length === 0) return [];
  return Array.from({ length: hashTableSize }, (_, place) => (members[place % members.length] as Member).id);
}

/** ip_vs_sh_reassign(): each as often as its weight says, and once with weight 0, over and over. */
export function sourceTable(members: readonly Member[]): number[] {
  const table: number[] = [];
  if (members.length === 0) return table;
  for (let index = 0; table.length < hashTableSize; index = (index + 1) % members.length) {
    const { id, weight } = members[index] as Member;
    for (let turn = 0; turn < Math.max(weight, 1) && table.length < hashTableSize; turn++) table.push(id);
  }
  return table;
}

/** ip_vs_mh_reassign(): places by each one's own permutation, in turns by its last weight that was not 0. */
export function maglevTable(members: readonly Member[]): number[] {
  const weights = members.map(({ lastWeight }) => lastWeight);
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  if (divisor < 1) return [];
  const highest = Math.floor(Math.max(...weights) / divisor);
  const shift = Math.max(0, 32 - Math.clz32(highest) - maglevWeightBits);
  const places = members.map((member) => {
    const value = endpointValue(member);
    return {
      id: member.id,
      place: shortSipHash(value, offsetKey) % maglevTableSize,
      skip: (shortSipHash(value, skipKey) % (maglevTableSize - 1)) + 1,
      turns: Math.floor(member.lastWeight / divisor) >> shift || (member.lastWeight === 0 ? 0 : 1),
    };
  });
  const table = new Array<number>(maglevTableSize).fill(0);
  for (let filled = 0; filled < maglevTableSize;) {
    for (const member of places) {
      for (let turn = 0; turn < member.turns && filled < maglevTableSize; turn++) {
        while (table[member.place] !== 0) member.place = (member.place + member.skip) % maglevTableSize;
        table[member.place] = member.id;
        filled++;
      }
    }
  }
  return table;
}

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/**
 * What ip_vs_mh_hashkey() hashes of a real server: its address folded into 32 bits, plus its port. The kernel looks at the
 * service's family: of an IPv6 real server behind an IPv4 service it takes the first 32 bits.
 */
function endpointValue({ address, port, family }: Member): number {
  const words = addressWords(address);
  const [first = 0, second = 0, third = 0, last = 0] = words;
  const folded = family === "ipv4" && address.includes(":") ? first : first ^ second ^ third ^ last;
  return (folded + port) >>> 0;
}

const mask = 0xffff_ffff_ffff_ffffn;

function rotate(word: bigint, bits: bigint): bigint {
  return ((word << bits) | (word >> (64n - bits))) & mask;
}

/** hsiphash() of a 64-bit kernel over four bytes (lib/siphash.c): SipHash-1-3, cut to 32 bits; both halves of the key alike. */
export function shortSipHash(value: number, key: bigint): number {
  let v0 = key ^ 0x736f6d6570736575n;
  let v1 = key ^ 0x646f72616e646f6dn;
  let v2 = key ^ 0x6c7967656e657261n;
  let v3 = key ^ 0x7465646279746573n;
  const round = () => {
    v0 = (v0 + v1) & mask;
    v1 = rotate(v1, 13n) ^ v0;
    v0 = rotate(v0, 32n);
    v2 = (v2 + v3) & mask;
    v3 = rotate(v3, 16n) ^ v2;
    v0 = (v0 + v3) & mask;
    v3 = rotate(v3, 21n) ^ v0;
    v2 = (v2 + v1) & mask;
    v1 = rotate(v1, 17n) ^ v2;
    v2 = rotate(v2, 32n);
  };
  const block = (4n << 56n) | BigInt(value);
  v3 ^= block;
  round();
  v0 ^= block;
  v2 ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  return Number((v0 ^ v1 ^ v2 ^ v3) & 0xffffffffn);
}

/** Of schedulers that remember nothing from packet to packet. */
function stateless(ring: (members: readonly Member[]) => Ring): RingScheduler {
  const nothing = () => 0;
  return { ring, started: nothing, recall: nothing, removed: nothing, changed: nothing, cursor: nothing };
}

/** ip_vs_twos.c: each real server is as long as its weight. */
function weightRing(members: readonly Member[]): Ring {
  const scheduled = members.filter(({ weight }) => weight > 0);
  let end = 0;
  const segments = scheduled.map(({ weight }, first) => ({ end: (end += weight), first, length: 1, weight }));
  return { members: scheduled.map(({ id }) => id), segments, length: end };
}

export const tableSchedulers = {
  dh: stateless((members) => tableRing(destinationTable(members))),
  sh: stateless((members) => tableRing(sourceTable(members))),
  mh: stateless((members) => tableRing(maglevTable(members))),
  twos: stateless(weightRing),
} as const;
