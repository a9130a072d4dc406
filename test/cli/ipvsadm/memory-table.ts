/** A table that is nothing but a table: it refuses what the kernel's IPVS refuses, and sees no packets. */
import { TableRefusal } from "../../../src/cli/ipvsadm/table.ts";
import type {
  ListedServer,
  ListedService,
  SyncDaemon,
  Table,
  TableConnection,
  TableServer,
  TableServerKey,
  TableService,
} from "../../../src/cli/ipvsadm/table.ts";
import { printIdentity, realServerKey, schedulers } from "../../../src/model/service.ts";
import type { ServiceIdentity } from "../../../src/model/service.ts";
import type { Timeouts } from "../../../src/model/state.ts";
import type { Traffic } from "../../../src/model/statistics.ts";

export const noTraffic: Traffic = {
  connections: 0n,
  packetsIn: 0n,
  packetsOut: 0n,
  bytesIn: 0n,
  bytesOut: 0n,
  connectionRate: 0n,
  packetRateIn: 0n,
  packetRateOut: 0n,
  byteRateIn: 0n,
  byteRateOut: 0n,
};

interface Entry {
  service: TableService;
  readonly servers: Map<string, TableServer>;
}

/** A kernel without the scheduler twos, as 6.1 is. */
const knownSchedulers: readonly string[] = [...schedulers.filter((name) => name !== "twos"), "none"];

export class MemoryTable implements Table {
  readonly #entries = new Map<string, Entry>();
  readonly #daemons = new Map<string, SyncDaemon>();
  #timeouts: Timeouts = { tcp: 900, tcpFin: 120, udp: 300 };

  info(): Promise<{ version: string; size: number }> {
    return Promise.resolve({ version: "1.2.1", size: 4096 });
  }

  services(): Promise<readonly ListedService[]> {
    return Promise.resolve([...this.#entries.values()].map(({ service }) => ({ ...service, traffic: noTraffic })));
  }

  async service(identity: ServiceIdentity): Promise<ListedService> {
    return await this.#do(() => ({ ...this.#find(identity).service, traffic: noTraffic }));
  }

  servers(identity: ServiceIdentity): Promise<readonly ListedServer[]> {
    const servers = [...(this.#entries.get(printIdentity(identity))?.servers.values() ?? [])].reverse();
    const unused = { activeConnections: 0, inactiveConnections: 0, persistentConnections: 0, traffic: noTraffic };
    return Promise.resolve(servers.map((server) => ({ ...server, ...unused })));
  }

  connections(): readonly TableConnection[] {
    return [];
  }

  async addService(service: TableService): Promise<void> {
    await this.#do(() => {
      const key = printIdentity(service.identity);
      if (this.#entries.has(key)) refuse("EEXIST");
      this.#entries.set(key, { service: withKnownModules(service), servers: new Map() });
    });
  }

  async editService(service: TableService): Promise<void> {
    await this.#do(() => {
      this.#find(service.identity).service = withKnownModules(service);
    });
  }

  async deleteService(identity: ServiceIdentity): Promise<void> {
    await this.#do(() => {
      this.#find(identity);
      this.#entries.delete(printIdentity(identity));
    });
  }

  clear(): Promise<void> {
    this.#entries.clear();
    return Promise.resolve();
  }

  async zero(identity?: ServiceIdentity): Promise<void> {
    await this.#do(() => void (identity === undefined || this.#find(identity)));
  }

  async addServer(identity: ServiceIdentity, server: TableServer): Promise<void> {
    await this.#do(() => {
      const { servers } = this.#find(identity);
      if (servers.has(realServerKey(server))) refuse("EEXIST");
      servers.set(realServerKey(server), withThresholds(server));
    });
  }

  async editServer(identity: ServiceIdentity, server: TableServer): Promise<void> {
    await this.#do(() => {
      const { servers } = this.#find(identity);
      if (!servers.has(realServerKey(server))) refuse("ENOENT");
      servers.set(realServerKey(server), withThresholds(server));
    });
  }

  async deleteServer(identity: ServiceIdentity, key: TableServerKey): Promise<void> {
    await this.#do(() => void (this.#find(identity).servers.delete(realServerKey(key)) || refuse("ENOENT")));
  }

  timeouts(): Promise<Timeouts> {
    return Promise.resolve(this.#timeouts);
  }

  setTimeouts({ tcp, tcpFin, udp }: Timeouts): Promise<void> {
    const before = this.#timeouts;
    this.#timeouts = { tcp: tcp || before.tcp, tcpFin: tcpFin || before.tcpFin, udp: udp || before.udp };
    return Promise.resolve();
  }

  syncDaemons(): Promise<readonly SyncDaemon[]> {
    return Promise.resolve([...this.#daemons.values()].sort((a, b) => b.role.localeCompare(a.role)));
  }

  async startSyncDaemon(daemon: SyncDaemon): Promise<void> {
    await this.#do(() => {
      if (this.#daemons.has(daemon.role)) refuse("EEXIST");
      // There is no other interface.
      if (daemon.interfaceName !== "lo") refuse("ENODEV");
      // What a master sends fits the interface; a backup takes all there may be.
      const maxLength = daemon.role === "master" ? 1472 : 65_507;
      this.#daemons.set(daemon.role, { maxLength, group: "224.0.0.81", port: 8848, ttl: 1, ...daemon });
    });
  }

  async stopSyncDaemon(role: SyncDaemon["role"]): Promise<void> {
    await this.#do(() => void (this.#daemons.delete(role) || refuse("ESRCH")));
  }

  close(): void {
    // Nothing is open.
  }

  #find(identity: ServiceIdentity): Entry {
    return this.#entries.get(printIdentity(identity)) ?? refuse("ESRCH");
  }

  /** What is thrown rejects. */
  async #do<T>(request: () => T): Promise<T> {
    return await Promise.resolve().then(request);
  }
}

function refuse(code: string): never {
  throw new TableRefusal(code, code);
}

function withThresholds(server: TableServer): TableServer {
  return server.lowerThreshold > server.upperThreshold ? refuse("ERANGE") : server;
}

function withKnownModules(service: TableService): TableService {
  const engine = service.persistenceEngine;
  if (!knownSchedulers.includes(service.scheduler) || (engine !== undefined && engine !== "sip")) refuse("ENOENT");
  return service;
}
