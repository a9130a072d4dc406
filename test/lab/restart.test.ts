import assert from "node:assert/strict";
import { Director, service } from "../support/director.ts";
import { tutorialPlan, waitFor } from "../support/lab.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const connections = 1000;
const config = `checkinterval=1\n${service(tutorialPlan, ["checktype=connect", "scheduler=wlc"], { port: echoPort })}`;
const weights = { [`192.168.200.102:${echoPort}`]: 1, [`192.168.200.103:${echoPort}`]: 1 };

async function programId(director: Director): Promise<number> {
  const text = await director.lab.run("director", "ip", "-json", "-details", "link", "show", "dev", "front");
  const [link] = JSON.parse(text) as readonly { readonly xdp?: { readonly prog: { readonly id: number } } }[];
  return link?.xdp?.prog.id ?? assert.fail("nothing is attached to front");
}

async function active(director: Director): Promise<number[]> {
  return (await director.service()).realServers.map((real) => real.active);
}

story("1000 open connections live through kill -9, a restart and another program", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config });
  await director.waitForWeights(weights);
  const transfers = await startTransfers(lab, virtual, connections);
  assert.deepEqual(await active(director), [500, 500]);
  const before = await programId(director);

  await director.kill();
  assert.equal(await programId(director), before, "the program stays attached");
  const packets = (await director.service()).packets;
  await waitFor("packets go on without a daemon", async () => (await director.service()).packets > packets + 1000);
  // New connections too.
  assert.deepEqual(harm(await (await startTransfers(lab, virtual, 20)).finish()), unharmed);

  for (let round = 0; round < 2; round++) {
    await director.start();
    await director.waitForWeights(weights);
    await director.kill();
  }
  await director.start();
  assert.notEqual(await programId(director), before, "a new daemon brings its own program");
  assert.deepEqual(await active(director), [500, 500]);

  const restart = await director.xlb("status");
  assert.equal(restart.code, 0, restart.stderr);
  const report = await transfers.finish();
  assert.deepEqual(harm(report), unharmed);
  assert.equal(report.connections, connections);
});

story("1000 open connections live through a reload every 100 ms", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config });
  await director.waitForWeights(weights);
  const transfers = await startTransfers(lab, virtual, connections);
  for (let round = 1; round <= 30; round++) {
    const weight = 1 + (round % 3);
    director.edit(() => config.replaceAll(/gate( \d+)?$/gm, `gate ${weight}`));
    director.process.signal("SIGHUP");
    const until = Date.now() + 100;
    await waitFor("100 ms are over", () => Date.now() >= until, 1_000, 20);
  }
  assert.equal((await director.xlb("reload")).code, 0);
  await director.waitForWeights(Object.fromEntries(Object.keys(weights).map((key) => [key, 1])));
  assert.deepEqual(await active(director), [500, 500]);
  assert.deepEqual(harm(await transfers.finish()), unharmed);
});
