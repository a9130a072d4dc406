import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadNative } from "../../src/native.ts";
import { Director, directorIsMissing, httpCheck, service } from "../support/director.ts";
import { Lab, labIsMissing, projectRoot, tutorialPlan, waitFor } from "../support/lab.ts";

/** False, or why not: the story needs a kernel with both planes. */
function ipvsIsMissing(): string | false {
  if (existsSync("/proc/net/ip_vs")) return false;
  const { status } = spawnSync("modprobe", ["--dry-run", "--quiet", "ip_vs"]);
  return status === 0 ? false : "this kernel has no IPVS (make test-kernels runs it on kernels that have)";
}

const weights = { "192.168.200.102:80": 1, "192.168.200.103:80": 1 };
const passes = join(projectRoot, "build", "test-bpf", "xdp_pass.bpf.o");

/** Somebody else's program takes the interface; the director may be faster, so it is tried again. */
async function takeInterface(lab: Lab, director: Director): Promise<void> {
  const native = loadNative();
  const pin = join(director.bpffs, "links", "front");
  await waitFor("another program has the interface", async () => {
    if (existsSync(pin)) {
      const link = native.linkOpenPinned(pin);
      if (native.linkInfo(link).ifindex !== 0) native.linkDetach(link);
      native.linkClose(link);
    }
    const set = ["ip", "link", "set", "dev", "front", "xdpdrv", "obj", passes, "sec", "xdp"];
    return (await lab.exec("director", set)).code === 0;
  });
}

test(
  "a service goes from XDP to the kernel's IPVS in mid-life, and back, with clients served throughout",
  { skip: labIsMissing() || directorIsMissing() || ipvsIsMissing(), timeout: 1_500_000 },
  async (t) => {
    await using lab = await Lab.create({ plans: [tutorialPlan] });
    const config = `checkinterval=1\n${service(tutorialPlan, [...httpCheck, "scheduler=rr"])}`;
    const director = await Director.start(lab, { config, startDeadlineMs: 400_000 });
    const plane = async (): Promise<string> => {
      const { planes } = await director.stats();
      return planes
        .filter(({ services }) => services.length > 0)
        .map((each) => each.plane)
        .join(" ");
    };
    const answered = async (): Promise<void> => {
      const found = [await lab.whoAnswers({ timeoutS: 30 }), await lab.whoAnswers({ timeoutS: 30 })];
      assert.deepEqual(found.sort(), ["http1", "http2"]);
    };
    try {
      await director.waitForWeights(weights, undefined, 240_000);
      assert.equal(await plane(), "xdp");
      await answered();

      await takeInterface(lab, director);
      await waitFor("the kernel's IPVS has the service", async () => (await plane()) === "ipvs", 240_000);
      await director.waitForWeights(weights, undefined, 240_000);
      await answered();
      const stats = (await director.xlb("stats")).stdout;
      assert.match(stats, /^on plane ipvs: tcp:10\.10\.10\.53:80: interface front: native mode was refused: .*EBUSY/m);
      assert.match(stats, /^plane ipvs: front ipvs/m);

      await lab.run("director", "ip", "link", "set", "dev", "front", "xdp", "off");
      await waitFor("XDP has the service again", async () => (await plane()) === "xdp", 240_000);
      await director.waitForWeights(weights, undefined, 240_000);
      await answered();
      await director.stop();
    } catch (error) {
      t.diagnostic(director.process.log().slice(-6000));
      throw error;
    }
  },
);
