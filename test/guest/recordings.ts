/** What the kernel's IPVS chose, kept for machines where no guest can be run: test/golden/schedulers. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Play } from "./play.ts";
import { chosenServer } from "./scheduler-traces.ts";

/** Of each frame of a play the number of the server it went to; 0: none. */
export function choicesOf(play: Play, answers: readonly (readonly Buffer[])[]): number[] {
  return answers.filter((_, index) => play.steps[index]?.kind === "frame").map(chosenServer);
}

function fileOf(name: string): string {
  return join(import.meta.dirname, "../../../test/golden/schedulers", `${name}.txt.gz`);
}

export function recorded(name: string): number[] | undefined {
  const file = fileOf(name);
  if (!existsSync(file)) return undefined;
  return gunzipSync(readFileSync(file)).toString().trim().split(/\s/).map(Number);
}

export function record(name: string, choices: readonly number[]): void {
  const lines: string[] = [];
  for (let at = 0; at < choices.length; at += 40) lines.push(choices.slice(at, at + 40).join(" "));
  writeFileSync(fileOf(name), gzipSync(`${lines.join("\n")}\n`, { level: 9 }));
}

const drawsFile = join(import.meta.dirname, "../../../test/golden/schedulers/twos.json");

/** How often the kernel's `twos` has chosen each real server, by case. */
export function recordedDraws(): Readonly<Record<string, readonly number[]>> {
  // Written by recordDraws.
  return existsSync(drawsFile) ? (JSON.parse(readFileSync(drawsFile, "utf8")) as Record<string, number[]>) : {};
}

export function recordDraws(counts: Readonly<Record<string, readonly number[]>>): void {
  const lines = Object.entries(counts).map(([name, each]) => `  ${JSON.stringify(name)}: ${JSON.stringify(each)}`);
  writeFileSync(drawsFile, `{\n${lines.join(",\n")}\n}\n`);
}
