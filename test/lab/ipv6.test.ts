import assert from "node:assert/strict";
import { Director, endpoint, httpCheck, service } from "../support/director.ts";
import { bare, oneArmedPlan6, tutorialPlan, tutorialPlan6, url } from "../support/lab.ts";
import type { AddressPlan } from "../support/lab.ts";
import { story } from "../support/story.ts";

function weightsOf(plan: AddressPlan): Record<string, number> {
  return Object.fromEntries(plan.servers.map((server) => [endpoint(server), 1]));
}

function virtualOf(plan: AddressPlan): string {
  return plan.virtual[0] ?? assert.fail("no virtual address");
}

const cases: readonly (readonly [name: string, plans: readonly AddressPlan[]])[] = [
  ["two arms, beside IPv4", [tutorialPlan, tutorialPlan6]],
  ["one arm, IPv6 alone", [oneArmedPlan6]],
];

for (const [name, plans] of cases) {
  story(`IPv6: ${name}`, plans, async (lab) => {
    const config = [
      "checkinterval=1",
      ...plans.map((plan) => {
        const fallback = virtualOf(plan).includes(":") ? "fallback6=[::1]:80" : "fallback=127.0.0.1:80";
        return service(plan, [...httpCheck, "scheduler=rr", fallback]);
      }),
    ].join("\n");
    const director = await Director.start(lab, { config });
    for (const plan of plans) {
      const key = `tcp:${endpoint(virtualOf(plan))}`;
      await director.waitForWeights(weightsOf(plan), key);
      const answers = new Set<string>();
      for (let i = 0; i < plan.servers.length * 2; i++) {
        const from = plan.clients[i % plan.clients.length] ?? "";
        const answer = await lab.curl(url(virtualOf(plan)), { from });
        assert.equal(answer.status, 200, answer.error);
        assert.equal(answer.client, bare(from));
        answers.add(answer.server);
      }
      assert.deepEqual([...answers].sort(), lab.servers);
    }
    for (const server of lab.servers) await lab.stopWebServer(server);
    for (const plan of plans) {
      const loopback = virtualOf(plan).includes(":") ? "[::1]:80" : "127.0.0.1:80";
      await director.waitForWeights({ [loopback]: 1 }, `tcp:${endpoint(virtualOf(plan))}`);
      assert.equal(await lab.whoAnswers({ target: url(virtualOf(plan)) }), "director");
    }
  });
}
