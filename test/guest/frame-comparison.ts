/**
 * Every story of frame-classes.ts, and what chance makes of them, played to the kernel's IPVS and to the XDP data path, and
 * what came of it compared.
 */
import { checksum } from "../support/packet.ts";
import { arrivals } from "./arrivals.ts";
import { changesFor, network, stories, targets } from "./frame-classes.ts";
import { addressesOf, mutatedStories, partsOf } from "./frame-mutations.ts";
import { isFragment, isIcmp, ownAddresses, reasonFor } from "./mutation-differences.ts";
import type { Change } from "../../src/model/change.ts";
import type { Story } from "./frame-classes.ts";
import { playToKernel } from "./play.ts";
import type { Play, Step } from "./play.ts";
import { playToXdpInNamespace } from "./xdp-in-namespace.ts";
import { sentBy } from "./xdp-player.ts";
import type { Verdict } from "./xdp-player.ts";

/** What went out for a frame of a story, as hexadecimal text. */
export interface Difference {
  readonly frame: Buffer;
  readonly verdict: string;
  readonly kernel: readonly string[];
  readonly xdp: readonly string[];
}

export interface Outcome {
  readonly story: Story;
  /** Of the first frame that differs. */
  readonly difference: Difference | undefined;
}

/** What stories are told of. */
export interface Scenario {
  /** Lines for `ip -batch`, and kernel modules that do not load by themselves. */
  readonly network: readonly string[];
  readonly modules?: readonly string[];
  /** The services. */
  readonly changes: readonly Change[];
  readonly stories: readonly Story[];
}

/** Of a scenario. */
export interface Comparison {
  /** In the order of the stories. */
  readonly outcomes: readonly Outcome[];
  readonly frames: number;
}

const ethernet = 14;
const vlanTypes: readonly number[] = [0x8100, 0x88a8];
const icmpProtocol = 1;
const mldReport = 143;

/** What the kernel sends without being asked: multicast listener reports. */
function isNoise(bytes: Buffer): boolean {
  return bytes.readUInt16BE(0) === 0x3333 && bytes.includes(Buffer.from([mldReport, 0]), ethernet + 40);
}

/** Where the header behind the outer IP header begins, and its protocol. */
function outer(bytes: Buffer): { at: number; protocol: number; ipv6: boolean } {
  const ipv6 = bytes.readUInt16BE(12) === 0x86dd;
  if (ipv6) return { at: ethernet + 40, protocol: bytes[ethernet + 6] ?? 0, ipv6 };
  return { at: ethernet + ((bytes[ethernet] ?? 0) & 15) * 4, protocol: bytes[ethernet + 9] ?? 0, ipv6 };
}

/** Without what follows the IP packet, which the kernel cuts off. */
function trimmed(bytes: Buffer): Buffer {
  const type = bytes.readUInt16BE(12);
  if (type === 0x0800) return bytes.subarray(0, ethernet + bytes.readUInt16BE(ethernet + 2));
  if (type === 0x86dd) return bytes.subarray(0, ethernet + 40 + bytes.readUInt16BE(ethernet + 4));
  return bytes;
}

/**
 * What neither side can be asked to agree on is made the same: the identification of packets that the director makes
 * itself, without DF, and the source port of GUE, which is a hash of each side's own. Checksums over them are verified.
 */
