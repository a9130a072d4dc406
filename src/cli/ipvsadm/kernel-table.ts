/** The kernel's IPVS of the present network namespace, as ipvsadm's table. */
import { existsSync } from "node:fs";
import { IpvsClient, IpvsMissingError } from "../../dataplane/ipvs/client.ts";
import { connectionsPath, readConnections } from "../../dataplane/ipvs/connections.ts";
import { daemonState, forwardingMethodNumber, serviceFlag } from "../../dataplane/ipvs/messages.ts";
import type { IpvsDestination, IpvsService, IpvsServiceSettings } from "../../dataplane/ipvs/messages.ts";
import {
  decodeSchedulerFlags,
  encodeSchedulerFlags,
  fromIpvsDestination,
  toIpvsDestination,
} from "../../dataplane/ipvs/translate.ts";
import { NetlinkError } from "../../dataplane/netlink/socket.ts";
import { familyOfService } from "../../model/service.ts";
import type { ServiceIdentity } from "../../model/service.ts";
import type { Timeouts } from "../../model/state.ts";
import type { Native } from "../../native.ts";
import { netmaskOfPrefix, prefixOfNetmask, TableRefusal } from "./table.ts";
import type {
  ListedServer,
  ListedService,
  SyncDaemon,
  Table,
  TableConnection,
  TableInfo,
  TablePersistence,
  TableServer,
  TableServerKey,
  TableService,
} from "./table.ts";

/** Loads the kernel's module if need be. Throws {@link TableRefusal}: ENOPROTOOPT if the kernel has no IPVS. */
export function openKernelTable(native: Native): Table {
  return refusing(() => new KernelTable(IpvsClient.open(native)));
}

class KernelTable implements Table {
  readonly #client: IpvsClient;
  readonly #info: TableInfo;

  constructor(client: IpvsClient) {
    this.#client = client;
    // Whoever may not ask for this may do nothing else.
    const { version, connectionTableSize } = client.info();
    this.#info = { version, size: connectionTableSize };
  }

  info(): Promise<TableInfo> {
    return Promise.resolve(this.#info);
  }

  async services(): Promise<readonly ListedService[]> {
    return await this.#do((client) => client.services().map(toListedService));
  }

  async service(identity: ServiceIdentity): Promise<ListedService> {
    const found = await this.#do((client) => client.service(identity));
    if (found === undefined) throw new TableRefusal("ESRCH", "no such service");
    return toListedService(found);
  }

  async servers(identity: ServiceIdentity): Promise<readonly ListedServer[]> {
    return await this.#do((client) => client.destinations(identity).map(toListedServer));
  }

  *connections(): Generator<TableConnection> {
    if (!existsSync(connectionsPath)) throw new TableRefusal("ENOENT", `there is no ${connectionsPath}`);
    yield* readConnections();
  }

  async addService(service: TableService): Promise<void> {
    await this.#do((client) => client.newService(toSettings(service)));
  }

  async editService(service: TableService): Promise<void> {
    await this.#do((client) => client.setService(toSettings(service)));
  }

  async deleteService(identity: ServiceIdentity): Promise<void> {
    await this.#do((client) => client.deleteService(identity));
  }

  async clear(): Promise<void> {
    await this.#do((client) => client.flush());
  }

  async zero(identity?: ServiceIdentity): Promise<void> {
    await this.#do((client) => client.zero(identity));
  }

  async addServer(identity: ServiceIdentity, server: TableServer): Promise<void> {
    await this.#do((client) => client.newDestination(identity, toDestination(server)));
  }

  async editServer(identity: ServiceIdentity, server: TableServer): Promise<void> {
    await this.#do((client) => client.setDestination(identity, toDestination(server)));
  }

  async deleteServer(identity: ServiceIdentity, key: TableServerKey): Promise<void> {
    await this.#do((client) => client.deleteDestination(identity, key));
  }

  async timeouts(): Promise<Timeouts> {
    return await this.#do((client) => client.timeouts());
  }

  async setTimeouts(timeouts: Timeouts): Promise<void> {
    await this.#do((client) => client.setTimeouts(timeouts));
  }

  async syncDaemons(): Promise<readonly SyncDaemon[]> {
    return await this.#do((client) =>
      client
        .daemons()
        .map(
          ({ state, ...daemon }) => ({ role: state === daemonState.master ? "master" : "backup", ...daemon }) as const,
        ),
    );
  }

