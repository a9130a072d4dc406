/**
 * Run in a guest whose kernel has IPVS, by ipvsadm.test.ts: plays the situations to Debian's ipvsadm in a network namespace
 * and to ours in another, and prints what came of it as JSON.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemNames } from "../../src/cli/ipvsadm/names.ts";
import { openKernelTable } from "../../src/cli/ipvsadm/kernel-table.ts";
import { runIpvsadm } from "../../src/cli/ipvsadm/run.ts";
import { loadNative } from "../../src/native.ts";
import { playLive } from "./ipvsadm-live.ts";
import type { Compared } from "./ipvsadm-live.ts";
import { hosts, services, situations } from "./ipvsadm-situations.ts";
import type { Situation, Step, StepResult } from "./ipvsadm-situations.ts";

export interface Played {
  readonly steps: readonly StepResult[];
  /** /proc/net/ip_vs afterwards. */
  readonly table: string;
}

export interface Report {
  readonly real: readonly Played[];
  readonly ours: readonly Played[];
  readonly live: readonly Compared[];
  /** What each of the three took. */
  readonly milliseconds: readonly number[];
}

const table = "/proc/net/ip_vs";

/** What a situation finds: nothing of those before it, but for what they set back themselves. */
const clear: Step = { words: ["-C"] };

/** One shell runs everything, because starting programs is what takes time here. */
function playReal(namespace: string): Played[] {
  const folder = mkdtempSync(join(tmpdir(), "xlb-ipvsadm-"));
  const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
  const lines = situations.flatMap(({ steps }, situation) => [
    // Its title has three lines; a table that is empty is left as it is.
    `{ read x; read x; read x; ! read x; } <${table} || ipvsadm ${clear.words.join(" ")}`,
    ...steps.flatMap(({ words, input }, index) => {
      const file = `${folder}/${situation}.${index}`;
      if (input !== undefined) writeFileSync(`${file}.in`, input);
      const from = input === undefined ? "/dev/null" : `${file}.in`;
      return [`ipvsadm ${words.map(quote).join(" ")} <${from} >${file}.out 2>${file}.err`, `echo $? >${file}.status`];
    }),
    `cat ${table} >${folder}/${situation}.table`,
  ]);
  execFileSync("ip", ["netns", "exec", namespace, "sh"], { input: `${lines.join("\n")}\n` });
  const read = (file: string): string => readFileSync(join(folder, file), "utf8");
  return situations.map(({ steps }, situation) => ({
    steps: steps.map((_, index) => ({
      status: Number(read(`${situation}.${index}.status`)),
      stdout: read(`${situation}.${index}.out`),
      stderr: read(`${situation}.${index}.err`),
    })),
    table: read(`${situation}.table`),
  }));
}

async function playOurs({ steps }: Situation): Promise<Played> {
  await runOurs(clear);
  const results: StepResult[] = [];
  for (const step of steps) results.push(await runOurs(step));
  return { steps: results, table: readFileSync(table, "utf8") };
}

const native = loadNative();

async function runOurs({ words, input = "" }: Step): Promise<StepResult> {
  let [stdout, stderr] = ["", ""];
  const status = await runIpvsadm(
    {
      openTable: () => Promise.resolve(openKernelTable(native)),
      names: systemNames(),
      stdin: piecesOf(input),
      stdout: (text) => Promise.resolve(void (stdout += text)),
      stderr: (text) => Promise.resolve(void (stderr += text)),
      strict: false,
    },
    "ipvsadm",
    words,
  );
  return { status, stdout, stderr };
}

/** In pieces that know nothing of lines, as from a pipe. */
async function* piecesOf(text: string): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += 7) yield await Promise.resolve(text.slice(at, at + 7));
}

appendFileSync("/etc/hosts", hosts);
writeFileSync("/etc/services", services);
// There is nobody to ask for others.
writeFileSync("/etc/nsswitch.conf", "hosts: files\nservices: files\n");
execFileSync("ip", ["link", "set", "lo", "up"]);
execFileSync("ip", ["netns", "add", "xlb-real"]);
execFileSync("ip", ["-n", "xlb-real", "link", "set", "lo", "up"]);
const started = performance.now();
const real = playReal("xlb-real");
const second = performance.now();
const ours: Played[] = [];
for (const situation of situations) ours.push(await playOurs(situation));
const third = performance.now();
await runOurs(clear);
const live = await playLive(native, async (words) => await runOurs({ words }));
const milliseconds = [second - started, third - second, performance.now() - third].map(Math.round);
const report: Report = { real, ours, live, milliseconds };
process.stdout.write(JSON.stringify(report));
