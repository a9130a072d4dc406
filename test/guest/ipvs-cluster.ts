/** Run in a guest by ipvs-cluster.test.ts: the tutorial's cluster on the kernel's IPVS, with the real daemon. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Director, httpCheck } from "../support/director.ts";
import { Lab, projectRoot, tutorialPlan, url, waitFor } from "../support/lab.ts";
import type { AddressPlan } from "../support/lab.ts";

/** For gate (the tutorial's), masq, ipip, and a firewall mark. */
const [gate, masq, ipip, marked] = ["10.10.10.53/24", "10.10.10.54/24", "10.10.10.55/24", "10.10.10.56/24"] as const;
const plan: AddressPlan = { ...tutorialPlan, virtual: [gate, masq, ipip, marked] };
const servers = ["192.168.200.102", "192.168.200.103"] as const;

function section(virtual: string, method: string, more: readonly string[]): string {
  const checks = [...httpCheck, "scheduler=rr", ...more];
  return [
    `virtual=${virtual}`,
    ...servers.map((each) => `\treal=${each} ${method}`),
    ...checks.map((line) => `\t${line}`),
    "",
  ].join("\n");
}

/** The tutorial's file as it is, and three services more; checks every second. */
function configuration(): string {
  const tutorial = readFileSync(join(projectRoot, "demo", "ldirectord.cf"), "utf8");
  return [
    tutorial.replace("checkinterval=2", "checkinterval=1").replace("checktimeout=30", "checktimeout=10"),
    section("10.10.10.54:80", "masq", []).replaceAll(/(real=\S+)/g, "$1:80"),
    section("10.10.10.55:80", "ipip", []).replaceAll(/(real=\S+)/g, "$1:80"),
    section("7", "gate", ["protocol=fwm", "checkport=80"]),
  ].join("\n");
}

async function prepare(lab: Lab): Promise<void> {
  const run = (host: string, line: string) => lab.run(host, ...line.split(" "));
  // Answers of masqueraded servers go through the director, those of the others have the virtual address.
  await run("director", "sysctl -qw net.ipv4.ip_forward=1");
  execFileSync("modprobe", ["ipip"]);
  for (const [index, server] of lab.servers.entries()) {
    await run(server, `ip rule add from ${servers[index] ?? ""} lookup 77`);
    await run(server, "ip route add default via 192.168.200.52 table 77");
    await run(server, "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0");
    await run(server, "ip link set tunl0 up");
  }
  await run("director", "tc qdisc add dev front clsact");
  const match = "protocol ip flower dst_ip 10.10.10.56 action skbedit mark 7";
  await run("director", `tc filter add dev front ingress ${match}`);
}

/** Who answers so many requests. */
async function answers(lab: Lab, virtual: string, times: number): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; i < times; i++) found.push(await lab.whoAnswers({ target: url(virtual) }));
  return found.sort();
}

test("the tutorial's cluster, masq, ipip and a firewall mark are served where XDP cannot be had", async (t) => {
  await using lab = await Lab.create({ plans: [plan] });
  await prepare(lab);
  const director = await Director.start(lab, { config: configuration(), args: ["--set", "timeout_tcp=777"] });
  try {
    for (const key of ["tcp:10.10.10.53:80", "tcp:10.10.10.54:80", "tcp:10.10.10.55:80"]) {
      await director.waitForWeights({ "192.168.200.102:80": 1, "192.168.200.103:80": 1 }, key, 60_000);
    }
    await director.waitForWeights({ "192.168.200.102:0": 1, "192.168.200.103:0": 1 }, "fwm:7", 60_000);

    const stats = (await director.xlb("stats")).stdout;
    assert.match(stats, /^plane xdp: not in use: Linux 6\.1\.\S+ lacks its own type information/m);
    assert.match(stats, /^plane ipvs: front ipvs \(Linux 6\.1/m);
    assert.match(stats, /^TCP {2}10\.10\.10\.53:80 lblc persistent 100/m);
    assert.match(stats, /-> 192\.168\.200\.102:80 +Tunnel +1 /);
    assert.match(stats, /^FWM {2}7 rr/m);
    assert.match(director.process.log(), /plane xdp cannot be used, the kernel's IPVS forwards: Linux 6\.1/);
    assert.match(await director.metrics(), /^xlb_plane_info\{plane="xdp",state="failed",reason="Linux 6\.1/m);

    const timeouts = (): Promise<string> => lab.run("director", "ipvsadm", "-L", "--timeout");
    assert.equal(await timeouts(), "Timeout (tcp tcpfin udp): 777 120 300\n");
    await lab.run("director", "ipvsadm", "--set", "0", "0", "222");
    const tune = await director.xlb("tune");
    assert.equal(tune.code, 3);
    assert.match(tune.stderr, /the kernel's IPVS has settings of its own/);

    // Persistent, so one client stays.
    assert.equal(new Set(await answers(lab, gate, 3)).size, 1);
    for (const virtual of [masq, ipip, marked]) {
      assert.deepEqual(await answers(lab, virtual, 4), ["http1", "http1", "http2", "http2"], virtual);
    }
    const [client] = plan.clients;
    const connections = await director.connections();
    const told = connections.filter(({ template }) => !template);
    assert.ok(told.length >= 15, `${told.length} connections`);
    assert.deepEqual([...new Set(told.map(({ client: from }) => from))], [client?.replace(/\/.*/, "")]);
    for (const key of ["tcp:10.10.10.53:80", "tcp:10.10.10.54:80", "tcp:10.10.10.55:80", "fwm:7"]) {
      assert.ok(
        told.some(({ service }) => service === key),
        `a connection of ${key}`,
      );
    }
    assert.ok(connections.some(({ template, service }) => template && service === "tcp:10.10.10.53:80"));
    // The kernel sums its counters up every two seconds.
    await waitFor("the counters", async () => (await director.service("tcp:10.10.10.54:80")).connections === 4);

    await lab.stopWebServer("http1");
    await director.waitForWeights({ "192.168.200.103:80": 1 }, "tcp:10.10.10.54:80", 60_000);
    for (const virtual of [masq, ipip]) assert.deepEqual(await answers(lab, virtual, 2), ["http2", "http2"]);

    await director.kill();
    assert.deepEqual(await answers(lab, masq, 2), ["http2", "http2"]);
    assert.match((await director.xlb("stats")).stdout, /^daemon: not running/);
    await director.start();
    assert.equal((await director.service("tcp:10.10.10.54:80")).connections, 8, "the table was adopted");
    assert.equal(await timeouts(), "Timeout (tcp tcpfin udp): 777 120 222\n");
    await director.stop();
    assert.equal(await lab.run("director", "ipvsadm", "-Sn"), "");
    assert.equal(await lab.whoAnswers({ target: url(ipip) }), "director", "its own web server is all that is left");
  } catch (error) {
    t.diagnostic(director.process.log().slice(-6000));
    throw error;
  }
});