  async startSyncDaemon({ role, ...daemon }: SyncDaemon): Promise<void> {
    await this.#do((client) => client.newDaemon({ state: daemonState[role], ...daemon }));
  }

  async stopSyncDaemon(role: SyncDaemon["role"]): Promise<void> {
    await this.#do((client) => client.deleteDaemon({ state: daemonState[role], interfaceName: "", syncId: 0 }));
  }

  close(): void {
    this.#client.close();
  }

  /** What is thrown rejects. */
  async #do<T>(request: (client: IpvsClient) => T): Promise<T> {
    return refusing(() => request(this.#client));
  }
}

function refusing<T>(request: () => T): T {
  try {
    return request();
  } catch (cause) {
    if (cause instanceof NetlinkError) throw new TableRefusal(cause.code, cause.message, { cause });
    if (cause instanceof IpvsMissingError) throw new TableRefusal("ENOPROTOOPT", cause.message, { cause });
    throw cause;
  }
}

// --- services

function toSettings(service: TableService): IpvsServiceSettings {
  const { identity, scheduler, schedulerFlags, persistence, onePacket, persistenceEngine } = service;
  return {
    identity,
    scheduler,
    flags:
      encodeSchedulerFlags(scheduler, schedulerFlags) |
      (persistence === undefined ? 0 : serviceFlag.persistent) |
      (onePacket ? serviceFlag.onePacket : 0),
    timeout: persistence?.timeout ?? 0,
    ...toMask(persistence?.netmask ?? netmaskOfPrefix(128, familyOfService(identity))),
    ...(persistenceEngine === undefined ? {} : { persistenceEngine }),
  };
}

function toMask(netmask: string): Pick<IpvsServiceSettings, "prefix" | "netmask"> {
  const prefix = prefixOfNetmask(netmask);
  if (prefix !== undefined) return { prefix };
  return { prefix: 0, netmask: netmask.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0) };
}

function toListedService(found: IpvsService): ListedService {
  const { identity, scheduler, flags, persistenceEngine, statistics } = found;
  return {
    identity,
    scheduler,
    schedulerFlags: decodeSchedulerFlags(scheduler, flags),
    ...((flags & serviceFlag.persistent) === 0 ? {} : { persistence: toPersistence(found) }),
    onePacket: (flags & serviceFlag.onePacket) !== 0,
    ...(persistenceEngine === undefined ? {} : { persistenceEngine }),
    traffic: statistics,
  };
}

function toPersistence({ identity, timeout, prefix, netmask }: IpvsServiceSettings): TablePersistence {
  if (netmask === undefined) return { timeout, netmask: netmaskOfPrefix(prefix, familyOfService(identity)) };
  return { timeout, netmask: [24, 16, 8, 0].map((shift) => (netmask >>> shift) & 0xff).join(".") };
}

// --- real servers

/** What is only told cannot be set: it stays what the kernel makes of `gate`. */
function toDestination(server: TableServer): ReturnType<typeof toIpvsDestination> {
  const method = server.method === "local" || server.method === "bypass" ? "gate" : server.method;
  return toIpvsDestination({ ...server, method });
}

function toListedServer(found: IpvsDestination): ListedServer {
  const { activeConnections, inactiveConnections, persistentConnections, statistics } = found;
  const server = fromIpvsDestination(found);
  const method =
    found.method === forwardingMethodNumber.local
      ? "local"
      : found.method === forwardingMethodNumber.bypass
        ? "bypass"
        : server.method;
  return { ...server, method, activeConnections, inactiveConnections, persistentConnections, traffic: statistics };
}
