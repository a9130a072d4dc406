import assert from "node:assert/strict";
import { join } from "node:path";
import { openXdpReader } from "../../src/dataplane/xdp/reader.ts";
import { printIdentity } from "../../src/model/service.ts";
import type { PlaneStatistics } from "../../src/model/statistics.ts";
import { loadNative } from "../../src/native.ts";
import { Director, endpoint, httpCheck, service } from "../support/director.ts";
import { bare, isIpv6, oneArmedPlan, oneArmedPlan6, projectRoot, url, waitFor } from "../support/lab.ts";
import type { AddressPlan, Lab } from "../support/lab.ts";
import { story } from "../support/story.ts";

/**
 * Two machines that are a director, and a real server of both services, each; every one has one virtual address on its
 * network and the other one's on `lo`. The lab's director is one, its first real server the other.
 */
const hosts = ["director", "http1"] as const;
type Host = (typeof hosts)[number];
const links = { director: "front", http1: "eth0" } as const;
const passProgram = join(projectRoot, "build", "test-bpf", "xdp_pass.bpf.o");

function family(address: string): "-4" | "-6" {
  return isIpv6(address) ? "-6" : "-4";
}

function addressOf(plan: AddressPlan, host: Host): string {
  return (host === "director" ? plan.director : plan.servers[0]) ?? "";
}

async function ip(lab: Lab, host: string, line: string): Promise<void> {
  await lab.run(host, "ip", ...line.split(" "));
}

/** The virtual address is taken over by this host, as keepalived would do it: the others keep it on `lo`, silent. */
async function takeOver(lab: Lab, virtual: string, active: Host): Promise<void> {
  const address = bare(virtual);
  const host = isIpv6(address) ? `${address}/128` : `${address}/32`;
  for (const each of hosts) {
    await lab.exec(each, ["ip", family(address), "addr", "del", host, "dev", each === active ? "lo" : links[each]]);
    const more = isIpv6(address) ? " nodad preferred_lft 0" : "";
    await ip(lab, each, `${family(address)} addr replace ${host} dev ${each === active ? links[each] : "lo"}${more}`);
  }
  await lab.exec("gateway", ["ip", family(address), "neigh", "flush", "to", address]);
}

async function prepare(lab: Lab): Promise<void> {
  await lab.run("switch", "ip", "link", "set", "dev", "http1-eth0", "xdpdrv", "obj", passProgram, "sec", "xdp");
  for (const name of ["all", "front"]) {
    await lab.run("director", "sysctl", "-qw", `net.ipv4.conf.${name}.arp_ignore=1`);
    await lab.run("director", "sysctl", "-qw", `net.ipv4.conf.${name}.arp_announce=2`);
  }
  for (const plan of lab.plans) {
    for (const [index, virtual] of plan.virtual.entries()) await takeOver(lab, virtual, hosts[index] ?? "director");
  }
}

function configuration(plans: readonly AddressPlan[]): string {
  const lines = [...httpCheck, "scheduler=rr", "quiescent=no"];
  const sections = plans.flatMap((plan) =>
    plan.virtual.map((_, virtual) =>
      service(plan, lines, { virtual, servers: hosts.map((host) => addressOf(plan, host)) }),
    ),
  );
  return `checkinterval=1\nchecktimeout=2\n${sections.join("\n")}`;
}

async function start(lab: Lab): Promise<Record<Host, Director>> {
  const config = configuration(lab.plans);
  const all = await Promise.all(hosts.map((host) => Director.start(lab, { config, host, name: host })));
  const [director, http1] = all;
  assert.ok(director && http1);
  return { director, http1 };
}

/** What a director's maps tell. */
function statisticsOf(director: Director): PlaneStatistics {
  const reader = openXdpReader(director.bpffs, loadNative());
  try {
    return reader.statistics();
  } finally {
    reader.close();
  }
}

async function waitForBoth(lab: Lab, director: Director, up: readonly Host[] = hosts): Promise<void> {
  const wanted = lab.plans.flatMap((plan) => plan.virtual.map(() => up.map((host) => bare(addressOf(plan, host)))));
  await waitFor(
    `the real servers of ${director.host} are ${up.join(" and ")}`,
    () => {
      const found = statisticsOf(director).services.map(({ realServers }) =>
        realServers.filter(({ realServer }) => realServer.weight > 0).map(({ realServer }) => realServer.address),
      );
      return JSON.stringify(found.map((each) => each.sort()).sort()) === JSON.stringify(wanted.sort());
    },
    30_000,
  );
}

