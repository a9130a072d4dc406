import assert from "node:assert/strict";
import { Director, endpoint, httpCheck, service } from "../support/director.ts";
import { oneArmedPlan, oneArmedPlan6, tutorialPlan, url } from "../support/lab.ts";
import type { AddressPlan } from "../support/lab.ts";
import { story } from "../support/story.ts";

const cases: readonly (readonly [name: string, plans: readonly AddressPlan[]])[] = [
  ["two arms", [tutorialPlan]],
  ["one arm", [oneArmedPlan, oneArmedPlan6]],
];

for (const [name, plans] of cases) {
  story(`generic mode forwards as native mode does: ${name}`, plans, async (lab) => {
    const sections = plans.map((plan) => service(plan, [...httpCheck, "scheduler=rr"]));
    const config = `checkinterval=1\n${sections.join("")}`;
    const director = await Director.start(lab, { config, args: ["--plane", "generic"] });
    const modes = Object.values(await director.attached());
    assert.ok(modes.length > 0 && modes.every((mode) => mode === "generic"), modes.join(" "));
    const { interfaces } = (await director.stats()).planes[0]!;
    assert.ok(interfaces.every(({ mode }) => mode === "generic"));
    for (const plan of plans) {
      const target = url(plan.virtual[0]!);
      const weights = Object.fromEntries(plan.servers.map((server) => [endpoint(server), 1]));
      await director.waitForWeights(weights, `tcp:${endpoint(plan.virtual[0]!)}`);
      const answers = new Set<string>();
      for (let i = 0; i < plan.servers.length * 2; i++) answers.add(await lab.whoAnswers({ target }));
      assert.deepEqual([...answers].sort(), lab.servers);
    }
  });
}
