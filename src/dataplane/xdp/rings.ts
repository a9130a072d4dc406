/**
 * Schedulers that are an index into a ring: rr, wrr, those with tables (hash-tables.ts), and the consistent hash for
 * packets that find no free slot. Of rr and wrr the data path takes position = cursor++ modulo the ring's length; here it
 * is told what lies at each position, so that the sequence is the kernel's (net/netfilter/ipvs/ip_vs_rr.c and
 * ip_vs_wrr.c), also across changes.
 */

import type { Family, Scheduler } from "../../model/service.ts";
import { tableSchedulers } from "./hash-tables.ts";

/** A real server as a scheduler sees it. Lists of them are in the kernel's order: the newest first. */
export interface Member {
  readonly id: number;
  readonly weight: number;
  /** The last one that was not 0, or the one it was added with. */
  readonly lastWeight: number;
  readonly address: string;
  readonly port: number;
  /** Of its service. */
  readonly family: Family;
}

/** `first` counts from the start of `members`; `end` is the position behind the segment's last. */
export interface Segment {
  readonly end: number;
  readonly first: number;
  readonly length: number;
  /** Every member has this weight at least. */
  readonly weight: number;
}

export interface Ring {
  readonly members: readonly number[];
  readonly segments: readonly Segment[];
  /** Cycle of the cursor: the last segment's `end`. */
  readonly length: number;
}

/** The real server at a position, as the data path finds it; undefined if the ring is empty. */
export function ringMember(ring: Ring, position: number): number | undefined {
  let start = 0;
  for (const segment of ring.segments) {
    if (position < segment.end) return ring.members[segment.first + ((position - start) % segment.length)];
    start = segment.end;
  }
  return undefined;
}

/**
 * What rr and wrr remember between two packets. rr: the real server served last, 0 for the list's head. wrr: the
 * weight that is required at present (`cw` of the kernel), 0 before there is one; the place in the list is its head
 * after every change.
 */
export type RingOrigin = number;

/** A scheduler that walks a ring by a cursor, with the kernel's memory across changes. */
export interface RingScheduler {
  ring(members: readonly Member[]): Ring;
  /** Of a service that has just got this scheduler. */
  started(members: Iterable<Member>): RingOrigin;
  /**
   * What has become of `origin` by the packets since the ring of these members was made, when the cursor stood at
   * `ringCursor`. `restarted`: at the last packet all were overloaded, and the data path began anew.
   */
  recall(
    members: readonly Member[],
    cursor: bigint,
    ringCursor: bigint,
    origin: RingOrigin,
    restarted: boolean,
  ): RingOrigin;
  /** A real server leaves; `membersBefore` still has it. {@link changed} follows. */
  removed(origin: RingOrigin, removed: number, membersBefore: () => readonly Member[]): RingOrigin;
  /** After every addition, removal or edit of a real server. */
  changed(origin: RingOrigin, members: Iterable<Member>): RingOrigin;
  /** The position at which the new ring goes on. */
  cursor(members: readonly Member[], origin: RingOrigin): number;
}

// --- rr

function roundRobinRing(members: readonly Member[]): Ring {
  const ids = members.filter((member) => member.weight > 0).map((member) => member.id);
  if (ids.length === 0) return { members: [], segments: [], length: 0 };
  return { members: ids, segments: [{ end: ids.length, first: 0, length: ids.length, weight: 1 }], length: ids.length };
}

/** The real server that was served last: by the ring since it was made, else by what was before it. */
function roundRobinOrigin(ring: Ring, cursor: bigint, ringCursor: bigint, origin: RingOrigin): RingOrigin {
  if (cursor === ringCursor || ring.length === 0) return origin;
  return ringMember(ring, Number((cursor - 1n) % BigInt(ring.length))) ?? origin;
}

/** ip_vs_rr_del_dest: the pointer goes to the neighbour before the one that leaves, or to the head. */
function roundRobinRemoved(origin: RingOrigin, removed: number, membersBefore: () => readonly Member[]): RingOrigin {
  if (origin !== removed) return origin;
  const members = membersBefore();
  const index = members.findIndex((member) => member.id === removed);
  return members[index - 1]?.id ?? 0;
}

/** The position of the first real server with a weight behind the one served last. */
function roundRobinCursor(members: readonly Member[], origin: RingOrigin): number {
  const last = members.findIndex((member) => member.id === origin);
  let position = 0;
  for (const [index, member] of members.entries()) {
    if (member.weight === 0) continue;
    if (index > last) return position;
    position++;
  }
  return 0;
}

// --- wrr

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** `di` and `mw` of the kernel: the step between two required weights, and the highest of them. */
interface WeightSteps {
  readonly step: number;
  readonly highest: number;
}

function weightSteps(members: Iterable<Member>): WeightSteps {
  let divisor = 0;
  let maximum = 0;
  for (const { weight } of members) {
    if (weight === 0) continue;
    if (divisor !== 1) divisor = greatestCommonDivisor(weight, divisor);
    maximum = Math.max(maximum, weight);
  }
  const step = divisor === 0 ? 1 : divisor;
  return { step, highest: maximum - (step - 1) };
}

/**
 * Required weights run from the highest down to 1 by the step. All those that the same members reach are one segment,
 * walked once for each.
 */
