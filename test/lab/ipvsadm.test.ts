import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Director, service } from "../support/director.ts";
import { bare, Hopeless, projectRoot, tutorialPlan, waitFor } from "../support/lab.ts";
import { ldirectordMissing, ldirectordProgram } from "../support/ldirectord.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const program = join(projectRoot, "bin", "ipvsadm");
const virtual = bare(tutorialPlan.virtual[0]!);
const [http1, http2] = tutorialPlan.servers.map(bare) as [string, string];
const config = `checkinterval=1\n${service(tutorialPlan, ["checktype=connect", "scheduler=wlc"], { port: echoPort })}`;
const key = `tcp:${virtual}:${echoPort}`;

/** Environment of commands that have no options for a director's places. */
function environment(director: Director): string[] {
  return ["env", `XLB_STATE_DIR=${director.stateDir}`, `XLB_BPFFS=${director.bpffs}`];
}

async function refusal(director: Director, ...words: readonly string[]): Promise<readonly [number, string]> {
  const { code, stderr } = await director.lab.exec("director", [...environment(director), program, ...words]);
  return [code, stderr];
}

async function ipvsadm(director: Director, ...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await director.lab.exec("director", [...environment(director), program, ...words]);
  assert.deepEqual([code, stderr], [0, ""], `ipvsadm ${words.join(" ")}`);
  return stdout;
}

const target = ["-t", `${virtual}:${echoPort}`] as const;

function realServer(address: string): readonly string[] {
  return [...target, "-r", `${address}:${echoPort}`];
}

/** `ADDRESS` to weight, active and inactive connections, as `ipvsadm -L -n` has them. */
async function listed(director: Director): Promise<Record<string, readonly number[]>> {
  const lines = (await ipvsadm(director, "-L", "-n", ...target)).split("\n");
  return Object.fromEntries(
    lines
      .map((line) => /^ {2}-> ([\d.]+):\d+ +\S+ +(\d+) +(\d+) +(\d+) *$/.exec(line))
      .flatMap((match) => (match === null ? [] : [[match[1]!, match.slice(2).map(Number)]])),
  );
}

async function weights(director: Director): Promise<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(await listed(director)).map(([address, [weight = -1]]) => [address, weight]),
  );
}

async function overridden(director: Director): Promise<readonly string[]> {
  const { code, stdout, stderr } = await director.xlb("overrides", "--json");
  assert.equal(code, 0, stderr);
  return (JSON.parse(stdout) as readonly { readonly target: string }[]).map((each) => each.target);
}

story(
  "ipvsadm directs by XDP without a daemon; a daemon adopts it, and what is set by hand beside it stays",
  [tutorialPlan],
  async (lab) => {
    await startEchoServers(lab);
    const director = new Director(lab, { config });

    await ipvsadm(director, "-A", ...target, "-s", "wlc");
    await ipvsadm(director, "-a", ...realServer(http1), "-g");
    await ipvsadm(director, "-a", ...realServer(http2), "-g");
    assert.deepEqual(await refusal(director, "-a", ...realServer(http2)), [255, "Destination already exists\n"]);
    assert.deepEqual(await refusal(director, "-D", "-t", "192.0.2.9:80"), [255, "No such service\n"]);
    assert.deepEqual(await director.attached(), { front: "native", back: "native" });

    const transfers = await startTransfers(lab, virtual, 20);
    assert.deepEqual(await listed(director), { [http1]: [1, 10, 0], [http2]: [1, 10, 0] });
    const connections = (await ipvsadm(director, "-L", "-c", "-n")).split("\n");
    assert.match(connections[1]!, /^pro expire state +source +virtual +destination$/);
    assert.equal(connections.filter((line) => /^TCP \d\d:\d\d +ESTABLISHED /.test(line)).length, 20);
    assert.match(
      await ipvsadm(director, "-L", "-n", "--rate", ...target),
      new RegExp(`-> ${http1}:${echoPort} +0 +[1-9]`),
    );

    // A weight, and a real server that is taken away and comes back.
    await ipvsadm(director, "-e", ...realServer(http2), "-g", "-w", "0");
    const later = await startTransfers(lab, virtual, 4);
    assert.deepEqual(await listed(director), { [http1]: [1, 14, 0], [http2]: [0, 10, 0] });
    assert.deepEqual(harm(await later.finish()), unharmed);
    const saved = await ipvsadm(director, "-S", "-n");
    assert.equal(
      saved,
      `-A ${target.join(" ")} -s wlc\n` +
        `-a ${realServer(http1).join(" ")} -g -w 1\n-a ${realServer(http2).join(" ")} -g -w 0\n`,
    );
    await ipvsadm(director, "-e", ...realServer(http2), "-g", "-w", "1");

    // The file has the service: it takes over what was made by hand.
    await director.start();
    await director.waitForWeights({ [`${http1}:${echoPort}`]: 1, [`${http2}:${echoPort}`]: 1 });
    assert.deepEqual(await overridden(director), []);
    assert.equal((await listed(director))[http2]?.[1], 10, "its connections go on");

    await ipvsadm(director, "-e", ...realServer(http2), "-g", "-w", "0");
    assert.deepEqual(await weights(director), { [http1]: 1, [http2]: 0 });
    assert.deepEqual(await overridden(director), [`${key} ${http2}:${echoPort}`]);
    assert.match((await director.xlb("status")).stdout, /^by hand +tcp:\S+ \S+: weight 0, gate, by \S+ with ipvsadm/m);
    assert.match(await director.metrics(), /^xlb_overrides\{target="real_server",change="set"\} 1$/m);
    assert.equal((await director.xlb("reload")).code, 0);
    await director.kill();
    // With the daemon dead ipvsadm works on the tables themselves, and remembers for the next one.
    await ipvsadm(director, "-e", ...realServer(http1), "-g", "-w", "3");
    await director.start();
    await director.waitForWeights({ [`${http1}:${echoPort}`]: 3, [`${http2}:${echoPort}`]: 0 });

    await ipvsadm(director, "-e", ...realServer(http2), "-g", "-w", "1");
    assert.deepEqual(await overridden(director), [`${key} ${http1}:${echoPort}`]);
    assert.equal((await director.xlb("overrides", "clear", key)).code, 0);
    assert.deepEqual(await weights(director), { [http1]: 1, [http2]: 1 });
    assert.deepEqual(harm(await transfers.finish()), unharmed);

    // Everything, and back again.
    const rules = lab.write("rules", await ipvsadm(director, "-S", "-n"));
    await ipvsadm(director, "-C");
    assert.equal((await director.xlb("reload")).code, 0);
    assert.equal(await ipvsadm(director, "-S", "-n"), "");
    assert.deepEqual(await overridden(director), [key]);
    await lab.run("director", "sh", "-ec", `${[...environment(director), program].join(" ")} -R <${rules}`);
    assert.deepEqual(await weights(director), { [http1]: 1, [http2]: 1 });
    assert.deepEqual(await overridden(director), []);
    await director.stop();
    assert.deepEqual(await director.attached(), {});
  },
);

