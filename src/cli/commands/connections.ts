import type { Command } from "commander";
import type { Connection, ConnectionFilter } from "../../model/statistics.ts";
import { globalOptions, wholeNumber } from "../options.ts";
import type { GlobalOptions } from "../options.ts";
import { anyService, connectionState, endpoint, network } from "../selectors.ts";
import type { ServiceSelector } from "../selectors.ts";

interface ConnectionsOptions extends GlobalOptions {
  readonly service?: ServiceSelector;
  readonly client?: string;
  readonly realServer?: string;
  readonly state?: string;
  /** true: only templates; false: none. */
  readonly templates?: boolean;
  readonly limit?: number;
  readonly count?: true;
  readonly json?: true;
}

/** Columns are fitted to this many connections; the table is too large to look at it twice. */
const measured = 1000;

/** Registers `xlb connections`. */
export function registerConnections(program: Command): void {
  program
    .command("connections")
    .description("the live connection table, in no order: state, expiry, client, virtual service, real server")
    .option(
      "--service <service>",
      "only of this virtual service, like tcp:192.0.2.1:80 or 192.0.2.1; repeatable",
      anyService,
    )
    .option("--client <address[/prefix]>", "only of this client or network", network)
    .option("--real-server <address[:port]>", "only to this real server", endpoint)
    .option("--state <state>", "only in this state, like ESTABLISHED", connectionState)
    .option("--templates", "only persistence templates")
    .option("--no-templates", "no persistence templates")
    .option("--limit <n>", "at most so many", wholeNumber(1))
    .option("--count", "only their number")
    .option("--json", "one array")
    .action(async (_options: unknown, command: Command) => {
      await showConnections({ ...command.opts<ConnectionsOptions>(), ...globalOptions(command) });
    });
}

async function showConnections(options: ConnectionsOptions): Promise<void> {
  const [{ openReaders }, { BatchedOutput }, { connectionsOnce }] = await Promise.all([
    import("../collect.ts"),
    import("../output.ts"),
    import("../../dataplane/ladder/connections-once.ts"),
  ]);
  const readers = await openReaders(options.bpffs);
  const output = new BatchedOutput();
  try {
    const { client, realServer, state } = options;
    const filter: ConnectionFilter = {
      ...(client && { client }),
      ...(realServer && { realServer }),
      ...(state && { state }),
    };
    const connections = chosen(connectionsOnce(readers, filter), options);
    if (options.count) await printCount(connections, options, output.add.bind(output));
    else if (options.json) await printJson(connections, output.add.bind(output));
    else await printTable(connections, output.add.bind(output));
    await output.flush();
  } finally {
    for (const reader of readers) reader.close();
  }
}

type Print = (text: string) => void | Promise<void>;

async function printCount(connections: Iterable<Connection>, options: ConnectionsOptions, print: Print): Promise<void> {
  let count = 0;
  for (const _ of connections) count++;
  await print(options.json ? `${JSON.stringify({ count })}\n` : `${count}\n`);
}

async function printJson(connections: Iterable<Connection>, print: Print): Promise<void> {
  const { connectionJson } = await import("../../report/json.ts");
  let separator = "[";
  for (const connection of connections) {
    await print(`${separator}\n${connectionJson(connection)}`);
    separator = ",";
  }
  await print(separator === "[" ? "[]\n" : "\n]\n");
}

async function printTable(connections: Iterable<Connection>, print: Print): Promise<void> {
  const { measureConnections, renderConnection, renderConnectionsHead } = await import("../../report/table.ts");
  const iterator = connections[Symbol.iterator]();
  const first: Connection[] = [];
  while (first.length < measured) {
    const next = iterator.next();
    if (next.done === true) break;
    first.push(next.value);
  }
  const widths = measureConnections(first);
  await print(renderConnectionsHead(widths));
  for (const connection of first) await print(renderConnection(connection, widths));
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
    await print(renderConnection(next.value, widths));
  }
}

/** What the reader's own filter leaves to do, one connection at a time. */
function* chosen(
  connections: Iterable<Connection>,
  { service, templates, limit }: ConnectionsOptions,
): Generator<Connection> {
  let left = limit ?? Infinity;
  for (const connection of connections) {
    if (templates !== undefined && connection.template !== templates) continue;
    if (service?.(connection.identity) === false) continue;
    yield connection;
    if (--left === 0) return;
  }
}
