import assert from "node:assert/strict";
import { Director, httpCheck, service } from "../support/director.ts";
import { tutorialPlan, waitFor } from "../support/lab.ts";
import { story } from "../support/story.ts";

const weights = { "192.168.200.102:80": 1, "192.168.200.103:80": 1 };
const section = service(tutorialPlan, [...httpCheck, "scheduler=rr"]);

story("xlb stop detaches and removes everything", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config: `checkinterval=1\n${section}` });
  await director.waitForWeights(weights);
  assert.match(await lab.whoAnswers(), /^http/);
  await director.stop();
  assert.deepEqual(await director.attached(), {});
  assert.deepEqual(lab.pinned(), []);
  assert.equal(await lab.whoAnswers(), "director");
  const again = await director.xlb("status");
  assert.equal(again.code, 3, "status of a daemon that does not run");
});

story("SIGTERM ends the daemon", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config: `checkinterval=1\n${section}` });
  await director.waitForWeights(weights);
  director.process.signal("SIGTERM");
  const { code, signal } = await director.process.exited;
  assert.deepEqual({ code, signal }, { code: 0, signal: null });
});

story("xlb stop --keep goes on forwarding, and a later daemon adopts it", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config: `checkinterval=1\n${section}` });
  await director.waitForWeights(weights);
  await director.stop("--keep");
  for (let i = 0; i < 4; i++) assert.match(await lab.whoAnswers(), /^http/);
  assert.equal((await director.service()).realServers.length, 2);

  await director.start();
  await director.waitForWeights(weights);
  assert.ok((await director.service()).connections >= 4, "the counters go on");
  await director.stop();
  assert.deepEqual(await director.attached(), {});
});

story("after kill -9, xlb stop cleans up what the daemon has left", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config: `checkinterval=1\n${section}` });
  await director.waitForWeights(weights);
  await director.kill();
  await director.xlb("stop");
  await waitFor("nothing is attached", async () => Object.keys(await director.attached()).length === 0);
  assert.deepEqual(lab.pinned(), []);
});
