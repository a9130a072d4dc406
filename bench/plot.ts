/** Draws a report of `make bench` (`--json`) as an SVG: `node build/bench/plot.js REPORT.json PICTURE.svg`. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Figure, ScenarioResult } from "./measure.ts";
import type { BenchReport } from "./report.ts";

const width = 860;
const labelWidth = 270;
const barWidth = width - labelWidth - 130;
const barHeight = 13;
const groupGap = 12;
const headHeight = 58;
const colours: Readonly<Record<string, string>> = { usual: "#b0b7c3", wlc: "#7fb3d5" };
const directorColour = "#1f6fb2";

/** The usual design and the directors with 100 real servers; the floor would not be seen. */
function barsOf(result: ScenarioResult): readonly Figure[] {
  return result.figures.filter(({ target }) => ["usual", "rr", "wlc"].includes(target));
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function group(result: ScenarioResult, top: number, scale: number): string {
  const bars = barsOf(result);
  const middle = top + (bars.length * barHeight) / 2 + 4;
  const title = `<text x="${labelWidth - 10}" y="${middle}" text-anchor="end">${escape(result.scenario.title)}</text>`;
  const drawn = bars.map(({ target, median, ratios }, index) => {
    const y = top + index * barHeight;
    const length = Math.max(1, median * scale);
    const ratio = target === "usual" ? "" : ` (${(ratios["usual"] ?? NaN).toFixed(2)})`;
    return (
      `<rect x="${labelWidth}" y="${y}" width="${length.toFixed(1)}" height="${barHeight - 2}" ` +
      `fill="${colours[target] ?? directorColour}"/>` +
      `<text x="${(labelWidth + length + 6).toFixed(1)}" y="${y + barHeight - 3}" class="figure">` +
      `${median.toFixed(0)}${ratio}</text>`
    );
  });
  return [title, ...drawn].join("\n");
}

function legend(): string {
  const entries = [
    ["usual design", colours["usual"]],
    ["xlb, rr", directorColour],
    ["xlb, wlc", colours["wlc"]],
  ] as const;
  return entries
    .map(([text, colour], index) => {
      const x = labelWidth + index * 120;
      return `<rect x="${x}" y="34" width="11" height="11" fill="${colour}"/><text x="${x + 16}" y="44">${text}</text>`;
    })
    .join("\n");
}

export function picture(report: BenchReport): string {
  const most = Math.max(...report.results.flatMap((result) => barsOf(result).map(({ median }) => median)));
  const scale = barWidth / most;
  let top = headHeight;
  const groups = report.results.map((result) => {
    const drawn = group(result, top, scale);
    top += barsOf(result).length * barHeight + groupGap;
    return drawn;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top + 8}" viewBox="0 0 ${width} ${top + 8}">
<style>text { font: 12px sans-serif; fill: #222 } .figure { font-size: 10px; fill: #555 }</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${labelWidth}" y="20" style="font-size: 14px">Nanoseconds a packet, less is better (ratio to the usual design)</text>
${legend()}
${groups.join("\n")}
</svg>
`;
}

const [input, output] = process.argv.slice(2);
if (input === undefined || output === undefined) {
  process.stderr.write("usage: plot REPORT.json PICTURE.svg\n");
  process.exitCode = 2;
} else {
  // Written by `make bench` itself.
  writeFileSync(output, picture(JSON.parse(readFileSync(input, "utf8")) as BenchReport));
}
