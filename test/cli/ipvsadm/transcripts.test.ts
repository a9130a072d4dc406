import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseServices } from "../../../src/cli/ipvsadm/names.ts";
import type { Names } from "../../../src/cli/ipvsadm/names.ts";
import { runIpvsadm } from "../../../src/cli/ipvsadm/run.ts";
import { hosts, printTranscript, services, situations } from "../../guest/ipvsadm-situations.ts";
import type { Step, StepResult } from "../../guest/ipvsadm-situations.ts";
import { MemoryTable } from "./memory-table.ts";

/** What Debian's ipvsadm said on a real kernel; test/guest/ipvsadm.test.ts keeps it true. */
const golden = join(import.meta.dirname, "..", "..", "..", "..", "test", "golden", "ipvsadm");

/** The kernel itself has a say here that a table in memory does not. */
const ofTheKernel: readonly string[] = [
  "addresses that are no unicast",
  "synchronisation daemons",
  "synchronisation daemons on IPv6",
];

const names = namesOf(hosts, services);

for (const situation of situations) {
  const skip = ofTheKernel.includes(situation.name) && "only a kernel can tell";
  test(`as recorded: ${situation.name}`, { skip }, async () => {
    const table = new MemoryTable();
    const results: StepResult[] = [];
    for (const step of situation.steps) results.push(await run(table, step));
    const file = `${situation.name.replace(/\W+/g, "-")}.txt`;
    assert.equal(printTranscript(situation, results), readFileSync(join(golden, file), "utf8"));
  });
}

async function run(table: MemoryTable, { words, input = "" }: Step): Promise<StepResult> {
  let [stdout, stderr] = ["", ""];
  const status = await runIpvsadm(
    {
      openTable: () => Promise.resolve(table),
      names,
      stdin: pieceOf(input),
      stdout: (text) => Promise.resolve(void (stdout += text)),
      stderr: (text) => Promise.resolve(void (stderr += text)),
      strict: false,
    },
    "ipvsadm",
    words,
  );
  return { status, stdout, stderr };
}

async function* pieceOf(text: string): AsyncGenerator<string> {
  yield await Promise.resolve(text);
}

/** As the system has them, of texts in the form of /etc/hosts and /etc/services. */
function namesOf(hostsText: string, servicesText: string): Names {
  const known = parseServices(servicesText);
  const lines = hostsText.split("\n").map((line) => line.split(" "));
  return {
    hostOf: (address) => Promise.resolve(lines.find(([each]) => each === address)?.[1]),
    addressOf: (host) =>
      Promise.resolve(lines.find(([address, ...each]) => each.includes(host) && !address?.includes(":"))?.[0]),
    serviceOf: (port, protocol) => known.find((each) => each.port === port && each.protocol === protocol)?.names[0],
    portOf: (service, protocol) =>
      known.find((each) => each.names.includes(service) && each.protocol === protocol)?.port,
  };
}
