/** ipvsadm's table over the data planes of a director: read from the maps and the kernel, changed by whoever may write. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ipvsIsLoaded } from "../../dataplane/ipvs/loaded.ts";
import type { DataPlaneReader } from "../../dataplane/data-plane.ts";
import { openXdpReader } from "../../dataplane/xdp/reader.ts";
import type { HandChange, ServiceSettings } from "../../model/override.ts";
import { familyOfService, printIdentity, realServerKey, schedulers } from "../../model/service.ts";
import type { RealServer, ServiceIdentity } from "../../model/service.ts";
import type { Timeouts } from "../../model/state.ts";
import type { Connection, Counters, PlaneStatistics, ServiceStatistics, Traffic } from "../../model/statistics.ts";
import type { Native } from "../../native.ts";
import type { DirectorOptions, OpenTableOptions } from "./open-table.ts";
import { netmaskOfPrefix, prefixOfNetmask, TableRefusal } from "./table.ts";
import type {
  ListedServer,
  ListedService,
  SyncDaemon,
  Table,
  TableConnection,
  TableInfo,
  TableServer,
  TableServerKey,
  TableService,
} from "./table.ts";
import type { Writer } from "./writer.ts";

/** What programs parse; the kernel's IPVS has it since Linux 2.6. */
const version = "1.2.1";
const defaultTableSize = 2 ** 22;
/** As the kernel's (net/netfilter/ipvs/ip_vs_proto_tcp.c, ip_vs_proto_udp.c). */
const defaultTimeouts: Timeouts = { tcp: 900, tcpFin: 120, udp: 300 };
/** Between the two readings that rates are made of, milliseconds. */
const rateWindowMs = 1000;

/** Two readings of the counters; only rates need the earlier one. */
interface Reading {
  /** Slots of the connection table. */
  readonly tableSize: number;
  readonly services: ReadonlyMap<string, ServiceStatistics>;
  readonly before?: ReadonlyMap<string, ServiceStatistics>;
  readonly seconds: number;
}

export class DirectorTable implements Table {
  readonly #native: Native;
  readonly #director: DirectorOptions;
  readonly #rates: boolean;
  readonly #owner: OpenTableOptions["owner"];
  #writer: Writer | undefined;
  #reader: DataPlaneReader | undefined;
  #kernel: Table | undefined;
  /** Read once for all of a list. */
  #reading: Reading | undefined;

  private constructor(native: Native, director: DirectorOptions, { owner, rates }: OpenTableOptions) {
    this.#native = native;
    this.#director = director;
    this.#rates = rates;
    this.#owner = owner;
  }

  /** Who only looks does not wait for what it takes to write. */
  async #openWriter(): Promise<Writer> {
    const { Writer } = await import("./writer.ts");
    const [native, director, owner] = [this.#native, this.#director, this.#owner];
    return (this.#writer ??= new Writer({ native, director, owner, kernel: () => this.#openKernel() }));
  }

  /** What is there is opened when it is looked at. */
  static open(native: Native, director: DirectorOptions, options: OpenTableOptions): DirectorTable {
    return new DirectorTable(native, director, options);
  }

  /** Undefined if nothing is pinned. */
  #openReader(): DataPlaneReader | undefined {
    if (this.#reader === undefined && existsSync(join(this.#director.bpffs, "director"))) {
      this.#reader = refusing(() => openXdpReader(this.#director.bpffs, this.#native));
    }
    return this.#reader;
  }

