import type { Address } from "../netlink/address.ts";
import type { NetlinkSocket } from "../netlink/socket.ts";
import {
  NTF_EXT_LEARNED,
  NTF_EXT_MANAGED,
  NTF_USE,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_NOARP,
  NUD_NONE,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_USABLE,
  encodeNeighbourRequest,
} from "./netlink.ts";
import type { NeighbourMessage } from "./netlink.ts";

/** RTPROT_* under which entries of ours are told from others': any value above RTPROT_STATIC that nobody has taken. */
const RTPROT_XLB = 120;
/** Every kept neighbour is asked this often, milliseconds, unless that makes more than {@link PROBES_PER_SECOND}. */
const PROBE_INTERVAL = 5000;
const PROBES_PER_SECOND = 1000;
/** New and lost neighbours are asked for in batches of this many, so far apart (milliseconds): 5000 a second. */
const BATCH = 100;
const BATCH_PAUSE = 20;
/** One that has failed is asked for again at once only if the last time is longer ago, milliseconds. */
const RETRY_PAUSE = 1000;

/** A neighbour that packets are to go to. */
export interface Target {
  readonly ifindex: number;
  readonly address: Address;
  /** Addresses behind it depend on it, so the kernel may choose another route when it fails. */
  readonly gateway: boolean;
}

export interface Neighbour {
  readonly state: number;
  readonly usable: boolean;
  /** Has not answered since it was last usable. */
  readonly failed: boolean;
  readonly mac: Uint8Array;
  readonly flags: number;
  readonly extendedFlags: number;
  readonly protocol: number;
}

const unknown: Neighbour = {
  state: NUD_NONE,
  usable: false,
  failed: false,
  mac: new Uint8Array(0),
  flags: 0,
  extendedFlags: 0,
  protocol: 0,
};

interface KeptTarget extends Target {
  gateway: boolean;
  /** performance.now() of the last request; -Infinity: none yet. */
  askedAt: number;
}

/** What the table needs from its owner. */
export interface Surroundings {
  /** Whether neighbours can be asked on the interface: it exists, is up and has a carrier. */
  ready(ifindex: number): boolean;
  /** Reads the events that have come in the meantime. */
  catchUp(): void;
  fail(error: unknown): void;
}

interface Warn {
  warn(object: object, message: string): void;
}

/**
 * The kernel's neighbour table, followed by events, and the part of it that is kept resolved.
 *
 * A kept entry gets NTF_EXT_MANAGED, so that the kernel (since 5.16) resolves it again by itself, also while no daemon
 * runs, and NTF_EXT_LEARNED, which takes it out of garbage collection and of the limit gc_thresh3 (1024 by default, too
 * few for thousands of real servers). The kernel alone notices a MAC that changed silently only after its
 * base_reachable_time and delay_first_probe_time: up to a minute. So every entry is asked by unicast each 5 seconds
 * (NUD_PROBE; at most 1000 a second altogether). Three unanswered questions, a second apart, make it FAILED, and that is
 * answered with a broadcast at once: a silent change is noticed after 3 to 8 seconds. Older kernels ignore
 * NTF_EXT_MANAGED, and the same questions keep the entry.
 */
export class Neighbours {
  readonly #requests: NetlinkSocket;
  readonly #log: Warn;
  readonly #surroundings: Surroundings;
  #table = new Map<string, Neighbour>();
  /** Entries somebody has looked at: only their changes are worth telling. */
  readonly #observed = new Set<string>();
  readonly #targets = new Map<string, KeptTarget>();
  readonly #urgent = new Set<string>();
  #round: Iterator<[string, KeptTarget]> | undefined;
  #probeCredit = 0;
  #probedAt = 0;
  #workedAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  #released = false;
  readonly #reported = new Set<string>();

  constructor(requests: NetlinkSocket, log: Warn, surroundings: Surroundings) {
    this.#requests = requests;
    this.#log = log;
    this.#surroundings = surroundings;
  }

  get(ifindex: number, address: Address): Neighbour {
    const key = keyOf(ifindex, address.key);
    this.#observed.add(key);
    return this.#table.get(key) ?? unknown;
  }