interface Seen {
  /** Packets that came from the other director. */
  readonly directed: bigint;
  /** Packets of the service that were directed here, and those of them that went to the host. */
  readonly packets: bigint;
  readonly sent: bigint;
}

function look(director: Director, plan: AddressPlan, virtual: string, host: Host): Seen {
  const { packets, services } = statisticsOf(director);
  const found = services.find(({ service: { identity } }) => printIdentity(identity) === `tcp:${endpoint(virtual)}`);
  const real = found?.realServers.find(({ realServer }) => realServer.address === bare(addressOf(plan, host)));
  assert.ok(found && real);
  return { directed: packets["pass_directed"] ?? 0n, packets: found.packets, sent: real.packets };
}

const bothPlans = [oneArmedPlan, oneArmedPlan6];

story("two directors are each other's real servers, and no packet goes round", bothPlans, async (lab) => {
  await prepare(lab);
  const directors = await start(lab);
  for (const host of hosts) await waitForBoth(lab, directors[host]);
  for (const plan of lab.plans) {
    for (const [index, virtual] of plan.virtual.entries()) {
      const active = hosts[index] ?? "director";
      const other = active === "director" ? "http1" : "director";
      await waitFor("an answer", async () => (await lab.curl(url(virtual), { timeoutS: 2 })).status === 200);
      const before = look(directors[active], plan, virtual, other);
      const there = look(directors[other], plan, virtual, other);
      const answers: string[] = [];
      for (let i = 0; i < 8; i++) answers.push(await lab.whoAnswers({ target: url(virtual) }));
      for (const [i, answer] of answers.entries())
        if (i > 0) assert.notEqual(answer, answers[i - 1], answers.join(" "));
      for (let i = 0; i < 2; i++) assert.equal((await lab.curl(url(virtual, "/big"))).body.length, 1 << 20);

      // What the active one has sent on, the other one's program meets once, and does not direct.
      await waitFor("every packet is met once", () => {
        const sent = look(directors[active], plan, virtual, other).sent - before.sent;
        const { directed, packets } = look(directors[other], plan, virtual, other);
        const met = directed - there.directed;
        if (sent <= 4n * 5n || met !== sent || packets > 0n) {
          throw new Error(`${sent} were sent on, ${met} met, ${packets} directed`);
        }
        return true;
      });
    }
  }
  for (const host of hosts) {
    const own = oneArmedPlan.virtual.concat(oneArmedPlan6.virtual).filter((_, index) => hosts[index % 2] === host);
    const keys = new Set((await directors[host].connections()).map(({ service: key }) => key));
    assert.deepEqual([...keys].sort(), own.map((virtual) => `tcp:${endpoint(virtual)}`).sort());
  }
});

story("one of two directors fails, and comes back", [oneArmedPlan], async (lab) => {
  await prepare(lab);
  const directors = await start(lab);
  for (const host of hosts) await waitForBoth(lab, directors[host]);
  const [virtual = ""] = oneArmedPlan.virtual;
  const who = async (times: number): Promise<string[]> => {
    const answers: string[] = [];
    for (let i = 0; i < times; i++) answers.push(await lab.whoAnswers({ target: url(virtual) }));
    return [...new Set(answers)].sort();
  };
  await waitFor("an answer", async () => (await lab.curl(url(virtual), { timeoutS: 2 })).status === 200);
  assert.deepEqual(await who(4), ["director", "http1"]);

  await lab.run("switch", "ip", "link", "set", "director-front", "down");
  await takeOver(lab, virtual, "http1");
  await waitForBoth(lab, directors.http1, ["http1"]);
  await waitFor(
    "an answer of what is left",
    async () => (await lab.curl(url(virtual), { timeoutS: 2 })).status === 200,
  );
  assert.deepEqual(await who(4), ["http1"]);

  // It comes back as a real server only; later it takes its address over again, while both live.
  await lab.run("switch", "ip", "link", "set", "director-front", "up");
  await waitForBoth(lab, directors.http1);
  assert.deepEqual(await who(4), ["director", "http1"]);
  await waitForBoth(lab, directors.director);
  await takeOver(lab, virtual, "director");
  await waitFor(
    "an answer after the change",
    async () => (await lab.curl(url(virtual), { timeoutS: 2 })).status === 200,
  );
  assert.deepEqual(await who(4), ["director", "http1"]);
});
