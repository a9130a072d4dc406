import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseConfig } from "../../src/config/parse.ts";
import { deps } from "./surroundings.ts";

/** This file runs as build/test/config/golden.test.js. */
const golden = join(import.meta.dirname, "../../../test/golden");

const cases = readdirSync(golden).filter((name) => existsSync(join(golden, name, "ldirectord.cf")));

for (const name of cases) {
  test(`${name}/ldirectord.cf is read as ${name}/config.json says`, async () => {
    const text = readFileSync(join(golden, name, "ldirectord.cf"));
    const { config, diagnostics } = await parseConfig(text, "ldirectord.cf", deps);
    const file = join(golden, name, "config.json");
    const printed = `${JSON.stringify(config, undefined, 2)}\n`;
    if (process.env["GOLDEN"] === "write") writeFileSync(file, printed);
    assert.deepEqual(diagnostics, []);
    assert.equal(printed, readFileSync(file, "utf8"));
  });
}
