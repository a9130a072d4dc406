/** From the object file to a running program over pinned maps: sizes, settings, pins, and taking over what is there. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { MapHandle, Native, NativeError, ObjectHandle, ProgramHandle } from "../../native.ts";
import {
  LAYOUT_VERSION,
  MAX_REAL_SERVERS,
  SLOTS_PER_LINE,
  TREE_NODES,
  settings as settingsCodec,
} from "./layout.generated.ts";
import type { DirectorMaps } from "./maps.ts";
import { RefusedError } from "./refusal.ts";
import { readSlots } from "./stored.ts";

/** Every map that outlives the daemon: name in the object, and of its file under `maps/`. */
export const pinnedMaps = {
  ".data.settings": "settings",
  ".data.sweep": "sweep",
  interfaces: "interfaces",
  service_slots: "service_slots",
  connections: "connections",
  overflows: "overflows",
  untracked_lines: "untracked_lines",
  connection_extras: "connection_extras",
  template_links: "template_links",
  real_servers: "real_servers",
  real_server_counters: "real_server_counters",
  tunnels: "tunnels",
  same_endpoints: "same_endpoints",
  reply_counters: "reply_counters",
  vlan_links: "vlan_links",
  redirect_ports: "redirect_ports",
  services: "services",
  service_states: "service_states",
  real_server_loads: "real_server_loads",
  real_server_histories: "real_server_histories",
  ring_segments: "ring_segments",
  ring_members: "ring_members",
  tree_leaves: "tree_leaves",
  trees: "trees",
  fragments: "fragments",
  fragment_addresses: "fragment_addresses",
  held_fragments: "held_fragments",
  sources: "sources",
  packet_counters: "packet_counters",
  sweeper: "sweeper",
} as const;
export type MapName = (typeof pinnedMaps)[keyof typeof pinnedMaps];

const deviceMap = "redirect_ports";
const defaultTableSlots = 2 ** 22;
const defaultRingMembers = 2 ** 21;
const defaultRingSegments = 2 ** 16;
/** Per CPU. */
const defaultErrorsPerSecond = 1000;
/** What statfs(2) says of a bpffs. */
export const bpfFilesystem = 0xcafe4a11;
const standardBpffs = "/sys/fs/bpf";
/** A folder in a bpffs that was mounted for a director alone, and goes with it. */
const ownMount = "mounted-by-xlb";

/**
 * Seconds, by `enum connection_state`. Those of the kernel's tcp_timeouts, udp_timeouts and sctp_timeouts
 * (net/netfilter/ipvs/ip_vs_proto_*.c); a template has its service's, and an idle state that of its connection.
 */
const defaultTimeouts: readonly number[] = [
  ...[2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300, 0, 0, 0, 0],
  ...[2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61, 0, 0],
];

export interface LoadOptions {
  /** Folder of the pins. */
  readonly bpffs: string;
  /** The compiled data path. */
  readonly object: Uint8Array;
  /** Slots of the connection table, a power of two of at least 16; without effect on a table that is there already. */
  readonly tableSlots?: number;
  /** Entries of ring_members; likewise. */
  readonly ringMembers?: number;
  /** Nodes of all trees together, TREE_NODES at most; likewise. */
  readonly treeNodes?: number;
  /** Entries of any other map, for tests of the data path alone; likewise. A data plane counts on what the object declares. */
  readonly entries?: Readonly<Partial<Record<MapName, number>>>;
  /** A file for what the kernel says when it refuses the program; removed when it does not. */
  readonly refusalLog?: string;
}

export interface Loaded {
  /** Absent of programs that were opened from their pins. */
  readonly object?: ObjectHandle;
  readonly director: ProgramHandle;
  readonly control: ProgramHandle;
  /** Whether maps of an earlier run were found. */
  readonly adopted: boolean;
  /** Whether these are of an older layout: what stored.ts and trees.ts move and build is to be, and {@link finishUpgrade} is to be called. */
  readonly outdated: boolean;
}

export function mapPath(bpffs: string, name: MapName): string {
  return join(bpffs, "maps", name);
}

/** The folder exists and lies in a BPF filesystem, which is mounted if there is none. */
export function ensureBpffs(native: Native, bpffs: string): void {
  const missing: string[] = [];
  let existing = bpffs;
  for (; !existsSync(existing); existing = dirname(existing)) missing.unshift(existing);
  if (native.filesystemType(existing) !== bpfFilesystem) {
    if (bpffs === standardBpffs || bpffs.startsWith(`${standardBpffs}/`)) {
      native.bpffsMount(standardBpffs);
    } else {
      makeFolders(missing);
      native.bpffsMount(bpffs);
      mkdirSync(join(bpffs, ownMount));
    }
  }
  makeFolders([...missing, join(bpffs, "maps")]);
}

