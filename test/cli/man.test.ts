import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { manPages } from "../../scripts/generate-man.ts";
import { createProgram } from "../../src/cli/program.ts";
import { readVersion } from "../../src/version.ts";

const directory = fileURLToPath(new URL("../../../man", import.meta.url));
const pages = manPages(createProgram(), readVersion());

test("the man pages are what the commands say", () => {
  const files = readdirSync(directory).filter((file) => file.endsWith(".1"));
  assert.deepEqual(files.sort(), [...pages.keys()].sort(), "run make man");
  for (const [file, content] of pages)
    assert.equal(readFileSync(join(directory, file), "utf8"), content, "run make man");
});

test("every option of a command is on its page", () => {
  for (const command of createProgram().commands) {
    const page = (pages.get(`xlb-${command.name()}.1`) ?? "").replaceAll("\\-", "-");
    for (const option of command.options) assert.ok(page.includes(`\\fB${option.long ?? ""}\\fR`), option.flags);
    for (const section of ["EXIT STATUS", "FILES", "EXAMPLES"]) assert.ok(page.includes(`.SH ${section}\n`));
  }
});

const groffIsMissing = spawnSync("groff", ["--version"]).error ? "groff is not installed" : false;

test("groff renders the pages without a warning", { skip: groffIsMissing }, () => {
  for (const [file, content] of pages) {
    const { status, stderr } = spawnSync("groff", ["-man", "-Tutf8", "-ww", "-rCHECKSTYLE=1"], {
      input: content,
      encoding: "utf8",
    });
    assert.equal(stderr, "", file);
    assert.equal(status, 0, file);
  }
});
