/** The maps of a loaded object as one: what is in them, and back to what they were when the object was loaded. */
import type { MapHandle, MapInfo, Native, ObjectHandle } from "../../src/native.ts";

/** Of `enum bpf_map_type` and the flags of BPF_MAP_CREATE (linux/bpf.h). */
const ARRAY = 2;
const PERCPU_ARRAY = 6;
const RINGBUF = 27;
const MMAPABLE = 1 << 10;
/** What the compiler put into `.rodata`: nobody can change it. */
const RDONLY_PROG = 1 << 7;

/** Elements that are looked at together. */
const chunk = 8192;
/** Elements of one size, all of them zero. */
const zeros = new Map<number, Buffer>();

function zeroBytes(size: number): Buffer {
  let bytes = zeros.get(size);
  if (bytes === undefined) zeros.set(size, (bytes = Buffer.alloc(size)));
  return bytes;
}

interface LoadedMap {
  readonly name: string;
  /** Everything in it; of a hash its elements in the order of their keys. */
  contents(): Buffer;
  restore(): void;
}

/** An array in our own memory; it was full of zeros, or a section with its initial values. */
class MemoryMap implements LoadedMap {
  readonly name: string;
  readonly #bytes: Buffer;
  readonly #initial: Buffer;

  constructor(native: Native, handle: MapHandle, name: string) {
    this.name = name;
    this.#bytes = Buffer.from(native.mapMemory(handle, true));
    this.#initial = name.startsWith(".") ? Buffer.from(this.#bytes) : Buffer.alloc(0);
  }

  contents(): Buffer {
    return Buffer.from(this.#bytes);
  }

  restore(): void {
    this.#initial.copy(this.#bytes);
    this.#bytes.fill(0, this.#initial.length);
  }
}

/** An array by system calls, per CPU or not; it was full of zeros. */
class CalledMap implements LoadedMap {
  readonly name: string;
  readonly #native: Native;
  readonly #handle: MapHandle;
  readonly #info: MapInfo;

  constructor(native: Native, handle: MapHandle, name: string) {
    this.name = name;
    this.#native = native;
    this.#handle = handle;
    this.#info = native.mapInfo(handle);
  }

  contents(): Buffer {
    return this.#native.mapReadRange(this.#handle, 0, this.#info.maxEntries);
  }

  restore(): void {
    const { maxEntries, type } = this.#info;
    for (let first = 0; first < maxEntries; first += chunk) {
      const count = Math.min(chunk, maxEntries - first);
      const found = this.#native.mapReadRange(this.#handle, first, count);
      if (found.equals(zeroBytes(found.length))) continue;
      if (type === ARRAY) this.#native.mapWriteRange(this.#handle, first, zeroBytes(found.length));
      else this.#clear(first, count, found);
    }
  }

  #clear(first: number, count: number, found: Buffer): void {
    const size = found.length / count;
    for (let i = 0; i < count; i++) {
      if (found.subarray(i * size, (i + 1) * size).equals(zeroBytes(size))) continue;
      this.#native.mapUpdate(this.#handle, new Uint8Array(Uint32Array.of(first + i).buffer), zeroBytes(size), 0);
    }
  }
}

/** A hash of any kind; it was empty. */
class HashMap implements LoadedMap {
  readonly name: string;
  readonly #native: Native;
  readonly #handle: MapHandle;
  readonly #keySize: number;

  constructor(native: Native, handle: MapHandle, name: string) {
    this.name = name;
    this.#native = native;
    this.#handle = handle;
    this.#keySize = native.mapInfo(handle).keySize;
  }

  #keys(): Buffer[] {
    const keys = this.#native.mapKeys(this.#handle);
    return Array.from({ length: keys.length / this.#keySize }, (_, i) =>
      keys.subarray(i * this.#keySize, (i + 1) * this.#keySize),
    );
  }

  contents(): Buffer {
    const none = Buffer.alloc(0);
    const keys = this.#keys().sort((a, b) => Buffer.compare(a, b));
    return Buffer.concat(keys.flatMap((key) => [key, this.#native.mapLookup(this.#handle, key) ?? none]));
  }

  restore(): void {
    for (const key of this.#keys()) this.#native.mapDelete(this.#handle, key);
  }
}

/** A ring buffer; it was empty. Looking at what is in it would take it out. */
class RingMap implements LoadedMap {
  readonly name: string;
  readonly #native: Native;
  readonly #handle: MapHandle;

  constructor(native: Native, handle: MapHandle, name: string) {
    this.name = name;
    this.#native = native;
    this.#handle = handle;
  }

  contents(): Buffer {
    return Buffer.alloc(0);
  }

  restore(): void {
    const ring = this.#native.ringOpen(this.#handle);
    while (this.#native.ringRead(ring, chunk).length > 0);
    this.#native.ringClose(ring);
  }
}

/** To be made directly after loading, before anybody has used the object. */
export class LoadedMaps {
  readonly #maps: readonly LoadedMap[];
  readonly #close: () => void;

  constructor(native: Native, object: ObjectHandle) {
    const handles = native.objectMapNames(object).map((name) => [name, native.objectMap(object, name)] as const);
    this.#close = () => handles.forEach(([, handle]) => native.mapClose(handle));
    this.#maps = handles.flatMap(([name, handle]): LoadedMap[] => {
      const { flags, type } = native.mapInfo(handle);
      if ((flags & RDONLY_PROG) !== 0) return [];
      if ((flags & MMAPABLE) !== 0) return [new MemoryMap(native, handle, name)];
      if (type === ARRAY || type === PERCPU_ARRAY) return [new CalledMap(native, handle, name)];
      if (type === RINGBUF) return [new RingMap(native, handle, name)];
      return [new HashMap(native, handle, name)];
    });
  }

  /** By the name of the map; a copy. */
  contents(): Map<string, Buffer> {
    return new Map(this.#maps.map((map) => [map.name, map.contents()]));
  }

  /** Every map is in every byte as it was directly after loading. Nobody may be using the object meanwhile. */
  restore(): void {
    for (const map of this.#maps) map.restore();
  }

  close(): void {
    this.#close();
  }
}
