import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RealServer, ServiceIdentity, Tunnel, VirtualService } from "../../src/model/service.ts";
import { BareDirector } from "../support/bare-director.ts";
import { Director, endpoint, httpCheck } from "../support/director.ts";
import { bare, isIpv6, tutorialPlan, tutorialPlan6, url, waitFor } from "../support/lab.ts";
import type { AddressPlan, Lab } from "../support/lab.ts";
import { story } from "../support/story.ts";
import { openTunnels, received } from "../support/tunnels.ts";

const megabyte = 1 << 20;

/** A file of a real server comes whole, and one that the client sends arrives. */
async function transfer(lab: Lab, virtual: string): Promise<void> {
  const big = await lab.curl(url(virtual, "/big"));
  assert.equal(big.status, 200, big.error);
  assert.equal(big.body, readFileSync(join(lab.documentRoot(big.server), "big"), "utf8"));
  const sent = randomBytes(megabyte + 77);
  const file = join(lab.dir, "sent");
  writeFileSync(file, sent);
  const put = await lab.curl(url(virtual, "/upload/file"), { args: ["--upload-file", file] });
  assert.ok(put.status === 201 || put.status === 204, `${put.status} ${put.error}`);
  assert.ok(readFileSync(join(lab.documentRoot(put.server), "upload", "file")).equals(sent), "the file is another");
}

for (const [name, plan] of [
  ["IPv4", tutorialPlan],
  ["IPv6", tutorialPlan6],
] as const) {
  story(`ipip: real servers behind tunnels answer the clients directly (${name})`, [plan], async (lab) => {
    const [virtual = ""] = plan.virtual;
    const suffix = isIpv6(virtual) ? "6" : "";
    const section = [
      `virtual${suffix}=${endpoint(virtual)}`,
      ...plan.servers.map((server) => `\treal${suffix}=${endpoint(server)} ipip`),
      ...[...httpCheck, "scheduler=rr"].map((line) => `\t${line}`),
    ];
    const director = await Director.start(lab, { config: `checkinterval=1\n${section.join("\n")}\n` });
    await director.waitForWeights(Object.fromEntries(plan.servers.map((server) => [endpoint(server), 1])));
    assert.deepEqual(
      (await director.service()).realServers.map(({ method }) => method),
      ["ipip", "ipip"],
    );
    // What reaches a real server is no packet to the virtual address before it is out of its tunnel.
    assert.equal((await lab.curl(url(virtual), { timeoutS: 1 })).status, 0);
    await openTunnels(lab);
    await waitFor("a first answer", async () => (await lab.curl(url(virtual), { timeoutS: 2 })).status === 200);
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) {
      const from = plan.clients[i % plan.clients.length] ?? "";
      const answer = await lab.curl(url(virtual), { from });
      assert.equal(answer.status, 200, answer.error);
      assert.equal(answer.client, bare(from));
      answers.push(answer.server);
    }
    for (const [i, server] of answers.entries()) assert.notEqual(server, answers[i - 1], answers.join(" "));

    const before = await received(lab, "director");
    const big = await lab.curl(url(virtual, "/big"));
    assert.equal(big.body.length, megabyte, big.error);
    const met = (await received(lab, "director")) - before;
    assert.ok(met < megabyte / 4, `the director met ${met} bytes of a download of a megabyte`);
    await transfer(lab, virtual);
  });
}

const none = { type: "ipip", port: 0, checksum: "none" } as const;
const tunnels: readonly (readonly [name: string, tunnel: Tunnel])[] = [
  ["ipip", none],
  ["gue", { type: "gue", port: 6080, checksum: "none" }],
  ["gue with a checksum", { type: "gue", port: 6080, checksum: "full" }],
  ["gre", { type: "gre", port: 0, checksum: "none" }],
  ["gre with a checksum", { type: "gre", port: 0, checksum: "full" }],
];

function identityOf({ virtual }: AddressPlan): ServiceIdentity {
  return { kind: "address", protocol: "tcp", address: bare(virtual[0] ?? ""), port: 80 };
}

function realServer({ servers }: AddressPlan, tunnel: Tunnel): RealServer {
  const limits = { weight: 1, upperThreshold: 0, lowerThreshold: 0 };
  return { address: bare(servers[0] ?? ""), port: 80, method: "ipip", ...limits, tunnel };
}

const inAndOut = [
  ["IPv4 in IPv4", tutorialPlan, tutorialPlan],
  ["IPv6 in IPv6", tutorialPlan6, tutorialPlan6],
  ["IPv4 in IPv6", tutorialPlan, tutorialPlan6],
  ["IPv6 in IPv4", tutorialPlan6, tutorialPlan],
] as const;

story("every tunnel carries both families in both", [tutorialPlan, tutorialPlan6], async (lab) => {
  const director = new BareDirector(lab);
  for (const inner of [tutorialPlan, tutorialPlan6]) {
    const identity = identityOf(inner);
    const service: VirtualService = {
      identity,
      scheduler: "rr",
      schedulerFlags: [],
      onePacket: false,
      realServers: [],
    };
    await director.apply({ kind: "add-service", service });
  }
  for (const [families, inner, outer] of inAndOut) {
    const identity = identityOf(inner);
    const { address, port } = realServer(outer, none);
    await director.apply({ kind: "add-real-server", identity, realServer: realServer(outer, none) });
    const virtual = inner.virtual[0] ?? "";
    await openTunnels(lab);
    await waitFor(
      `an answer through ${families}`,
      async () => (await lab.curl(url(virtual), { timeoutS: 2 })).server === "http1",
    );
    for (const [name, tunnel] of tunnels) {
      await director.apply({ kind: "edit-real-server", identity, realServer: realServer(outer, tunnel) });
      await openTunnels(lab, tunnel.type, ["http1"]);
      try {
        await transfer(lab, virtual);
      } catch (error) {
        throw new Error(`${families} by ${name}`, { cause: error });
      }
    }
    await director.apply({ kind: "remove-real-server", identity, address, port });
  }
  await director.end();
});
