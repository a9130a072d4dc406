import assert from "node:assert/strict";
import { Director, httpCheck, service } from "../support/director.ts";
import { tutorialPlan, url, waitFor } from "../support/lab.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const web = "tcp:10.10.10.53:80";
const echo = `tcp:10.10.10.53:${echoPort}`;
const base = `checkinterval=1\n${service(tutorialPlan, [...httpCheck, "scheduler=rr"])}`;
const more = service(tutorialPlan, ["checktype=connect", "scheduler=wlc"], { port: echoPort, weights: [5, 5] });
const weights = { "192.168.200.102:80": 1, "192.168.200.103:80": 1 };
const echoWeights = { [`192.168.200.102:${echoPort}`]: 5, [`192.168.200.103:${echoPort}`]: 5 };

story("autoreload takes an edited file; a bad one changes nothing", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config: `autoreload=yes\n${base}` });
  await director.waitForWeights(weights, web);

  director.edit((text) => text + more);
  await director.waitForWeights(echoWeights, echo);
  const transfers = await startTransfers(lab, virtual, 20);

  director.edit((text) => text.replace("checktype=negotiate", "checktype=nonsense").replaceAll("gate 5", "gate 9"));
  await waitFor("the failed reload is told", async () => {
    const { stdout } = await director.xlb("status", "--json");
    return /checktype/.test(stdout);
  });
  await director.waitForWeights(weights, web);
  await director.waitForWeights(echoWeights, echo);
  assert.match(await director.metrics(), /^xlb_config_last_reload_successful(\{.*\})? 0$/m);

  // Health checks go on with the old configuration.
  await lab.stopWebServer("http1");
  await director.waitForWeights({ "192.168.200.103:80": 1 }, web);
  await lab.startWebServer("http1");
  await director.waitForWeights(weights, web);

  director.edit((text) => text.replace("checktype=nonsense", "checktype=negotiate"));
  await director.waitForWeights({ [`192.168.200.102:${echoPort}`]: 9, [`192.168.200.103:${echoPort}`]: 9 }, echo);
  assert.match(await director.metrics(), /^xlb_config_last_reload_successful(\{.*\})? 1$/m);
  assert.deepEqual(harm(await transfers.finish()), unharmed);
});

story("xlb reload and SIGHUP take the file; without autoreload an edit alone does not", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config: base });
  await director.waitForWeights(weights, web);

  director.edit((text) => text + more);
  const reload = await director.xlb("reload");
  assert.equal(reload.code, 0, reload.stderr);
  await director.waitForWeights(echoWeights, echo);

  director.edit((text) => text.replaceAll("gate 5", "gate 7"));
  director.process.signal("SIGHUP");
  await director.waitForWeights({ [`192.168.200.102:${echoPort}`]: 7, [`192.168.200.103:${echoPort}`]: 7 }, echo);

  director.edit((text) => `${text}\nthis is no directive\n`);
  const bad = await director.xlb("reload");
  assert.notEqual(bad.code, 0);
  assert.match(bad.stderr + bad.stdout, /xlb\.cf:\d+:\d+: error:/);

  director.edit(() => base);
  assert.equal((await director.xlb("reload")).code, 0);
  await waitFor("the second service is gone", async () => {
    const services = (await director.stats()).planes.flatMap((plane) => plane.services);
    return services.length === 1 && services[0]?.key === web;
  });
  assert.equal((await lab.curl(url(virtual))).status, 200);
});
