import assert from "node:assert/strict";
import { Director, endpoint, httpCheck, service } from "../support/director.ts";
import { bare, isIpv6, tutorialPlan, tutorialPlan6, url } from "../support/lab.ts";
import { story } from "../support/story.ts";

const plans = [tutorialPlan, tutorialPlan6];

story("what is not a service's goes to the director's own stack", plans, async (lab) => {
  const sections = plans.map((plan) => service(plan, [...httpCheck, "scheduler=rr"]));
  const director = await Director.start(lab, { config: `checkinterval=1\n${sections.join("")}` });
  for (const plan of plans) {
    const virtual = plan.virtual[0]!;
    const weights = Object.fromEntries(plan.servers.map((server) => [endpoint(server), 1]));
    await director.waitForWeights(weights, `tcp:${endpoint(virtual)}`);
    assert.match(await lab.whoAnswers({ target: url(virtual) }), /^http/);
    // Another port of the virtual address, and the service's port of the director's own address.
    assert.equal(await lab.whoAnswers({ target: url(virtual, "/", 8080) }), "director");
    assert.equal(await lab.whoAnswers({ target: url(plan.director) }), "director");
    // What the director itself asks for does not come in from the network.
    assert.match(await lab.run("director", "curl", "--silent", "--globoff", url(virtual)), /^temporarily inaccessible/);
    const family = isIpv6(virtual) ? "-6" : "-4";
    await lab.run("client", "ping", family, "-c", "2", "-i", "0.2", "-W", "2", bare(virtual));
    // A port that nobody listens on is refused by the stack, not swallowed.
    const refused = await lab.curl(url(virtual, "/", 81), { timeoutS: 3 });
    assert.equal(refused.code, 7, refused.error);
  }
});
