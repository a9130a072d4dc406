/** Run in a guest whose kernel has IPVS, by ipvs-plane.test.ts: the plane on the real thing, with ipvsadm beside it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { IpvsClient } from "../../src/dataplane/ipvs/client.ts";
import { removeIpvsServices } from "../../src/dataplane/ipvs/destroy.ts";
import { openIpvsDataPlane } from "../../src/dataplane/ipvs/ipvs-data-plane.ts";
import { openIpvsReader } from "../../src/dataplane/ipvs/reader.ts";
import { schedulers } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import { loadNative } from "../../src/native.ts";
import { conformance } from "../dataplane/conformance.ts";
import { add, addService, edit, real, service, web } from "../dataplane/planes.ts";

const native = loadNative();

function ipvsadm(...args: string[]): string {
  return execFileSync("ipvsadm", args, { encoding: "utf8" });
}

function openEmpty(): ReturnType<typeof openIpvsDataPlane> {
  const client = IpvsClient.open(native);
  client.flush();
  client.close();
  return openIpvsDataPlane(native);
}

test("reading does not load the module, opening the plane does", () => {
  assert.equal(openIpvsReader(native), undefined);
  assert.throws(() => execFileSync("grep", ["^ip_vs ", "/proc/modules"]));
  openIpvsDataPlane(native).close();
  assert.match(execFileSync("cat", ["/proc/modules"], { encoding: "utf8" }), /^ip_vs /m);
  assert.equal(openIpvsReader(native), undefined);
});

const mark: ServiceIdentity = { kind: "mark", mark: 7, family: "ipv6" };
const allPorts: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.54", port: 0 };
const sip: ServiceIdentity = { kind: "address", protocol: "udp", address: "10.10.10.55", port: 5060 };
const sctp: ServiceIdentity = { kind: "address", protocol: "sctp", address: "10.10.10.56", port: 9 };
const tunnelled = (address: string, tunnel?: RealServer["tunnel"]): RealServer => ({
  ...real(address),
  method: "ipip",
  ...(tunnel && { tunnel }),
});

/** What only IPVS has, or had first. */
const services: readonly VirtualService[] = [
  {
    ...service("sh", allPorts, { schedulerFlags: ["sh-port", "flag-3"], persistence: { timeout: 60, prefix: 32 } }),
    realServers: [],
  },
  {
    ...service("mh", mark, { schedulerFlags: ["flag-1", "mh-port"] }),
    realServers: [{ ...real("fd00::2", 5, 0), method: "masq" }],
  },
  {
    ...service("rr", sip, { onePacket: true, persistenceEngine: "sip", persistence: { timeout: 30, prefix: 32 } }),
    realServers: [{ ...real("10.1.0.1", 1, 5070), method: "masq", upperThreshold: 100, lowerThreshold: 10 }],
  },
  {
    ...service("nq", sctp, { idleTimeout: 30, limits: { perSecond: 10, perSource: 5 } }),
    realServers: [
      tunnelled("10.1.0.1"),
      tunnelled("10.1.0.2", { type: "gue", port: 6080, checksum: "remote" }),
      tunnelled("10.1.0.3", { type: "gre", port: 0, checksum: "full" }),
      tunnelled("fd00::3"),
    ].map((each) => ({ ...each, port: 9 })),
  },
];

conformance("ipvs", {
  skip: false,
  open: () => Promise.resolve(openEmpty()),
  reopen: () => Promise.resolve(openIpvsDataPlane(native)),
  services,
});

test("ipvsadm sees what the plane has done", async () => {
  const plane = openEmpty();
  const realServers = [
    { ...real("10.1.0.1", 3, 8080), method: "masq" as const, upperThreshold: 9, lowerThreshold: 3 },
    real("10.1.0.2"),
    tunnelled("10.1.0.3", { type: "gue", port: 6080, checksum: "full" }),
  ];
  const flags = { schedulerFlags: ["sh-fallback"], persistence: { timeout: 77, prefix: 24 } };
  const results = await plane.apply([
    addService(service("sh", web, flags)),
    ...realServers.map((each) => add(each)),
    addService(service("wlc", mark, { persistence: { timeout: 300, prefix: 64 } })),
  ]);
  assert.deepEqual(
    results.flatMap(({ error }) => error?.message ?? []),
    [],
  );
  assert.deepEqual(ipvsadm("-Sn").trim().split("\n"), [
    "-A -t 10.10.10.53:80 -s sh -p 77 -M 255.255.255.0 -b sh-fallback",
    "-a -t 10.10.10.53:80 -r 10.1.0.1:8080 -m -w 3",
    "-a -t 10.10.10.53:80 -r 10.1.0.2:80 -g -w 1",
    "-a -t 10.10.10.53:80 -r 10.1.0.3:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    "-A -f 7 -6 -s wlc -p 300 -M 64",
  ]);
});

