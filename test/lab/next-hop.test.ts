import assert from "node:assert/strict";
import { Director, service } from "../support/director.ts";
import { tutorialPlan, waitFor } from "../support/lab.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const weights = { [`192.168.200.102:${echoPort}`]: 1, [`192.168.200.103:${echoPort}`]: 1 };
const config = `checkinterval=1\n${service(tutorialPlan, ["checktype=on", "scheduler=rr"], { port: echoPort })}`;

story("the MAC address of a real server changes: connections follow it", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config });
  await director.waitForWeights(weights);
  const transfers = await startTransfers(lab, virtual, 20);
  await lab.run("http1", "ip", "link", "set", "dev", "eth0", "address", "02:00:00:00:01:77");
  await waitFor(
    "the director's kernel knows the new address",
    async () => (await lab.run("director", "ip", "neigh", "show", "192.168.200.102")).includes("02:00:00:00:01:77"),
    30_000,
  );
  // The first packets after the change were lost; TCP sends them again.
  const { realServers } = await director.service();
  const http1 = realServers.find(({ key }) => key.startsWith("192.168.200.102"));
  await waitFor("packets reach it again", async () => {
    const now = (await director.service()).realServers.find(({ key }) => key === http1?.key);
    return (now?.packets ?? 0) > (http1?.packets ?? 0) + 50;
  });
  assert.deepEqual(harm(await transfers.finish()), unharmed);
  assert.deepEqual(harm(await (await startTransfers(lab, virtual, 10)).finish()), unharmed);
});
