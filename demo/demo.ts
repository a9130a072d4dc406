/** `make demo`: the tutorial's cluster on XDP, shown with real clients and servers. Exits 0 if all was seen to be true. */
import assert from "node:assert/strict";
import { Director, directorIsMissing } from "../test/support/director.ts";
import { bare, Lab, labIsMissing, url, waitFor } from "../test/support/lab.ts";
import type { LabProcess } from "../test/support/lab.ts";
import { configuration, plan, weightedService } from "./cluster.ts";
import { Narrator } from "./narrator.ts";

const first = "tcp:10.10.10.53:80";
const weighted = "tcp:10.10.10.53:8080";
const page = url(plan.virtual[0] ?? "");
const weightedPage = url(plan.virtual[0] ?? "", "/", 8080);

/** How long the file lets a change take: a pause between checks and a check, and some time for a busy machine. */
const allowedMs = 2_000 + 30_000;

async function main(): Promise<number> {
  const missing = labIsMissing() || directorIsMissing();
  if (missing) {
    process.stderr.write(`make demo: ${missing}\n`);
    return 1;
  }
  const narrator = new Narrator();
  narrator.title("xlb: the tutorial's LVS cluster, its ldirectord.cf unchanged, forwarded by XDP");
  narrator.say(`
clients 172.20.0.11-18 --- gateway --- 10.10.10.52 director 192.168.200.52 --- http1 192.168.200.102
                              |        10.10.10.53 (virtual)              |--- http2 192.168.200.103
                              +------- the servers' answers --------------+`);
  await using lab = await Lab.create({ plans: [plan] });
  const director = new Director(lab, { config: configuration, name: "ldirectord" });
  await tell(narrator, lab, director);
  return narrator.finish();
}

