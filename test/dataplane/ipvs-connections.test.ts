import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { listConnections, parseConnectionLine } from "../../src/dataplane/ipvs/connections.ts";
import type { ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import { printIdentity } from "../../src/model/service.ts";
import type { ConnectionFilter } from "../../src/model/statistics.ts";
import { real, service } from "./planes.ts";

// As Linux 6.1 prints them; the last two are templates of a firewall mark and of a persistence engine.
const table = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A010002 D050 0A010001 0050 0A020002 1F90 ESTABLISHED     897
TCP fd01:0000:0000:0000:0000:0000:0000:0002 8EE2 fd01:0000:0000:0000:0000:0000:0000:0001 0050 fd02:0000:0000:0000:0000:0000:0000:0002 0050 FIN_WAIT        97
TCP 0A010000 0000 0A010001 0050 0A020002 1F90 ASSURED          57
UDP 0A010003 0035 0A010001 1000 0A020003 1000 UDP             299
TCP 0A010004 0400 0A010009 0051 0A020009 0051 SYN_RECV         59
IP  0A010002 0000 00000007 0000 0A020009 0000 NONE            300
UDP 0A010002 0000 0A010001 13C4 0A020002 13C4 NONE             60 sip abcdef@10.1.0.2
`;

const address = (protocol: "tcp" | "udp", host: string, port: number): ServiceIdentity => ({
  kind: "address",
  protocol,
  address: host,
  port,
});
const services: readonly VirtualService[] = [
  { ...service("rr", address("tcp", "10.1.0.1", 80)), realServers: [real("10.2.0.2", 1, 8080)] },
  { ...service("rr", address("udp", "10.1.0.1", 0)), realServers: [real("10.2.0.3", 1, 0)] },
  { ...service("rr", { kind: "mark", mark: 7, family: "ipv4" }), realServers: [real("10.2.0.9", 1, 0)] },
];

const folder = mkdtempSync(join(tmpdir(), "xlb-ipvs-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "ip_vs_conn");
writeFileSync(path, table);

const list = (filter: ConnectionFilter, from = path) => [...listConnections(services, filter, from)];
const told = (filter: ConnectionFilter) =>
  list(filter).map(
    ({ identity, client, clientPort, state }) => `${printIdentity(identity)} ${client} ${clientPort} ${state}`,
  );

test("a line of each family is parsed, and what is none is not", () => {
  assert.deepEqual(parseConnectionLine("TCP 0A010002 D050 0A010001 0050 0A020002 1F90 ESTABLISHED     897"), {
    protocol: "TCP",
    client: "10.1.0.2",
    clientPort: 53328,
    virtualAddress: "10.1.0.1",
    virtualPort: 80,
    realServer: "10.2.0.2",
    realPort: 8080,
    state: "ESTABLISHED",
    expiresIn: 897,
  });
  for (const line of table.split("\n").slice(0, 1)) assert.equal(parseConnectionLine(line), undefined);
  for (const line of ["", "TCP 0A0100 1 0A010001 0050 0A020002 1F90 NONE 1", "TCP 0A010002 D050"]) {
    assert.equal(parseConnectionLine(line), undefined);
  }
});

test("each connection is told with its service: by address and port, all ports, firewall mark, or itself", () => {
  assert.deepEqual(told({}), [
    "tcp:10.1.0.1:80 10.1.0.2 53328 ESTABLISHED",
    "tcp:[fd01::1]:80 fd01::2 36578 FIN_WAIT",
    "tcp:10.1.0.1:80 10.1.0.0 0 NONE",
    "udp:10.1.0.1:0 10.1.0.3 53 UDP",
    "fwm:7 10.1.0.4 1024 SYN_RECV",
    "fwm:7 10.1.0.2 0 NONE",
    "udp:10.1.0.1:0 10.1.0.2 0 NONE",
  ]);
  assert.deepEqual(
    list({}).map(({ template }) => template),
    [false, false, true, false, false, true, true],
  );
});

test("connections are filtered by service, client network, real server and state", () => {
  assert.equal(told({ service: address("udp", "10.1.0.1", 0) }).length, 2);
  assert.deepEqual(told({ client: "10.1.0.4" }), ["fwm:7 10.1.0.4 1024 SYN_RECV"]);
  assert.equal(told({ client: "10.1.0.0/30" }).length, 5);
  assert.deepEqual(told({ client: "fd01::/64" }), ["tcp:[fd01::1]:80 fd01::2 36578 FIN_WAIT"]);
  assert.equal(told({ realServer: "10.2.0.9" }).length, 2);
  assert.deepEqual(told({ realServer: "10.2.0.9:81" }), ["fwm:7 10.1.0.4 1024 SYN_RECV"]);
  assert.equal(told({ state: "NONE" }).length, 3);
  assert.deepEqual(told({ state: "LAST_ACK" }), []);
});

test("a long table is read in pieces, and only as far as it is asked for", () => {
  const long = join(folder, "long");
  const [head = "", line = ""] = table.split("\n");
  writeFileSync(long, `${head}\n${`${line}\n`.repeat(5000)}`);
  assert.equal(list({}, long).length, 5000);
  const [first] = listConnections(services, {}, long);
  assert.equal(first?.client, "10.1.0.2");
});
