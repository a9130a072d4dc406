import assert from "node:assert/strict";
import { Director, httpCheck, service } from "../support/director.ts";
import { tutorialPlan, url, waitFor } from "../support/lab.ts";
import type { Lab } from "../support/lab.ts";
import { story } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const weights = { "192.168.200.102:80": 1, "192.168.200.103:80": 1 };
const config = `checkinterval=1\nchecktimeout=2\nnegotiatetimeout=2\n${service(tutorialPlan, [...httpCheck, "scheduler=rr"])}`;

async function answered(lab: Lab): Promise<boolean> {
  return /^http/.test(await lab.whoAnswers({ timeoutS: 2 }));
}

story("the cable of the client-side interface is pulled and put back", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config });
  await director.waitForWeights(weights);
  await lab.run("switch", "ip", "link", "set", "director-front", "down");
  assert.notEqual((await lab.curl(url(virtual), { timeoutS: 1 })).code, 0);
  await lab.run("switch", "ip", "link", "set", "director-front", "up");
  await waitFor("requests are answered again", async () => await answered(lab), 20_000);
  assert.equal((await director.attached())["front"], "native");
});

story("the server-side interface goes down and comes up", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config });
  await director.waitForWeights(weights);
  // The gateway is no way to the real servers: it would send the virtual address's packets back.
  await lab.run("director", "ip", "route", "delete", "default");
  await lab.run("director", "ip", "link", "set", "back", "down");
  await director.waitForWeights({});
  await lab.run("director", "ip", "link", "set", "back", "up");
  await director.waitForWeights(weights);
  await waitFor("requests are answered again", async () => await answered(lab), 20_000);
});

story("an interface goes away and a new one takes its name", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config });
  await director.waitForWeights(weights);
  await lab.run("director", "ip", "link", "delete", "front");
  assert.equal((await director.xlb("status")).code, 0, "the daemon lives on");
  await lab.addLink("director", "front", "front");
  await lab.run("director", "ip", "addr", "add", tutorialPlan.director, "dev", "front");
  for (const address of tutorialPlan.virtual) await lab.run("director", "ip", "addr", "add", address, "dev", "front");
  await lab.run("director", "ip", "route", "add", "default", "via", "10.10.10.1");
  // The gateway still has the old interface's MAC address.
  await lab.run("gateway", "ip", "neigh", "flush", "dev", "front");
  await waitFor("requests are answered again", async () => await answered(lab), 20_000);
  assert.equal((await director.attached())["front"], "native");
});
