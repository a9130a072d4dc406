/** Results: as they are written to a file, and as a table for people. */
import { directorName, sweepAtMost } from "./scenarios.ts";
import type { Scenario } from "./scenarios.ts";
import type { Effort, Figure, ScenarioResult } from "./measure.ts";

/** What `--json` writes. */
export interface BenchReport {
  readonly date: string;
  readonly kernel: string;
  readonly processor: string;
  readonly processors: number;
  readonly effort: Effort;
  readonly results: readonly ScenarioResult[];
}

/** Columns: scenario, target, median, least and most, packets a second, ratio, goals. */
const widths = [36, 20, 8, 16, 8, 8] as const;

export function tableHead(): string {
  return row("", "target", "ns", "least-most", "Mpps", "ratio", "goal");
}

/** A line for each target; ratios are to the usual design. */
export function tableOf(result: ScenarioResult): string {
  return result.figures
    .map((figure, index) => {
      const title = index === 0 ? result.scenario.title : "";
      const { target, median, least, most } = figure;
      const range = `${least.toFixed(1)}-${most.toFixed(1)}`;
      const rate = median > 0.5 ? (1000 / median).toFixed(1) : "";
      const ratio = target === "floor" ? "" : (figure.ratios["usual"] ?? NaN).toFixed(2);
      return row(title, target, median.toFixed(1), range, rate, ratio, goalsOf(result.scenario, figure));
    })
    .join("\n");
}

function goalsOf(scenario: Scenario, figure: Figure): string {
  const goals = (scenario.goals[figure.target] ?? []).map((goal) => {
    const ratio = figure.ratios[goal.against] ?? NaN;
    if ("timesAtLeast" in goal) {
      const times = scenario.cpus / ratio;
      const told = `${times.toFixed(2)} times "${goal.against}", at least ${goal.timesAtLeast}`;
      return `${told}: ${verdict(times, times >= goal.timesAtLeast)}`;
    }
    const told = goal.against === "usual" ? "of usual" : `${ratio.toFixed(2)} of "${goal.against}"`;
    return `${told}, at most ${goal.atMost}: ${verdict(ratio, ratio <= goal.atMost)}`;
  });
  return goals.join("; ");
}

function verdict(value: number, met: boolean): string {
  if (Number.isNaN(value)) return "not measured";
  return met ? "met" : "MISSED";
}

export function sweepLine({ scenario, sweep }: ScenarioResult): string {
  if (sweep === undefined) return "";
  const last = scenario.directors.at(-1);
  const name = last === undefined ? "" : directorName(last);
  const part = sweep.passNanoseconds / sweep.intervalNanoseconds;
  return (
    `${scenario.title} (${name}): the sweep takes ${(sweep.passNanoseconds / 1e6).toFixed(1)} ms a pass, ` +
    `one in ${(sweep.intervalNanoseconds / 1e9).toFixed(1)} s, with ${sweep.live} live connections: ` +
    `${(100 * part).toFixed(2)} % of a CPU, at most ${100 * sweepAtMost}: ${verdict(part, part <= sweepAtMost)}\n`
  );
}

/** A document with other figures between the comments that mark their place. */
export function withFigures(document: string, figures: string): string {
  const [begin, end] = ["<!-- figures -->\n", "<!-- end of figures -->\n"] as const;
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from < 0 || to < from) throw new Error("the document has no place for figures");
  return `${document.slice(0, from + begin.length)}\n${figures}\n\n${document.slice(to)}`;
}

function row(title: string, target: string, ...cells: readonly string[]): string {
  const texts = [title.padEnd(widths[0]), target.padEnd(widths[1])];
  for (const [index, cell] of cells.entries()) {
    const width = widths[index + 2];
    texts.push(width === undefined ? ` ${cell}` : cell.padStart(width));
  }
  return texts.join("").trimEnd();
}
