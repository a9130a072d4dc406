import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { replaceFile } from "../../src/control/replace-file.ts";

it("a file that cannot be replaced is named, and nothing is left behind", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "xlb-replace-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "drains");
  mkdirSync(join(path, "in-the-way"), { recursive: true });
  assert.throws(() => replaceFile(path, "new"), /^Error: cannot write \S+\/drains: .*rename/);
  assert.deepEqual(readdirSync(folder), ["drains"]);

  rmSync(path, { recursive: true });
  replaceFile(path, "new");
  assert.equal(readFileSync(path, "utf8"), "new");
});
