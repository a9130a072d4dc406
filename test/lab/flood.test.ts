import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Director, service } from "../support/director.ts";
import { bare, tutorialPlan, waitFor } from "../support/lab.ts";
import type { Lab } from "../support/lab.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const connections = 1000;
const spoofed = 1_000_000;
/** The flood fills it fifteen times over. */
const tableSlots = 65_536;
const config = `checkinterval=1\n${service(tutorialPlan, ["checktype=connect", "scheduler=wlc"], { port: echoPort })}`;
const flooder = fileURLToPath(new URL("../support/flooder.js", import.meta.url));

/** What the gateway needs to write frames to the virtual address itself. */
async function wayFromGateway(lab: Lab): Promise<{ name: string; to: string; from: string }> {
  const address = bare(virtual);
  await lab.run("gateway", "ping", "-c", "1", "-W", "2", address);
  const [neighbour] = JSON.parse(await lab.run("gateway", "ip", "-json", "neighbour", "show", address)) as {
    dev: string;
    lladdr: string;
  }[];
  const name = neighbour?.dev ?? assert.fail("the gateway does not know the virtual address");
  const [link] = JSON.parse(await lab.run("gateway", "ip", "-json", "link", "show", "dev", name)) as {
    address: string;
  }[];
  return { name, to: neighbour?.lladdr ?? "", from: link?.address ?? "" };
}

async function count(director: Director, state: string): Promise<number> {
  const { code, stdout, stderr } = await director.xlb("connections", "--count", "--state", state);
  assert.equal(code, 0, stderr);
  return Number(stdout);
}

story("a million spoofed SYNs displace only each other, beside 1000 open connections", [tutorialPlan], async (lab) => {
  await startEchoServers(lab);
  const director = await Director.start(lab, { config, args: ["--table-size", String(tableSlots)] });
  await director.waitForWeights({ [`192.168.200.102:${echoPort}`]: 1, [`192.168.200.103:${echoPort}`]: 1 });
  const transfers = await startTransfers(lab, virtual, connections);
  assert.equal(await count(director, "ESTABLISHED"), connections);

  const { name, to, from } = await wayFromGateway(lab);
  const before = (await director.service()).connections;
  const flood = lab.spawn(
    "gateway",
    [process.execPath, flooder, name, to, from, bare(virtual), String(echoPort), String(spoofed)],
    "flooder",
  );
  await waitFor("the flood is over", () => !flood.running, 120_000);
  assert.match(flood.log(), /"sent":1000000/);
  const [plane] = (await director.stats()).planes;
  const opened = (await director.service()).connections - before;
  const displaced = plane?.packets["victim_half_open"] ?? 0;
  assert.ok(opened > spoofed / 2, `only ${opened} of the SYNs arrived`);
  assert.ok(displaced > opened / 2, `${displaced} half-open connections displaced`);
  assert.equal(await count(director, "ESTABLISHED"), connections);

  // Someone who comes now is served as well.
  assert.deepEqual(harm(await (await startTransfers(lab, virtual, 20)).finish()), unharmed);
  assert.deepEqual(harm(await transfers.finish()), unharmed);
});
