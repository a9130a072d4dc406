/** One run of ipvsadm: parses, asks the table, prints. Everything it touches comes as a parameter. */
import type { ServiceIdentity } from "../../model/service.ts";
import { printHelp, printTryHelp, printVersion } from "./help.ts";
import type { Names } from "./names.ts";
import { sortServers, sortServices } from "./order.ts";
import { parseCommandLine } from "./parse.ts";
import type { IpvsadmCommand, ListFormat, Parsed } from "./parse.ts";
import {
  endpointPrinter,
  printConnection,
  printConnectionsTitle,
  printInfo,
  printNumericEndpoint,
  printRules,
  printService,
  printSyncDaemon,
  printTimeouts,
  printTitle,
} from "./print.ts";
import type { PrintEndpoint } from "./print.ts";
import { messageOfRefusal } from "./refusals.ts";
import type { TableRequest } from "./refusals.ts";
import { RestoreLines } from "./restore-lines.ts";
import { TableRefusal } from "./table.ts";
import type { ListedServer, ListedService, OpenTable, Table, TableConnection } from "./table.ts";

export interface IpvsadmSurroundings {
  readonly openTable: OpenTable;
  readonly names: Names;
  /** What `-R` reads, in pieces. */
  readonly stdin: AsyncIterable<string>;
  readonly stdout: (text: string) => Promise<void>;
  readonly stderr: (text: string) => Promise<void>;
  /** POSIXLY_CORRECT is in the environment. */
  readonly strict: boolean;
}

const ok = 0;
/** What a list or a file that cannot be read ends with. */
const exitOfList = 1;
const exitOfUsage = 2;
const exitOfRefusal = 255;

/** Connections whose names are looked up together. */
const connectionsAtOnce = 256;

/**
 * Returns the exit status; `program` is what messages call it. The table is opened when the first command needs it: unlike
 * ipvsadm, which looks for the kernel's IPVS first of all, help and what is wrong with the words need none.
 */
export async function runIpvsadm(
  surroundings: IpvsadmSurroundings,
  program: string,
  words: readonly string[],
): Promise<number> {
  const run = new Run(surroundings, program);
  try {
    // Without any words it lists, and looks up names.
    return await run.commandLine(words.length === 0 ? ["-L"] : words, false);
  } catch (error) {
    if (!(error instanceof Ending)) throw error;
    if (error.message !== "") await surroundings.stderr(`${error.message}\n`);
    return error.status;
  } finally {
    await run.close();
  }
}

/** Leaves the run from wherever it stands, the lines of `-R` included. */
class Ending extends Error {
  readonly status: number;
  constructor(status: number, message = "") {
    super(message);
    this.status = status;
  }
}

class Run {
  readonly #surroundings: IpvsadmSurroundings;
  readonly #program: string;
  #table: Table | undefined;

  constructor(surroundings: IpvsadmSurroundings, program: string) {
    this.#surroundings = surroundings;
    this.#program = program;
  }

  async close(): Promise<void> {
    try {
      await this.#table?.settled?.();
    } finally {
      this.#table?.close();
    }
  }

  async commandLine(words: readonly string[], isLine: boolean): Promise<number> {
    const { names, strict, stderr } = this.#surroundings;
    const program = this.#program;
    const parsed: Parsed = await parseCommandLine(words, { program, names, strict });
    if (parsed.kind === "command") return await this.#execute(parsed.command, isLine);
    if (parsed.ends) throw new Ending(parsed.status, parsed.message);
    await stderr(`${parsed.message}\n`);
    return parsed.status;
  }

