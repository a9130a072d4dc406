/** Typed maps over bytes: what the plane and the readers see of the pinned maps. */
import type { MapHandle, Native } from "../../native.ts";
import * as layout from "./layout.generated.ts";
import type {
  Codec,
  ConnectionDetail,
  ConnectionExtra,
  Interface,
  PacketCounters,
  RealServer,
  RealServerCounters,
  RealServerHistory,
  RealServerLoad,
  ReplyCounters,
  RingSegment,
  Service,
  ServiceSlot,
  ServiceState,
  Settings,
  Sweep,
  Tunnel,
} from "./layout.generated.ts";
import { mapPath } from "./load.ts";
import type { MapName } from "./load.ts";

export function encodeIndex(index: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(index).buffer);
}

/** An array map, by system calls. */
export class ArrayMap<T> {
  readonly handle: MapHandle;
  readonly entries: number;
  readonly #native: Native;
  readonly #codec: Codec<T>;

  constructor(native: Native, handle: MapHandle, codec: Codec<T>) {
    this.#native = native;
    this.handle = handle;
    this.#codec = codec;
    this.entries = native.mapInfo(handle).maxEntries;
  }

  read(index: number): T {
    return this.#codec.decode(this.bytes(index, 1));
  }

  readRange(first: number, count: number): T[] {
    const bytes = this.bytes(first, count);
    return Array.from({ length: count }, (_, i) => this.#codec.decode(bytes, i * this.#codec.size));
  }

  bytes(first: number, count: number): Buffer {
    return count === 0 ? Buffer.alloc(0) : this.#native.mapReadRange(this.handle, first, count);
  }

  write(index: number, value: T): void {
    this.#native.mapUpdate(this.handle, encodeIndex(index), this.#codec.encode(value), 0);
  }

  writeRange(first: number, values: readonly T[]): void {
    if (values.length === 0) return;
    const bytes = new Uint8Array(values.length * this.#codec.size);
    const view = new DataView(bytes.buffer);
    for (const [index, value] of values.entries()) this.#codec.write(view, index * this.#codec.size, value);
    this.#native.mapWriteRange(this.handle, first, bytes);
  }
}

/** An array map of 32-bit words. */
export class WordMap {
  readonly entries: number;
  readonly #native: Native;
  readonly #handle: MapHandle;

  constructor(native: Native, handle: MapHandle) {
    this.#native = native;
    this.#handle = handle;
    this.entries = native.mapInfo(handle).maxEntries;
  }

  read(first: number, count: number): Uint32Array {
    if (count === 0) return new Uint32Array(0);
    // Copied, as a Buffer need not begin at a multiple of four.
    return new Uint32Array(new Uint8Array(this.#native.mapReadRange(this.#handle, first, count)).buffer);
  }

  write(first: number, words: Uint32Array): void {
    if (words.length === 0) return;
    this.#native.mapWriteRange(this.#handle, first, new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
  }
}

/** An array map in our own memory: reading and writing are no system calls, and packets see it at once. */
export class MappedArray<T> {
  readonly entries: number;
  readonly memory: ArrayBuffer;
  readonly size: number;
  readonly #view: DataView;
  readonly #codec: Codec<T>;

  constructor(native: Native, handle: MapHandle, codec: Codec<T>, writable: boolean) {
    const info = native.mapInfo(handle);
    this.entries = info.maxEntries;
    this.memory = native.mapMemory(handle, writable);
    this.size = codec.size;
    this.#view = new DataView(this.memory);
    this.#codec = codec;
  }

  read(index: number): T {
    return this.#codec.read(this.#view, index * this.size);
  }

  write(index: number, value: T): void {
    this.#codec.write(this.#view, index * this.size, value);
  }
}

/** A per-CPU array map: each read gives one value for every CPU. */
export class PerCpuArray<T> {
  readonly #native: Native;
  readonly #handle: MapHandle;
  readonly #codec: Codec<T>;
  readonly #stride: number;
  readonly #cpus: number;

  constructor(native: Native, handle: MapHandle, codec: Codec<T>) {
    this.#native = native;
    this.#handle = handle;
    this.#codec = codec;
    this.#stride = Math.ceil(codec.size / 8) * 8;
    this.#cpus = native.possibleCpus();
  }

  /** For each index the values of all CPUs. */
  readRange(first: number, count: number): T[][] {
    if (count === 0) return [];
    const bytes = this.#native.mapReadRange(this.#handle, first, count);
    return Array.from({ length: count }, (_, index) =>
      Array.from({ length: this.#cpus }, (_, cpu) =>
        this.#codec.decode(bytes, (index * this.#cpus + cpu) * this.#stride),
      ),
    );
  }

  clear(index: number): void {
    this.#native.mapUpdate(this.#handle, encodeIndex(index), new Uint8Array(this.#stride * this.#cpus), 0);
  }
}

/**
 * Counters by real-server id, 64-bit words in our own memory: a row of MAX_REAL_SERVERS for each CPU, which alone adds
 * to it.
 */
export class CounterRows<Name extends string> {
  readonly #words: BigUint64Array;
  /** Where in an entry each counter lies, in words. */
  readonly #places: readonly (readonly [name: Name, place: number])[];
  readonly #entry: number;

  constructor(memory: ArrayBuffer, { size, fields }: Pick<Codec<unknown>, "size" | "fields">, names: readonly Name[]) {
    this.#words = new BigUint64Array(memory);
    this.#entry = size / 8;
    this.#places = names.map((name) => [name, (fields[name]?.offset ?? 0) / 8]);
  }

  /** Over all CPUs. */
  sum(id: number): Record<Name, bigint> {
    const row = layout.MAX_REAL_SERVERS * this.#entry;
    const sums = this.#places.map(([name, place]) => {
      let sum = 0n;
      for (let at = id * this.#entry + place; at < this.#words.length; at += row) sum += Atomics.load(this.#words, at);
      return [name, sum] as const;
    });
    return Object.fromEntries(sums) as Record<Name, bigint>; // one for each place
  }

  clear(id: number): void {
    const row = layout.MAX_REAL_SERVERS * this.#entry;
    for (let at = id * this.#entry; at < this.#words.length; at += row) this.#words.fill(0n, at, at + this.#entry);
  }
}

const wordsPerLine = layout.connectionLine.size / 4;
const detailsAt = layout.connectionLine.fields.detail.offset;

/** The connection table in our own memory. A slot's index counts slots: line * SLOTS_PER_LINE + place. */
export class ConnectionTable {
  /** Slots, not bytes. */
  readonly size: number;
  /** Words of 32 bits, of which a slot has two: the lower half first, where numbers are little endian. */
  readonly words: Uint32Array;
  readonly #view: DataView;

  constructor(memory: ArrayBuffer) {
    this.words = new Uint32Array(memory);
    this.size = (this.words.length / wordsPerLine) * layout.SLOTS_PER_LINE;
    this.#view = new DataView(memory);
  }

  /** Where in `words` the lower half of a slot lies. */
  wordAt(index: number): number {
    const place = index % layout.SLOTS_PER_LINE;
    return ((index - place) / layout.SLOTS_PER_LINE) * wordsPerLine + 2 * place;
  }

  detail(index: number): ConnectionDetail {
    const place = index % layout.SLOTS_PER_LINE;
    const line = (index - place) / layout.SLOTS_PER_LINE;
    const at = line * layout.connectionLine.size + detailsAt + place * layout.connectionDetail.size;
    return layout.connectionDetail.read(this.#view, at);
  }
}

/** Every pinned map that user space looks into. */
export interface DirectorMaps {
  readonly settings: MappedArray<Settings>;
  readonly sweep: MappedArray<Sweep>;
  readonly interfaces: ArrayMap<Interface>;
  readonly serviceSlots: MappedArray<ServiceSlot>;
  readonly services: ArrayMap<Service>;
  readonly serviceStates: MappedArray<ServiceState>;
  readonly realServers: MappedArray<RealServer>;
  readonly loads: MappedArray<RealServerLoad>;
  readonly histories: MappedArray<RealServerHistory>;
  readonly counters: CounterRows<keyof RealServerCounters>;
  readonly replyCounters: CounterRows<keyof ReplyCounters>;
  readonly packetCounters: PerCpuArray<PacketCounters>;
  readonly tunnels: MappedArray<Tunnel>;
  /** By real-server id: the next one of its endpoint. */
  readonly sameEndpoints: WordMap;
  /** `struct fragment_key` -> `struct fragment`. */
  readonly fragments: MapHandle;
  /** `struct fragment_address` -> nothing. */
  readonly fragmentAddresses: MapHandle;
  /** A ring buffer: `struct fragment_record`, and the frame. */
  readonly heldFragments: MapHandle;
  /** VLAN interface -> `struct vlan_link`. */
  readonly vlanLinks: MapHandle;
  readonly ringSegments: ArrayMap<RingSegment>;
  readonly ringMembers: WordMap;
  readonly treeLeaves: WordMap;
  readonly redirectPorts: MapHandle;
  readonly connections: ConnectionTable;
  readonly connectionExtras: MappedArray<ConnectionExtra>;
  close(): void;
}

/** Throws the addon's error, with `code` ENOENT, if a map is not pinned. */
export function openMaps(native: Native, bpffs: string, writable: boolean): DirectorMaps {
  const handles: MapHandle[] = [];
  const close = () => handles.forEach((handle) => native.mapClose(handle));
  const open = (name: MapName): MapHandle => {
    const handle = native.mapOpenPinned(mapPath(bpffs, name));
    handles.push(handle);
    return handle;
  };
  try {
    return {
      settings: new MappedArray(native, open("settings"), layout.settings, writable),
      sweep: new MappedArray(native, open("sweep"), layout.sweep, false),
      interfaces: new ArrayMap(native, open("interfaces"), layout.interfaceStruct),
      serviceSlots: new MappedArray(native, open("service_slots"), layout.serviceSlot, false),
      services: new ArrayMap(native, open("services"), layout.service),
      serviceStates: new MappedArray(native, open("service_states"), layout.serviceState, writable),
      realServers: new MappedArray(native, open("real_servers"), layout.realServer, writable),
      loads: new MappedArray(native, open("real_server_loads"), layout.realServerLoad, writable),
      histories: new MappedArray(native, open("real_server_histories"), layout.realServerHistory, writable),
      counters: new CounterRows(native.mapMemory(open("real_server_counters"), writable), layout.realServerCounters, [
        "packets",
        "bytes",
        "connections",
      ]),
      replyCounters: new CounterRows(native.mapMemory(open("reply_counters"), writable), layout.replyCounters, [
        "packets",
        "bytes",
      ]),
      tunnels: new MappedArray(native, open("tunnels"), layout.tunnel, writable),
      sameEndpoints: new WordMap(native, open("same_endpoints")),
      fragments: open("fragments"),
      fragmentAddresses: open("fragment_addresses"),
      heldFragments: open("held_fragments"),
      vlanLinks: open("vlan_links"),
      packetCounters: new PerCpuArray(native, open("packet_counters"), layout.packetCounters),
      ringSegments: new ArrayMap(native, open("ring_segments"), layout.ringSegment),
      ringMembers: new WordMap(native, open("ring_members")),
      treeLeaves: new WordMap(native, open("tree_leaves")),
      redirectPorts: open("redirect_ports"),
      connections: new ConnectionTable(native.mapMemory(open("connections"), false)),
      connectionExtras: new MappedArray(native, open("connection_extras"), layout.connectionExtra, false),
      close,
    };
  } catch (cause) {
    close();
    throw cause;
  }
}