function comparableFrame(bytes: Buffer, gue: boolean): string {
  const copy = Buffer.from(trimmed(bytes));
  if (copy.length < ethernet + 28) return copy.toString("hex");
  const { at, protocol, ipv6 } = outer(copy);
  const made = protocol === icmpProtocol || protocol === 4 || protocol === 41 || protocol === 47 || gue;
  let sums = "";
  if (!ipv6 && made && !(copy.readUInt16BE(ethernet + 6) & 0x4000)) {
    sums += checksum(copy.subarray(ethernet, at)) === 0 ? "" : " wrong header checksum";
    copy.writeUInt16BE(0, ethernet + 4);
    copy.writeUInt16BE(0, ethernet + 10);
  }
  if (gue && protocol === 17 && copy.length >= at + 8 && copy.readUInt16BE(at + 2) === 6080) {
    if (copy.readUInt16BE(at + 6) !== 0) {
      const addresses = copy.subarray(ethernet + (ipv6 ? 8 : 12), ethernet + (ipv6 ? 40 : 20));
      const tail = Buffer.alloc(4);
      tail.writeUInt16BE(copy.readUInt16BE(at + 4), 0);
      tail[3] = 17;
      sums += checksum(addresses, tail, copy.subarray(at)) === 0 ? "" : " wrong UDP checksum";
      copy.writeUInt16BE(0xffff, at + 6);
    }
    if (copy.readUInt16BE(at) < 1024) sums += " privileged source port";
    copy.writeUInt16BE(0, at);
  }
  return copy.toString("hex") + sums;
}

/**
 * What the kernel sends in its own time: whether somebody is there, that nobody is, and that the rest of a fragmented
 * packet has not come.
 */
function isLate(bytes: Buffer): boolean {
  const type = bytes.readUInt16BE(12);
  if (type === 0x0806) return true;
  if (type !== 0x0800 && type !== 0x86dd) return false;
  const { at, protocol, ipv6 } = outer(bytes);
  const [source] = addressesOf({ ipv6, network: ethernet }, bytes);
  if (!isIcmp({ ipv6, protocol }) || !ownAddresses.some((own) => own.equals(source))) return false;
  const kind = `${bytes[at]} ${bytes[at + 1]}`;
  return (ipv6 ? ["135 0", "1 3", "3 1"] : ["3 1", "11 1"]).includes(kind);
}

function isIcmpOf(frame: Buffer): boolean {
  const parts = partsOf(frame);
  return parts !== undefined && isIcmp(parts);
}

/** A frame's VLAN tags, and the frame without them. */
function untagged(bytes: Buffer): { tags: Buffer; rest: Buffer } {
  let end = 12;
  while (end + 4 < bytes.length && vlanTypes.includes(bytes.readUInt16BE(end))) end += 4;
  return { tags: bytes.subarray(12, end), rest: Buffer.concat([bytes.subarray(0, 12), bytes.subarray(end)]) };
}

function comparable(frames: readonly Buffer[], gue: boolean): string[] {
  return frames
    .filter((bytes) => !isNoise(bytes))
    .map((bytes) => {
      const { tags, rest } = untagged(bytes);
      return `${tags.length > 0 ? `tagged ${tags.toString("hex")}: ` : ""}${comparableFrame(rest, gue)}`;
    });
}

/** What is left to the stack meets one without IPVS, and this is what that sends. */
function sentFrames(result: Verdict | undefined, stack: readonly Buffer[] = []): readonly Buffer[] {
  return result?.verdict === "pass" ? stack.filter((bytes) => !isNoise(bytes)) : sentBy(result);
}

/**
 * Of a story that chance has changed: its frames may be for another service than its own, and what docs/IPVS.md lists may
 * come in any frame. From the first fragment on, which the kernel keeps and the data path sends on, there is nothing to
 * compare but that the program does not fail. `apart`: real servers of whose path MTU one side only may have been told.
 */
function strayDifference(
  story: Story,
  apart: Set<string>,
  kernel: readonly (readonly Buffer[])[],
  stack: readonly (readonly Buffer[])[],
  xdp: readonly (Verdict | undefined)[],
): Difference | undefined {
  const fragment = story.frames.findIndex(isFragment);
  const comparableNow = (frames: readonly Buffer[]): string[] =>
    comparable(
      frames.filter((bytes) => !isLate(bytes)),
      true,
    );
  for (const [index, frame] of story.frames.entries()) {
    const result = xdp[index];
    const here = comparableNow(sentFrames(result, stack[index]));
    const there = comparableNow(kernel[index] ?? []);
    const difference = { frame, verdict: result?.verdict ?? "none", kernel: there, xdp: here };
    if (result === undefined || result.verdict === "aborted") return difference;
    if ((fragment >= 0 && index >= fragment) || here.join(" ") === there.join(" ")) continue;
    const earlier = story.frames.slice(0, index).map((bytes, at) => ({ frame: bytes, kernel: kernel[at] ?? [] }));
    const { address } = story.target.realServer;
    if (reasonFor(difference, story, earlier, apart.has(address)) === undefined) return difference;
    if (isIcmpOf(frame)) apart.add(address);
  }
  return undefined;
}

