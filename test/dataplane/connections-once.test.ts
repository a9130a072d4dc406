import assert from "node:assert/strict";
import { test } from "node:test";
import { connectionsOnce } from "../../src/dataplane/ladder/connections-once.ts";
import type { ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { Connection, ConnectionFilter } from "../../src/model/statistics.ts";

const web: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 80 };
const mail: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 25 };

function service(identity: ServiceIdentity): VirtualService {
  return { identity, scheduler: "rr", schedulerFlags: [], onePacket: false, realServers: [] };
}

function connection(identity: ServiceIdentity, client: string, state: string, realServer: string): Connection {
  return {
    identity,
    client,
    clientPort: 4711,
    virtualAddress: "10.0.0.1",
    virtualPort: identity.kind === "address" ? identity.port : 0,
    realServer,
    realPort: 80,
    state,
    template: false,
    expiresIn: 100,
  };
}

function plane(services: readonly ServiceIdentity[], connections: readonly Connection[]) {
  return {
    read: () => ({ services: services.map(service) }),
    connections: ({ state }: ConnectionFilter) =>
      connections.filter((each) => state === undefined || each.state === state),
  };
}

const xdp = plane(
  [web, mail],
  [
    connection(web, "192.0.2.1", "ESTABLISHED", "10.1.0.1"),
    connection(web, "192.0.2.2", "FIN_WAIT", "10.1.0.1"),
    connection(mail, "192.0.2.1", "ESTABLISHED", "10.1.0.1"),
  ],
);
const ipvs = plane(
  [web],
  [
    // The service's identity is another object here.
    connection({ ...web }, "192.0.2.1", "ESTABLISHED", "10.1.0.2"),
    connection({ ...web }, "192.0.2.2", "ESTABLISHED", "10.1.0.1"),
    connection({ ...web }, "192.0.2.3", "ESTABLISHED", "10.1.0.1"),
  ],
);

function told(filter: ConnectionFilter): string[] {
  return [...connectionsOnce([xdp, ipvs], filter)].map(
    ({ identity, client, state, realServer }) =>
      `${identity.kind === "address" ? identity.port : ""} ${client} ${state} ${realServer}`,
  );
}

test("a connection that two planes have is told once, as the first has it", () => {
  assert.deepEqual(told({}), [
    "80 192.0.2.1 ESTABLISHED 10.1.0.1",
    "80 192.0.2.2 FIN_WAIT 10.1.0.1",
    "25 192.0.2.1 ESTABLISHED 10.1.0.1",
    "80 192.0.2.3 ESTABLISHED 10.1.0.1",
  ]);
});

test("the first plane says in which state it is, also when only one state is asked for", () => {
  assert.deepEqual(told({ state: "ESTABLISHED" }), [
    "80 192.0.2.1 ESTABLISHED 10.1.0.1",
    "25 192.0.2.1 ESTABLISHED 10.1.0.1",
    "80 192.0.2.3 ESTABLISHED 10.1.0.1",
  ]);
});

test("one plane alone tells all that it has, and none tells none", () => {
  assert.equal([...connectionsOnce([xdp], {})].length, 3);
  assert.equal([...connectionsOnce([xdp], { state: "FIN_WAIT" })].length, 1);
  assert.deepEqual([...connectionsOnce([], {})], []);
});
