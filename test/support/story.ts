/** One story of a lab test: a lab, a director, and what the daemon said if the story fails. */
import { test } from "node:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { directorIsMissing } from "./director.ts";
import { bare, Hopeless, Lab, labIsMissing, waitFor } from "./lab.ts";
import type { AddressPlan, LabProcess } from "./lab.ts";
import type { TransferReport } from "./transfers.ts";

/** A test in a lab of its own; skipped, with the reason, where no lab can be made, or what `missing` says is missing. */
export function story(
  name: string,
  plans: readonly AddressPlan[],
  body: (lab: Lab) => Promise<void>,
  missing: string | false = false,
): void {
  test(name, { skip: labIsMissing() || directorIsMissing() || missing }, async (t) => {
    await using lab = await Lab.create({ plans });
    try {
      await body(lab);
    } catch (error) {
      for (const file of readdirSync(lab.dir).filter((entry) => entry.startsWith("director-"))) {
        t.diagnostic(`${file}:\n${readFileSync(join(lab.dir, file), "utf8").slice(-6000)}`);
      }
      throw error;
    }
  });
}

const transfersScript = fileURLToPath(new URL("transfers.js", import.meta.url));

/** The port of the servers that send back what they receive. */
export const echoPort = 7000;

/** Starts an echo server on every real server. */
export async function startEchoServers(lab: Lab): Promise<void> {
  for (const server of lab.servers) {
    lab.spawn(server, [process.execPath, transfersScript, "serve", String(echoPort)], "echo");
    await waitFor(`the echo server of ${server} listens`, async () =>
      (await lab.run(server, "ss", "-Hltn", `sport = :${echoPort}`)).includes(`:${echoPort}`),
    );
  }
}

/** Connections in mid-transfer; `finish` ends them and tells how it went. */
export interface Transfers {
  finish(): Promise<TransferReport>;
}

/** Opens that many connections to the address's echo port and returns when all are open. */
export async function startTransfers(lab: Lab, target: string, connections: number): Promise<Transfers> {
  const plan = lab.plans.find((candidate) => candidate.virtual.some((virtual) => bare(virtual) === bare(target)));
  const clients = (plan ?? lab.plan).clients.map(bare);
  const transfers: LabProcess = lab.spawn(
    "client",
    [
      ...[process.execPath, transfersScript, "run", bare(target), String(echoPort), String(connections), "300"],
      ...clients,
    ],
    "transfers",
  );
  await waitFor(
    `${connections} connections are open`,
    () => {
      const opened = /^open (\d+)/m.exec(transfers.log())?.[1];
      if (!transfers.running) throw new Hopeless(`the transfers ended: ${transfers.log()}`);
      if (opened === undefined) return false;
      if (Number(opened) !== connections) throw new Hopeless(`only ${opened} of ${connections} connections opened`);
      return true;
    },
    60_000,
  );
  return {
    finish: async () => {
      transfers.signal("SIGUSR2");
      await transfers.exited;
      const report = /^\{.*\}$/m.exec(transfers.log())?.[0];
      if (report === undefined) throw new Error(`the transfers left no report: ${transfers.log()}`);
      return JSON.parse(report) as TransferReport; // Written by our own script.
    },
  };
}

/** What a report must say: nothing lost, nothing wrong. */
export const unharmed = { lost: 0, firstLoss: "", wrong: 0, incomplete: 0 } as const;

/** The part of a report that {@link unharmed} speaks of. */
export function harm({
  lost,
  firstLoss,
  wrong,
  incomplete,
}: TransferReport): Omit<TransferReport, "connections" | "bytes"> {
  return { lost, firstLoss, wrong, incomplete };
}
