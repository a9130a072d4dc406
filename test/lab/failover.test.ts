import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { Director, httpCheck, service } from "../support/director.ts";
import { tutorialPlan } from "../support/lab.ts";
import { story } from "../support/story.ts";

const http1 = "192.168.200.102:80";
const http2 = "192.168.200.103:80";
const lines = [...httpCheck, "scheduler=rr", "quiescent=no", "fallback=127.0.0.1:80"];

story("a real server that fails is left out, with none left the fallback answers", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, {
    config: `checkinterval=1\nchecktimeout=3\n${service(tutorialPlan, [...lines, "persistent=100"])}`,
  });
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  const everyClient = async (server: string): Promise<void> => {
    for (const client of tutorialPlan.clients) assert.equal(await lab.whoAnswers({ from: client }), server);
  };
  for (const client of tutorialPlan.clients) await lab.whoAnswers({ from: client });

  await lab.stopWebServer("http1");
  await director.waitForWeights({ [http2]: 1 });
  await everyClient("http2");

  // Its port answers, but not with what `receive` asks for.
  const check = join(lab.documentRoot("http2"), "check.txt");
  renameSync(check, `${check}.off`);
  await director.waitForWeights({ "127.0.0.1:80": 1 });
  await everyClient("director");
  assert.match((await lab.curl("http://10.10.10.53/")).body, /temporarily inaccessible/);

  renameSync(`${check}.off`, check);
  await director.waitForWeights({ [http2]: 1 });
  await everyClient("http2");
  await lab.startWebServer("http1");
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  await director.stop();
});

story("failurecount wants that many failures in a row", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, {
    config: `checkinterval=1\nfailurecount=3\n${service(tutorialPlan, lines)}`,
  });
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  // Before it is stopped: a busy machine may tell long afterwards that it is.
  const stopping = Date.now();
  await lab.stopWebServer("http1");
  await director.waitForWeights({ [http2]: 1 });
  const elapsed = Date.now() - stopping;
  assert.ok(elapsed > 1_500, `three failures at an interval of 1 s took only ${elapsed} ms`);
  const told = director.process.log().matchAll(/192\.168\.200\.102:80.*(failure \d\/3|is down)/g);
  assert.deepEqual(
    [...told].map((match) => match[1]),
    ["failure 1/3", "failure 2/3", "is down"],
  );
});

story("a real server that is cut off fails by its timeout", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, {
    config: `checkinterval=1\nchecktimeout=2\nnegotiatetimeout=2\n${service(tutorialPlan, lines)}`,
  });
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  await lab.run("switch", "ip", "link", "set", "http1-eth0", "down");
  await director.waitForWeights({ [http2]: 1 });
  for (let i = 0; i < 4; i++) assert.equal(await lab.whoAnswers(), "http2");
  await lab.run("switch", "ip", "link", "set", "http1-eth0", "up");
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
});
