/** Live transfers go from plane to plane, by command and because an interface is lost. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { loadNative } from "../../src/native.ts";
import { ipvsIsMissing } from "../support/both-planes.ts";
import { Director, directorIsMissing, httpCheck, service } from "../support/director.ts";
import type { ConnectionJson, ServiceJson, StatsJson } from "../support/director.ts";
import { bare, Hopeless, Lab, labIsMissing, projectRoot, tutorialPlan, url, waitFor } from "../support/lab.ts";
import type { LabProcess } from "../support/lab.ts";
import type { TransferReport } from "../support/transfers.ts";

const connections = 200;
/** What each of them carries in a round, there and back. */
const blockBytes = 512;
const pauseMs = 15_000;
/** For each step: on an emulated machine the verifier alone takes a minute when other tests run beside. */
const patienceMs = 400_000;
const transfers = join(import.meta.dirname, "..", "support", "transfers.js");
const passes = join(projectRoot, "build", "test-bpf", "xdp_pass.bpf.o");

const virtual = bare(tutorialPlan.virtual[0] ?? "");
const clients = tutorialPlan.clients.map(bare);
/** Whose real servers are checked, the one with persistence, and the one of the transfers. */
const ports = { web: 80, persistent: 8080, transfers: 7000 } as const;
const keyOf = (port: number): string => `tcp:${virtual}:${port}`;
const keys = Object.values(ports).map(keyOf);

/** What `xlb adopt` and `xlb handback` print. */
interface Outcome {
  readonly plane: string;
  readonly services: readonly string[];
  readonly connections: number;
  readonly left: number;
  readonly seconds: number;
}

/** Client and its port, to real server. */
type RealServers = ReadonlyMap<string, string>;

/** The client's connections: a block goes there and back on each, round by round. */
class Transfers {
  readonly #lab: Lab;
  readonly #process: LabProcess;
  /** One is sent at the beginning. */
  #rounds = 1;
  #pause = new AbortController();
  #sending: { readonly resting: AbortController; readonly done: Promise<void> } | undefined;

  constructor(lab: Lab) {
    this.#lab = lab;
    const where = [virtual, String(ports.transfers), String(connections), "3600", ...clients];
    const command = ["env", "INTERVAL_MS=3600000", process.execPath, transfers, "run", ...where];
    this.#process = lab.spawn("client", command, "transfers");
  }

  async opened(): Promise<void> {
    await this.#says(`open ${connections}\n`);
    await this.#returned();
  }

  /** One more round, awaited. */
  async round(): Promise<void> {
    this.#rounds++;
    this.#process.signal("SIGHUP");
    await this.#returned();
  }