const fallbackConfig = [
  "checktimeout=10",
  "negotiatetimeout=10",
  "checkinterval=1",
  service(tutorialPlan, [
    ...["checktype=negotiate", "service=http", 'request="check.txt"', 'receive="webserverisworking"'],
    ...["scheduler=rr", "fallback=127.0.0.1:80 gate", "quiescent=yes"],
  ]),
].join("\n");

story(
  "the original ldirectord directs by XDP, on xlb's ipvsadm",
  [tutorialPlan],
  async (lab) => {
    const director = new Director(lab, { config: fallbackConfig });
    // It looks for ipvsadm in one place only.
    const original = readFileSync(ldirectordProgram, "utf8").replaceAll("/sbin/ipvsadm", program);
    // Its pid file and its log are its own matter.
    const alone = 'mount -t tmpfs none /run; mount -t tmpfs none /var/log; exec "$@"';
    const process = lab.spawn(
      "director",
      [
        ...[...environment(director), "PERLIO=perlio"],
        ...["unshare", "--mount", "--propagation", "private", "sh", "-ec", alone, "sh"],
        ...["perl", lab.write("ldirectord", original), "-d", director.configFile, "start"],
      ],
      "ldirectord",
    );
    const web = ["-t", `${virtual}:80`];
    const state = async (): Promise<string> =>
      (await ipvsadm(director, "-S", "-n"))
        .split("\n")
        .filter((line) => line.startsWith("-a"))
        .map((line) => line.replace(/.* -r (\S+):80 .* -w (\d+)$/, "$1=$2"))
        .sort()
        .join(" ");
    const becomes = async (wanted: string): Promise<void> => {
      await waitFor(
        `the real servers are ${wanted}`,
        async () => {
          if (!process.running) throw new Hopeless(`ldirectord ended:\n${process.log().slice(-3000)}`);
          const found = await state();
          if (found !== wanted) throw new Error(`they are ${found}; ldirectord says:\n${process.log().slice(-3000)}`);
          return true;
        },
        120_000,
        1_000,
      );
    };
    await becomes(`${http1}=1 ${http2}=1`);
    assert.deepEqual(await director.attached(), { front: "native", back: "native" });
    const answers = [await lab.whoAnswers(), await lab.whoAnswers()];
    assert.deepEqual(answers.sort(), ["http1", "http2"]);

    await lab.stopWebServer("http2");
    await becomes(`${http1}=1 ${http2}=0`);
    assert.deepEqual([await lab.whoAnswers(), await lab.whoAnswers()], ["http1", "http1"]);

    // xlb takes over from it, with the same file, while it is killed; then the checks are xlb's.
    await process.end("SIGKILL");
    await lab.startWebServer("http2");
    await director.start();
    await director.waitForWeights({ [`${http1}:80`]: 1, [`${http2}:80`]: 1 });
    assert.deepEqual(await overridden(director), []);
    assert.match(await ipvsadm(director, "-L", "-n", ...web), /^TCP {2}10\.10\.10\.53:80 rr$/m);
    await director.stop();
  },
  ldirectordMissing(),
);
