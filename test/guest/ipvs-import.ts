/** Run in a guest whose kernel has IPVS, by ipvs-import.test.ts: connections of another plane in the kernel's own table. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { IpvsClient } from "../../src/dataplane/ipvs/client.ts";
import { openIpvsDataPlane } from "../../src/dataplane/ipvs/ipvs-data-plane.ts";
import type { IpvsDataPlane } from "../../src/dataplane/ipvs/ipvs-data-plane.ts";
import { daemonState } from "../../src/dataplane/ipvs/messages.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { Connection } from "../../src/model/statistics.ts";
import { loadNative } from "../../src/native.ts";
import { addService, add, real, service } from "../dataplane/planes.ts";

const native = loadNative();

const at = (address: string, port: number, protocol: "tcp" | "udp" | "sctp" = "tcp"): ServiceIdentity => ({
  kind: "address",
  protocol,
  address,
  port,
});
const persistence = { timeout: 300, prefix: 24 };

/** Services with two real servers each. */
const services: readonly VirtualService[] = [
  service("wlc", at("10.10.10.53", 80)),
  service("rr", at("10.10.10.53", 53, "udp")),
  service("rr", at("10.10.10.53", 9, "sctp")),
  service("rr", at("10.10.10.54", 443), { persistence }),
  service("rr", at("10.10.10.55", 0), { persistence }),
  service("rr", at("fd00::53", 80)),
].map((each) => ({ ...each, realServers: realServersOf(each.identity) }));

function realServersOf(identity: ServiceIdentity): RealServer[] {
  if (identity.kind !== "address") return [];
  const ipv6 = identity.address.includes(":");
  return [1, 2].map((host) => ({
    ...real(ipv6 ? `fd00:1::${host}` : `10.1.0.${host}`, 1, identity.port),
    // Address and port of a masqueraded one are others.
    ...(identity.port === 443 ? { method: "masq" as const, port: 8443 } : {}),
  }));
}

async function openWithServices(): Promise<IpvsDataPlane> {
  const client = IpvsClient.open(native);
  client.flush();
  client.close();
  const plane = openIpvsDataPlane(native);
  for (const each of services) {
    const changes = [addService(each), ...each.realServers.map((realServer) => add(realServer, each.identity))];
    for (const { error } of await plane.apply(changes)) assert.equal(error, undefined);
  }
  return plane;
}

/** Each state of each protocol, by turns to the first and second real server, and templates. */
function connectionsOf({ identity, realServers, persistence: kept }: VirtualService, firstPort: number): Connection[] {
  if (identity.kind !== "address") return [];
  const ipv6 = identity.address.includes(":");
  const states =
    identity.protocol === "udp"
      ? ["UDP", "UDP"]
      : identity.protocol === "sctp"
        ? ["ESTABLISHED", "S-SENT", "CLOSED"]
        : ["ESTABLISHED", "SYN_RECV", "FIN_WAIT", "CLOSE_WAIT", "TIME_WAIT", "ESTABLISHED"];
  const virtualPort = identity.port === 0 ? 8080 : identity.port;
  const of = ({ address, port }: RealServer) => ({
    identity,
    virtualAddress: identity.address,
    virtualPort,
    realServer: address,
    realPort: port === 0 ? virtualPort : port,
  });
  const flows = states.map((state, index) => ({
    ...of(realServers[index % 2] ?? assert.fail()),
    client: ipv6 ? `2001:db8::${index + 1}` : `192.0.2.${index + 1}`,
    clientPort: firstPort + index,
    state,
    template: false,
    expiresIn: 50 + index,
  }));
  const template = {
    ...of(realServers[1] ?? assert.fail()),
    client: "192.0.3.0",
    clientPort: 0,
    virtualPort: identity.port,
    realPort: identity.port === 0 ? 0 : (realServers[1]?.port ?? 0),
    state: "NONE",
    template: true,
    expiresIn: 20,
  };
  return kept === undefined ? flows : [template, ...flows];
}

function shown(connection: Connection): string {
  const { identity, client, clientPort, virtualAddress, virtualPort, realServer, realPort, state, template } =
    connection;
  const ends = `${client} ${clientPort} ${virtualAddress} ${virtualPort} ${realServer} ${realPort}`;
  return `${printIdentity(identity)} ${ends} ${template ? "template" : state}`;
}

function countsOf(plane: IpvsDataPlane): Record<string, string> {
  return Object.fromEntries(
    plane
      .statistics()
      .services.flatMap(({ service: { identity }, realServers }) =>
        realServers.map(({ realServer, active, inactive, persistent }) => [
          `${printIdentity(identity)} ${realServerKey(realServer)}`,
          `${active} ${inactive} ${persistent}`,
        ]),
      ),
  );
}

