import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { cannotRun } from "./program.ts";

it("the program loads while a profiler showers the process with signals", { skip: cannotRun }, () => {
  const folder = mkdtempSync(join(tmpdir(), "xlb-load-"));
  const program = join(import.meta.dirname, "program.js");
  const script = `import(${JSON.stringify(program)}).then(({ Program }) => { new Program("load").close(); });`;
  try {
    const profiled = ["--cpu-prof", "--cpu-prof-interval", "50", "--cpu-prof-dir", folder];
    const output = execFileSync(process.execPath, [...profiled, "--eval", script], { encoding: "utf8" });
    assert.equal(output, "");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
