import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Namespaces, missing, printMac, until } from "./namespaces.ts";
import type { Agent } from "./namespaces.ts";

const skip = missing() ?? false;

/** A director with one interface `eth1` (10.0.0.1/24, fd00::1/64) towards a host with 10.0.0.2 and fd00::2. */
async function pair(use: (lab: Namespaces, agent: Agent) => Promise<void>, receiveBuffer = 0): Promise<void> {
  const lab = new Namespaces();
  try {
    lab.add("director");
    lab.add("host");
    lab.veth("director", "eth1", "host", "eth0");
    lab.ip("director", "addr add 10.0.0.1/24 dev eth1\naddr add fd00::1/64 dev eth1 nodad");
    connectHost(lab, "02:00:00:00:00:02");
    await use(lab, await lab.agent("director", receiveBuffer));
  } finally {
    await lab.close();
  }
}

function connectHost(lab: Namespaces, mac: string): void {
  lab.ip("host", `link set eth0 address ${mac}\naddr add 10.0.0.2/24 dev eth0\naddr add fd00::2/64 dev eth0 nodad`);
}

async function resolvesTo(agent: Agent, address: string, mac: string): Promise<void> {
  await until(
    () => agent.hop(address),
    (hop) => hop === mac,
  );
}

void describe("what the kernel knows of the network", { skip, concurrency: 4 }, () => {
  void test("interfaces, their state and their addresses are told", async () => {
    await pair(async (lab, agent) => {
      const eth1 = await agent.interface("eth1");
      assert.ok(eth1 !== undefined);
      assert.match(lab.ip("director", "link show eth1"), new RegExp(printMac(eth1.mac)));
      assert.deepEqual(
        { up: eth1.up, running: eth1.running, mtu: eth1.mtu, loopback: eth1.loopback, vlan: eth1.vlan },
        { up: true, running: true, mtu: 1500, loopback: false, vlan: undefined },
      );
      assert.ok(eth1.addresses.includes("10.0.0.1/24"));
      assert.ok(eth1.addresses.includes("fd00::1/64"));
      assert.equal((await agent.interface("lo"))?.loopback, true);
      const own = await agent.ownAddresses();
      for (const address of ["127.0.0.1", "::1", "10.0.0.1", "fd00::1"]) assert.ok(own.includes(address), address);
      lab.ip("director", "addr add 192.0.2.7/32 dev lo");
      await until(
        () => agent.ownAddresses(),
        (now) => now.includes("192.0.2.7"),
      );
      assert.equal(await agent.hop("192.0.2.7"), "local");
      lab.ip("director", "addr del 192.0.2.7/32 dev lo");
      await until(
        () => agent.hop("192.0.2.7"),
        (hop) => hop === "no route to 192.0.2.7",
      );
    });
  });

  void test("own addresses and those of the loopback network are local", async () => {
    await pair(async (_lab, agent) => {
      for (const address of ["10.0.0.1", "fd00::1", "127.0.0.1", "127.9.9.9", "::1"]) {
        assert.equal(await agent.hop(address), "local", address);
      }
    });
  });

  void test("a neighbour is resolved directly, over IPv4 and IPv6", async () => {
    await pair(async (_lab, agent) => {
      assert.equal(await agent.hop("10.0.0.2"), "waiting for an answer from neighbour 10.0.0.2 on eth1");
      await agent.watch(["10.0.0.2", "fd00::2", "10.0.0.1"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      await resolvesTo(agent, "fd00::2", "02:00:00:00:00:02");
      const eth1 = await agent.interface("eth1");
      const resolution = await agent.resolve("10.0.0.2");
      assert.ok(resolution.kind === "resolved" && eth1 !== undefined);
      const { ifindex, vlan, mtu, sourceMac } = resolution.hop;
      assert.deepEqual(
        { ifindex, vlan, mtu, sourceMac },
        { ifindex: eth1.ifindex, vlan: 0, mtu: 1500, sourceMac: eth1.mac },
      );
      assert.ok(agent.changes > 0);
    });
  });

  void test("an address behind a gateway has the gateway's MAC and the route's MTU", async () => {
    await pair(async (lab, agent) => {
      lab.ip("director", "route add 10.9.0.0/16 via 10.0.0.2 mtu 1400\nroute add fd09::/48 via fd00::2");
      await agent.watch(["10.9.1.1", "10.9.1.2", "fd09::1"]);
      for (const address of ["10.9.1.1", "10.9.1.2", "fd09::1"]) await resolvesTo(agent, address, "02:00:00:00:00:02");
      const resolution = await agent.resolve("10.9.1.1");
      assert.equal(resolution.kind === "resolved" && resolution.hop.mtu, 1400);
      // A more specific route takes an address out of the prefix that was answered for.
      lab.ip("director", "route add unreachable 10.9.1.2/32");
      await until(
        () => agent.hop("10.9.1.2"),
        (hop) => hop === "no route to 10.9.1.2",
      );
      await resolvesTo(agent, "10.9.1.1", "02:00:00:00:00:02");
      lab.ip("director", "route del 10.9.0.0/16");
      await until(
        () => agent.hop("10.9.1.1"),
        (hop) => hop === "no route to 10.9.1.1",
      );
    });
  });

  void test("an IPv4 route through an IPv6 gateway is followed", async () => {
    await pair(async (lab, agent) => {
      lab.ip("director", "route add 10.9.0.0/16 via inet6 fd00::2 dev eth1");
      await agent.watch(["10.9.1.1"]);
      await resolvesTo(agent, "10.9.1.1", "02:00:00:00:00:02");
    });
  });

  void test("policy rules and several paths are answered by the kernel for each address", async () => {
    await pair(async (lab, agent) => {
      lab.ip(
        "director",
        `neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev eth1
         neigh add 10.0.0.4 lladdr 02:00:00:00:00:04 dev eth1
         route add 10.9.0.0/16 nexthop via 10.0.0.3 nexthop via 10.0.0.4
         route add default via 10.0.0.4 table 7
         rule add to 10.9.7.0/24 table 7`,
      );
      const addresses = Array.from({ length: 200 }, (_, i) => `10.9.1.${i}`);
      const used = async (): Promise<Set<string>> =>
        new Set(
          (await agent.resolveAll(addresses)).map((each) =>
            each.kind === "resolved" ? printMac(each.hop.mac) : each.kind,
          ),
        );
      await until(used, (macs) => macs.has("02:00:00:00:00:03") && macs.has("02:00:00:00:00:04") && macs.size === 2);
      for (const i of [1, 2, 3, 4, 5, 6]) await resolvesTo(agent, `10.9.7.${i}`, "02:00:00:00:00:04");
    });
  });

  void test("what cannot be resolved is told with the reason", async () => {
    await pair(async (lab, agent) => {
      assert.equal(await agent.hop("192.0.2.1"), "no route to 192.0.2.1");
      assert.equal(await agent.hop("2001:db8::1"), "no route to 2001:db8::1");
      assert.equal(await agent.hop("nonsense"), "nonsense is not an address");
      assert.equal(await agent.hop("10.0.0.255"), "no route to 10.0.0.255: it is a broadcast address");
      await agent.watch(["10.0.0.9", "fd00::9"]);
      await until(
        () => agent.hop("10.0.0.9"),
        (hop) => hop === "no answer from neighbour 10.0.0.9 on eth1",
      );
      await until(
        () => agent.hop("fd00::9"),
        (hop) => hop === "no answer from neighbour fd00::9 on eth1",
      );
      lab.ip("host", "link set eth0 down");
      await until(
        () => agent.hop("10.0.0.2"),
        (hop) => hop === "interface eth1 has no carrier",
      );
      lab.ip("director", "link set eth1 down");
      await until(
        () => agent.hop("10.0.0.2"),
        (hop) => hop === "interface eth1 is down",
      );
    });
  });

  void test("a host that appears late is found", async () => {
    await pair(async (lab, agent) => {
      await agent.watch(["10.0.0.9"]);
      await until(
        () => agent.hop("10.0.0.9"),
        (hop) => hop === "no answer from neighbour 10.0.0.9 on eth1",
      );
      lab.ip("host", "addr add 10.0.0.9/24 dev eth0");
      await resolvesTo(agent, "10.0.0.9", "02:00:00:00:00:02");
    });
  });

  void test("a link that goes down and up again is followed", async () => {
    await pair(async (lab, agent) => {
      await agent.watch(["10.0.0.2"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      lab.ip("host", "link set eth0 down");
      await until(
        () => agent.interface("eth1"),
        (eth1) => eth1?.running === false && eth1.up,
      );
      lab.ip("host", "link set eth0 up");
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      lab.ip("director", "link set eth1 down");
      await until(
        () => agent.hop("10.0.0.2"),
        (hop) => hop === "interface eth1 is down",
      );
      lab.ip("director", "link set eth1 up");
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      const log = (await agent.logged()).join("\n");
      assert.match(log, /interface eth1 has no carrier\n.*interface eth1 is up\n.*interface eth1 is down\n/s);
    });
  });

  void test("an interface that is renamed, removed and made again is followed", async () => {
    await pair(async (lab, agent) => {
      await agent.watch(["10.0.0.2"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      const before = await agent.interface("eth1");
      lab.ip("director", "link set eth1 name lan0");
      await until(
        () => agent.interface("lan0"),
        (lan0) => lan0?.ifindex === before?.ifindex,
      );
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      lab.ip("director", "link del lan0");
      await until(
        () => agent.interface("lan0"),
        (lan0) => lan0 === undefined,
      );
      assert.equal(await agent.hop("10.0.0.2"), "no route to 10.0.0.2");
      assert.ok(!(await agent.ownAddresses()).includes("10.0.0.1"));
      lab.veth("director", "eth1", "host", "eth0");
      lab.ip("director", "addr add 10.0.0.1/24 dev eth1");
      connectHost(lab, "02:00:00:00:00:22");
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:22");
      const eth1 = await agent.interface("eth1");
      const resolution = await agent.resolve("10.0.0.2");
      assert.equal(resolution.kind === "resolved" && resolution.hop.ifindex, eth1?.ifindex);
    });
  });
});

void describe("a changed MAC address", { skip, concurrency: 4 }, () => {
  void test("is followed at once when the host announces it", async () => {
    await pair(async (lab, agent) => {
      await agent.watch(["10.0.0.2"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      // Announced as keepalived does after a takeover.
      lab.run("host", "sysctl", "-q", "-w", "net.ipv4.conf.all.arp_notify=1", "net.ipv4.conf.eth0.arp_notify=1");
      lab.ip("host", "link set eth0 address 02:00:00:00:00:55");
      const watch = agent.stopwatch();
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:55");
      assert.ok(watch.netMs() < 1500, `took ${watch.netMs()} ms`);
    });
  });

  void test("is noticed within 10 seconds when nothing announces it", async () => {
    await pair(async (lab, agent) => {
      await agent.watch(["10.0.0.2", "fd00::2"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      await resolvesTo(agent, "fd00::2", "02:00:00:00:00:02");
      // The interface stays up, and no packet leaves it: the director cannot know.
      lab.run("host", "sysctl", "-q", "-w", "net.ipv6.conf.eth0.ndisc_notify=0");
      lab.ip("host", "link set eth0 address 02:00:00:00:00:66");
      const watch = agent.stopwatch();
      await Promise.all([
        resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:66"),
        resolvesTo(agent, "fd00::2", "02:00:00:00:00:66"),
      ]);
      assert.ok(watch.netMs() < 10000, `took ${watch.netMs()} ms`);
    });
  });

  void test("is followed when the host is replaced by another one on the same bridge port", async () => {
    const lab = new Namespaces();
    try {
      for (const name of ["director", "switch", "first", "second"]) lab.add(name);
      lab.ip("switch", "link add br0 type bridge\nlink set br0 up");
      for (const [name, port] of [
        ["director", "p0"],
        ["first", "p1"],
        ["second", "p2"],
      ] as const) {
        lab.veth(name, "eth0", "switch", port);
        lab.ip("switch", `link set ${port} master br0`);
      }
      lab.ip("director", "addr add 10.0.0.1/24 dev eth0");
      lab.ip("first", "link set eth0 address 02:00:00:00:00:01\naddr add 10.0.0.2/24 dev eth0");
      lab.ip("second", "link set eth0 address 02:00:00:00:00:02");
      const agent = await lab.agent("director");
      await agent.watch(["10.0.0.2"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:01");
      lab.ip("first", "link del eth0");
      lab.ip("second", "addr add 10.0.0.2/24 dev eth0");
      const watch = agent.stopwatch();
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      assert.ok(watch.netMs() < 10000, `took ${watch.netMs()} ms`);
    } finally {
      await lab.close();
    }
  });

  void test("of the director's own interface is told", async () => {
    await pair(async (lab, agent) => {
      await agent.watch(["10.0.0.2"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      lab.ip("director", "link set eth1 address 02:00:00:00:00:77");
      await until(
        () => agent.resolve("10.0.0.2"),
        (now) => now.kind === "resolved" && printMac(now.hop.sourceMac) === "02:00:00:00:00:77",
      );
    });
  });
});

void describe("neighbours that are kept", { skip, concurrency: 4 }, () => {
  void test("are managed by the kernel, and given back when no longer watched and at the end", async () => {
    await pair(async (lab, agent) => {
      lab.ip("host", "addr add 10.0.0.3/24 dev eth0");
      await agent.watch(["10.0.0.2", "10.0.0.3"]);
      for (const address of ["10.0.0.2", "10.0.0.3"]) await resolvesTo(agent, address, "02:00:00:00:00:02");
      const flags = (address: string): string => lab.ip("director", `neigh show ${address}`);
      assert.match(flags("10.0.0.2"), /managed.*extern_learn|extern_learn.*managed/);
      await agent.watch(["10.0.0.2"]);
      await until(
        () => flags("10.0.0.3"),
        (shown) => !/managed|extern_learn/.test(shown),
      );
      assert.match(flags("10.0.0.2"), /managed/);
      await agent.close();
      assert.doesNotMatch(flags("10.0.0.2"), /managed|extern_learn/);
    });
  });

  void test("of a director that was killed are adopted, or given back when nobody wants them", async () => {
    await pair(async (lab, first) => {
      lab.ip("host", "addr add 10.0.0.3/24 dev eth0");
      await first.watch(["10.0.0.2", "10.0.0.3"]);
      for (const address of ["10.0.0.2", "10.0.0.3"]) await resolvesTo(first, address, "02:00:00:00:00:02");
      await first.kill();
      assert.match(lab.ip("director", "neigh show 10.0.0.3"), /managed/);
      const second = await lab.agent("director");
      assert.equal(await second.hop("10.0.0.2"), "02:00:00:00:00:02");
      await second.watch(["10.0.0.2"]);
      await until(
        () => lab.ip("director", "neigh show 10.0.0.3"),
        (shown) => !/managed/.test(shown),
      );
      assert.match(lab.ip("director", "neigh show 10.0.0.2"), /managed/);
    });
  });

  void test("that the operator set are left alone", async () => {
    await pair(async (lab, agent) => {
      lab.ip("director", "neigh add 10.0.0.2 lladdr 02:00:00:00:00:aa dev eth1 nud permanent");
      await agent.watch(["10.0.0.2", "10.0.0.5"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:aa");
      // By the time the other one has failed, requests have gone out.
      await until(
        () => agent.hop("10.0.0.5"),
        (hop) => hop.startsWith("no answer"),
      );
      assert.match(lab.ip("director", "neigh show 10.0.0.2"), /02:00:00:00:00:aa PERMANENT/);
      await agent.close();
      assert.match(lab.ip("director", "neigh show 10.0.0.2"), /02:00:00:00:00:aa PERMANENT/);
    });
  });

  void test("come back when somebody deletes the entry", async () => {
    await pair(async (lab, agent) => {
      await agent.watch(["10.0.0.2"]);
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
      lab.ip("director", "neigh del 10.0.0.2 dev eth1");
      await until(
        () => lab.ip("director", "neigh show 10.0.0.2"),
        (shown) => /managed.*REACHABLE|REACHABLE/.test(shown),
      );
      await resolvesTo(agent, "10.0.0.2", "02:00:00:00:00:02");
    });
  });

  void test("may be many more than gc_thresh3 allows, and follow a change of all MACs", async () => {
    await pair(async (lab, agent) => {
      const addresses = Array.from({ length: 3000 }, (_, i) => `10.1.${i >> 8}.${i & 255}`);
      lab.ip("host", "addr add 10.1.255.1/16 dev eth0\nroute add local 10.1.0.0/17 dev lo");
      lab.ip("director", "addr add 10.1.255.2/16 dev eth1");
      await until(
        () => agent.ownAddresses(),
        (own) => own.includes("10.1.255.2"),
      );
      await agent.watch(addresses);
      const all = async (mac: string): Promise<number> => {
        const macs = (await agent.resolveAll(addresses)).filter(
          (each) => each.kind === "resolved" && printMac(each.hop.mac) === mac,
        );
        return macs.length;
      };
      await until(
        () => all("02:00:00:00:00:02"),
        (count) => count === addresses.length,
      );
      lab.ip("host", "link set eth0 address 02:00:00:00:00:03");
      await until(
        () => all("02:00:00:00:00:03"),
        (count) => count === addresses.length,
      );
    });
  });
});

void describe("lost events", { skip }, () => {
  void test("are made good by reading everything anew", async () => {
    await pair(async (lab, agent) => {
      const stalled = agent.stall(1500);
      const neighbours = Array.from(
        { length: 2000 },
        (_, i) => `neigh add 10.0.${i >> 8}.${i & 255} lladdr 02:00:00:01:${hex(i >> 8)}:${hex(i & 255)} dev eth1`,
      );
      lab.ip("director", `addr add 10.0.255.1/16 dev eth1\n${neighbours.join("\n")}\naddr add 192.0.2.9/32 dev lo`);
      await stalled;
      await until(
        () => agent.hop("192.0.2.9"),
        (hop) => hop === "local",
      );
      assert.equal(await agent.hop("10.0.7.1"), "02:00:00:01:07:01");
      assert.ok((await agent.logged()).includes("netlink events were lost: everything is read anew"));
      // And what comes later is seen as before.
      lab.ip("director", "link set eth1 mtu 1400");
      await until(
        () => agent.interface("eth1"),
        (eth1) => eth1?.mtu === 1400,
      );
    }, 4096);
  });
});

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

void describe("the interfaces a director works on", { skip }, () => {
  void test("are derived from virtual addresses, their subnets, the default route and the real servers", async () => {
    const lab = new Namespaces();
    try {
      lab.add("director");
      lab.add("others");
      for (const name of ["client0", "server0", "uplink0", "other0"]) lab.veth("director", name, "others", `${name}p`);
      lab.ip(
        "director",
        `addr add 192.0.2.10/24 dev client0
         addr add 192.0.2.20/32 dev lo
         addr add 198.51.100.1/32 dev lo
         addr add 203.0.113.5/32 dev other0
         addr add 10.0.0.1/24 dev server0
         addr add 172.16.0.1/24 dev uplink0
         addr add fd00::1/64 dev server0 nodad
         route add default via 172.16.0.2
         link add bridge0 type bridge
         link set bridge0 up
         addr add 10.2.0.1/24 dev bridge0
         link add link server0 name mac0 type macvlan mode bridge
         link set mac0 up
         addr add 10.3.0.1/24 dev mac0`,
      );
      const agent = await lab.agent("director");
      const derived = async (virtual: string[], real: string[] = []): Promise<string[]> =>
        (await agent.derive(virtual, real)).sort();
      assert.deepEqual(await derived(["192.0.2.10"]), ["client0"], "held by an interface");
      assert.deepEqual(await derived(["192.0.2.99"]), ["client0"], "held by none, in its subnet");
      assert.deepEqual(await derived(["192.0.2.20"]), ["client0"], "on lo, in its subnet");
      assert.deepEqual(await derived(["198.51.100.1"]), ["uplink0"], "on lo, in no subnet");
      assert.deepEqual(await derived(["198.51.100.2"]), ["uplink0"], "nowhere");
      assert.deepEqual(await derived(["203.0.113.5"]), ["other0"], "a host address");
      assert.deepEqual(await derived(["fd00::7"]), ["server0"], "IPv6");
      assert.deepEqual(await derived(["2001:db8::1"]), [], "no IPv6 default route");
      assert.deepEqual(await derived(["192.0.2.10"], ["10.0.0.2", "10.0.0.3", "127.0.0.1"]), ["client0", "server0"]);
      assert.deepEqual(await derived([], ["10.2.0.9", "10.3.0.9", "10.0.0.1"]), ["bridge0", "mac0"]);
      lab.ip("director", "route del default\nroute add default via 192.0.2.1");
      await until(
        () => derived(["198.51.100.1"]),
        (names) => names.join() === "client0",
      );
    } finally {
      await lab.close();
    }
  });
});

// All children that have ended are told of when one has: an agent that ends while others of this turn are served is told
// of before its last message is read.
void test("an agent's last reply counts although its end is told first", { skip }, async () => {
  await pair(async (_lab, agent) => {
    const other = spawn("echo", ["x"], { stdio: ["ignore", "pipe", "inherit"] });
    const heard = once(other.stdout, "data").then(() => {
      const closing = agent.close();
      block(500); // The agent replies and ends.
      return closing;
    });
    block(100); // The other one writes and ends: both are told in one turn.
    await heard;
  });
});

function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
