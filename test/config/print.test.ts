import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { printDiagnostic } from "../../src/config/diagnostics.ts";
import { printConfig } from "../../src/config/print.ts";
import type { Config } from "../../src/model/config.ts";
import { configurationFile } from "./grammar.ts";
import { configOf, parse } from "./surroundings.ts";
import { quirks } from "./quirks.ts";

const folder = mkdtempSync(join(tmpdir(), "xlb-print-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Without the places in the file. */
function meaningOf(config: Config): unknown {
  return JSON.parse(
    JSON.stringify(config, (key, value: unknown) => (key === "position" || key === "file" ? undefined : value)),
  ) as unknown;
}

async function assertReadAgain(text: string): Promise<void> {
  const { config } = await parse(text);
  if (config === undefined) return;
  const printed = printConfig(config);
  const again = await parse(printed);
  const said = again.diagnostics.map(printDiagnostic).join("\n");
  assert.ok(again.config !== undefined, `${text}\n--- printed\n${printed}\n${said}`);
  assert.deepEqual(meaningOf(again.config), meaningOf(config), `${text}\n--- printed\n${printed}`);
  assert.equal(printConfig(again.config), printed);
}

test("what is printed of a configuration is the same configuration", async () => {
  for (const text of Object.values(quirks(folder)).flat()) await assertReadAgain(text);
});

for (const oddity of [0, 5, 20]) {
  test(`what is printed of random files is the same configuration: ${oddity} of 100 values odd`, async () => {
    const file = configurationFile({ folder: "/tmp", oddity });
    await fc.assert(fc.asyncProperty(file, assertReadAgain), { numRuns: 250 });
  });
}

test("every default is written out", async () => {
  const config = await configOf("virtual=10.0.0.1:80\n\treal=web1 masq\n\treal=10.0.0.12->10.0.0.13:81 gate\n");
  assert.equal(
    printConfig(config),
    `checkinterval=10
autoreload=no
fork=no
supervised=no
readdquiescent=no
logfile="/var/log/ldirectord.log"

virtual=10.0.0.1:80
	protocol=tcp
	scheduler=wrr
	ops=no
	real=10.0.0.11 masq 1
	real=10.0.0.12:81 gate 1
	real=10.0.0.13:81 gate 1
	checktype=negotiate
	checktimeout=5
	negotiatetimeout=30
	request="/"
	httpmethod=GET
	checkcommand="/bin/true"
	failurecount=1
	quiescent=no
	cleanstop=yes
	emailalertfreq=0
	emailalertstatus=starting,running,stopping,reloading
`,
  );
});
