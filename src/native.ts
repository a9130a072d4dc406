/**
 * The typed face of the addon in native/: bytes in, bytes out. It knows no service and no scheduler.
 * The only file that loads the addon. A failing call throws a {@link NativeError}.
 */
import { createRequire } from "node:module";

/**
 * What every failing call of the addon throws: `code` is the errno name, `call` what was tried, `object` on what. Errors
 * of libbpf's own have codes like `LIBBPF_FORMAT`; a wrong argument is EINVAL. `errno` is positive.
 */
export interface NativeError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly call: string;
  readonly object: string;
  /** libbpf's log of the call, the verifier's included; empty if there was none. */
  readonly log: string;
}

declare const objectHandle: unique symbol;
declare const mapHandle: unique symbol;
declare const programHandle: unique symbol;
declare const linkHandle: unique symbol;
declare const regexHandle: unique symbol;
declare const ringHandle: unique symbol;
/** Opaque, type-tagged. Closing twice is harmless; using one after closing throws EBADF. */
export interface ObjectHandle {
  readonly [objectHandle]: true;
}
export interface MapHandle {
  readonly [mapHandle]: true;
}
export interface ProgramHandle {
  readonly [programHandle]: true;
}
export interface LinkHandle {
  readonly [linkHandle]: true;
}
export interface RegexHandle {
  readonly [regexHandle]: true;
}
export interface RingHandle {
  readonly [ringHandle]: true;
}

export interface MapInfo {
  readonly id: number;
  /** `enum bpf_map_type`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly name: string;
}

export interface ProgramInfo {
  readonly id: number;
  readonly name: string;
  /** 16 hexadecimal digits over the instructions. */
  readonly tag: string;
}

export interface LinkInfo {
  readonly id: number;
  readonly programId: number;
  /** 0: the interface is gone, or the link was detached. */
  readonly ifindex: number;
}

export interface TestRunResult {
  readonly verdict: number;
  readonly data: Buffer;
  /** Average of one run, nanoseconds. */
  readonly durationNs: number;
}

export interface Native {
  // --- objects: open, adjust, load
  /** Opens an ELF object from memory; nothing reaches the kernel yet. */
  objectOpen(bytes: Uint8Array, name: string): ObjectHandle;
  objectMapNames(object: ObjectHandle): string[];
  objectProgramNames(object: ObjectHandle): string[];
  objectSetMaxEntries(object: ObjectHandle, map: string, entries: number): void;
  /** Sets where a map is pinned, and where a pinned one is taken from, at load. */
  objectSetPinPath(object: ObjectHandle, map: string, path: string): void;
  /** Uses an open map in place of the object's own. */
  objectReuseMap(object: ObjectHandle, map: string, handle: MapHandle): void;
  /** Whether a program of the object is loaded. */
  objectSetAutoload(object: ObjectHandle, program: string, autoload: boolean): void;
  /** The initial bytes of a data section's map (`.rodata`, `.data.NAME`), to be read and set before loading. */
  objectInitialValue(object: ObjectHandle, map: string): Buffer;
  objectSetInitialValue(object: ObjectHandle, map: string, value: Uint8Array): void;
  objectLoad(object: ObjectHandle): void;
  objectMap(object: ObjectHandle, name: string): MapHandle;
  objectProgram(object: ObjectHandle, name: string): ProgramHandle;
  objectClose(object: ObjectHandle): void;

  // --- maps; keys and values must have the map's sizes, per-CPU values are CPUs * roundup(size, 8)
  mapOpenPinned(path: string): MapHandle;
  mapPin(map: MapHandle, path: string): void;
  mapInfo(map: MapHandle): MapInfo;
  mapLookup(map: MapHandle, key: Uint8Array): Buffer | undefined;
  /** `flags`: 0 any, 1 must not exist, 2 must exist. */
  mapUpdate(map: MapHandle, key: Uint8Array, value: Uint8Array, flags: number): void;
  /** False if there was no such key. */
  mapDelete(map: MapHandle, key: Uint8Array): boolean;
  /** All keys of a small hash map, one after the other in one buffer; some twice, if it is changed meanwhile. */
  mapKeys(map: MapHandle): Buffer;
  /** Array maps, per-CPU or not: `count` values from index `first`, by batch system calls, one after the other. */
  mapReadRange(map: MapHandle, first: number, count: number): Buffer;
  /** Array maps that are not per CPU: writes values from index `first` on. */
  mapWriteRange(map: MapHandle, first: number, values: Uint8Array): void;
  /**
   * The memory of a `BPF_F_MMAPABLE` array map, elements on multiples of 8 bytes; it outlives the handle and lives until
   * garbage collected. Read-write if `writable`; if not, writing to it kills the process.
   */
  mapMemory(map: MapHandle, writable: boolean): ArrayBuffer;
  mapClose(map: MapHandle): void;
  possibleCpus(): number;