function weightedRoundRobinRing(members: readonly Member[]): Ring {
  const { step } = weightSteps(members);
  const weights = distinctWeights(members);
  const ids: number[] = [];
  const segments: Segment[] = [];
  let end = 0;
  for (const [index, weight] of weights.entries()) {
    const first = ids.length;
    for (const member of members) if (member.weight >= weight) ids.push(member.id);
    const length = ids.length - first;
    end += ((weight - (weights[index + 1] ?? 0)) / step) * length;
    segments.push({ end, first, length, weight });
  }
  return { members: ids, segments, length: end };
}

/** The required weight at which the last one was served: by the ring since it was made, else what was before it. */
function weightedRoundRobinOrigin(
  members: readonly Member[],
  cursor: bigint,
  ringCursor: bigint,
  origin: RingOrigin,
  restarted: boolean,
): RingOrigin {
  if (restarted) return weightSteps(members).highest;
  if (cursor === ringCursor) return origin;
  const ring = weightedRoundRobinRing(members);
  if (ring.length === 0) return origin;
  const { step } = weightSteps(members);
  const weights = distinctWeights(members);
  const position = Number((cursor - 1n) % BigInt(ring.length));
  let start = 0;
  for (const [index, segment] of ring.segments.entries()) {
    if (position < segment.end) {
      const rounds = Math.floor((position - start) / segment.length);
      return (weights[index] ?? 1) - (step - 1) - rounds * step;
    }
    start = segment.end;
  }
  return origin;
}

/** ip_vs_wrr_dest_changed, called after every addition, removal and edit of a real server. */
function weightedRoundRobinChanged(origin: RingOrigin, members: Iterable<Member>): RingOrigin {
  const { step, highest } = weightSteps(members);
  if (origin > highest || origin === 0) return highest;
  return step > 1 ? Math.floor(origin / step) * step + 1 : origin;
}

/** Where the required weight begins: the kernel starts again from the head of the list with it. */
function weightedRoundRobinCursor(members: readonly Member[], origin: RingOrigin): number {
  const { step } = weightSteps(members);
  const weights = distinctWeights(members);
  let position = 0;
  for (const [index, weight] of weights.entries()) {
    const reached = members.reduce((count, member) => count + (member.weight >= weight ? 1 : 0), 0);
    const highest = weight - (step - 1);
    const next = (weights[index + 1] ?? 0) - (step - 1);
    if (origin > next) return position + (Math.max(highest - origin, 0) / step) * reached;
    position += ((highest - next) / step) * reached;
  }
  return 0;
}

/** Above 0, the greatest first. */
function distinctWeights(members: readonly Member[]): number[] {
  return [...new Set(members.map((member) => member.weight))].filter((weight) => weight > 0).sort((a, b) => b - a);
}

/** The others look at the loads, by trees. */
export const ringSchedulers: Readonly<Partial<Record<Scheduler, RingScheduler>>> = {
  ...tableSchedulers,
  rr: {
    ring: roundRobinRing,
    started: () => 0,
    recall: (members, cursor, ringCursor, origin) =>
      roundRobinOrigin(roundRobinRing(members), cursor, ringCursor, origin),
    removed: roundRobinRemoved,
    changed: (origin) => origin,
    cursor: roundRobinCursor,
  },
  wrr: {
    ring: weightedRoundRobinRing,
    started: (members) => weightedRoundRobinChanged(0, members),
    recall: weightedRoundRobinOrigin,
    removed: (origin) => origin,
    changed: weightedRoundRobinChanged,
    cursor: weightedRoundRobinCursor,
  },
};

// --- consistent hash

const smallestSpread = 251;
const largestSpread = 65537;

/**
 * Prime, ten to twenty places for each member. It grows by doubling: another length moves nearly every place, so it is
 * not to change with every member.
 */
export function spreadLength(members: number): number {
  let length = smallestSpread;
  while (length < 10 * members && length < largestSpread) {
    length = Math.min(2 * length, largestSpread);
    while (!isPrime(length)) length++;
  }
  return length;
}

function isPrime(number: number): boolean {
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false;
  return true;
}

/**
 * Maglev's table (Eisenbud and others, NSDI 2016, section 3.4): every member fills the places of its own permutation
 * in turn. It depends on the set of endpoints only, so every director makes the same one, and losing a member moves
 * few places of the others. `key` is the printed endpoint.
 */
export function spreadTable(members: readonly { readonly id: number; readonly key: string }[]): Uint32Array {
  if (members.length === 0) return new Uint32Array(0);
  const ordered = [...members].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const length = spreadLength(ordered.length);
  const skips = ordered.map(({ key }) => (hash(key, 0x9747b28c) % (length - 1)) + 1);
  const places = ordered.map(({ key }) => hash(key, 0x3c6ef372) % length);
  const table = new Uint32Array(length);
  for (let filled = 0; filled < length;) {
    for (let index = 0; index < ordered.length && filled < length; index++) {
      const skip = skips[index] as number; // as long as `ordered`
      let place = places[index] as number;
      while (table[place] !== 0) place = (place + skip) % length;
      table[place] = (ordered[index] as { id: number }).id;
      places[index] = (place + skip) % length;
      filled++;
    }
  }
  return table;
}

/** FNV-1a over the text, with the finisher of MurmurHash3. */
function hash(text: string, seed: number): number {
  let value = (0x811c9dc5 ^ seed) >>> 0;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
