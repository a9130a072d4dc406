import assert from "node:assert/strict";
import { Director, endpoint, httpCheck, service } from "../support/director.ts";
import { bare, oneArmedPlan, url } from "../support/lab.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const [first = "", second = ""] = oneArmedPlan.virtual;

story("one arm: frames leave by the interface they came from", [oneArmedPlan], async (lab) => {
  await startEchoServers(lab);
  const config = [
    "checkinterval=1",
    service(oneArmedPlan, [...httpCheck, "scheduler=wrr"], { weights: [3, 2, 1] }),
    service(oneArmedPlan, ["checktype=connect", "scheduler=wlc"], { virtual: 1, port: echoPort }),
  ].join("\n");
  const director = await Director.start(lab, { config });
  const [http1 = "", http2 = "", http3 = ""] = oneArmedPlan.servers.map((server) => endpoint(server));
  await director.waitForWeights({ [http1]: 3, [http2]: 2, [http3]: 1 }, `tcp:${endpoint(first)}`);
  const weights = Object.fromEntries(oneArmedPlan.servers.map((server) => [endpoint(server, echoPort), 1]));
  await director.waitForWeights(weights, `tcp:${endpoint(second, echoPort)}`);
  assert.deepEqual(await director.attached(), { front: "native" });

  const answers: string[] = [];
  for (let i = 0; i < 12; i++) answers.push(await lab.whoAnswers({ target: url(first) }));
  const count = (server: string): number => answers.filter((answer) => answer === server).length;
  assert.deepEqual([count("http1"), count("http2"), count("http3")], [6, 4, 2], answers.join(" "));

  const transfers = await startTransfers(lab, second, 30);
  const { realServers } = await director.service(`tcp:${endpoint(second, echoPort)}`);
  assert.deepEqual(
    realServers.map((real) => real.active),
    [10, 10, 10],
    "wlc spreads open connections evenly",
  );
  const report = await transfers.finish();
  assert.deepEqual(harm(report), unharmed);
  assert.ok(report.bytes > 0);

  const { packets } = (await director.stats()).planes[0]!;
  const dropped = Object.entries(packets).filter(([name, total]) => name.startsWith("drop") && total > 0);
  assert.deepEqual(dropped, []);
  assert.equal((await lab.curl(url(bare(first)))).status, 200);
});