  /** Round after round, until they are to rest. */
  keepOn(): void {
    const resting = new AbortController();
    const run = async (): Promise<void> => {
      while (!resting.signal.aborted) {
        await this.round();
        this.#pause = new AbortController();
        const signal = AbortSignal.any([resting.signal, this.#pause.signal]);
        await delay(pauseMs, undefined, { signal }).catch(() => {}); // Ended early: they are to rest, or to hurry.
      }
    };
    const done = run();
    done.catch(() => {}); // Whoever waits for a round sees it.
    this.#sending = { resting, done };
  }

  /** A round that begins from now on has come back, while they keep on. */
  async another(): Promise<void> {
    const wanted = this.#rounds + 2;
    const begun = (): boolean => {
      this.#pause.abort();
      return this.#lives() && this.#rounds >= wanted;
    };
    await waitFor("rounds go on", begun, patienceMs, 500);
  }

  /** Nothing is on its way any more, not even an acknowledgement. */
  async rest(): Promise<void> {
    this.#sending?.resting.abort();
    await this.#sending?.done;
    for (const host of ["client", ...this.#lab.servers]) {
      const side = `${host === "client" ? "dport" : "sport"} = :${ports.transfers}`;
      const unacknowledged = async (): Promise<number> => {
        const lines = (await this.#lab.run(host, "ss", "-Htn", "state", "established", side)).trim().split("\n");
        return lines.filter((line) => line.split(/\s+/)[1] !== "0").length;
      };
      await waitFor(`all is acknowledged to ${host}`, async () => (await unacknowledged()) === 0, patienceMs);
    }
  }

  async finish(): Promise<TransferReport> {
    this.#process.signal("SIGUSR2");
    await this.#process.exited;
    const report = JSON.parse(this.log().trim().split("\n").at(-1) ?? "") as TransferReport; // Written by our own script.
    assert.equal(report.bytes, this.#bytes());
    return report;
  }

  log(): string {
    return this.#process.log();
  }

  #bytes(): number {
    return this.#rounds * blockBytes * connections;
  }

  async #returned(): Promise<void> {
    await this.#says(`whole ${this.#bytes()}\n`);
  }

  async #says(line: string): Promise<void> {
    await waitFor(
      `the transfers say ${line.trim()}`,
      () => this.#lives() && this.log().includes(line),
      patienceMs,
      200,
    );
  }

  /** True, or an error that ends the waiting; the process ends with the lab, the log is gone then. */
  #lives(): true {
    if (!this.#process.running) throw new Hopeless("the transfers have ended");
    const lost = /^lost .*/m.exec(this.log())?.[0];
    if (lost !== undefined) throw new Hopeless(`a connection is ${lost}`);
    return true;
  }
}

/** The director under test, asked in ways that cost an emulated machine little. */
class Asked {
  readonly #lab: Lab;
  readonly #director: Director;
  readonly #startOptions: readonly string[];

  constructor(lab: Lab, director: Director) {
    this.#lab = lab;
    this.#director = director;
    const metrics = ["--metrics", director.metricsAddress];
    this.#startOptions = ["-c", director.configFile, ...metrics, "--table-size", "16384"];
  }

  async xlb(name: string, ...args: readonly string[]): Promise<string> {
    const result = await this.#lab.exec("director", this.#director.command(name, ...args), patienceMs);
    assert.equal(result.code, 0, `xlb ${name}: ${result.stderr}`);
    return result.stdout;
  }

  async move(name: "adopt" | "handback"): Promise<Outcome> {
    const text = await this.xlb(name, "--json", ...(name === "adopt" ? this.#startOptions : []));
    const outcome = JSON.parse(text) as Outcome; // The command's promise.
    assert.deepEqual([...outcome.services].sort(), [...keys].sort());
    assert.ok(outcome.connections >= connections, `${outcome.connections} connections`);
    assert.equal(outcome.left, 0);
    return outcome;
  }

  /** Of the live transfers, on whichever plane they are. */
  async realServers(): Promise<RealServers> {
    const chosen = ["--service", keyOf(ports.transfers), "--state", "ESTABLISHED"];
    const found = JSON.parse(await this.xlb("connections", "--json", ...chosen)) as readonly ConnectionJson[];
    return new Map(found.map(({ client, clientPort, realServer }) => [`${client}:${clientPort}`, realServer]));
  }

  async service(key: string): Promise<ServiceJson> {
    const { planes } = JSON.parse(await this.xlb("stats", "--json")) as StatsJson;
    const found = planes.flatMap(({ services }) => services).find((each) => each.key === key);
    return found ?? assert.fail(`${key} among ${JSON.stringify(planes)}`);
  }

  /** All services are on that plane, with all real servers. */
  async allOn(plane: "xdp" | "ipvs"): Promise<void> {
    const lines = Object.entries(ports).flatMap(([, port]) => [
      `xlb_service_info{scheduler="${port === ports.transfers ? "wlc" : "rr"}",plane="${plane}",service="${keyOf(port)}"} 1\n`,
      ...tutorialPlan.servers.map((server) => {
        const labels = `service="${keyOf(port)}",real_server="${bare(server)}:${port}"`;
        return `xlb_real_server_weight{${labels}} 1\n`;
      }),
    ]);
    const page = ["curl", "--silent", "--fail", `http://${this.#director.metricsAddress}/metrics`];
    await waitFor(
      `plane ${plane} has all services`,
      async () => {
        const text = await this.#lab.run("director", ...page);
        const missing = lines.filter((line) => !text.includes(line));
        if (missing.length > 0) throw new Error(`missing: ${missing.join("")}`);
        return true;
      },
      patienceMs,
      1000,
    );
  }
}

/** What ldirectord has set up, by the kernel's own tool. */
async function startKernelDirector(lab: Lab): Promise<void> {
  for (const [port, ...options] of [
    [ports.web, "-s", "rr"],
    [ports.persistent, "-s", "rr", "-p", "300"],
    [ports.transfers, "-s", "wlc"],
  ] as const) {
    await lab.run("director", "ipvsadm", "-A", "-t", `${virtual}:${port}`, ...options);
    for (const server of tutorialPlan.servers) {
      await lab.run("director", "ipvsadm", "-a", "-t", `${virtual}:${port}`, "-r", `${bare(server)}:${port}`, "-g");
    }
  }
}

/** What the kernel's table says of the transfers. */
async function inKernel(lab: Lab): Promise<RealServers> {
  const text = await lab.run("director", "ipvsadm", "-Lnc");
  const lines = text.matchAll(/^TCP +\S+ +ESTABLISHED +(\S+) +\S+:7000 +(\S+):7000/gm);
  return new Map([...lines].map(([, client = "", realServer = ""]) => [client, realServer]));
}

/** Somebody else's program takes the interface; the director may be faster, so it is tried again. */
async function takeInterface(lab: Lab, director: Director): Promise<void> {
  const native = loadNative();
  const pin = join(director.bpffs, "links", "front");
  const take = ["ip", "link", "set", "dev", "front", "xdpdrv", "obj", passes, "sec", "xdp"];
  await waitFor(
    "another program has the interface",
    async () => {
      if (existsSync(pin)) {
        const link = native.linkOpenPinned(pin);
        if (native.linkInfo(link).ifindex !== 0) native.linkDetach(link);
        native.linkClose(link);
      }
      return (await lab.exec("director", take)).code === 0;
    },
    patienceMs,
  );
}

test(
  `${connections} transfers go from the kernel's IPVS to XDP and back, and again, without the loss of a byte`,
  { skip: labIsMissing() || directorIsMissing() || ipvsIsMissing(), timeout: 1_400_000 },
  async (t) => {
    spawnSync("modprobe", ["ip_vs"]);
    await using lab = await Lab.create({ plans: [tutorialPlan] });
    const config = [
      // Real servers answer their checks late on an emulated machine.
      ...["checkinterval=5", "checktimeout=120", "negotiatetimeout=120", `logfile="${join(lab.dir, "director-log")}"`],
      service(tutorialPlan, [...httpCheck, "scheduler=rr"], { port: ports.web }),
      service(tutorialPlan, ["checktype=on", "scheduler=rr", "persistent=300"], { port: ports.persistent }),
      service(tutorialPlan, ["checktype=on", "scheduler=wlc"], { port: ports.transfers }),
    ].join("\n");
    const director = new Director(lab, { config });
    const asked = new Asked(lab, director);
    for (const server of lab.servers) {
      lab.spawn(server, [process.execPath, transfers, "serve", String(ports.transfers)]);
      const listening = ["ss", "-Htln", `sport = :${ports.transfers}`];
      await waitFor(`${server} echoes`, async () => (await lab.run(server, ...listening)) !== "", patienceMs);
    }
    const whoAnswers = (port: number): Promise<string> =>
      lab.whoAnswers({ from: clients[0] ?? "", target: url(virtual, "/", port), timeoutS: 120 });
    const bothAnswer = async (): Promise<void> => {
      assert.deepEqual([await whoAnswers(ports.web), await whoAnswers(ports.web)].sort(), ["http1", "http2"]);
    };

    await startKernelDirector(lab);
    const first = await whoAnswers(ports.persistent);
    const running = new Transfers(lab);
    try {
      await running.opened();
      const held = await inKernel(lab);
      assert.equal(held.size, connections);
      assert.equal(new Set(held.values()).size, 2);
      running.keepOn();

      const adopted = await asked.move("adopt");
      t.diagnostic(`adopted: ${adopted.connections} connections in ${adopted.seconds} s`);
      assert.deepEqual(await asked.realServers(), held);
      assert.deepEqual(await director.attached(), { back: "native", front: "native" });
      assert.doesNotMatch(
        await lab.run("director", "ipvsadm", "-Ln"),
        /TCP/,
        "both planes never serve the same service",
      );
      assert.equal(await whoAnswers(ports.persistent), first, "its template went along");
      await running.another();
      const { realServers, packets } = await asked.service(keyOf(ports.transfers));
      assert.deepEqual(
        realServers.map(({ active }) => active),
        [100, 100],
      );
      assert.ok(packets > connections, `${packets} packets`);

      const back = await asked.move("handback");
      t.diagnostic(`handed back: ${back.connections} connections in ${back.seconds} s`);
      assert.deepEqual(await director.attached(), {});
      // A table that is read in pieces while it changes may show a part only.
      await waitFor(
        "the kernel's table has the transfers",
        async () => {
          assert.deepEqual(await inKernel(lab), held);
          return true;
        },
        patienceMs,
        1000,
      );
      const list = await lab.run("director", "ipvsadm", "-Ln", "-t", `${virtual}:${ports.transfers}`);
      assert.match(list, /:7000 +Route +1 +100 +0/);
      assert.equal(await whoAnswers(ports.persistent), first, "its template came back");
      await running.another();

      const again = await asked.move("adopt");
      t.diagnostic(`adopted again: ${again.connections} connections in ${again.seconds} s`);
      assert.deepEqual(await asked.realServers(), held);
      assert.equal(await whoAnswers(ports.persistent), first);
      await running.another();

      // They rest while the interface changes hands: the kernel would reset them by a segment in that moment.
      await running.rest();
      await asked.allOn("xdp");
      await bothAnswer();
      await takeInterface(lab, director);
      await asked.allOn("ipvs");
      await bothAnswer();
      assert.deepEqual(await asked.realServers(), held);
      assert.deepEqual(await inKernel(lab), held);
      await running.round();
      await running.rest();
      // The daemon has half a second to say why, of which an emulated machine has little.
      await waitFor(
        "the command says why",
        async () => {
          const text = await asked.xlb("stats");
          assert.match(
            text,
            /^on plane ipvs: .*tcp:10\.10\.10\.53:80,.*: interface front: native mode was refused: .*EBUSY/m,
          );
          assert.match(text, /^plane ipvs: front ipvs/m);
          return true;
        },
        patienceMs,
      );

      await lab.run("director", "ip", "link", "set", "dev", "front", "xdp", "off");
      await asked.allOn("xdp");
      await bothAnswer();
      assert.deepEqual(await asked.realServers(), held);
      await running.round();

      const { bytes, ...report } = await running.finish();
      t.diagnostic(`${connections} transfers, ${bytes} bytes there and back`);
      assert.deepEqual(report, { connections, lost: 0, firstLoss: "", wrong: 0, incomplete: 0 });
      await asked.xlb("stop");
      assert.deepEqual(await director.attached(), {});
    } catch (error) {
      t.diagnostic(running.log().slice(-2000));
      const log = join(lab.dir, "director-log");
      if (existsSync(log)) t.diagnostic(readFileSync(log, "utf8").slice(-6000));
      throw error;
    }
  },
);
