/**
 * Later fragments that have come before their first one: the program gives them here (bpf/fragment.h) and meets them again
 * when the first one has come, in the order of their arrival; when it does not come in time, they are the stack's.
 */
import type { Native, NativeError, ProgramHandle, RingHandle } from "../../native.ts";
import * as layout from "./layout.generated.ts";
import type { DirectorMaps } from "./maps.ts";

/** A first fragment that is slower than this has been lost, or follows another way; milliseconds. */
const patienceMs = 1000;
/** Frames at a time, of 2 KiB at most. */
const capacity = 1024;
/** So many frames are taken in each interval: what a flood can cost. */
const framesPerInterval = 128;
const intervalMs = 200;
/** Records between two turns of the event loop. */
const recordsAtOnce = 64;

const { key: keyField, ifindex: ifindexField, length: lengthField } = layout.fragmentRecord.fields;
const roomWord = layout.settings.fields.fragment_room.offset / 4;
const tickWord = layout.sweep.fields.tick.offset / 4;

export interface HeldFragmentsDeps {
  readonly native: Native;
  /** Writable. */
  readonly maps: Pick<DirectorMaps, "settings" | "sweep" | "fragments" | "heldFragments">;
  /** What meets the frames again. */
  readonly program: ProgramHandle;
  readonly log: { warn(message: string): void };
}

interface HeldFrame {
  readonly ifindex: number;
  readonly bytes: Uint8Array;
}

/** The held fragments of one packet, in the order of arrival. */
interface HeldPacket {
  /** `struct fragment_key`. */
  readonly key: Uint8Array;
  /** On the monotonic clock, milliseconds. */
  readonly until: number;
  readonly frames: HeldFrame[];
}

/** One at a time over the same maps. Keeps the process alive until it is closed. */
export class HeldFragments {
  readonly #deps: HeldFragmentsDeps;
  readonly #ring: RingHandle;
  readonly #descriptor: number;
  readonly #room: Int32Array;
  readonly #sweep: Uint32Array;
  /** By the bytes of the key; the longest waiting first. */
  readonly #packets = new Map<string, HeldPacket>();
  #count = 0;
  #accepting = false;
  /** Of the kernel: it does not run the program as if a frame had come. */
  #unable = false;
  #refill: NodeJS.Timeout | undefined;
  #expiry: NodeJS.Timeout | undefined;
  #closed = false;

  /** What an earlier one has left in the buffer is taken over. */
  constructor(deps: HeldFragmentsDeps) {
    const { native, maps } = deps;
    this.#deps = deps;
    this.#room = new Int32Array(maps.settings.memory);
    this.#sweep = new Uint32Array(maps.sweep.memory);
    this.#ring = native.ringOpen(maps.heldFragments);
    this.#descriptor = native.ringDescriptor(this.#ring);
    native.pollStart(this.#descriptor, () => this.#read());
  }

  /** Frames that are waiting. */
  get size(): number {
    return this.#count;
  }

  /** Whether fragments are taken from now on; those that are here wait on. */
  accept(accepting: boolean): void {
    const before = this.#accepting;
    this.#accepting = accepting && !this.#unable && !this.#closed;
    if (this.#accepting !== before) this.#makeRoom();
  }

  /** All that wait go to the stack. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.accept(false);
    this.#makeRoom();
    this.#closed = true;
    const { native } = this.#deps;
    for (let records = recordsAtOnce; records === recordsAtOnce;) records = this.#read();
    for (const packet of this.#packets.values()) this.#giveUp(packet);
    clearTimeout(this.#refill);
    clearTimeout(this.#expiry);
    native.pollStop(this.#descriptor);
    native.ringClose(this.#ring);
  }

  #makeRoom(): void {
    const room = this.#accepting ? Math.min(framesPerInterval, capacity - this.#count) : 0;
    Atomics.store(this.#room, roomWord, room);
  }

  /** Returns the number of records. */
  #read(): number {
    const records = this.#deps.native.ringRead(this.#ring, recordsAtOnce);
    for (const record of records) {
      const ifindex = record.readUInt32LE(ifindexField.offset);
      const length = record.readUInt32LE(lengthField.offset);
      const key = record.subarray(keyField.offset, keyField.offset + keyField.size);
      if (ifindex === 0) this.#release(key);
      else this.#hold(key, { ifindex, bytes: record.subarray(layout.fragmentRecord.size).subarray(0, length) });
    }
    return records.length;
  }

  #hold(key: Uint8Array, frame: HeldFrame): void {
    const name = nameOf(key);
    const packet = this.#packets.get(name) ?? { key, until: performance.now() + patienceMs, frames: [] };
    this.#packets.set(name, packet);
    packet.frames.push(frame);
    this.#count++;
    this.#refill ??= setTimeout(() => {
      this.#refill = undefined;
      this.#makeRoom();
    }, intervalMs);
    this.#expiry ??= setTimeout(() => this.#expire(), patienceMs);
  }

  #release(key: Uint8Array): void {
    const packet = this.#packets.get(nameOf(key));
    if (packet !== undefined) this.#receive(packet);
  }

  #expire(): void {
    this.#expiry = undefined;
    for (const packet of this.#packets.values()) {
      const left = packet.until - performance.now();
      if (left > 0) {
        this.#expiry = setTimeout(() => this.#expire(), left);
        return;
      }
      this.#giveUp(packet);
    }
  }

  /** The first fragment may have come all the same, while the buffer had no room to tell of it. */
  #giveUp(packet: HeldPacket): void {
    const { native, maps } = this.#deps;
    const found = native.mapLookup(maps.fragments, packet.key);
    if (found === undefined || layout.fragment.decode(found).real_server === layout.FRAGMENT_AWAITED) {
      const tick = this.#sweep[tickWord] ?? 0;
      const left = layout.fragment.encode({ real_server: layout.FRAGMENT_OF_STACK, tick });
      native.mapUpdate(maps.fragments, packet.key, left, 0);
    }
    this.#receive(packet);
  }

  #receive({ key, frames }: HeldPacket): void {
    const { native, program } = this.#deps;
    this.#packets.delete(nameOf(key));
    this.#count -= frames.length;
    for (const { ifindex, bytes } of frames) {
      try {
        native.programReceive(program, bytes, ifindex);
      } catch (error) {
        this.#failed(error as NativeError); // The addon throws nothing else.
      }
    }
  }

  /** An interface may have gone meanwhile, and its frames with it. */
  #failed({ code, message }: NativeError): void {
    if (code === "ENODEV" || this.#unable) return;
    this.#unable = true;
    this.accept(false);
    this.#deps.log.warn(`fragments that come before their first one are left to the stack: ${message}`);
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}
