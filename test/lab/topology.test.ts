import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bare,
  isIpv6,
  Lab,
  labIsMissing,
  oneArmedPlan,
  oneArmedPlan6,
  tutorialPlan,
  tutorialPlan6,
  url,
} from "../support/lab.ts";
import type { AddressPlan } from "../support/lab.ts";

const networks: readonly (readonly [name: string, plans: readonly AddressPlan[]])[] = [
  ["two arms", [tutorialPlan, tutorialPlan6]],
  ["one arm", [oneArmedPlan, oneArmedPlan6]],
];

for (const [name, plans] of networks) {
  test(
    `without xlb the director itself answers for the virtual address: ${name}`,
    { skip: labIsMissing() },
    async () => {
      await using lab = await Lab.create({ plans });
      for (const plan of plans) {
        for (const virtual of plan.virtual) {
          assert.equal(await lab.whoAnswers({ target: url(virtual), timeoutS: 3 }), "director");
        }
        for (const client of plan.clients) {
          assert.equal(await lab.whoAnswers({ target: url(plan.virtual[0]!), from: client, timeoutS: 3 }), "director");
        }
      }
    },
  );

  test(`real servers answer clients directly with the virtual address: ${name}`, { skip: labIsMissing() }, async () => {
    await using lab = await Lab.create({ plans });
    for (const plan of plans) {
      for (const [index, server] of lab.servers.entries()) {
        // What the director does to a packet, done by a route of the gateway.
        const virtual = bare(plan.virtual[0]!);
        const family = isIpv6(virtual) ? "-6" : "-4";
        const target = `${virtual}/${isIpv6(virtual) ? 128 : 32}`;
        const leg = plan.serverSide ? "back" : "front";
        await lab.run(
          "gateway",
          "ip",
          family,
          "route",
          "replace",
          target,
          "via",
          bare(plan.servers[index]!),
          "dev",
          leg,
        );
        assert.equal(await lab.whoAnswers({ target: url(virtual), timeoutS: 3 }), server);
      }
    }
  });
}
