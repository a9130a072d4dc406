/** Run on a kernel with XDP and IPVS by adopt.test.ts: live transfers go from the kernel to XDP, back, and over again. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { Director, service } from "../support/director.ts";
import type { ConnectionJson, ServiceJson, StatsJson } from "../support/director.ts";
import { bare, Lab, tutorialPlan, waitFor } from "../support/lab.ts";
import type { TransferReport } from "../support/transfers.ts";

const connections = 200;
const port = 7000;
const transfers = join(import.meta.dirname, "..", "support", "transfers.js");
const patienceMs = 300_000;

interface Outcome {
  readonly plane: string;
  readonly services: readonly string[];
  readonly connections: number;
  readonly left: number;
  readonly seconds: number;
}

/** What the kernel's table says: client and its port, to real server. */
async function inKernel(lab: Lab): Promise<Map<string, string>> {
  const text = await lab.run("director", "ipvsadm", "-Lnc");
  const lines = text.matchAll(/^TCP +\S+ +ESTABLISHED +(\S+) +\S+:7000 +(\S+)/gm);
  return new Map([...lines].map(([, client = "", realServer = ""]) => [client, realServer]));
}

test(`${connections} transfers through IPVS are adopted, handed back and adopted again without the loss of a byte`, async (t) => {
  execFileSync("modprobe", ["ip_vs"]);
  await using lab = await Lab.create({ plans: [tutorialPlan] });
  const virtual = bare(lab.virtualAddress);
  const config = [
    service(tutorialPlan, ["checktype=on", "scheduler=rr", "persistent=300", "quiescent=yes"], { port: 80 }),
    service(tutorialPlan, ["checktype=on", "scheduler=wlc"], { port }),
  ].join("\n");
  const director = new Director(lab, { config });
  const startOptions = ["-c", director.configFile, "--metrics", "off", "--table-size", "16384"];
  const xlb = async <T>(name: string, ...args: readonly string[]): Promise<T> => {
    const result = await lab.exec("director", director.command(name, "--json", ...args), patienceMs);
    assert.equal(result.code, 0, `xlb ${name}: ${result.stderr}`);
    return JSON.parse(result.stdout) as T;
  };
  const move = async (name: "adopt" | "handback"): Promise<Outcome> => {
    const outcome = await xlb<Outcome>(name, ...(name === "adopt" ? startOptions : []));
    t.diagnostic(`${name}: ${outcome.connections} connections in ${outcome.seconds} s`);
    assert.deepEqual([...outcome.services].sort(), [`tcp:${virtual}:7000`, `tcp:${virtual}:80`]);
    assert.ok(outcome.connections >= connections, `${outcome.connections} connections`);
    assert.equal(outcome.left, 0);
    return outcome;
  };
  const inXdp = async (): Promise<Map<string, string>> => {
    const chosen = ["--service", `tcp:${virtual}:7000`, "--state", "ESTABLISHED"];
    const found = await xlb<readonly ConnectionJson[]>("connections", ...chosen);
    return new Map(found.map(({ client, clientPort, realServer }) => [`${client}:${clientPort}`, realServer]));
  };

  for (const server of lab.servers) {
    lab.spawn(server, [process.execPath, transfers, "serve", String(port)]);
    const listening = ["ss", "-Htln", `sport = :${port}`];
    await waitFor(`${server} echoes`, async () => (await lab.run(server, ...listening)) !== "", patienceMs);
  }
  const served = async (): Promise<ServiceJson> => {
    const { planes } = await xlb<StatsJson>("stats");
    const found = planes.flatMap(({ services }) => services).find(({ key }) => key === `tcp:${virtual}:7000`);
    return found ?? assert.fail(JSON.stringify(planes));
  };
  // As ldirectord has left it.
  for (const [at, more] of [
    [80, ["-s", "rr", "-p", "300"]],
    [port, ["-s", "wlc"]],
  ] as const) {
    await lab.run("director", "ipvsadm", "-A", "-t", `${virtual}:${at}`, ...more);
    for (const server of tutorialPlan.servers) {
      await lab.run("director", "ipvsadm", "-a", "-t", `${virtual}:${at}`, "-r", `${bare(server)}:${at}`, "-g");
    }
  }
  const clients = tutorialPlan.clients.map(bare);
  const whoAnswers = () => lab.whoAnswers({ from: clients[0] ?? "", timeoutS: 50 });
  const first = await whoAnswers();
  const command = [process.execPath, transfers, "run", virtual, String(port), String(connections), "3000", ...clients];
  const client = lab.spawn("client", ["env", "INTERVAL_MS=5000", ...command], "transfers");
  try {
    await waitFor("all connections are open", () => client.log().includes(`open ${connections}\n`), patienceMs);
    const before = await inKernel(lab);
    assert.equal(before.size, connections);
    assert.equal(new Set(before.values()).size, 2);
    const realServers = new Map([...before].map(([from, to]) => [from, to.replace(/:\d+$/, "")]));

    await move("adopt");
    assert.deepEqual(await inXdp(), realServers);
    assert.deepEqual(await director.attached(), { back: "native", front: "native" });
    assert.doesNotMatch(await lab.run("director", "ipvsadm", "-Ln"), /TCP/, "both planes never serve the same service");
    const counts = (await served()).realServers.map(({ active }) => active);
    assert.deepEqual(counts, [100, 100]);
    assert.equal(await whoAnswers(), first, "its template went along");
    await waitFor("packets go on", async () => (await served()).packets > connections, patienceMs);

    await move("handback");
    assert.deepEqual(await director.attached(), {});
    assert.deepEqual(await inKernel(lab), before);
    assert.equal(await whoAnswers(), first, "its template came back");
    assert.match(await lab.run("director", "ipvsadm", "-Ln", "-t", `${virtual}:7000`), /:7000 +Route +1 +100 +0/);

    await move("adopt");
    assert.deepEqual(await inXdp(), realServers);
    assert.equal(await whoAnswers(), first);
    client.signal("SIGUSR2");
    await client.exited;
    const report = JSON.parse(client.log().trim().split("\n").at(-1) ?? "") as TransferReport;
    t.diagnostic(`transfers: ${JSON.stringify(report)}`);
    assert.ok(report.bytes > connections * 512);
    assert.deepEqual(
      { ...report, bytes: 0 },
      { connections, lost: 0, firstLoss: "", wrong: 0, incomplete: 0, bytes: 0 },
    );
    const stopped = await lab.exec("director", director.command("stop"), patienceMs);
    assert.equal(stopped.code, 0, stopped.stderr);
  } catch (error) {
    t.diagnostic(client.log().slice(-2000));
    throw error;
  }
});
