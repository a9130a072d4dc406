/** `make bench`: what a packet costs in the director, beside the least there can be and beside the usual design. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus as processors, release } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { ensureBpffs } from "../src/dataplane/xdp/load.ts";
import { loadNative } from "../src/native.ts";
import { measure } from "./measure.ts";
import type { Effort, ScenarioResult } from "./measure.ts";
import { sweepLine, tableHead, tableOf, withFigures } from "./report.ts";
import type { BenchReport } from "./report.ts";
import { hasGoal, scenarios } from "./scenarios.ts";

const fullEffort: Effort = { rounds: 9, packets: 1_000_000, newPackets: 50_000 };
const quickEffort: Effort = { rounds: 5, packets: 500_000, newPackets: 50_000 };

interface Options {
  readonly quick?: true;
  readonly goals?: true;
  readonly json?: string;
  readonly document?: string;
  readonly only?: string;
  readonly rounds?: string;
  readonly cpus?: string;
}

async function run(options: Options): Promise<number> {
  if (process.getuid?.() !== 0) {
    process.stderr.write("bench: loading BPF programs needs root\n");
    return 1;
  }
  // The second CPU first: the first one has most of a machine's interrupts.
  const cpus = options.cpus?.split(",").map(Number) ?? (availableParallelism() > 1 ? [1, 0] : [0]);
  const base = options.quick ? quickEffort : fullEffort;
  const effort = options.rounds === undefined ? base : { ...base, rounds: Number(options.rounds) };
  const wanted = scenarios.filter((scenario) => {
    if (options.only !== undefined) return scenario.title.includes(options.only);
    return (scenario.quick || !options.quick) && (hasGoal(scenario) || !options.goals);
  });
  const native = loadNative();
  const bpffs = `/sys/fs/bpf/xlb-bench-${process.pid}`;
  ensureBpffs(native, bpffs);
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

  const processor = processors()[0]?.model.trim() ?? "unknown processor";
  const results: ScenarioResult[] = [];
  const told: string[] = [];
  function tell(line: string): void {
    told.push(line);
    process.stdout.write(`${line}\n`);
  }
  process.stdout.write(`Linux ${release()}, ${processor}, ${processors().length} CPUs\n`);
  process.stdout.write("CPU time a packet in the program alone, nanoseconds; ratios to the usual design\n\n");
  tell(tableHead());
  try {
    for (const [index, scenario] of wanted.entries()) {
      if (scenario.cpus > cpus.length) {
        tell(`${scenario.title}: left out, it needs ${scenario.cpus} CPUs`);
        continue;
      }
      const folder = join(bpffs, `scenario-${index}`);
      mkdirSync(folder);
      const result = await measure(scenario, { native, cpus, bpffs: folder, effort, signal: stop.signal });
      results.push(result);
      tell(tableOf(result));
    }
    tell(`\n${results.map(sweepLine).join("")}`.trimEnd());
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.stderr.write("bench: interrupted\n");
    return 130;
  } finally {
    rmSync(bpffs, { recursive: true, force: true });
  }
  if (options.document !== undefined) {
    const where = `${processor}, ${processors().length} CPUs, Linux ${release()}, ${new Date().toISOString().slice(0, 10)}`;
    const text = readFileSync(options.document, "utf8");
    writeFileSync(options.document, withFigures(text, `Of ${where}:\n\n\`\`\`\n${told.join("\n")}\n\`\`\``));
  }
  if (options.json !== undefined) {
    const report: BenchReport = {
      date: new Date().toISOString(),
      kernel: release(),
      processor,
      processors: processors().length,
      effort,
      results,
    };
    writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  return 0;
}

const program = new Command("bench")
  .description("Measure what a packet costs in the director (root).")
  .option("--quick", "the most telling scenarios only, in about a minute")
  .option("--goals", "the scenarios only in which something is to be reached")
  .option("--json <file>", "write all figures to a file, too")
  .option("--document <file>", "put the table into a document, in place of the figures between its comments")
  .option("--only <text>", "the scenarios whose title contains a text")
  .option("--rounds <number>", "how often every target is measured")
  .option("--cpus <list>", "CPUs to run on: one, or two with a comma between")
  .parse();
process.exitCode = await run(program.opts<Options>());
