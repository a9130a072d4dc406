import assert from "node:assert/strict";
import { Director, endpoint, httpCheck, service } from "../support/director.ts";
import { oneArmedPlan, url } from "../support/lab.ts";
import { story } from "../support/story.ts";

const [first = "", second = ""] = oneArmedPlan.virtual;

story("two directors on one machine do not know of each other", [oneArmedPlan], async (lab) => {
  // The second virtual address moves to a leg of its own, and each leg answers ARP for its own addresses only.
  await lab.addLink("director", "other", "front");
  await lab.run("director", "sh", "-ec", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore");
  await lab.run("director", "ip", "addr", "del", second, "dev", "front");
  await lab.run("director", "ip", "addr", "add", second, "dev", "other");
  await lab.run("gateway", "ip", "neigh", "flush", "dev", "front");

  const section = (virtual: number, servers: readonly string[]): string =>
    `checkinterval=1\n${service(oneArmedPlan, [...httpCheck, "scheduler=rr"], { virtual, servers })}`;
  const [http1 = "", http2 = "", http3 = ""] = oneArmedPlan.servers;
  const one = await Director.start(lab, {
    name: "one",
    config: section(0, [http1, http2]),
    metricsPort: 9820,
    args: ["--interface", "front"],
  });
  const two = await Director.start(lab, {
    name: "two",
    config: section(1, [http3]),
    metricsPort: 9821,
    args: ["--interface", "other"],
  });
  await one.waitForWeights({ [endpoint(http1)]: 1, [endpoint(http2)]: 1 });
  await two.waitForWeights({ [endpoint(http3)]: 1 });
  assert.match(await lab.whoAnswers({ target: url(first) }), /^http[12]$/);
  assert.equal(await lab.whoAnswers({ target: url(second) }), "http3");

  await one.stop();
  assert.equal(await lab.whoAnswers({ target: url(first) }), "director");
  assert.equal(await lab.whoAnswers({ target: url(second) }), "http3");
  assert.deepEqual(await two.attached(), { other: "native" });
});

story("a second daemon with the same state directory is refused", [oneArmedPlan], async (lab) => {
  const config = `checkinterval=1\n${service(oneArmedPlan, [...httpCheck, "scheduler=rr"])}`;
  const director = await Director.start(lab, { config });
  const second = await lab.exec("director", director.command("run", "-c", director.configFile, ...director.runOptions));
  assert.notEqual(second.code, 0);
  assert.match(second.stderr + second.stdout, /running/);
  assert.equal((await director.xlb("status")).code, 0);
});
