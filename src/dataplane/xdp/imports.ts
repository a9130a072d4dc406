/** Connections of another data plane become slots: named by ids, then handed to the program, which opens them. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { realServerKey } from "../../model/service.ts";
import type { Protocol, ServiceIdentity } from "../../model/service.ts";
import type { Connection } from "../../model/statistics.ts";
import type { ImportOptions, ImportReport } from "../data-plane.ts";
import { addressWords, awakeStates, stateNames } from "./codec.ts";
import type { Control, Import } from "./control.ts";
import { connectionState, importResult, MAX_IMPORTS } from "./layout.generated.ts";

/** Batches between two turns of the event loop. */
const batchesPerTurn = 20;

/** By name, as `stateNames` has them; TCP and SCTP have some in common. */
const stateNumbers: Readonly<Record<Protocol, ReadonlyMap<string, number>>> = {
  tcp: namesFrom(connectionState.STATE_NONE, connectionState.STATE_SYNACK),
  udp: namesFrom(connectionState.STATE_UDP, connectionState.STATE_UDP),
  sctp: namesFrom(connectionState.STATE_SCTP_NONE, connectionState.STATE_SCTP_CLOSED),
};

function namesFrom(first: number, last: number): Map<string, number> {
  const numbers = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return new Map(numbers.filter((state) => !awakeStates.has(state)).map((state) => [stateNames[state] ?? "", state]));
}

/** The number that the maps have for a connection's state; undefined: its protocol has none of that name. */
export function stateNumber(protocol: Protocol, { state, template }: Pick<Connection, "state" | "template">) {
  return template ? connectionState.STATE_TEMPLATE : stateNumbers[protocol].get(state);
}

/** Real-server ids of a service by endpoint; undefined: it is not here. */
export type RealServerIds = (identity: ServiceIdentity) => ReadonlyMap<string, number> | undefined;

/** Gives all that have a place here to the program, a batch at a time. See `DataPlane.importConnections`. */
export async function importConnections(
  control: Pick<Control, "importConnections">,
  idsOf: RealServerIds,
  connections: Iterable<Connection>,
  { replace, progress }: ImportOptions,
): Promise<ImportReport> {
  // Readers give the same identity with every connection of a service.
  const ids = new Map<ServiceIdentity, ReturnType<RealServerIds>>();
  let [done, taken, strange, homeless, batches] = [0, 0, 0, 0, 0];
  let batch: Import[] = [];
  const flush = (): void => {
    if (batch.length === 0) return;
    for (const result of control.importConnections(batch, replace)) {
      if (result === importResult.IMPORT_OPENED || result === importResult.IMPORT_PRESENT) taken++;
      else if (result === importResult.IMPORT_NO_ROOM) homeless++;
      else strange++;
    }
    batch = [];
  };
  for (const connection of connections) {
    done++;
    const { identity } = connection;
    if (!ids.has(identity)) ids.set(identity, idsOf(identity));
    const found = toImport(connection, ids.get(identity));
    if (found === undefined) {
      strange++;
      continue;
    }
    batch.push(found);
    if (batch.length < MAX_IMPORTS) continue;
    flush();
    if (++batches % batchesPerTurn === 0) {
      progress?.(done);
      await nextTurn();
    }
  }
  flush();
  progress?.(done);
  return { taken, strange, homeless };
}

/** Undefined: it has no real server here, or a state that its protocol does not have. */
function toImport(connection: Connection, ids: ReadonlyMap<string, number> | undefined): Import | undefined {
  const { identity, client, realServer: address } = connection;
  if (identity.kind !== "address" || ids === undefined) return undefined;
  // A real server of a service for all ports has no port of its own, its connections have.
  const id =
    ids.get(realServerKey({ address, port: connection.realPort })) ?? ids.get(realServerKey({ address, port: 0 }));
  const state = stateNumber(identity.protocol, connection);
  if (id === undefined || state === undefined) return undefined;
  return {
    client: addressWords(client),
    client_port: connection.clientPort,
    virtual_port: connection.virtualPort,
    real_server: id,
    expires_in: connection.expiresIn,
    state,
  };
}