  async #open(): Promise<Table> {
    if (this.#table !== undefined) return this.#table;
    try {
      return (this.#table = await this.#surroundings.openTable());
    } catch (error) {
      if (!(error instanceof TableRefusal)) throw error;
      throw new Ending(
        exitOfUsage,
        `Can't initialize ipvs: ${messageOfRefusal("open", error.code)}\n` +
          "Are you sure that IP Virtual Server is built in the kernel or as module?",
      );
    }
  }

  async #execute(command: IpvsadmCommand, isLine: boolean): Promise<number> {
    const { stdout } = this.#surroundings;
    switch (command.kind) {
      case "help":
        await stdout(printHelp(this.#program));
        throw new Ending(ok);
      case "version":
        await stdout(printVersion());
        throw new Ending(ok);
      case "restore":
        if (isLine) throw new Ending(exitOfRefusal, printTryHelp(this.#program));
        return await this.#restore();
      case "list":
        return await this.#list(command.service, command.format);
      case "save":
        return await this.#save(command.format);
      case "listConnections":
        return await this.#listConnections(command.format);
      case "listTimeouts": {
        const timeouts = await this.#silently((table) => table.timeouts());
        await stdout(printTimeouts(timeouts));
        return ok;
      }
      case "listDaemons": {
        const daemons = await this.#silently((table) => table.syncDaemons());
        await stdout(daemons.map(printSyncDaemon).join(""));
        return ok;
      }
      case "clear":
        return await this.#change("clear", (table) => table.clear());
      case "addService":
        return await this.#change(command.kind, (table) => table.addService(command.service));
      case "editService":
        return await this.#change(command.kind, (table) => table.editService(command.service));
      case "deleteService":
        return await this.#change(command.kind, (table) => table.deleteService(command.identity));
      case "zero":
        return await this.#change(command.kind, (table) => table.zero(command.identity));
      case "addServer":
        return await this.#change(command.kind, (table) => table.addServer(command.identity, command.server));
      case "editServer":
        return await this.#change(command.kind, (table) => table.editServer(command.identity, command.server));
      case "deleteServer":
        return await this.#change(command.kind, (table) => table.deleteServer(command.identity, command.server));
      case "setTimeouts":
        return await this.#change(command.kind, (table) => table.setTimeouts(command.timeouts));
      case "startDaemon":
        return await this.#change(command.kind, (table) => table.startSyncDaemon(command.daemon));
      case "stopDaemon":
        return await this.#change(command.kind, (table) => table.stopSyncDaemon(command.role));
    }
  }

  /** A refusal is told, and lines of `-R` that come after it are read nevertheless. */
  async #change(request: TableRequest, change: (table: Table) => Promise<void>): Promise<number> {
    const table = await this.#open();
    try {
      await change(table);
      return ok;
    } catch (error) {
      if (!(error instanceof TableRefusal)) throw error;
      await this.#surroundings.stderr(`${messageOfRefusal(request, error.code)}\n`);
      return exitOfRefusal;
    }
  }

  async #asking<T>(ask: (table: Table) => Promise<T>): Promise<T> {
    const table = await this.#open();
    try {
      return await ask(table);
    } catch (error) {
      if (!(error instanceof TableRefusal)) throw error;
      throw new Ending(exitOfList, messageOfRefusal("list", error.code));
    }
  }

  /** ipvsadm says nothing when it cannot get timeouts or daemons. */
  async #silently<T>(ask: (table: Table) => Promise<T>): Promise<T> {
    try {
      return await this.#asking(ask);
    } catch (error) {
      throw error instanceof Ending && error.status === exitOfList ? new Ending(exitOfList) : error;
    }
  }

  /** The status is that of the last line. */
  async #restore(): Promise<number> {
    await this.#open();
    const lines = new RestoreLines();
    let status = ok;
    for await (const piece of this.#surroundings.stdin) {
      for (const words of lines.add(piece)) status = await this.commandLine(words, true);
    }
    for (const words of lines.end()) status = await this.commandLine(words, true);
    return status;
  }

  // --- lists

  async #list(identity: ServiceIdentity | undefined, format: ListFormat): Promise<number> {
    const { stdout } = this.#surroundings;
    if (identity === undefined) await stdout(printInfo(await this.#asking((table) => table.info())));
    const services =
      identity === undefined ? await this.#services(format) : [await this.#asking((table) => table.service(identity))];
    await stdout(printTitle(format));
    await this.#printEach(services, format, printService);
    return ok;
  }

  async #save(format: ListFormat): Promise<number> {
    const services = await this.#services(format);
    await this.#printEach(services, format, (service, servers, _, endpoint) => printRules(service, servers, endpoint));
    return ok;
  }

  async #services({ unsorted }: ListFormat): Promise<readonly ListedService[]> {
    const services = await this.#asking((table) => table.services());
    return unsorted ? services : sortServices(services);
  }

  async #printEach(
    services: readonly ListedService[],
    format: ListFormat,
    print: (
      service: ListedService,
      servers: readonly ListedServer[],
      format: ListFormat,
      endpoint: PrintEndpoint,
    ) => string,
  ): Promise<void> {
    for (const service of services) {
      const { identity } = service;
      const found = await this.#asking((table) => table.servers(identity));
      const servers = format.unsorted ? found : sortServers(found);
      const addresses = servers.map(({ address }) => address);
      if (identity.kind === "address") addresses.push(identity.address);
      const endpoint = await this.#endpointPrinter(addresses, format);
      await this.#surroundings.stdout(print(service, servers, format, endpoint));
    }
  }

  async #listConnections(format: ListFormat): Promise<number> {
    const { stdout } = this.#surroundings;
    const table = await this.#open();
    let first = true;
    try {
      for await (const connections of inGroups(table.connections(), connectionsAtOnce)) {
        if (first) await stdout(printConnectionsTitle(format));
        first = false;
        const endpoint = await this.#endpointPrinter(
          connections.flatMap(({ client, virtualAddress, realServer }) => [client, virtualAddress, realServer]),
          format,
        );
        await stdout(connections.map((each) => printConnection(each, format, endpoint)).join(""));
      }
    } catch (error) {
      if (!(error instanceof TableRefusal)) throw error;
      throw new Ending(exitOfList, "cannot open file /proc/net/ip_vs_conn");
    }
    if (first) await stdout(printConnectionsTitle(format));
    return ok;
  }

  readonly #hosts = new Map<string, string | undefined>();

  /** Looks up the names of hosts, all at once, unless numbers are asked for. */
  async #endpointPrinter(addresses: readonly string[], { numeric }: ListFormat): Promise<PrintEndpoint> {
    if (numeric) return printNumericEndpoint;
    const { names } = this.#surroundings;
    const missing = [...new Set(addresses)].filter((address) => !this.#hosts.has(address));
    await Promise.all(missing.map(async (address) => this.#hosts.set(address, await names.hostOf(address))));
    return endpointPrinter(
      (address) => this.#hosts.get(address),
      (port, protocol) => names.serviceOf(port, protocol),
    );
  }
}

async function* inGroups(
  connections: Iterable<TableConnection> | AsyncIterable<TableConnection>,
  size: number,
): AsyncGenerator<TableConnection[]> {
  let group: TableConnection[] = [];
  for await (const connection of connections) {
    group.push(connection);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
