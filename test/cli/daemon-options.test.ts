import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Command } from "commander";
import { addDaemonOptions, daemonOptions, runArguments } from "../../src/cli/daemon-options.ts";
import { addGlobalOptions } from "../../src/cli/options.ts";
import { readDaemonOptions, writeDaemonOptions } from "../../src/control/daemon-options.ts";
import type { DaemonOptions } from "../../src/control/daemon-options.ts";

const stateDir = mkdtempSync(join(tmpdir(), "xlb-daemon-options-"));
after(() => rmSync(stateDir, { recursive: true }));

/** What the command line means. */
function parse(parameters: readonly string[], before?: DaemonOptions): DaemonOptions {
  const run = addDaemonOptions(new Command("run"));
  let options: DaemonOptions | undefined;
  run.action(() => {
    options = daemonOptions(run, before);
  });
  const program = addGlobalOptions(new Command("xlb")).addCommand(run);
  program.parse([...parameters], { from: "user" });
  assert.ok(options !== undefined);
  return options;
}

const everything = [
  ...["--state-dir", stateDir, "run", "--config", "/etc/some.cf", "--metrics", "off", "--plane", "generic"],
  ...["--interface", "eth0", "--interface", "eth1", "--table-size", "1024", "--damp-flapping", "30"],
  ...["--stop-fallback-commands", "--verify-tls", "system"],
];

test("the options of a daemon survive the command line that starts it, and its state directory", () => {
  const options = parse(everything);
  assert.deepEqual(
    [options.interfaces, options.tableSize, options.dampFlapping, options.stopFallbackCommands, options.verifyTls],
    [["eth0", "eth1"], 1024, 30, true, "system"],
  );
  assert.deepEqual(parse(runArguments(options)), options);
  writeDaemonOptions(options);
  assert.deepEqual(readDaemonOptions(stateDir), JSON.parse(JSON.stringify(options)));
});

test("a restarted daemon keeps its options unless others are given", () => {
  const before = parse(everything);
  const after = parse(["--state-dir", stateDir, "run", "--verify-tls", "off", "--table-size", "2048"], before);
  assert.deepEqual(after, { ...before, verifyTls: "off", tableSize: 2048 });
});

test("a setting that a restart is given takes the place of that one only", () => {
  const before = parse(["run", "--set", "new_per_source=100", "--set", "sloppy_tcp=1", "--set", "idle_timeout=60"]);
  const after = parse(["run", "--set", "sloppy_tcp=0", "--set", "udp:192.0.2.1:53/new_per_source=5"], before);
  assert.deepEqual(after.settings, [
    ...["new_per_source=100", "idle_timeout=60"],
    ...["sloppy_tcp=0", "udp:192.0.2.1:53/new_per_source=5"],
  ]);
  assert.deepEqual(parse(["run"], after).settings, after.settings);
});

test("a file of authorities is known by its absolute path", () => {
  assert.equal(parse(["run", "--verify-tls", "ca.pem"]).verifyTls, join(process.cwd(), "ca.pem"));
});
