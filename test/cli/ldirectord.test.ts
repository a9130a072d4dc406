import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { parseArguments } from "../../src/cli/commands/ldirectord.ts";
import { loadDefaults, parseDefaults } from "../../src/cli/defaults.ts";
import { withFolder } from "./command.ts";

const run = { kind: "run", debug: false, config: undefined, action: "start", background: false };

const commandLines: readonly (readonly [words: string, expected: object])[] = [
  ["start", run],
  ["x.cf start", { ...run, config: "x.cf" }],
  ["x.cf stop more words", { ...run, config: "x.cf", action: "stop" }],
  ["-d x.cf start", { ...run, debug: true, config: "x.cf" }],
  ["--debug -- x.cf try-restart", { ...run, debug: true, config: "x.cf", action: "try-restart" }],
  ["x.cf start -d", { ...run, config: "x.cf" }],
  ["x.cf start --background", { ...run, config: "x.cf", background: true }],
  ["-dh start", { kind: "help" }],
  ["-?", { kind: "help" }],
  ["--version", { kind: "version" }],
  ["", { kind: "usage", message: "ldirectord: a command is missing" }],
  ["x.cf", { kind: "usage", message: "ldirectord: unknown command: x.cf" }],
  ["x.cf Start", { kind: "usage", message: "ldirectord: unknown command: Start" }],
  ["-x start", { kind: "usage", message: "ldirectord: unknown option: -x" }],
  ["--deb start", { kind: "usage", message: "ldirectord: unknown option: --deb" }],
];

for (const [words, expected] of commandLines) {
  test(`ldirectord ${words}: is read as ldirectord does`, () => {
    assert.deepEqual(parseArguments(words.split(" ").filter(Boolean)), expected);
  });
}

test("/etc/default/xlb is read as a shell reads simple lines", () => {
  const text = [
    "# XLB_PLANE=ipvs",
    "XLB_STATE_DIR=/run/a # why",
    'export XLB_BPFFS="/sys/fs/bpf/a b"',
    "  XLB_INTERFACES='eth0 eth1'",
    "XLB_METRICS=",
    "PATH=/nowhere",
    "XLB_TABLE_SIZE = 16",
  ].join("\n");
  assert.deepEqual(
    [...parseDefaults(text)],
    [
      ["XLB_STATE_DIR", "/run/a"],
      ["XLB_BPFFS", "/sys/fs/bpf/a b"],
      ["XLB_INTERFACES", "eth0 eth1"],
      ["XLB_METRICS", ""],
    ],
  );
});

test("the environment goes before /etc/default/xlb, and a missing file is none", async () => {
  await withFolder((folder) => {
    const file = `${folder}/xlb`;
    const environment: NodeJS.ProcessEnv = { XLB_PLANE: "native" };
    loadDefaults(environment, file);
    assert.deepEqual(environment, { XLB_PLANE: "native" });
    writeFileSync(file, "XLB_PLANE=generic\nXLB_METRICS=off\nXLB_BPFFS=\n");
    loadDefaults(environment, file);
    assert.deepEqual(environment, { XLB_PLANE: "native", XLB_METRICS: "off" });
    return Promise.resolve();
  });
});