  /** Undefined if the kernel's IPVS is not loaded; asking does not load it. */
  async #openKernel(): Promise<Table | undefined> {
    return ipvsIsLoaded() ? await this.#loadKernel() : undefined;
  }

  /** As `#openKernel`, and loads the kernel's IPVS if need be. */
  async #loadKernel(): Promise<Table> {
    const { openKernelTable } = await import("./kernel-table.ts");
    return (this.#kernel ??= openKernelTable(this.#native));
  }

  async info(): Promise<TableInfo> {
    if (this.#openReader() !== undefined) return { version, size: (await this.#read()).tableSize };
    return (
      (await (await this.#openKernel())?.info()) ?? { version, size: this.#director.tableSize ?? defaultTableSize }
    );
  }

  async services(): Promise<readonly ListedService[]> {
    const reading = await this.#read();
    const own = [...reading.services.values()].map((each) => toListedService(each, reading));
    return [...own, ...((await (await this.#openKernel())?.services()) ?? [])];
  }

  async service(identity: ServiceIdentity): Promise<ListedService> {
    const reading = await this.#read();
    const found = reading.services.get(printIdentity(identity));
    if (found !== undefined) return toListedService(found, reading);
    const kernel = await this.#openKernel();
    if (kernel === undefined) throw new TableRefusal("ESRCH", `there is no service ${printIdentity(identity)}`);
    return await kernel.service(identity);
  }

  async servers(identity: ServiceIdentity): Promise<readonly ListedServer[]> {
    const reading = await this.#read();
    const found = reading.services.get(printIdentity(identity));
    if (found === undefined) return (await (await this.#openKernel())?.servers(identity)) ?? [];
    const before = reading.before?.get(printIdentity(identity));
    const earlier = new Map(before?.realServers.map((each) => [realServerKey(each.realServer), each]));
    // The newest first, as IPVS has it.
    return found.realServers.toReversed().map((each): ListedServer => ({
      ...each.realServer,
      method: each.nextHop === "local" ? "local" : each.realServer.method,
      activeConnections: each.active,
      inactiveConnections: each.inactive,
      persistentConnections: each.persistent,
      traffic: trafficOf(each, earlier.get(realServerKey(each.realServer)), reading),
    }));
  }

  async *connections(): AsyncGenerator<TableConnection> {
    const kernel = await this.#openKernel();
    const { ToldConnections } = await import("../../dataplane/ladder/connections-once.ts");
    const told = new ToldConnections(((await kernel?.services()) ?? []).map(({ identity }) => identity));
    for (const connection of this.#openReader()?.connections({}) ?? []) {
      const each = toTableConnection(connection);
      told.add(connection.identity, each);
      yield each;
    }
    for await (const each of kernel?.connections() ?? []) if (!told.has(each)) yield each;
  }

  async #read(): Promise<Reading> {
    if (this.#reading !== undefined) return this.#reading;
    const reader = this.#openReader();
    if (reader === undefined) return { tableSize: 0, services: new Map(), seconds: 1 };
    const before = this.#rates ? byKey(reader.statistics()) : undefined;
    const began = performance.now();
    if (before !== undefined) await sleep(rateWindowMs);
    const seconds = (performance.now() - began) / 1000;
    const now = reader.statistics();
    this.#reading = { tableSize: now.table.size, services: byKey(now), ...(before && { before }), seconds };
    return this.#reading;
  }

  async addService(service: TableService): Promise<void> {
    await this.#change({ kind: "add-service", identity: service.identity, settings: toSettings(service) });
  }

  async editService(service: TableService): Promise<void> {
    await this.#change({ kind: "edit-service", identity: service.identity, settings: toSettings(service) });
  }

  async deleteService(identity: ServiceIdentity): Promise<void> {
    await this.#change({ kind: "remove-service", identity });
  }

  async clear(): Promise<void> {
    await this.#change({ kind: "remove-all-services" });
  }

  async addServer(identity: ServiceIdentity, server: TableServer): Promise<void> {
    await this.#change({ kind: "add-real-server", identity, realServer: toRealServer(server) });
  }

  async editServer(identity: ServiceIdentity, server: TableServer): Promise<void> {
    await this.#change({ kind: "edit-real-server", identity, realServer: toRealServer(server) });
  }

  async deleteServer(identity: ServiceIdentity, { address, port }: TableServerKey): Promise<void> {
    await this.#change({ kind: "remove-real-server", identity, address, port });
  }

  async #change(change: HandChange): Promise<void> {
    await (await this.#openWriter()).change(change);
    this.#reading = undefined;
  }

  async zero(identity?: ServiceIdentity): Promise<void> {
    await (await this.#openWriter()).zero(identity);
    this.#reading = undefined;
  }

  async timeouts(): Promise<Timeouts> {
    return this.#openReader()?.timeouts() ?? (await (await this.#openKernel())?.timeouts()) ?? defaultTimeouts;
  }

  async setTimeouts(timeouts: Timeouts): Promise<void> {
    await (await this.#openWriter()).setTimeouts(timeouts);
  }

  /** Only the kernel's IPVS has synchronisation daemons. */
  async syncDaemons(): Promise<readonly SyncDaemon[]> {
    return (await (await this.#openKernel())?.syncDaemons()) ?? [];
  }

  async startSyncDaemon(daemon: SyncDaemon): Promise<void> {
    if (this.#openReader() !== undefined)
      throw new TableRefusal("ENOTSUP", "the XDP plane synchronises no connections");
    await (await this.#loadKernel()).startSyncDaemon(daemon);
  }

  async stopSyncDaemon(role: SyncDaemon["role"]): Promise<void> {
    const kernel = await this.#openKernel();
    if (kernel === undefined) throw new TableRefusal("ESRCH", `no ${role} daemon runs`);
    await kernel.stopSyncDaemon(role);
  }

  async settled(): Promise<void> {
    await this.#writer?.settled();
  }

  close(): void {
    this.#reader?.close();
    this.#kernel?.close();
  }
}

/** In errno's words for who may not read what is pinned. */
function refusing<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") throw new TableRefusal("EPERM", message, { cause });
    throw cause;
  }
}

function byKey({ services }: PlaneStatistics): Map<string, ServiceStatistics> {
  return new Map(services.map((each) => [printIdentity(each.service.identity), each]));
}

function toListedService(found: ServiceStatistics, reading: Reading): ListedService {
  const { identity, scheduler, schedulerFlags, persistence, onePacket, persistenceEngine } = found.service;
  return {
    ...{ identity, scheduler, schedulerFlags, onePacket },
    ...(persistence !== undefined && {
      persistence: {
        timeout: persistence.timeout,
        netmask: netmaskOfPrefix(persistence.prefix, familyOfService(identity)),
      },
    }),
    ...(persistenceEngine !== undefined && { persistenceEngine }),
    traffic: trafficOf(found, reading.before?.get(printIdentity(identity)), reading),
  };
}

function trafficOf(now: Counters, before: Counters | undefined, { before: earlier, seconds }: Reading): Traffic {
  const total = (counters: Counters): readonly bigint[] => [
    ...[counters.connections, counters.packets, counters.packetsOut],
    ...[counters.bytes, counters.bytesOut],
  ];
  const [connections = 0n, packetsIn = 0n, packetsOut = 0n, bytesIn = 0n, bytesOut = 0n] = total(now);
  const then = before === undefined ? [] : total(before);
  // What was made or zeroed meanwhile has counted from 0.
  const rate = (value: bigint, index: number): bigint => {
    if (earlier === undefined) return 0n;
    const from = then[index] ?? 0n;
    return BigInt(Math.round(Number(value < from ? value : value - from) / seconds));
  };
  return {
    ...{ connections, packetsIn, packetsOut, bytesIn, bytesOut },
    connectionRate: rate(connections, 0),
    packetRateIn: rate(packetsIn, 1),
    packetRateOut: rate(packetsOut, 2),
    byteRateIn: rate(bytesIn, 3),
    byteRateOut: rate(bytesOut, 4),
  };
}

function toTableConnection(connection: Connection): TableConnection {
  const { identity, client, clientPort, virtualAddress, virtualPort, realServer, realPort, state, expiresIn } =
    connection;
  const protocol = identity.kind === "mark" ? "IP" : identity.protocol.toUpperCase();
  return { protocol, expiresIn, state, client, clientPort, virtualAddress, virtualPort, realServer, realPort };
}

function toSettings(service: TableService): ServiceSettings {
  const { schedulerFlags, onePacket, persistence, persistenceEngine } = service;
  const scheduler = schedulers.find((each) => each === service.scheduler);
  if (scheduler === undefined) throw new TableRefusal("ENOENT", `there is no scheduler ${service.scheduler}`);
  const prefix = persistence && prefixOfNetmask(persistence.netmask);
  if (persistence !== undefined && prefix === undefined) {
    throw new TableRefusal("EINVAL", `the netmask ${persistence.netmask} is no prefix`);
  }
  return {
    scheduler,
    schedulerFlags,
    onePacket,
    ...(persistence !== undefined && prefix !== undefined && { persistence: { timeout: persistence.timeout, prefix } }),
    ...(persistenceEngine !== undefined && { persistenceEngine }),
  };
}

function toRealServer({
  address,
  port,
  method,
  weight,
  upperThreshold,
  lowerThreshold,
  tunnel,
}: TableServer): RealServer {
  if (method === "local" || method === "bypass") throw new TableRefusal("EINVAL", `the method ${method} is never set`);
  return {
    ...{ address, port, method, weight, upperThreshold, lowerThreshold },
    ...(tunnel !== undefined && { tunnel }),
  };
}
