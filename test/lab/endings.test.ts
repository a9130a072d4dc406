import assert from "node:assert/strict";
import { Director, service } from "../support/director.ts";
import { tutorialPlan, waitFor } from "../support/lab.ts";
import { echoPort, startEchoServers, startTransfers, story } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const [http1, http2] = ["192.168.200.102", "192.168.200.103"].map((address) => `${address}:${echoPort}`) as [
  string,
  string,
];
const config = `checkinterval=1\nchecktimeout=2\n${service(tutorialPlan, ["checktype=connect", "scheduler=rr"], { port: echoPort })}`;
const connections = 40;

async function resets(director: Director): Promise<number> {
  return (await director.stats()).planes[0]?.packets["reset_real_server_gone"] ?? 0;
}

story("clients of a dead real server are told at once, and nobody else is", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config });
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  const transfers = await startTransfers(lab, virtual, connections);
  await lab.run("switch", "ip", "link", "set", "http1-eth0", "down");
  await director.waitForWeights({ [http2]: 1 });
  await waitFor("every orphan is told", async () => (await resets(director)) >= connections / 2);
  const report = await transfers.finish();
  assert.deepEqual(
    { lost: report.lost, firstLoss: report.firstLoss, wrong: report.wrong, incomplete: report.incomplete },
    { lost: connections / 2, firstLoss: "ECONNRESET", wrong: 0, incomplete: 0 },
  );
});

story("with resets_per_second=0 they wait, as with IPVS", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config, args: ["--set", "resets_per_second=0"] });
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  const transfers = await startTransfers(lab, virtual, connections);
  await lab.run("switch", "ip", "link", "set", "http1-eth0", "down");
  await director.waitForWeights({ [http2]: 1 });
  const gone = async () => (await director.stats()).planes[0]?.packets["drop_real_server_gone"] ?? 0;
  await waitFor("segments of orphans are dropped", async () => (await gone()) >= connections / 2);
  assert.equal(await resets(director), 0);
  assert.equal((await transfers.finish()).lost, 0);
});
