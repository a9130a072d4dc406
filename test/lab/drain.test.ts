import assert from "node:assert/strict";
import { Director, service } from "../support/director.ts";
import { tutorialPlan, waitFor } from "../support/lab.ts";
import { echoPort, harm, startEchoServers, startTransfers, story, unharmed } from "../support/story.ts";

const virtual = tutorialPlan.virtual[0]!;
const [address1, address2] = ["192.168.200.102", "192.168.200.103"] as const;
const [http1, http2] = [`${address1}:${echoPort}`, `${address2}:${echoPort}`] as const;
const config = `checkinterval=1\n${service(tutorialPlan, ["checktype=connect", "scheduler=rr"], { port: echoPort })}`;

async function xlb(director: Director, ...command: [string, ...string[]]): Promise<string> {
  const { code, stdout, stderr } = await director.xlb(...command);
  assert.equal(code, 0, stderr);
  return stdout;
}

story(
  "a drained real server keeps its connections until the deadline, then its clients are told",
  [tutorialPlan],
  async (lab) => {
    await startEchoServers(lab);
    const director = await Director.start(lab, { config });
    await director.waitForWeights({ [http1]: 1, [http2]: 1 });
    const transfers = await startTransfers(lab, virtual, 20);

    assert.match(await xlb(director, "drain", address1), /^Draining real server 192\.168\.200\.102 of 1 service\n$/);
    await director.waitForWeights({ [http1]: 0, [http2]: 1 });
    const later = await startTransfers(lab, virtual, 10);
    const { realServers } = await director.service();
    assert.deepEqual(Object.fromEntries(realServers.map(({ key, active }) => [key, active])), {
      [http1]: 10,
      [http2]: 20,
    });

    // It lasts over a reload and the daemon's death, and can be taken back.
    await xlb(director, "reload");
    await director.kill();
    await director.start();
    assert.match(await xlb(director, "status"), /^drained +192\.168\.200\.102 since /m);
    await director.waitForWeights({ [http1]: 0, [http2]: 1 });
    await xlb(director, "undrain", address1);
    await director.waitForWeights({ [http1]: 1, [http2]: 1 });
    const refused = await director.xlb("undrain", address1);
    assert.deepEqual([refused.code, refused.stderr], [1, `xlb: the real server ${address1} is not drained\n`]);
    assert.equal((await director.xlb("drain", "192.0.2.99")).code, 1);

    await xlb(director, "drain", http1, "--deadline", "2");
    await director.waitForWeights({ [http2]: 1 });
    await waitFor("ten clients are told", async () => {
      const [plane] = (await director.stats()).planes;
      return (plane?.packets["reset_real_server_gone"] ?? 0) >= 10;
    });
    const report = await transfers.finish();
    assert.deepEqual([report.lost, report.firstLoss, report.wrong], [10, "ECONNRESET", 0]);
    assert.deepEqual(harm(await later.finish()), unharmed);
  },
);
