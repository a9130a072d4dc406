import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Director, httpCheck, service } from "../support/director.ts";
import { bare, projectRoot, tutorialPlan, url, waitFor } from "../support/lab.ts";
import { story } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const both = { "192.168.200.102:80": 1, "192.168.200.103:80": 1 };

story("the tutorial's cluster works with its ldirectord.cf as it is", [tutorialPlan], async (lab) => {
  const config = readFileSync(join(projectRoot, "demo", "ldirectord.cf"), "utf8");
  const director = await Director.start(lab, { config });
  await director.waitForWeights(both);

  const { planes } = await director.stats();
  assert.deepEqual(
    planes.map((plane) => plane.plane),
    ["xdp"],
  );
  const found = await director.service("tcp:10.10.10.53:80");
  assert.equal(found.scheduler, "lblc");
  assert.deepEqual(
    found.realServers.map((real) => real.method),
    ["gate", "gate"],
  );
  assert.equal((await director.attached())["front"], "native");
  assert.match((await director.xlb("stats")).stdout, /TCP\s+10\.10\.10\.53:80\s+lblc persistent 100/);

  // With lblc the second server enters while connections are open at the same time.
  for (const [index, client] of tutorialPlan.clients.entries()) {
    lab.spawn("client", ["curl", "-so", "/dev/null", "--interface", bare(client), url(virtual, "/big?rate=10k")]);
    await waitFor(`connection ${index + 1} is active`, async () => {
      const { realServers } = await director.service();
      return realServers.reduce((sum, real) => sum + real.active, 0) === index + 1;
    });
  }
  const answers: string[] = [];
  for (const client of tutorialPlan.clients) answers.push(await lab.whoAnswers({ from: client }));
  assert.deepEqual([...new Set(answers)].sort(), ["http1", "http2"]);
  // persistent=100: a client stays on its server.
  for (const [index, client] of tutorialPlan.clients.entries()) {
    assert.equal(await lab.whoAnswers({ from: client }), answers[index]);
  }

  const connections = await director.connections();
  const clients = tutorialPlan.clients.map(bare).sort();
  const established = connections.filter((connection) => connection.state === "ESTABLISHED");
  assert.deepEqual(established.map((connection) => connection.client).sort(), clients);
  const templates = connections.filter((connection) => connection.template);
  assert.deepEqual(templates.map((template) => template.client).sort(), clients);
  const { realServers } = await director.service();
  assert.deepEqual(
    realServers.map((real) => real.persistent).reduce((a, b) => a + b),
    clients.length,
  );
});

story("real servers see the client's address, and rr takes them in turn", [tutorialPlan], async (lab) => {
  const config = `checkinterval=1\n${service(tutorialPlan, [...httpCheck, "scheduler=rr"])}`;
  const director = await Director.start(lab, { config });
  await director.waitForWeights(both);
  const servers: string[] = [];
  for (let i = 0; i < 8; i++) {
    const client = tutorialPlan.clients[i % 4]!;
    const answer = await lab.curl(url(virtual), { from: client });
    assert.equal(answer.status, 200, answer.error);
    assert.equal(answer.client, bare(client));
    servers.push(answer.server);
  }
  assert.equal(servers.filter((server) => server === "http1").length, 4, servers.join(" "));
  for (let i = 2; i < 8; i++) assert.equal(servers[i], servers[i - 2], servers.join(" "));

  const found = await director.service();
  assert.equal(found.connections, 8);
  assert.deepEqual(
    found.realServers.map((real) => real.connections),
    [4, 4],
  );
  assert.equal(
    found.packets,
    found.realServers.reduce((sum, real) => sum + real.packets, 0),
  );
  assert.ok(found.packets >= 8 * 4, `a request is at least four packets; counted were ${found.packets}`);
  assert.ok(found.bytes > found.packets * 40);
});