/** Each lies in the one before. Node's recursive mkdir never returns where a filesystem says ENOENT, as /proc does. */
function makeFolders(folders: readonly string[]): void {
  for (const folder of folders) {
    if (existsSync(folder)) continue;
    try {
      mkdirSync(folder);
    } catch (cause) {
      throw new Error(`cannot make the directory ${folder}: ${(cause as Error).message}`, { cause });
    }
  }
}

/**
 * Loads a new program over the maps that are pinned, or over new ones. Nothing that packets meet has changed when it
 * returns or throws. Throws if the pinned maps have a layout that cannot be taken over, and a {@link RefusedError} if
 * the kernel does not take the program or its maps.
 */
export function loadDirector(native: Native, options: LoadOptions): Loaded & { readonly object: ObjectHandle } {
  const { bpffs } = options;
  ensureBpffs(native, bpffs);
  const object = native.objectOpen(options.object, "director");
  const adopted = isPinned(bpffs);
  // Without a pinned program these are the remains of a start that failed.
  if (!adopted) removeMaps(bpffs);
  try {
    const layout = adopted ? checkLayout(native, bpffs) : LAYOUT_VERSION;
    setSizes(native, object, adopted ? { ...options, tableSlots: pinnedSlots(native, bpffs) } : options);
    if (adopted) takeSizes(native, object, bpffs);
    for (const [name, file] of Object.entries(pinnedMaps)) {
      if (adopted && name === deviceMap) reuseDeviceMap(native, object, mapPath(bpffs, file));
      else native.objectSetPinPath(object, name, mapPath(bpffs, file));
    }
    load(native, object, options.refusalLog);
    return {
      object,
      director: native.objectProgram(object, "director"),
      control: native.objectProgram(object, "control"),
      adopted,
      outdated: layout !== LAYOUT_VERSION,
    };
  } catch (cause) {
    native.objectClose(object);
    if (!adopted) removePins(native, bpffs);
    throw cause;
  }
}

/**
 * The programs that an earlier director has left, as they are; undefined if there are none. Throws if the pinned maps
 * have a layout that cannot be taken over.
 */
export function openPinnedDirector(native: Native, bpffs: string): Loaded | undefined {
  const [director, control] = [join(bpffs, "director"), join(bpffs, "control")];
  if (![director, control, mapPath(bpffs, "settings")].every((path) => existsSync(path))) return undefined;
  if (checkLayout(native, bpffs) !== LAYOUT_VERSION) return undefined;
  const programs = { director: native.programOpenPinned(director), control: native.programOpenPinned(control) };
  return { ...programs, adopted: true, outdated: false };
}

export function closeLoaded(native: Native, { object, director, control }: Loaded): void {
  if (object !== undefined) return native.objectClose(object);
  native.programClose(director);
  native.programClose(control);
}

function load(native: Native, object: ObjectHandle, refusalLog: string | undefined): void {
  try {
    native.objectLoad(object);
  } catch (cause) {
    // The addon throws nothing else.
    throw new RefusedError(cause as NativeError, refusalLog);
  }
  if (refusalLog !== undefined) rmSync(refusalLog, { force: true });
}

/** Pins a program in place of an older one: whoever opens the path finds one of the two. */
export function pinProgram(native: Native, program: ProgramHandle, path: string): void {
  const temporary = `${path}-new`;
  rmSync(temporary, { force: true });
  native.programPin(program, temporary);
  renameSync(temporary, path);
}

/** Removes every pin but the links; maps that nothing else holds are gone then. */
export function removePins(native: Pick<Native, "bpffsUnmount">, bpffs: string): void {
  for (const program of ["director", "control", "director-new", "control-new"]) {
    rmSync(join(bpffs, program), { force: true });
  }
  removeMaps(bpffs);
  for (const folder of [join(bpffs, "maps"), join(bpffs, "links"), bpffs]) {
    if (existsSync(folder) && readdirSync(folder).length === 0) removeFolder(folder);
  }
  // The kernel itself puts files named *.debug at the root of a bpffs.
  if (
    existsSync(join(bpffs, ownMount)) &&
    readdirSync(bpffs).every((name) => name === ownMount || name.includes("."))
  ) {
    native.bpffsUnmount(bpffs);
    removeFolder(bpffs);
  }
}

function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true });
  } catch {
    // It is a mount point: whoever mounted it removes it.
  }
}

function removeMaps(bpffs: string): void {
  const folder = join(bpffs, "maps");
  if (!existsSync(folder)) return;
  for (const file of readdirSync(folder)) rmSync(join(folder, file));
}

/** Maps of layout 4 are the same, but for the service table (stored.ts), and for trees, each node of which had two words. */
const oldestLayout = 4;
const mapsOfOlderLayouts = ["tree_nodes"];

/** Whether maps of that layout can be read, and taken over. */
export function isReadableLayout(version: number): boolean {
  return version >= oldestLayout && version <= LAYOUT_VERSION;
}

/** Throws if an earlier director's maps are pinned whose layout cannot be taken over. */
export function requireReadableMaps(native: Native, bpffs: string): void {
  if (isPinned(bpffs)) checkLayout(native, bpffs);
}

