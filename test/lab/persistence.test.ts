import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { Director, httpCheck, service } from "../support/director.ts";
import { bare, tutorialPlan, waitFor } from "../support/lab.ts";
import type { Lab } from "../support/lab.ts";
import { story } from "../support/story.ts";

const [http1, http2] = ["192.168.200.102:80", "192.168.200.103:80"] as const;
const clients = tutorialPlan.clients.map(bare);
const [first = "", second = ""] = clients;

function configWith(...lines: readonly string[]): string {
  return `checkinterval=1\nquiescent=yes\n${service(tutorialPlan, [...httpCheck, "scheduler=rr", ...lines])}`;
}

async function answersOf(lab: Lab, from: string, times: number): Promise<string[]> {
  const names: string[] = [];
  for (let i = 0; i < times; i++) names.push(await lab.whoAnswers({ from }));
  return names;
}

story(
  "persistent: a client keeps its real server, also a quiescent one, until its time is over",
  [tutorialPlan],
  async (lab) => {
    const director = await Director.start(lab, { config: configWith("persistent=6") });
    await director.waitForWeights({ [http1]: 1, [http2]: 1 });
    const [one = ""] = await answersOf(lab, first, 1);
    assert.deepEqual(new Set(await answersOf(lab, first, 4)), new Set([one]));
    const [two] = await answersOf(lab, second, 1);
    assert.notEqual(two, one, "rr gives the next client the next real server");

    const check = join(lab.documentRoot(one), "check.txt");
    renameSync(check, `${check}.off`);
    const weights = { [http1]: one === "http1" ? 0 : 1, [http2]: one === "http1" ? 1 : 0 };
    await director.waitForWeights(weights);
    assert.equal(await lab.whoAnswers({ from: first }), one);
    assert.equal((await director.connections("--templates")).length, 2);

    // No connection of the client is left, and nobody asks: the template goes after six seconds.
    assert.equal((await director.xlb("tune", "timeout_tcpfin=1")).code, 0);
    await waitFor(
      "the template is gone",
      async () => !(await director.connections("--templates")).some(({ client }) => client === first),
    );
    assert.equal(await lab.whoAnswers({ from: first }), two);
  },
);

story("netmask: all clients of a network keep one real server", [tutorialPlan], async (lab) => {
  const director = await Director.start(lab, { config: configWith("persistent=60", "netmask=255.255.255.0") });
  await director.waitForWeights({ [http1]: 1, [http2]: 1 });
  const names = new Set<string>();
  for (const from of clients) names.add(await lab.whoAnswers({ from }));
  assert.equal(names.size, 1);
  const templates = await director.connections("--templates");
  assert.deepEqual(
    templates.map(({ client }) => client),
    ["172.20.0.0"],
  );
});
