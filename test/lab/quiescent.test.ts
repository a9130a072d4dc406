import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { Director, httpCheck, service } from "../support/director.ts";
import { tutorialPlan } from "../support/lab.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const http1 = `192.168.200.102:${echoPort}`;
const http2 = `192.168.200.103:${echoPort}`;

story("quiescent=yes: a failed real server keeps its connections and gets no new ones", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const config = `checkinterval=1\nquiescent=yes\n${service(
    tutorialPlan,
    [...httpCheck, "checkport=80", "scheduler=rr"],
    { port: echoPort },
  )}`;
  const director = await Director.start(lab, { config });
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  const transfers = await startTransfers(lab, virtual, 20);

  const check = join(lab.documentRoot("http1"), "check.txt");
  renameSync(check, `${check}.off`);
  await director.waitForWeights({ [http1]: 0, [http2]: 1 });
  const later = await startTransfers(lab, virtual, 10);
  const { realServers } = await director.service();
  assert.deepEqual(Object.fromEntries(realServers.map(({ key, active }) => [key, active])), {
    [http1]: 10,
    [http2]: 20,
  });

  renameSync(`${check}.off`, check);
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  assert.deepEqual(harm(await transfers.finish()), unharmed);
  assert.deepEqual(harm(await later.finish()), unharmed);
});
