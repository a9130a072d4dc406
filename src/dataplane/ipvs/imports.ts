/** Connections of another data plane go into the kernel's table as records of its own synchronisation. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { printIdentity, realServerKey } from "../../model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../model/service.ts";
import type { Connection } from "../../model/statistics.ts";
import type { ImportOptions, ImportReport } from "../data-plane.ts";
import { forwardingMethodNumber } from "./messages.ts";
import { encodeSyncRecord, SyncMessageBuilder, syncFlag, syncStates } from "./sync-messages.ts";
import type { SyncRecord } from "./sync-messages.ts";
import type { SyncReceiver } from "./sync-receiver.ts";

/** Messages between two turns of the event loop. */
const messagesPerTurn = 64;

/** IPPROTO_*. */
const protocols = { tcp: 6, udp: 17, sctp: 132 } as const;

const methods = {
  masq: forwardingMethodNumber.masquerade,
  ipip: forwardingMethodNumber.tunnel,
  gate: forwardingMethodNumber.directRoute,
} as const satisfies Record<RealServer["method"], number>;

/** tcp_state_active() of net/netfilter/ipvs/ip_vs_proto_tcp.c; of SCTP only this one. */
const activeStates: ReadonlySet<string> = new Set(["ESTABLISHED", "SYN_SENT", "SYN_RECV", "SYNACK"]);

/**
 * Sends all whose service and real server are in the kernel's table, which are `services`. One that the kernel has already
 * becomes as given in any case.
 */
export async function importConnections(
  receiver: SyncReceiver,
  services: readonly VirtualService[],
  connections: Iterable<Connection>,
  { progress }: Pick<ImportOptions, "progress">,
): Promise<ImportReport> {
  return await sendConnections(receiver, services, connections, (record) => record, progress);
}

/** Those of the kernel's table that are given end in a second. */
export async function closeConnections(
  receiver: SyncReceiver,
  services: readonly VirtualService[],
  connections: Iterable<Connection>,
): Promise<void> {
  await sendConnections(receiver, services, connections, (record) => ({
    ...record,
    flags: record.flags | syncFlag.inactive,
    state: closed[record.protocol] ?? 0,
    timeout: 1,
  }));
}

/** The state in which a connection of a protocol is over; of UDP and templates there is one only. */
const closed: Readonly<Record<number, number>> = {
  [protocols.tcp]: syncStates.tcp.indexOf("CLOSE"),
  [protocols.sctp]: syncStates.sctp.indexOf("CLOSED"),
};

async function sendConnections(
  receiver: SyncReceiver,
  services: readonly VirtualService[],
  connections: Iterable<Connection>,
  change: (record: SyncRecord) => SyncRecord,
  progress?: (done: number) => void,
): Promise<ImportReport> {
  const present = new Map(services.map((service) => [printIdentity(service.identity), targetOf(service)]));
  // Readers give the same identity with every connection of a service.
  const targets = new Map<ServiceIdentity, Target | undefined>();
  const builder = new SyncMessageBuilder(receiver.syncId, receiver.maxLength);
  let messages: Buffer[] = [];
  let [done, taken, strange] = [0, 0, 0];
  for (const connection of connections) {
    done++;
    const { identity } = connection;
    if (!targets.has(identity)) targets.set(identity, present.get(printIdentity(identity)));
    const record = syncRecordOf(connection, targets.get(identity));
    if (record === undefined) {
      strange++;
      continue;
    }
    taken++;
    const full = builder.add(encodeSyncRecord(change(record)));
    if (full !== undefined) messages.push(full);
    if (messages.length < messagesPerTurn) continue;
    await receiver.send(messages);
    messages = [];
    progress?.(done);
    await nextTurn();
  }
  const last = builder.take();
  if (last !== undefined) messages.push(last);
  await receiver.send(messages);
  progress?.(done);
  return { taken, strange, homeless: 0 };
}

interface Target {
  readonly realServers: ReadonlyMap<string, RealServer>;
  /** Of persistence, seconds. */
  readonly timeout: number;
}

function targetOf({ realServers, persistence }: VirtualService): Target {
  return {
    realServers: new Map(realServers.map((each) => [realServerKey(each), each])),
    timeout: persistence?.timeout ?? 0,
  };
}

/** Undefined: no place for it in the kernel's table, or no state of its protocol. */
function syncRecordOf(connection: Connection, target: Target | undefined): SyncRecord | undefined {
  const { identity, client, clientPort, virtualAddress, virtualPort, state, template, expiresIn } = connection;
  if (identity.kind !== "address" || target === undefined) return undefined;
  const address = connection.realServer;
  const realServer =
    target.realServers.get(realServerKey({ address, port: connection.realPort })) ??
    target.realServers.get(realServerKey({ address, port: 0 }));
  if (realServer === undefined) return undefined;
  const { protocol } = identity;
  const number = template ? 0 : (syncStates[protocol] as readonly string[]).indexOf(state);
  if (number < 0) return undefined;
  const active = !template && protocol !== "udp" && activeStates.has(state);
  return {
    protocol: protocols[protocol],
    flags: methods[realServer.method] | (active ? 0 : syncFlag.inactive) | (template ? syncFlag.template : 0),
    state: number,
    client,
    virtualAddress,
    realServer: address,
    clientPort,
    virtualPort,
    // Of a service for all ports each connection has its own; its templates have none.
    realPort: realServer.port === 0 ? virtualPort : realServer.port,
    // A template's time begins anew with each connection by it, and is this then; a connection's is that of its state.
    timeout: template ? target.timeout : Math.max(expiresIn, 1),
  };
}
