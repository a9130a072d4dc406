/**
 * What ipvsadm asks of a data plane, in the director's vocabulary: the kernel's IPVS (kernel-table.ts) answers, and any
 * other plane that wants ipvsadm's face. Numbers and names are not checked on the way here: a table refuses what it cannot
 * do, as the kernel would.
 */
import type { Family, ForwardingMethod, ServiceIdentity, Tunnel } from "../../model/service.ts";
import type { Timeouts } from "../../model/state.ts";
import type { Traffic } from "../../model/statistics.ts";

/**
 * A request is refused, or the table cannot be opened at all. `code` is the errno's name, from which run.ts makes
 * ipvsadm's message and exit status: `EEXIST` what is to be added is there, `ESRCH` no such service, `ENOENT` no such
 * real server, scheduler or persistence engine, `EPERM` not root, `EINVAL` does not make sense, `EAFNOSUPPORT` not for
 * this family, `EOPNOTSUPP` not on this plane, `ENODEV` no such interface, `ENOPROTOOPT` no IPVS here.
 */
export class TableRefusal extends Error {
  override readonly name = "TableRefusal";
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export interface TableInfo {
  /** Three numbers from 0 to 255, `1.2.1`: the kernel's IPVS; programs parse it. */
  readonly version: string;
  /** Of the connection table: the kernel's buckets. */
  readonly size: number;
}

export interface TablePersistence {
  /** Seconds. */
  readonly timeout: number;
  /**
   * As ipvsadm takes and prints it: an IPv4 mask such as `255.255.255.0`, which need not be a prefix, or the length of an
   * IPv6 prefix such as `64`. See {@link prefixOfNetmask}.
   */
  readonly netmask: string;
}

/** The settings of a virtual service: all there is, so that an edit replaces all of them. */
export interface TableService {
  readonly identity: ServiceIdentity;
  /** At most 15 bytes, never empty; `none`, or a name that no plane knows: then the table refuses with ENOENT. */
  readonly scheduler: string;
  /**
   * In the model's normal form: `sh-fallback`, `sh-port` for sh, `mh-fallback`, `mh-port` for mh, else `flag-1`, `flag-2`,
   * always the former before the latter; `flag-3` last.
   */
  readonly schedulerFlags: readonly string[];
  readonly persistence?: TablePersistence;
  readonly onePacket: boolean;
  /** `sip`; a name nobody knows is refused with ENOENT. It may be there without persistence. */
  readonly persistenceEngine?: string;
}

/** Which real server of a service. */
export interface TableServerKey {
  readonly address: string;
  readonly port: number;
}

/** The settings of a real server: an edit replaces all of them. */
export interface TableServer extends TableServerKey {
  /** `local` and `bypass` are only told, never set: connections to this machine itself, past the director. */
  readonly method: ForwardingMethod | "local" | "bypass";
  /** 0 to 65535. */
  readonly weight: number;
  /** Connections; 0: none. The lower one above the upper one is refused with ERANGE. */
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  /** Of the method ipip; absent: plain IP in IP. */
  readonly tunnel?: Tunnel;
}

export interface ListedService extends TableService {
  readonly traffic: Traffic;
}

export interface ListedServer extends TableServer {
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  /** Persistence templates. */
  readonly persistentConnections: number;
  readonly traffic: Traffic;
}

/** A connection or template; members that are printed as they are have the kernel's words. */
export interface TableConnection {
  /** `TCP`, `UDP`, `SCTP`, or `IP` of the template of a firewall mark. */
  readonly protocol: string;
  /** Seconds. */
  readonly expiresIn: number;
  /** `ESTABLISHED`, `FIN_WAIT`, ...; of templates `NONE` or `ASSURED`. */
  readonly state: string;
  readonly client: string;
  /** 0 of templates. */
  readonly clientPort: number;
  /** Of the template of a firewall mark the mark, written as an address. */
  readonly virtualAddress: string;
  readonly virtualPort: number;
  readonly realServer: string;
  readonly realPort: number;
  /** Name and data of what made it, `sip` and a call. */
  readonly persistenceEngine?: { readonly name: string; readonly data: string };
}

export interface SyncDaemon {
  readonly role: "master" | "backup";
  /** At most 15 bytes. */
  readonly interfaceName: string;
  /** 0 to 255. */
  readonly syncId: number;
  /** Absent ones: the plane's defaults. */
  readonly maxLength?: number;
  readonly group?: string;
  readonly port?: number;
  readonly ttl?: number;
}

/** Every method rejects with {@link TableRefusal}; `EPERM` is for whoever may not do it. */
export interface Table {
  info(): Promise<TableInfo>;

  /** In the plane's own order (`--nosort` shows it); run.ts sorts. */
  services(): Promise<readonly ListedService[]>;
  /** ESRCH if there is none. */
  service(identity: ServiceIdentity): Promise<ListedService>;
  /** In the plane's own order, the newest first as IPVS has it. Of a service that is gone: none. */
  servers(identity: ServiceIdentity): Promise<readonly ListedServer[]>;
  /** In the plane's own order, read as they are asked for. */
  connections(): Iterable<TableConnection> | AsyncIterable<TableConnection>;

  /** EEXIST if it is there, ENOENT without such a scheduler or engine. */
  addService(service: TableService): Promise<void>;
  /** ESRCH if there is none. Its real servers and connections stay. */
  editService(service: TableService): Promise<void>;
  /** ESRCH if there is none. With its real servers. */
  deleteService(identity: ServiceIdentity): Promise<void>;
  /** `-C`: every service. Timeouts and synchronisation daemons stay. */
  clear(): Promise<void>;
  /** `-Z`: counters become 0, those of one service with its real servers (ESRCH), or all of them. */
  zero(identity?: ServiceIdentity): Promise<void>;

  /** ESRCH without the service, EEXIST if it is there. */
  addServer(identity: ServiceIdentity, server: TableServer): Promise<void>;
  /** ESRCH without the service, ENOENT without the real server. */
  editServer(identity: ServiceIdentity, server: TableServer): Promise<void>;
  deleteServer(identity: ServiceIdentity, key: TableServerKey): Promise<void>;

  timeouts(): Promise<Timeouts>;
  /** Seconds; 0 leaves one as it is. */
  setTimeouts(timeouts: Timeouts): Promise<void>;

  /** Those that run, the master first. */
  syncDaemons(): Promise<readonly SyncDaemon[]>;
  /** EEXIST if one of its role runs. */
  startSyncDaemon(daemon: SyncDaemon): Promise<void>;
  /** ESRCH if none runs. */
  stopSyncDaemon(role: SyncDaemon["role"]): Promise<void>;

  /** Awaited before `close`: resolves when what was changed is in force; absent: it is at once. */
  settled?(): Promise<void>;
  close(): void;
}

/** Opens the table of the present network namespace; rejects with {@link TableRefusal} if there is none to be had. */
export type OpenTable = () => Promise<Table>;

/** Length of the prefix that a netmask of {@link TablePersistence} is; undefined for a mask with holes. */
export function prefixOfNetmask(netmask: string): number | undefined {
  if (!netmask.includes(".")) return Number(netmask);
  const bits = netmask
    .split(".")
    .map((byte) => Number(byte).toString(2).padStart(8, "0"))
    .join("");
  return /^1*0*$/.test(bits) ? bits.replaceAll("0", "").length : undefined;
}

export function netmaskOfPrefix(prefix: number, family: Family): string {
  if (family === "ipv6") return String(prefix);
  return [0, 8, 16, 24].map((start) => 256 - 2 ** (8 - Math.min(Math.max(prefix - start, 0), 8))).join(".");
}
