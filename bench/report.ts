/** Results: as they are written to a file, and as a table for people. */
import { directorName } from "./scenarios.ts";
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
  return (scenario.goals[figure.target] ?? [])
    .map(({ against, atMost }) => {
      const ratio = figure.ratios[against] ?? NaN;
      const told = against === "usual" ? "" : `${ratio.toFixed(2)} `;
      return `${told}of ${against}, at most ${atMost}: ${ratio <= atMost ? "met" : "MISSED"}`;
    })
    .join("; ");
}

export function sweepLine({ scenario, sweep }: ScenarioResult): string {
  if (sweep === undefined) return "";
  const last = scenario.directors.at(-1);
  const name = last === undefined ? "" : directorName(last);
  return (
    `${scenario.title} (${name}): the sweep takes ${(sweep.passNanoseconds / 1e6).toFixed(1)} ms ` +
    `a pass, about one a second, with ${sweep.live} live connections\n`
  );
}

function row(title: string, target: string, ...cells: readonly string[]): string {
  const texts = [title.padEnd(widths[0]), target.padEnd(widths[1])];
  for (const [index, cell] of cells.entries()) {
    const width = widths[index + 2];
    texts.push(width === undefined ? ` ${cell}` : cell.padStart(width));
  }
  return texts.join("").trimEnd();
}