test("what ipvsadm has done is read, and repaired by a plan", async () => {
  const plane = openEmpty();
  await plane.apply([addService(service("rr")), add(real("10.1.0.1", 5))]);
  ipvsadm("-e", "-t", "10.10.10.53:80", "-r", "10.1.0.1:80", "-g", "-w", "2");
  ipvsadm("-a", "-t", "10.10.10.53:80", "-r", "10.1.0.2:80", "-i");
  assert.deepEqual(plane.read().services[0]?.realServers, [real("10.1.0.1", 2), tunnelled("10.1.0.2")]);
  ipvsadm("--set", "1000", "0", "50");
  assert.deepEqual(plane.timeouts(), { tcp: 1000, tcpFin: 120, udp: 50 });
  plane.setTimeouts({ tcp: 900, tcpFin: 0, udp: 300 });
  assert.equal(ipvsadm("-L", "--timeout"), "Timeout (tcp tcpfin udp): 900 120 300\n");
});

test("a kernel of Linux 6.1 has every scheduler but one, which is named", async () => {
  const plane = openEmpty();
  const results = await plane.apply(
    schedulers.map((name, index) =>
      addService(service(name, { ...web, kind: "address", port: 1000 + index } as ServiceIdentity)),
    ),
  );
  assert.deepEqual(
    results.flatMap(({ error }) => error?.message ?? []),
    ["the kernel has no scheduler twos"],
  );
  assert.equal(plane.read().services.length, schedulers.length - 1);
});

test("what the kernel refuses is told in words", async () => {
  const plane = openEmpty();
  const results = await plane.apply([
    add(real("10.1.0.1")),
    addService(service("rr")),
    edit(real("10.1.0.9")),
    addService(service("rr", sip, { persistenceEngine: "magic", persistence: { timeout: 30, prefix: 32 } })),
    add(real("fd00::9")),
  ]);
  assert.deepEqual(
    results.map(({ error }) => error?.message ?? ""),
    [
      "there is no service tcp:10.10.10.53:80",
      "",
      "tcp:10.10.10.53:80 has no real server 10.1.0.9:80",
      "the kernel has no scheduler rr or no persistence engine magic",
      "IPVS: add [fd00::9]:80 of tcp:10.10.10.53:80: EINVAL",
    ],
  );
});

test("services of a dead daemon are taken out, others stay", async () => {
  const plane = openEmpty();
  await plane.apply([
    addService(service("rr")),
    addService(service("rr", allPorts, { persistence: { timeout: 9, prefix: 32 } })),
  ]);
  assert.equal(removeIpvsServices(native, new Set(["tcp:10.10.10.53:80", "tcp:10.10.10.99:80"])), 1);
  assert.deepEqual(
    plane.read().services.map(({ identity }) => identity),
    [allPorts],
  );
  const reader = openIpvsReader(native);
  assert.deepEqual(reader?.read(), plane.read());
  reader?.close();
});

test("the plane goes on after its module was removed and loaded again", async () => {
  const plane = openEmpty();
  await plane.apply([addService(service("rr"))]);
  await plane.apply([{ kind: "remove-service", identity: web }]);
  for (const name of execFileSync("sed", ["-n", "s/^\\(ip_vs_[a-z_]*\\) .*/\\1/p", "/proc/modules"], {
    encoding: "utf8",
  })
    .trim()
    .split("\n")) {
    execFileSync("rmmod", [name]);
  }
  execFileSync("rmmod", ["ip_vs"]);
  assert.deepEqual(plane.read(), { services: [] });
  assert.deepEqual(
    (await plane.apply([addService(service("rr"))])).flatMap(({ error }) => error?.message ?? []),
    [],
  );
  assert.equal(plane.read().services.length, 1);
});

test("a thousand services with ten real servers each are applied and read in bulk", async (t) => {
  const plane = openEmpty();
  const changes = Array.from({ length: 1000 }, (_, index) => {
    const identity: ServiceIdentity = {
      kind: "address",
      protocol: "tcp",
      address: `10.10.${index >> 8}.${index & 255}`,
      port: 80,
    };
    const realServers = Array.from({ length: 10 }, (_, host) => add(real(`10.1.0.${1 + host}`), identity));
    return [addService(service("wrr", identity)), ...realServers];
  }).flat();
  const started = performance.now();
  const results = await plane.apply(changes);
  const applied = performance.now();
  assert.equal(results.filter(({ error }) => error !== undefined).length, 0);
  assert.equal(plane.read().services.length, 1000);
  const read = performance.now();
  assert.equal(plane.statistics().services.flatMap(({ realServers }) => realServers).length, 10_000);
  const told = performance.now();
  t.diagnostic(
    `apply ${Math.round(applied - started)} ms, read ${Math.round(read - applied)} ms, statistics ${Math.round(told - read)} ms`,
  );
  openEmpty().close();
});
