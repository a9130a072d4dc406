import assert from "node:assert/strict";
import { Director } from "../support/director.ts";
import { bare, isIpv6, tutorialPlan, tutorialPlan6, url, waitFor } from "../support/lab.ts";
import type { AddressPlan, Lab } from "../support/lab.ts";
import { story } from "../support/story.ts";

function endpointText(address: string, port: number): string {
  return isIpv6(address) ? `[${bare(address)}]:${port}` : `${bare(address)}:${port}`;
}

/** Real servers answer through the director, which routes. Web servers listen at 8080, too. */
async function throughDirector(lab: Lab): Promise<void> {
  await lab.run("director", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  for (const plan of lab.plans) {
    const [first = ""] = plan.servers;
    const family = isIpv6(first) ? "-6" : "-4";
    for (const server of lab.servers) {
      await lab.run(server, "ip", family, "route", "replace", "default", "via", bare(plan.serverSide?.director ?? ""));
    }
  }
}

function section(plan: AddressPlan): string {
  const [virtual = ""] = plan.virtual;
  const suffix = isIpv6(virtual) ? "6" : "";
  const lines = plan.servers.map((server) => `\treal${suffix}=${endpointText(server, 8080)} masq`);
  const more = ["service=http", 'request="check.txt"', 'receive="webserverisworking"', "scheduler=rr"];
  return [`virtual${suffix}=${endpointText(virtual, 80)}`, ...lines, ...more.map((line) => `\t${line}`)].join("\n");
}

for (const [name, plan] of [
  ["IPv4", tutorialPlan],
  ["IPv6", tutorialPlan6],
] as const) {
  story(`masq: another port, and the replies through the director (${name})`, [plan], async (lab) => {
    await throughDirector(lab);
    const [virtual = ""] = plan.virtual;
    const director = await Director.start(lab, { config: `checkinterval=1\n${section(plan)}\n` });
    const key = `tcp:${endpointText(virtual, 80)}`;
    await director.waitForWeights(
      Object.fromEntries(plan.servers.map((server) => [endpointText(server, 8080), 1])),
      key,
    );
    await waitFor("a first answer", async () => (await lab.curl(url(virtual), { timeoutS: 2 })).status === 200);
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) {
      const from = plan.clients[i % plan.clients.length] ?? "";
      const answer = await lab.curl(url(virtual), { from });
      assert.equal(answer.status, 200, answer.error);
      assert.equal(answer.client, bare(from));
      answers.push(answer.server);
    }
    assert.deepEqual([...new Set(answers)].sort(), ["http1", "http2"]);
    // A megabyte back and forth: every reply is translated, or the transfer would stop.
    const big = await lab.curl(url(virtual, "/big"));
    assert.equal(big.status, 200, big.error);
    assert.equal(big.body.length, 1 << 20);

    const found = await director.service(key);
    assert.deepEqual(
      found.realServers.map((real) => real.method),
      ["masq", "masq"],
    );
    // Both sides have closed: the kernel's table for two directions leads to TIME_WAIT.
    await waitFor("the connections are in TIME_WAIT", async () => {
      const states = (await director.connections()).map(({ state }) => state);
      return states.length >= 7 && states.every((state) => state === "TIME_WAIT");
    });
  });
}
