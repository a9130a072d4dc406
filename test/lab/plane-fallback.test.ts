import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { loadNative } from "../../src/native.ts";
import { Director, directorIsMissing, httpCheck, service } from "../support/director.ts";
import type { TransferReport } from "../support/transfers.ts";
import { Lab, labIsMissing, projectRoot, tutorialPlan, waitFor } from "../support/lab.ts";

/** False, or why not: the story needs a kernel with both planes. */
function ipvsIsMissing(): string | false {
  if (existsSync("/proc/net/ip_vs")) return false;
  const { status } = spawnSync("modprobe", ["--dry-run", "--quiet", "ip_vs"]);
  return status === 0 ? false : "this kernel has no IPVS (make test-kernels runs it on kernels that have)";
}

const weights = { "192.168.200.102:80": 1, "192.168.200.103:80": 1 };
const web = "tcp:10.10.10.53:80";
const port = 7000;
const connections = 20;
const transfers = join(import.meta.dirname, "..", "support", "transfers.js");
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

/** Of the live transfers: client and port, to real server. */
async function realServersOf(director: Director): Promise<Map<string, string>> {
  const found = await director.connections("--service", `tcp:10.10.10.53:${port}`, "--state", "ESTABLISHED");
  return new Map(found.map(({ client, clientPort, realServer }) => [`${client}:${clientPort}`, realServer]));
}

test(
  "services go from XDP to the kernel's IPVS in mid-life, and back, and take their live connections along",
  { skip: labIsMissing() || directorIsMissing() || ipvsIsMissing(), timeout: 1_500_000 },
  async (t) => {
    await using lab = await Lab.create({ plans: [tutorialPlan] });
    const echo = service(tutorialPlan, ["checktype=on", "scheduler=rr"], { port });
    const config = `checkinterval=1\n${service(tutorialPlan, [...httpCheck, "scheduler=rr"])}\n${echo}`;
    for (const server of lab.servers) {
      lab.spawn(server, [process.execPath, transfers, "serve", String(port)]);
      const listening = ["ss", "-Htln", `sport = :${port}`];
      await waitFor(`${server} echoes`, async () => (await lab.run(server, ...listening)) !== "", 60_000);
    }
    const director = await Director.start(lab, { config, startDeadlineMs: 400_000, args: ["--table-size", "16384"] });
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
      await director.waitForWeights(weights, web, 240_000);
      assert.equal(await plane(), "xdp");
      await answered();
      // They rest while the interface changes hands: the kernel would reset them by a segment in that moment.
      const target = [tutorialPlan.virtual[0]?.replace(/\/.*/, "") ?? "", String(port), String(connections), "3000"];
      const from = tutorialPlan.clients.map((client) => client.replace(/\/.*/, ""));
      const command = ["env", "INTERVAL_MS=3600000", process.execPath, transfers, "run", ...target, ...from];
      const client = lab.spawn("client", command, "transfers");
      await waitFor("all are open", () => client.log().includes(`open ${connections}\n`), 60_000);
      const held = await realServersOf(director);
      assert.equal(held.size, connections);

      await takeInterface(lab, director);
      await waitFor("the kernel's IPVS has the service", async () => (await plane()) === "ipvs", 240_000);
      await director.waitForWeights(weights, web, 240_000);
      await answered();
      assert.deepEqual(await realServersOf(director), held);
      client.signal("SIGHUP");
      const stats = (await director.xlb("stats")).stdout;
      assert.match(
        stats,
        /^on plane ipvs: tcp:10\.10\.10\.53:80, tcp:10\.10\.10\.53:7000: interface front: native mode was refused: .*EBUSY/m,
      );
      assert.match(stats, /^plane ipvs: front ipvs/m);

      await lab.run("director", "ip", "link", "set", "dev", "front", "xdp", "off");
      await waitFor("XDP has the service again", async () => (await plane()) === "xdp", 240_000);
      await director.waitForWeights(weights, web, 240_000);
      await answered();
      assert.deepEqual(await realServersOf(director), held);
      client.signal("SIGHUP");
      client.signal("SIGUSR2");
      await client.exited;
      const { bytes, ...report } = JSON.parse(client.log().trim().split("\n").at(-1) ?? "") as TransferReport;
      assert.deepEqual(report, { connections, lost: 0, firstLoss: "", wrong: 0, incomplete: 0 });
      assert.equal(bytes, 3 * 512 * connections, "a block over each plane, and one over the first again");
      await director.stop();
    } catch (error) {
      t.diagnostic(director.process.log().slice(-6000));
      throw error;
    }
  },
);