  /** Takes an event; says whether anything changed that somebody has looked at, and whether a gateway came or went. */
  apply(message: NeighbourMessage, removed: boolean): { changed: boolean; gateway: boolean } {
    const key = keyOf(message.ifindex, message.address.toString("hex"));
    const before = this.#table.get(key) ?? unknown;
    const after = removed ? unknown : neighbourOf(message, before);
    if (removed) this.#table.delete(key);
    else this.#table.set(key, after);
    const target = this.#targets.get(key);
    if (target !== undefined && !after.usable && (removed || before.usable)) this.#askSoon(key);
    const usableChanged = before.usable !== after.usable;
    const changed =
      usableChanged || before.failed !== after.failed || (after.usable && !sameBytes(before.mac, after.mac));
    return {
      changed: changed && (target !== undefined || this.#observed.has(key)),
      gateway: usableChanged && target?.gateway === true,
    };
  }

  /** Takes a whole dump in place of what is known. */
  replace(messages: readonly NeighbourMessage[]): void {
    const before = this.#table;
    this.#table = new Map();
    for (const message of messages) {
      const key = keyOf(message.ifindex, message.address.toString("hex"));
      this.#table.set(key, neighbourOf(message, before.get(key) ?? unknown));
    }
    this.#observed.clear();
    this.#askForMissing();
  }

  removeInterface(ifindex: number): void {
    const prefix = `${ifindex} `;
    for (const key of this.#table.keys()) if (key.startsWith(prefix)) this.#table.delete(key);
    for (const key of this.#observed) if (key.startsWith(prefix)) this.#observed.delete(key);
  }

  /** Replaces the set of neighbours kept resolved; those left out are given back to the kernel's own care. */
  keep(targets: Iterable<Target>): void {
    const wanted = new Map<string, Target>();
    for (const target of targets) {
      const key = keyOf(target.ifindex, target.address.key);
      if (target.gateway || !wanted.has(key)) wanted.set(key, target);
    }
    const gone: Target[] = [];
    for (const [key, target] of this.#targets) {
      if (wanted.has(key)) continue;
      this.#targets.delete(key);
      gone.push(target);
    }
    this.#release(gone);
    // Changed in place, so that the round over all of them goes on where it is.
    for (const [key, target] of wanted) {
      const known = this.#targets.get(key);
      if (known === undefined) this.#targets.set(key, { ...target, askedAt: -Infinity });
      else known.gateway = target.gateway;
    }
    this.#askForMissing();
    this.#schedule();
  }

  /** Marks for asking what is kept and not known, or was never asked by us. */
  #askForMissing(): void {
    for (const [key, target] of this.#targets) {
      const { usable, state } = this.#table.get(key) ?? unknown;
      if (target.askedAt === -Infinity || (!usable && state !== NUD_INCOMPLETE)) this.#askSoon(key);
    }
  }

  #askSoon(key: string): void {
    this.#urgent.add(key);
    if (this.#urgent.size === 1) this.#schedule();
  }

  /** Begins to ask; {@link stop} ends it. */
  start(): void {
    this.#running = true;
    this.#probedAt = performance.now();
    this.#schedule();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Gives all kept entries back, best effort. */
  releaseAll(): void {
    this.#release([...this.#targets.values()]);
    this.#targets.clear();
    this.#urgent.clear();
  }

  /** What is urgent after a quiet time is asked at once. */
  #schedule(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#running || this.#targets.size === 0) return;
    const pause = this.#urgent.size > 0 ? BATCH_PAUSE : this.#probePause();
    this.#timer = setTimeout(
      () => {
        try {
          this.#work();
          this.#schedule();
        } catch (error) {
          // The owner of the task learns of it through run().
          this.#surroundings.fail(error);
        }
      },
      Math.max(0, this.#workedAt + pause - performance.now()),
    );
  }

  #probePause(): number {
    return Math.min(1000, Math.max(50, this.#interval() / Math.max(1, this.#targets.size)));
  }

  #interval(): number {
    return Math.max(PROBE_INTERVAL, (this.#targets.size * 1000) / PROBES_PER_SECOND);
  }

  #work(): void {
    // An entry the operator has just made permanent must not be touched.
    this.#surroundings.catchUp();
    this.#releaseOrphans();
    const now = performance.now();
    this.#workedAt = now;
    const batch: KeptTarget[] = [];
    for (const key of this.#urgent) {
      if (batch.length >= BATCH) break;
      this.#urgent.delete(key);
      const target = this.#targets.get(key);
      if (target === undefined) continue;
      if ((this.#table.get(key) ?? unknown).failed && now - target.askedAt < RETRY_PAUSE) continue;
      batch.push(target);
    }
    this.#takeDue(now, batch);
    this.#ask(batch, now);
  }

  /** Goes round all kept neighbours once in an interval. */
  #takeDue(now: number, batch: KeptTarget[]): void {
    const size = this.#targets.size;
    this.#probeCredit += (size * Math.min(now - this.#probedAt, this.#interval())) / this.#interval();
    this.#probedAt = now;
    this.#probeCredit = Math.min(this.#probeCredit, Math.min(size, BATCH));
    while (this.#probeCredit >= 1 && size > 0) {
      this.#probeCredit--;
      this.#round ??= this.#targets.entries();
      const next = this.#round.next();
      if (next.done === true) this.#round = undefined;
      else if (now - next.value[1].askedAt >= RETRY_PAUSE) batch.push(next.value[1]);
    }
  }

  #ask(targets: readonly KeptTarget[], now: number): void {
    const requests: Buffer[] = [];
    const asked = new Map<number, string>();
    for (const target of targets) {
      if (!this.#surroundings.ready(target.ifindex)) continue;
      target.askedAt = now;
      const { state, usable } = this.#table.get(keyOf(target.ifindex, target.address.key)) ?? unknown;
      if ((state & (NUD_PERMANENT | NUD_NOARP)) !== 0) continue;
      const common = { ifindex: target.ifindex, address: target.address.bytes, protocol: RTPROT_XLB };
      const keep = { state: NUD_NONE, flags: NTF_USE | NTF_EXT_LEARNED, extendedFlags: NTF_EXT_MANAGED, create: true };
      // A state can only be given without NTF_EXT_MANAGED, which so is taken away and must be given again.
      const probe = { state: NUD_PROBE, flags: NTF_EXT_LEARNED, extendedFlags: 0, create: false };
      for (const request of usable && state !== NUD_PROBE ? [probe, keep] : [keep]) {
        const sequence = this.#requests.nextSequence();
        asked.set(sequence, target.address.text);
        requests.push(encodeNeighbourRequest({ ...common, ...request }, sequence));
      }
    }
    for (const { sequence, code } of this.#requests.send(requests)) {
      // The entry, or its interface, went away meanwhile; events tell.
      if (code === "ENOENT" || code === "EINVAL" || code === "ENODEV") continue;
      if (this.#reported.has(code)) continue;
      this.#reported.add(code);
      this.#log.warn(
        { code, address: asked.get(sequence) },
        `the kernel refuses to keep a neighbour resolved: ${code}`,
      );
    }
  }

  #release(targets: readonly Target[]): void {
    const requests: Buffer[] = [];
    for (const { ifindex, address } of targets) {
      const neighbour = this.#table.get(keyOf(ifindex, address.key));
      if (neighbour === undefined || !isOurs(neighbour)) continue;
      // NTF_USE without the other flags takes these away and leaves the state as it is.
      const request = {
        ifindex,
        address: address.bytes,
        state: NUD_NONE,
        flags: NTF_USE,
        extendedFlags: 0,
        protocol: 0,
        create: false,
      };
      requests.push(encodeNeighbourRequest(request, this.#requests.nextSequence()));
    }
    for (let first = 0; first < requests.length; first += BATCH)
      this.#requests.send(requests.slice(first, first + BATCH));
  }

  /** Once: gives back what a killed predecessor kept and nobody wants now. Another director's are asked for again by it. */
  #releaseOrphans(): void {
    if (this.#released || this.#targets.size === 0) return;
    this.#released = true;
    const orphans: Target[] = [];
    for (const [key, neighbour] of this.#table) {
      if (this.#targets.has(key) || !isOurs(neighbour)) continue;
      const [ifindex = "", address = ""] = key.split(" ");
      const bytes = Buffer.from(address, "hex");
      orphans.push({ ifindex: Number(ifindex), address: { text: "", bytes, key: address, value: 0n }, gateway: false });
    }
    this.#release(orphans);
  }
}

function neighbourOf(message: NeighbourMessage, before: Neighbour): Neighbour {
  const { state, mac, flags, extendedFlags, protocol } = message;
  const usable = (state & NUD_USABLE) !== 0 && mac.length === 6;
  const failed = !usable && ((state & NUD_FAILED) !== 0 || before.failed);
  return { state, usable, failed, mac, flags, extendedFlags, protocol };
}

function isOurs(neighbour: Neighbour): boolean {
  const kept = (neighbour.flags & NTF_EXT_LEARNED) !== 0 || (neighbour.extendedFlags & NTF_EXT_MANAGED) !== 0;
  return neighbour.protocol === RTPROT_XLB && kept && (neighbour.state & NUD_PERMANENT) === 0;
}

function keyOf(ifindex: number, addressKey: string): string {
  return `${ifindex} ${addressKey}`;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