async function tell(narrator: Narrator, lab: Lab, director: Director): Promise<void> {
  const show = async (name: string, ...args: string[]): Promise<string> => {
    narrator.command(["xlb", name, ...args].join(" "));
    const result = await director.xlb(name, ...args);
    narrator.quote(result.stdout + result.stderr);
    assert.equal(result.code, 0, `xlb ${name}: exit status ${result.code}`);
    return result.stdout;
  };

  /** Who answers each client, one request after the other. */
  const answers = async (target: string, count = plan.clients.length): Promise<string[]> => {
    const found: string[] = [];
    for (let i = 0; i < count; i++) {
      found.push(await lab.whoAnswers({ target, from: plan.clients[i % plan.clients.length] ?? "", timeoutS: 5 }));
    }
    return found;
  };

  const everyoneGets = async (server: string, since: number): Promise<string> => {
    await waitFor(
      `all requests are answered by ${server}`,
      async () => {
        const found = await answers(page, 4);
        if (found.some((name) => name !== server)) throw new Error(`answers came from ${found.join(" ")}`);
        return true;
      },
      allowedMs,
      200,
    );
    return `${((Date.now() - since) / 1000).toFixed(1)} s later every client is answered by ${server}; allowed are ${allowedMs / 1000} s`;
  };

  await narrator.step("The tutorial's ldirectord.cf is understood as it is", async () => {
    narrator.quote(configuration);
    await show("check", director.configFile);
    return "no errors";
  });

  await narrator.step("The director starts: its program is attached and both real servers are in", async () => {
    narrator.command("xlb run -c ldirectord.cf");
    await director.start();
    await director.waitForWeights({ "192.168.200.102:80": 1, "192.168.200.103:80": 1 }, first);
    const attached = await director.attached();
    assert.ok(attached["front"] !== undefined, "no XDP program on the client-side interface");
    narrator.command("ip addr show dev front");
    const addresses = await lab.run("director", "ip", "-brief", "addr", "show", "dev", "front");
    narrator.quote(addresses);
    assert.match(addresses, /10\.10\.10\.53\/24/);
    await show("stats");
    return `XDP mode ${Object.entries(attached)
      .map(([name, mode]) => `${mode} on ${name}`)
      .join(", ")}`;
  });

  await narrator.step("Clients that are connected at the same time are answered by both real servers", async () => {
    narrator.say("lblc keeps the virtual address on one server until that has more connections than its weight");
    narrator.say("and another has none, so four clients hold a download open; persistent=100 keeps each where it is:");
    const downloads: LabProcess[] = [];
    try {
      for (const [index, client] of plan.clients.slice(0, 4).entries()) {
        narrator.command(`curl --interface ${bare(client)} '${page}big?rate=20k' &`);
        const args = ["--silent", "--output", "/dev/null", "--interface", bare(client), `${page}big?rate=20k`];
        downloads.push(lab.spawn("client", ["curl", ...args], `download-${index}`));
        await waitFor(`download ${index + 1} is open`, async () => {
          const { realServers } = await director.service(first);
          return realServers.reduce((sum, { active }) => sum + active, 0) === index + 1;
        });
      }
      await show("stats");
      const found = await answers(page, 4);
      for (const [index, server] of found.entries()) {
        narrator.say(`${bare(plan.clients[index] ?? "")} is answered by ${server}`);
      }
      assert.deepEqual([...new Set(found)].sort(), ["http1", "http2"]);
      assert.deepEqual(await answers(page, 4), found, "a client is not on its server any more");
      await show("connections");
      return "both answer, and a client stays where it was";
    } finally {
      for (const download of downloads) await download.end("SIGKILL");
    }
  });

  await narrator.step(
    "The file is edited: autoreload takes a second service with wrr and weights 3 and 1",
    async () => {
      const since = Date.now();
      narrator.quote(weightedService);
      director.edit((text) => text + weightedService);
      await director.waitForWeights({ "192.168.200.102:8080": 3, "192.168.200.103:8080": 1 }, weighted, allowedMs);
      narrator.say(`in force after ${((Date.now() - since) / 1000).toFixed(1)} s`);
      narrator.command(`curl ${weightedPage}   # 8 times`);
      const found = await answers(weightedPage, 8);
      narrator.say(found.join(" "));
      assert.equal(found.filter((server) => server === "http1").length, 6);
      assert.equal(found.filter((server) => server === "http2").length, 2);
      return "6 of 8 requests to http1, 2 to http2";
    },
  );

  await narrator.step("A bad edit changes nothing", async () => {
    let good = "";
    director.edit((text) => {
      good = text;
      return text.replace("192.168.200.103:8080 gate 1", "192.168.200.103:8080 gaet 9");
    });
    narrator.say("real=192.168.200.103:8080 gaet 9");
    await waitFor(
      "the failed reload is seen",
      async () => /error/.test((await director.xlb("status")).stdout),
      allowedMs,
    );
    await show("status");
    await director.waitForWeights({ "192.168.200.102:8080": 3, "192.168.200.103:8080": 1 }, weighted);
    director.edit(() => good);
    return "the old configuration goes on";
  });

  await narrator.step("The web server of http1 stops: all requests go to http2", async () => {
    const since = Date.now();
    await lab.stopWebServer("http1");
    const seen = await everyoneGets("http2", since);
    await show("health");
    return seen;
  });

  await narrator.step("http2 stops too: the fallback page appears", async () => {
    const since = Date.now();
    await lab.stopWebServer("http2");
    const seen = await everyoneGets("director", since);
    const { body } = await lab.curl(page);
    narrator.command(`curl ${page}`);
    narrator.quote(body);
    assert.match(body, /temporarily inaccessible/);
    return seen;
  });

  await narrator.step("Both start again: both are used again", async () => {
    const since = Date.now();
    await Promise.all([lab.startWebServer("http1"), lab.startWebServer("http2")]);
    await director.waitForWeights({ "192.168.200.102:80": 1, "192.168.200.103:80": 1 }, first, allowedMs);
    await director.waitForWeights({ "192.168.200.102:8080": 3, "192.168.200.103:8080": 1 }, weighted, allowedMs);
    const found = [...(await answers(page, 4)), ...(await answers(weightedPage, 8))];
    assert.deepEqual([...new Set(found)].sort(), ["http1", "http2"]);
    return `${((Date.now() - since) / 1000).toFixed(1)} s later answers come from ${found.join(" ")}`;
  });

  await narrator.step("kill -9 of the daemon under load, and a new one: not one request is lost", async () => {
    const requests = 150;
    const clients = plan.clients.slice(0, 3);
    const load = clients.map((client, index) =>
      lab.spawn(
        "client",
        [
          "curl",
          "--silent",
          "--show-error",
          "--globoff",
          "--max-time",
          "5",
          "--interface",
          bare(client),
          "--rate",
          "1800/m",
          "--header",
          "Connection: close",
          "--output",
          "/dev/null",
          "--write-out",
          "%{stderr}%{http_code} %{exitcode}\\n",
          ...Array.from({ length: requests }, (_, i) => ["--output", "/dev/null", `${weightedPage}?${i}`]).flat(),
        ],
        `load-${index}`,
      ),
    );
    const downloads = plan.clients
      .slice(4, 8)
      .map((client, index) =>
        lab.spawn(
          "client",
          [
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--interface",
            bare(client),
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{size_download}\\n",
            `${weightedPage}big?rate=150k`,
          ],
          `slow-${index}`,
        ),
      );
    narrator.say(`${clients.length} clients make ${requests} requests each, 30 a second; 4 more download 1 MiB slowly`);
    const answered = (): number => load.reduce((sum, curl) => sum + curl.log().split("\n").length - 1, 0);
    await waitFor("the load runs", () => answered() > 30);
    narrator.command(`kill -9 ${director.process.pid}`);
    await director.kill();
    const before = answered();
    await waitFor("requests are answered without a daemon", () => answered() > before + 60);
    narrator.say(`${answered() - before} requests were answered without a daemon; xlb stats reads the pinned maps:`);
    await show("stats");
    narrator.command("xlb run -c ldirectord.cf");
    await director.start();
    await Promise.all([...load, ...downloads].map((curl) => curl.exited));
    const results = load.flatMap((curl) => curl.log().trimEnd().split("\n"));
    const good = results.filter((line) => line === "200 0").length;
    const whole = downloads.filter((curl) => curl.log().trim() === `200 ${1 << 20}`).length;
    assert.equal(good, requests * clients.length, `lost: ${results.filter((line) => line !== "200 0").join(", ")}`);
    assert.equal(whole, downloads.length, `downloads: ${downloads.map((curl) => curl.log().trim()).join(", ")}`);
    return `${good} of ${requests * clients.length} requests answered, ${whole} of 4 downloads whole`;
  });

  await narrator.step("Prometheus reads the same", async () => {
    narrator.command(`curl http://${director.metricsAddress}/metrics`);
    const metrics = await director.metrics();
    const lines = metrics.split("\n").filter((line) => /^xlb_real_server_(up|weight|connections)/.test(line));
    narrator.quote(lines.join("\n"));
    assert.ok(lines.length > 0, "no xlb_real_server metrics");
    return `${metrics.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length} values`;
  });

  await narrator.step("xlb stop: nothing stays attached or pinned", async () => {
    narrator.command("xlb stop");
    await director.stop();
    assert.deepEqual(await director.attached(), {});
    const pinned = lab.pinned();
    assert.deepEqual(pinned, [], `still pinned: ${pinned.join(" ")}`);
    assert.equal(await lab.whoAnswers({ target: page }), "director");
    return "the virtual address is the director's own again";
  });
}

process.exitCode = await main();