function isPinned(bpffs: string): boolean {
  return existsSync(mapPath(bpffs, "settings")) && existsSync(join(bpffs, "director"));
}

/** The layout of the pinned maps. */
function checkLayout(native: Native, bpffs: string): number {
  const map = native.mapOpenPinned(mapPath(bpffs, "settings"));
  const value = readFirst(native, map);
  native.mapClose(map);
  const found = settingsCodec.decode(value).layout_version;
  if (!isReadableLayout(found)) {
    throw new Error(
      `the maps pinned in ${bpffs} have layout version ${found}, this xlb has ${LAYOUT_VERSION}: ` +
        "stop the running director with the version that started it, then start this one",
    );
  }
  return found;
}

/** Once no older program runs any more: from here on an older xlb does not take the maps. */
export function finishUpgrade(bpffs: string, maps: DirectorMaps): void {
  const settings = maps.settings.read(0);
  const used = [...readSlots(maps, settings.service_slots)].length;
  maps.settings.write(0, { ...settings, layout_version: LAYOUT_VERSION, service_slots_used: used });
  for (const name of mapsOfOlderLayouts) rmSync(join(bpffs, "maps", name), { force: true });
}

function readFirst(native: Native, map: MapHandle): Buffer {
  const value = native.mapLookup(map, new Uint8Array(4));
  if (value === undefined) throw new Error("an array map without its first element");
  return value;
}

function pinnedSlots(native: Native, bpffs: string): number {
  const connections = native.mapOpenPinned(mapPath(bpffs, "connections"));
  const { maxEntries } = native.mapInfo(connections);
  native.mapClose(connections);
  return maxEntries * SLOTS_PER_LINE;
}

/** A pinned map is reused only if the object declares the same size. */
function takeSizes(native: Native, object: ObjectHandle, bpffs: string): void {
  for (const [name, file] of Object.entries(pinnedMaps)) {
    const path = mapPath(bpffs, file);
    if (name.startsWith(".") || !existsSync(path)) continue;
    const map = native.mapOpenPinned(path);
    native.objectSetMaxEntries(object, name, native.mapInfo(map).maxEntries);
    native.mapClose(map);
  }
}

/**
 * The kernel adds a flag to device maps, and libbpf 1.1 then refuses the pinned one ("parameter mismatch"): it is
 * handed over open.
 */
function reuseDeviceMap(native: Native, object: ObjectHandle, path: string): void {
  const map = native.mapOpenPinned(path);
  native.objectReuseMap(object, deviceMap, map);
  native.mapClose(map);
}

/** A random secret for the table's hash: `key` of the settings, whose odd words are odd numbers. */
export function freshKey(): bigint[] {
  const words = new BigUint64Array(new Uint8Array(randomBytes(32)).buffer);
  return [...words].map((word, index) => (index % 2 === 1 ? word | 1n : word));
}

function setSizes(native: Native, object: ObjectHandle, options: LoadOptions): void {
  const slots = options.tableSlots ?? defaultTableSlots;
  if (slots < 2 * SLOTS_PER_LINE || !Number.isInteger(Math.log2(slots))) {
    throw new Error(`the connection table cannot have ${slots} slots: a power of two from 16 on is needed`);
  }
  const lines = slots / SLOTS_PER_LINE;
  native.objectSetMaxEntries(object, "connections", lines);
  native.objectSetMaxEntries(object, "overflows", Math.ceil(lines / 64));
  native.objectSetMaxEntries(object, "untracked_lines", lines);
  native.objectSetMaxEntries(object, "connection_extras", slots);
  native.objectSetMaxEntries(object, "template_links", slots);
  const cpus = native.possibleCpus();
  native.objectSetMaxEntries(object, "real_server_counters", cpus * MAX_REAL_SERVERS);
  native.objectSetMaxEntries(object, "reply_counters", cpus * MAX_REAL_SERVERS);
  native.objectSetMaxEntries(object, "ring_segments", defaultRingSegments);
  native.objectSetMaxEntries(object, "ring_members", options.ringMembers ?? defaultRingMembers);
  // Two nodes a leaf.
  native.objectSetMaxEntries(object, "tree_leaves", (options.treeNodes ?? TREE_NODES) / 2);
  for (const [name, entries] of Object.entries(options.entries ?? {})) {
    native.objectSetMaxEntries(object, name, entries);
  }

  const initial = native.objectInitialValue(object, ".data.settings");
  native.objectSetInitialValue(
    object,
    ".data.settings",
    settingsCodec.encode({
      ...settingsCodec.decode(initial),
      line_mask: lines - 1,
      key: freshKey(),
      tuple_hash: 1,
      timeout: Array.from({ length: settingsCodec.decode(initial).timeout.length }, (_, s) => defaultTimeouts[s] ?? 0),
      icmp_per_second: defaultErrorsPerSecond,
      resets_per_second: defaultErrorsPerSecond,
      conn_reuse_mode: 1,
      expire_nodest_conn: 1,
    }),
  );
}