  // --- programs and links
  programOpenPinned(path: string): ProgramHandle;
  programPin(program: ProgramHandle, path: string): void;
  programInfo(program: ProgramHandle): ProgramInfo;
  /**
   * BPF_PROG_TEST_RUN, on the calling thread; `ifindex` 0: the context says loopback of the present namespace. A packet
   * has at least 14 bytes. EINTR, for `repeat` above 1: a signal came after part of the runs.
   */
  programTestRun(program: ProgramHandle, data: Uint8Array, repeat: number, ifindex: number): TestRunResult;
  /**
   * An XDP program meets the packet as if the interface had received it now, and what it answers is done: the frame
   * leaves, goes to the stack, or is dropped. On the calling thread. A frame leaves only by interfaces that take redirected
   * ones (`ndo_xdp_xmit`). EINVAL for packets of less than 14 bytes, or more than about 3,300.
   */
  programReceive(program: ProgramHandle, data: Uint8Array, ifindex: number): void;
  programClose(program: ProgramHandle): void;
  /** Attaches by bpf_link; mode 0 lets the kernel choose, `XDP_FLAGS_SKB_MODE` 2, `XDP_FLAGS_DRV_MODE` 4. */
  linkAttachXdp(program: ProgramHandle, ifindex: number, mode: 0 | 2 | 4): LinkHandle;
  linkOpenPinned(path: string): LinkHandle;
  linkPin(link: LinkHandle, path: string): void;
  linkUpdate(link: LinkHandle, program: ProgramHandle): void;
  linkInfo(link: LinkHandle): LinkInfo;
  /** Detaches at once, wherever else the link is pinned or open. */
  linkDetach(link: LinkHandle): void;
  /** Closes the handle; an unpinned link is detached by that, a pinned one goes on. */
  linkClose(link: LinkHandle): void;
  /** 0 nothing attached (or no such interface), 1 native (driver), 2 generic, 3 offloaded; and the program's id. */
  xdpQuery(ifindex: number): { mode: number; programId: number };

  // --- ring buffers, of one reader at a time
  ringOpen(map: MapHandle): RingHandle;
  /** Readable, for pollStart(), while there are records; to be unwatched before closing. */
  ringDescriptor(ring: RingHandle): number;
  /** At most `limit` records, in the order in which programs have reserved them; never blocks. */
  ringRead(ring: RingHandle, limit: number): Buffer[];
  ringClose(ring: RingHandle): void;

  // --- sockets: netlink, packet, ICMP; non-blocking, only descriptors of socketOpen, closing twice is harmless
  socketOpen(domain: number, type: number, protocol: number): number;
  /** `address` is a raw `struct sockaddr`. */
  socketBind(fd: number, address: Uint8Array): void;
  socketOption(fd: number, level: number, name: number, value: Uint8Array | number): void;
  /** Without `address`: send(2). */
  socketSend(fd: number, data: Uint8Array, address?: Uint8Array): number;
  /** One datagram, cut to `size` (1 MiB at most), or undefined if there is none now (never blocks). */
  socketReceive(fd: number, size: number): { data: Buffer; address: Buffer } | undefined;
  /**
   * Calls back on Node's loop whenever the descriptor is readable or has an error (netlink: ENOBUFS after lost messages;
   * receiving throws and clears it), until stopped or the socket is closed. Keeps the process alive. EEXIST if watched.
   */
  pollStart(fd: number, onReadable: () => void): void;
  pollStop(fd: number): void;
  socketClose(fd: number): void;
  /** 0 if there is none. */
  interfaceIndex(name: string): number;

  // --- Perl regular expressions (PCRE2, UTF off: bytes as Perl's default)
  /** Throws with `code` "EINVAL" and a message that names the offset. */
  regexCompile(pattern: string): RegexHandle;
  /** Unanchored search in bytes. Bounded by PCRE2's match and depth limits: beyond them it throws "ELOOP". */
  regexTest(regex: RegexHandle, subject: Uint8Array): boolean;

  /** Filesystem type of a path (`statfs`), for bpffs checks: 0xcafe4a11 is bpffs. */
  filesystemType(path: string): number;
  /** mount(2): `bpffsMount("/sys/fs/bpf")` mounts a bpf filesystem there. */
  bpffsMount(path: string): void;
  /** umount(2): throws "EINVAL" where nothing is mounted, "EBUSY" while something in it is in use. */
  bpffsUnmount(path: string): void;
}

let loaded: Native | undefined;

/** Loads the addon once; throws with a hint if it was not built for this machine. */
export function loadNative(): Native {
  if (loaded === undefined) {
    const require = createRequire(import.meta.url);
    try {
      // The compiled file lies in build/src, the addon in build/native.
      loaded = require("../native/xlb.node") as Native;
    } catch (cause) {
      throw new Error(
        "the native addon build/native/xlb.node cannot be loaded; run `make` (it needs libbpf1 and libpcre2-8-0)",
        { cause },
      );
    }
  }
  return loaded;
}
