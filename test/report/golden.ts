import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";

/** Compares with `test/report/golden/NAME`; `UPDATE_GOLDEN=1` writes it instead, for a reviewed diff. */
export function assertGolden(name: string, actual: string): void {
  // The compiled test lies in build/test/report.
  const file = new URL(`../../../test/report/golden/${name}`, import.meta.url);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, actual);
  assert.equal(actual, readFileSync(file, "utf8"));
}