test("every state, template and family comes into the kernel's table, counts for its real server, and keeps its time", async () => {
  const plane = await openWithServices();
  const given = services.flatMap((each) => connectionsOf(each, 1000));
  const report = await plane.importConnections(given, { replace: true });
  assert.deepEqual(report, { taken: given.length, strange: 0, homeless: 0 });
  const found = [...plane.connections({})];
  assert.deepEqual(found.map(shown).sort(), given.map(shown).sort());
  for (const connection of found) {
    const like = given.find((each) => shown(each) === shown(connection)) ?? assert.fail();
    const expected = connection.template ? 300 : like.expiresIn;
    const { expiresIn } = connection;
    assert.ok(expiresIn <= expected && expiresIn > expected - 10, `${shown(connection)} expires in ${expiresIn}`);
  }
  const counts = countsOf(plane);
  assert.equal(counts["tcp:10.10.10.53:80 10.1.0.1:80"], "1 2 0");
  assert.equal(counts["tcp:10.10.10.53:80 10.1.0.2:80"], "2 1 0");
  assert.equal(counts["udp:10.10.10.53:53 10.1.0.1:53"], "0 1 0");
  assert.equal(counts["tcp:10.10.10.54:443 10.1.0.2:8443"], "2 1 1");
  assert.equal(counts["tcp:10.10.10.55:0 10.1.0.2:0"], "2 1 1");
  assert.equal(counts["tcp:[fd00::53]:80 [fd00:1::2]:80"], "2 1 0");
  const text = execFileSync("ipvsadm", ["-Lnc"], { encoding: "utf8" });
  assert.match(text, /^TCP 00:\d\d +ESTABLISHED 192\.0\.2\.1:1000 +10\.10\.10\.53:80 +10\.1\.0\.1:80/m);
  assert.equal(execFileSync("ipvsadm", ["-L", "--daemon"], { encoding: "utf8" }), "", "no daemon is left running");
  plane.close();
});

test("one that is there already becomes as given, and moves to the real server that it is said to have", async () => {
  const plane = await openWithServices();
  const [first, second] = services[0]?.realServers ?? [];
  const [one] = connectionsOf(services[0] ?? assert.fail(), 2000);
  assert.ok(one && first && second);
  await plane.importConnections([one], { replace: true });
  await plane.importConnections([{ ...one, state: "FIN_WAIT" }], { replace: true });
  const mine = () => [...plane.connections({})].filter(({ clientPort }) => clientPort === 2000);
  assert.deepEqual(
    mine().map(({ state }) => state),
    ["FIN_WAIT"],
  );
  await plane.importConnections([{ ...one, realServer: second.address }], { replace: true });
  assert.deepEqual(
    mine().map(({ realServer }) => realServer),
    [second.address],
  );
  plane.close();
});

test("connections of services that have gone to another plane end, and those of others do not", async () => {
  const plane = await openWithServices();
  const [going, staying] = [services[3] ?? assert.fail(), services[0] ?? assert.fail()];
  const given = [going, staying].flatMap((each) => connectionsOf(each, 6000));
  await plane.importConnections(given, { replace: true });
  await plane.apply([{ kind: "remove-service", identity: going.identity }]);
  await plane.forgetConnections([going]);
  const left = () => readFileSync("/proc/net/ip_vs_conn", "utf8").match(/ 177[0-9A-F] 0A0A0A36 /g)?.length ?? 0;
  for (const deadline = Date.now() + 20_000; left() > 0; await sleep(100)) {
    assert.ok(Date.now() < deadline, `${left()} are left`);
  }
  const found = [...plane.connections({})].filter(({ clientPort }) => clientPort >= 6000 && clientPort < 6100);
  assert.equal(found.length, connectionsOf(staying, 6000).length);
  plane.close();
});

test("those of no service or real server of the table are left out and counted so", async () => {
  const plane = await openWithServices();
  const [one] = connectionsOf(services[0] ?? assert.fail(), 3000);
  assert.ok(one);
  const report = await plane.importConnections(
    [
      { ...one, identity: at("10.10.10.99", 80) },
      { ...one, realServer: "10.1.0.99" },
      { ...one, state: "S-SENT" },
    ],
    { replace: true },
  );
  assert.deepEqual(report, { taken: 0, strange: 3, homeless: 0 });
  assert.deepEqual(
    [...plane.connections({})].filter(({ clientPort }) => clientPort === 3000),
    [],
  );
  plane.close();
});

test("a backup daemon that runs already is used as it is set and goes on; backup_only stays as it was", async () => {
  const plane = await openWithServices();
  const client = IpvsClient.open(native);
  const settings = { state: daemonState.backup, interfaceName: "lo", syncId: 7, group: "224.0.0.99", port: 9000 };
  const [one] = connectionsOf(services[0] ?? assert.fail(), 4000);
  const [other] = connectionsOf(services[0] ?? assert.fail(), 4100);
  assert.ok(one && other);
  client.newDaemon(settings);
  await plane.importConnections([one], { replace: true });
  assert.deepEqual(
    client.daemons().map(({ syncId, port }) => [syncId, port]),
    [[7, 9000]],
  );
  client.deleteDaemon(settings);
  const path = "/proc/sys/net/ipv4/vs/backup_only";
  writeFileSync(path, "1");
  await plane.importConnections([other], { replace: true });
  assert.equal(readFileSync(path, "utf8").trim(), "1");
  writeFileSync(path, "0");
  const ports = [...plane.connections({})].map(({ clientPort }) => clientPort);
  assert.ok(ports.includes(4000) && ports.includes(4100), ports.join(" "));
  client.close();
  plane.close();
});

test("tens of thousands come over whole", async (t) => {
  const plane = await openWithServices();
  const [one] = connectionsOf(services[0] ?? assert.fail(), 0);
  assert.ok(one);
  const count = 30_000;
  function* many(): Generator<Connection> {
    for (let i = 0; i < count; i++) {
      yield { ...(one as Connection), client: `198.18.${i >> 8}.${i & 255}`, clientPort: 5000, expiresIn: 800 };
    }
  }
  const told: number[] = [];
  const began = performance.now();
  const report = await plane.importConnections(many(), { replace: true, progress: (done) => told.push(done) });
  const seconds = (performance.now() - began) / 1000;
  t.diagnostic(`import: ${count} connections in ${seconds.toFixed(2)} s`);
  assert.equal(report.taken, count);
  assert.ok(told.length > 3 && told.at(-1) === count);
  const found = [...plane.connections({})].filter(({ clientPort }) => clientPort === 5000);
  assert.equal(found.length, count);
  plane.close();
});
