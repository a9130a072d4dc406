import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Director, service } from "../support/director.ts";
import { bare, tutorialPlan, waitFor } from "../support/lab.ts";
import type { Lab, LabProcess } from "../support/lab.ts";
import { story } from "../support/story.ts";

const script = fileURLToPath(new URL("../support/datagrams.js", import.meta.url));
const port = 5300;
const virtual = bare(tutorialPlan.virtual[0]!);
const client = bare(tutorialPlan.clients[0]!);

function configWith(...lines: readonly string[]): string {
  const checked = ["protocol=udp", "checktype=ping", "scheduler=rr", ...lines];
  return `checkinterval=1\nchecktimeout=1\n${service(tutorialPlan, checked, { port })}`;
}

const [real1, real2] = ["192.168.200.102", "192.168.200.103"].map((address) => `${address}:${port}`) as [
  string,
  string,
];

async function startServers(lab: Lab): Promise<void> {
  for (const server of lab.servers) {
    lab.spawn(server, [process.execPath, script, "serve", String(port), server], "datagrams");
    await waitFor(`${server} listens`, async () =>
      (await lab.run(server, "ss", "-Hlun", `sport = :${port}`)).includes(`:${port}`),
    );
  }
}

function answers(ask: LabProcess): string[] {
  return ask.log().split("\n").filter(Boolean);
}

async function moreAnswers(ask: LabProcess, count: number): Promise<string[]> {
  const before = answers(ask).length;
  await waitFor(`${count} more answers`, () => answers(ask).length >= before + count);
  return answers(ask).slice(before);
}

story("a UDP flow stays with its real server, and leaves it at once when it is dead", [tutorialPlan], async (lab) => {
  await startServers(lab);
  const director = await Director.start(lab, { config: configWith() });
  await director.waitForWeights({ [real1]: 1, [real2]: 1 });
  const ask = lab.spawn("client", [process.execPath, script, "ask", virtual, String(port), client], "ask");
  const [first = ""] = await moreAnswers(ask, 10);
  assert.deepEqual(new Set(answers(ask)), new Set([first]));

  await lab.run("switch", "ip", "link", "set", `${first}-eth0`, "down");
  const other = first === "http1" ? "http2" : "http1";
  await waitFor("the other one answers", () => answers(ask).at(-1) === other);
  assert.deepEqual(new Set(await moreAnswers(ask, 10)), new Set([other]));
  const flows = await director.connections("--state", "UDP");
  assert.equal(flows.length, 1);
});

story("ops=yes sends each datagram to the next real server", [tutorialPlan], async (lab) => {
  await startServers(lab);
  const director = await Director.start(lab, { config: configWith("ops=yes") });
  await director.waitForWeights({ [real1]: 1, [real2]: 1 });
  const ask = lab.spawn("client", [process.execPath, script, "ask", virtual, String(port), client], "ask");
  const names = await moreAnswers(ask, 10);
  for (const [i, name] of names.entries()) if (i > 0) assert.notEqual(name, names[i - 1]);
  assert.deepEqual(await director.connections(), []);
});