function differenceOf(
  story: Story,
  apart: Set<string>,
  kernel: readonly (readonly Buffer[])[],
  stack: readonly (readonly Buffer[])[],
  xdp: readonly (Verdict | undefined)[],
): Difference | undefined {
  if (story.mutations !== undefined) return strayDifference(story, apart, kernel, stack, xdp);
  const gue = story.target.realServer.tunnel?.type === "gue";
  // How a packet is cut on its way is each side's own affair, as long as the same arrives.
  if (story.name.startsWith("fragments")) {
    const here = arrivals(story.frames.flatMap((_, index) => sentFrames(xdp[index], stack[index])));
    const there = arrivals(
      kernel
        .slice(0, story.frames.length)
        .flat()
        .filter((bytes) => !isNoise(bytes)),
    );
    if (here.join(" ") === there.join(" ")) return undefined;
    const verdicts = story.frames.map((_, index) => xdp[index]?.verdict ?? "none");
    return { frame: Buffer.concat(story.frames), verdict: verdicts.join(" "), kernel: there, xdp: here };
  }
  for (const [index, bytes] of story.frames.entries()) {
    const result = xdp[index];
    const here = comparable(sentFrames(result, stack[index]), gue);
    const there = comparable(kernel[index] ?? [], gue);
    if (here.join(" ") === there.join(" ")) continue;
    return { frame: bytes, verdict: result?.verdict ?? "none", kernel: there, xdp: here };
  }
  return undefined;
}

/** Every class to every service, so many times. */
export function frameScenario(rounds: number, seed: number): Scenario {
  return { network: network(), changes: targets.flatMap(changesFor), stories: stories(rounds, seed) };
}

/** So many of them changed by chance. */
export function mutationScenario(count: number, seed: number): Scenario {
  return { ...frameScenario(0, seed), stories: mutatedStories(count, seed) };
}

/** Plays them to one guest, and to the XDP data path. */
export async function compareFrames(scenarios: readonly Scenario[]): Promise<Comparison[]> {
  const plays = scenarios.map(({ changes, stories: told, ...surroundings }) => {
    const frames = told.flatMap((story) => story.frames).map((bytes): Step => ({ kind: "frame", bytes }));
    const play: Play = {
      ...surroundings,
      steps: [...changes.map((change): Step => ({ kind: "change", change })), ...frames],
    };
    return { play, bare: { ...play, steps: frames } };
  });
  const answers = await playToKernel(plays.flatMap(({ play, bare }) => [play, bare]));
  const comparisons: Comparison[] = [];
  for (const [index, { changes, stories: told }] of scenarios.entries()) {
    const { play } = plays[index] ?? {};
    if (play === undefined) continue;
    const [kernel = [], stack = []] = answers.slice(2 * index, 2 * index + 2);
    const { verdicts: xdp } = await playToXdpInNamespace(play);
    let at = 0;
    const apart = new Set<string>();
    const outcomes = told.map((story) => {
      const [from, to] = [at, (at += story.frames.length)];
      const [first, last] = [from + changes.length, to + changes.length];
      const difference = differenceOf(
        story,
        apart,
        kernel.slice(first, last),
        stack.slice(from, to),
        xdp.slice(first, last),
      );
      return { story, difference };
    });
    comparisons.push({ outcomes, frames: at });
  }
  return comparisons;
}
