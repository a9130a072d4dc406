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
const datagramPort = 7001;
const flooder = fileURLToPath(new URL("../support/flooder.js", import.meta.url));

/**
 * Frames from so many that are nobody to the virtual address, from the gateway, of each `times` in a row. Returns when
 * the last one is sent.
 */
async function flood(lab: Lab, protocol: "tcp" | "udp", port: number, frames: number, times = 1): Promise<void> {
  const address = bare(virtual);
  await lab.run("gateway", "ping", "-c", "1", "-W", "2", address);
  const [neighbour] = JSON.parse(await lab.run("gateway", "ip", "-json", "neighbour", "show", address)) as {
    dev: string;
    lladdr: string;
  }[];
  assert.ok(neighbour, "the gateway does not know the virtual address");
  const { dev, lladdr: to } = neighbour;
  const [link] = JSON.parse(await lab.run("gateway", "ip", "-json", "link", "show", "dev", dev)) as {
    address: string;
  }[];
  const target = [protocol, dev, to, link?.address ?? "", address, String(port), String(frames), String(times)];
  const flooding = lab.spawn("gateway", [process.execPath, flooder, ...target], "flooder");
  await waitFor("the flood is over", () => !flooding.running, 120_000);
  assert.match(flooding.log(), new RegExp(`"sent":${frames}`));
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

  const before = (await director.service()).connections;
  await flood(lab, "tcp", echoPort, spoofed);
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

story(
  "a flood of datagrams, one from each, displaces only itself and makes room for all others",
  [tutorialPlan],
  async (lab) => {
    await startEchoServers(lab);
    const datagrams = service(tutorialPlan, ["protocol=udp", "checktype=on"], { port: datagramPort });
    const director = await Director.start(lab, { config: `${config}${datagrams}`, args: ["--table-size", "1024"] });
    const key = `tcp:${bare(virtual)}:${echoPort}`;
    await director.waitForWeights({ [`192.168.200.102:${echoPort}`]: 1, [`192.168.200.103:${echoPort}`]: 1 }, key);
    const open = await startTransfers(lab, virtual, 20);
    await flood(lab, "udp", datagramPort, 20_000);
    const opened = await startTransfers(lab, virtual, 50);
    assert.equal(await count(director, "ESTABLISHED"), 70);
    await flood(lab, "udp", datagramPort, 20_000);
    assert.equal(await count(director, "ESTABLISHED"), 70);
    assert.deepEqual(harm(await open.finish()), unharmed);
    assert.deepEqual(harm(await opened.finish()), unharmed);
  },
);

story(
  "connections that open in a flood of datagrams outlive it, and get their slots then",
  [tutorialPlan],
  async (lab) => {
    await startEchoServers(lab);
    const datagrams = service(tutorialPlan, ["protocol=udp", "checktype=on"], { port: datagramPort });
    const director = await Director.start(lab, { config: `${config}${datagrams}`, args: ["--table-size", "1024"] });
    const key = `tcp:${bare(virtual)}:${echoPort}`;
    await director.waitForWeights({ [`192.168.200.102:${echoPort}`]: 1, [`192.168.200.103:${echoPort}`]: 1 }, key);
    const [earlier, later] = [20, 50];
    const open = await startTransfers(lab, virtual, earlier);
    // Of whom more than one has come, nobody takes the place.
    await flood(lab, "udp", datagramPort, 20_000, 2);
    const opened = await startTransfers(lab, virtual, later);
    assert.equal(await count(director, "ESTABLISHED"), earlier);

    const { code, stderr } = await director.xlb("tune", "timeout_udp=1");
    assert.equal(code, 0, stderr);
    await waitFor("all have a slot", async () => (await count(director, "ESTABLISHED")) === earlier + later);
    await waitFor("the datagrams' slots are free", async () => (await count(director, "UDP")) === 0);
    assert.deepEqual(harm(await open.finish()), unharmed);
    assert.deepEqual(harm(await opened.finish()), unharmed);
  },
);
