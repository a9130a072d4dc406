/** The connections of several planes. While a service goes from one to another, with its connections, both have them. */
import { printIdentity } from "../../model/service.ts";
import type { ServiceIdentity } from "../../model/service.ts";
import type { Connection, ConnectionFilter } from "../../model/statistics.ts";
import type { DataPlaneReader } from "../data-plane.ts";

/** What tells a connection from all others, on whichever plane. */
export interface ConnectionName {
  /** In any case of its letters. */
  readonly protocol: string;
  readonly client: string;
  readonly clientPort: number;
  readonly virtualAddress: string;
  readonly virtualPort: number;
}

/** Connections that were told already; only of services that another plane has, too, so that it stays small. */
export class ToldConnections {
  readonly #told = new Set<string>();
  readonly #shared: ReadonlySet<string>;
  // Readers give the same identity with every connection of a service.
  readonly #isShared = new Map<ServiceIdentity, boolean>();

  /** `elsewhere`: services of the planes whose connections come later. */
  constructor(elsewhere: Iterable<ServiceIdentity>) {
    this.#shared = new Set(Array.from(elsewhere, printIdentity));
  }

  add(identity: ServiceIdentity, name: ConnectionName): void {
    if (this.#shared.size === 0) return;
    let shared = this.#isShared.get(identity);
    if (shared === undefined) this.#isShared.set(identity, (shared = this.#shared.has(printIdentity(identity))));
    if (shared) this.#told.add(keyOf(name));
  }

  has(name: ConnectionName): boolean {
    return this.#told.size > 0 && this.#told.has(keyOf(name));
  }
}

function keyOf({ protocol, client, clientPort, virtualAddress, virtualPort }: ConnectionName): string {
  return `${protocol.toLowerCase()} ${client} ${clientPort} ${virtualAddress} ${virtualPort}`;
}

function nameOf(connection: Connection): ConnectionName {
  const { identity } = connection;
  return { ...connection, protocol: identity.kind === "mark" ? "ip" : identity.protocol };
}

/**
 * All connections that pass the filter, each once: as the first plane has it that has it, so the planes come in the order
 * in which packets meet them.
 */
export function* connectionsOnce(
  planes: readonly Pick<DataPlaneReader, "read" | "connections">[],
  filter: ConnectionFilter,
): Generator<Connection> {
  const [first, ...others] = planes;
  if (first === undefined) return;
  if (others.length === 0) {
    yield* first.connections(filter);
    return;
  }
  const told = new ToldConnections(others.flatMap((plane) => plane.read().services.map(({ identity }) => identity)));
  const { state, ...rest } = filter;
  for (const plane of planes) {
    // Planes may see a connection in different states: whether it is wanted is for the first one to say.
    for (const connection of plane.connections(rest)) {
      const name = nameOf(connection);
      if (told.has(name)) continue;
      told.add(connection.identity, name);
      if (state === undefined || connection.state === state) yield connection;
    }
  }
}
