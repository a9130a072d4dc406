/** Connections go from one data plane to another. */
import { printIdentity } from "../../model/service.ts";
import type { ServiceIdentity } from "../../model/service.ts";
import type { Connection } from "../../model/statistics.ts";
import type { Timeouts } from "../../model/state.ts";
import type { DataPlane, ImportReport } from "../data-plane.ts";

export interface Load {
  /** Keys of the services whose connections go, as `printIdentity` prints them. */
  readonly services: ReadonlySet<string>;
  /** `templates`: only these. */
  readonly what: "all" | "templates";
  /** Whether what the new plane has already becomes as the old one has it. */
  readonly replace: boolean;
  progress?(done: number): void;
}

/** Undefined: the new plane takes none over, or there is nothing to take. */
export async function carry(from: DataPlane, to: DataPlane, load: Load): Promise<ImportReport | undefined> {
  if (to.importConnections === undefined || load.services.size === 0) return undefined;
  const { replace, progress } = load;
  const options = progress === undefined ? { replace } : { replace, progress };
  return await to.importConnections(connectionsToGo(from, load), options);
}

/** Templates first: connections find theirs. The table is read once for each, as it may be large. */
function* connectionsToGo(from: DataPlane, { services, what }: Load): Generator<Connection> {
  const persistent = from
    .read()
    .services.some(({ identity, persistence }) => persistence !== undefined && services.has(printIdentity(identity)));
  if (persistent) yield* chosen(from, services, true);
  if (what === "all") yield* chosen(from, services, false);
}

function* chosen(from: DataPlane, services: ReadonlySet<string>, templates: boolean): Generator<Connection> {
  // Readers give the same identity with every connection of a service.
  const known = new Map<ServiceIdentity, boolean>();
  for (const connection of from.connections({})) {
    if (connection.template !== templates) continue;
    const { identity } = connection;
    let goes = known.get(identity);
    if (goes === undefined) known.set(identity, (goes = services.has(printIdentity(identity))));
    if (goes) yield connection;
  }
}

/** Of every plane, seconds. */
const defaultTimeouts: Timeouts = { tcp: 900, tcpFin: 120, udp: 300 };

/** Where nobody has set the new plane's timeouts they become the old one's; 0: stays. */
export function timeoutsToCarry(from: Timeouts, to: Timeouts): Timeouts {
  const one = (name: keyof Timeouts): number =>
    to[name] === defaultTimeouts[name] && from[name] !== to[name] ? from[name] : 0;
  return { tcp: one("tcp"), tcpFin: one("tcpFin"), udp: one("udp") };
}
