import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createProgram } from "../../src/cli/program.ts";
import { run, withFolder } from "./command.ts";

const names = createProgram().commands.map((command) => command.name());

test("every command of the product is there", () => {
  const daemon =
    "check run start stop restart reload adopt handback status stats connections health drain undrain overrides tune";
  assert.deepEqual(names, [...daemon.split(" "), "ldirectord", "ipvsadm"]);
});

test("the help has examples, exit codes and every command", async () => {
  const { code, stdout, stderr } = await run("--help");
  assert.equal(code, 0);
  assert.equal(stderr, "");
  assert.match(stdout, /^Usage: xlb /);
  assert.match(stdout, /Examples:\n {2}xlb check/);
  assert.match(stdout, /Exit status: 0 success, 1 failure, 2 .*, 3 not running/);
  for (const name of names) assert.match(stdout, new RegExp(`^ {2}${name} `, "m"));
});

for (const name of names) {
  // What ipvsadm's --help prints is ipvsadm's.
  const words = name === "ipvsadm" ? ["help", name] : [name, "--help"];
  test(`xlb ${words.join(" ")} prints its usage and the common options`, async () => {
    const { code, stdout, stderr } = await run(...words);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.ok(stdout.startsWith(`Usage: xlb ${name} `));
    assert.match(stdout, /--state-dir <dir>/);
    assert.match(stdout, /--bpffs <dir>/);
  });
}

test("the version is that of the package", async () => {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  const { version } = JSON.parse(text) as { version: string };
  assert.deepEqual(await run("--version"), { code: 0, stdout: `${version}\n`, stderr: "" });
});

test("without a command the help goes to standard error, and the exit status is 2", async () => {
  const { code, stdout, stderr } = await run();
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Usage: xlb /);
});

const mistakes: readonly (readonly [args: string, message: RegExp])[] = [
  ["frobnicate", /unknown command 'frobnicate'/],
  ["run --table-size 1000", /--table-size .*'1000'.*power of two from 16/],
  ["start --table-size 1099511627776", /--table-size .*power of two/],
  ["stat", /unknown command 'stat'\n\(Did you mean .*stat/],
  ["--frobnicate stats", /unknown option '--frobnicate'/],
  ["stats --frobnicate", /unknown option '--frobnicate'/],
  ["stats extra", /too many arguments for 'stats'/],
  ["stats --interval 0", /--interval .*'0'.*seconds/],
  ["stats --watch 1x", /--watch .*'1x'.*seconds/],
  ["stats --service 192.0.2.300", /--service .*'192\.0\.2\.300'/],
  ["stats --service tcp:192.0.2.1:99999", /--service /],
  ["stats --state-dir", /--state-dir <dir>' argument missing/],
  ["connections --limit 0", /--limit .*whole number from 1/],
  ["connections --limit -3", /--limit /],
  ["connections --client 192.0.2", /--client .*network like/],
  ["connections --client 192.0.2.0/33", /--client /],
  ["connections --client 2001:db8::/129", /--client /],
  ["connections --client fe80::1%eth0", /--client /],
  ["connections --real-server 2001:db8::1:99999", /--real-server /],
  ["connections --real-server [2001:db8::1]:99999", /--real-server /],
  ["connections --real-server [192.0.2.1]:80", /--real-server /],
  ["connections --state OPEN", /--state .*ESTABLISHED/],
  ["health --service x", /--service /],
  ["check", /missing required argument 'file'/],
];
for (const [args, message] of mistakes) {
  test(`xlb ${args}: one message, exit status 2`, async () => {
    const { code, stdout, stderr } = await run(...args.split(" "));
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, /^xlb: /);
    assert.match(stderr, message);
    assert.ok(stderr.trimEnd().split("\n").length <= 2, stderr);
  });
}

test("stats and connections say that nothing is pinned, with exit status 3", async () => {
  await withFolder(async (folder) => {
    for (const args of [
      ["stats"],
      ["stats", "--json"],
      ["stats", "--watch"],
      ["connections"],
      ["connections", "--count"],
    ]) {
      const { code, stdout, stderr } = await run(...args, "--bpffs", `${folder}/pins`, "--state-dir", folder);
      assert.equal(code, 3);
      assert.equal(stdout, "");
      assert.equal(stderr, `xlb: nothing is pinned in ${folder}/pins: no director is running there\n`);
    }
  });
});

test("common options stand before or after the command", async () => {
  await withFolder(async (folder) => {
    for (const args of [
      ["--bpffs", folder, "stats"],
      ["stats", "--bpffs", folder],
    ]) {
      const { code, stderr } = await run(...args);
      assert.equal(code, 3);
      assert.ok(stderr.includes(`nothing is pinned in ${folder}:`), stderr);
    }
  });
});
