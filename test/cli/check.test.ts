import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { main, run, withFolder } from "./command.ts";

const skip = existsSync(new URL("../../native/xlb.node", import.meta.url))
  ? false
  : "build/native/xlb.node is not built";

const good = `quiescent=no
virtual=192.0.2.1:80
\treal=192.0.2.11:80 gate
\treal=192.0.2.12:80 gate 2
\tservice=http
\tscheduler=wrr
\tprotocol=tcp
`;
const bad = `quiescent=no
frobnicate=1
virtual=192.0.2.1:80
\treal=192.0.2.11:80 gate
\tchecktimeout=soon
\tservice=http
\treceive="a("
`;

async function check(content: string, ...args: readonly string[]) {
  return await withFolder(async (folder) => {
    const file = `${folder}/ldirectord.cf`;
    writeFileSync(file, content);
    return { file, ...(await run("check", file, ...args)) };
  });
}

test("a good file is summed up, with exit status 0", { skip }, async () => {
  const { file, code, stdout, stderr } = await check(good);
  assert.equal(stderr, "");
  assert.equal(stdout, `${file}: 1 virtual service, 2 real servers, 0 errors, 0 warnings\n`);
  assert.equal(code, 0);
});

test("all errors are told at once by line and column, with exit status 2", { skip }, async () => {
  const { file, code, stdout, stderr } = await check(bad);
  assert.equal(code, 2);
  const lines = stderr.trimEnd().split("\n");
  for (const line of lines) {
    assert.ok(line.startsWith(`${file}:`));
    assert.match(line.slice(file.length), /^:\d+:\d+: (error|warning): \S/);
  }
  const errors = lines.filter((line) => line.includes(": error: ")).map((line) => line.slice(file.length));
  assert.match(errors[0] ?? "", /^:2:1: /);
  assert.match(errors[1] ?? "", /^:5:\d+: .*checktimeout/);
  assert.match(errors[2] ?? "", /^:7:\d+: .*receive/);
  assert.equal(stdout, `${file}: 3 errors, ${lines.length - 3} warnings\n`);
});

test("a firewall mark is as good as an address", { skip }, async () => {
  const { code, stderr } = await check(`${good}virtual=7\n\treal=192.0.2.11 gate\n\tchecktype=on\n\tprotocol=fwm\n`);
  assert.equal(code, 0);
  assert.doesNotMatch(stderr, /mark/);
});

test("fork=yes is accepted, and needs nothing done", { skip }, async () => {
  const { code, stderr } = await check(`# here\nfork=yes\n${good}`);
  assert.equal(code, 0);
  assert.match(stderr, /:2:\d+: warning: fork=yes starts no processes/);
});

test("the same as JSON", { skip }, async () => {
  const { file, code, stdout, stderr } = await check(bad, "--json");
  assert.equal(code, 2);
  assert.equal(stderr, "");
  const value = JSON.parse(stdout) as { file: string; ok: boolean; errors: number; diagnostics: { line: number }[] };
  assert.equal(value.file, file);
  assert.equal(value.ok, false);
  assert.equal(value.errors, 3);
  assert.equal(value.diagnostics[0]?.line, 2);
});

test("a file that cannot be read is an error of the file", { skip }, async () => {
  const { code, stderr } = await run("check", "/nonexistent/ldirectord.cf");
  assert.equal(code, 2);
  assert.match(stderr, /^\/nonexistent\/ldirectord\.cf:1:1: error: cannot read the file: /);
});

test("--print is a file again, which says the same", { skip }, async () => {
  await withFolder(async (folder) => {
    const file = `${folder}/ldirectord.cf`;
    writeFileSync(file, good);
    const printed = await run("check", "--print", file);
    assert.equal(printed.code, 0);
    assert.match(printed.stdout, /^\tnegotiatetimeout=30\n/m);
    writeFileSync(file, printed.stdout);
    assert.deepEqual(await run("check", "--print", file), printed);
    writeFileSync(file, bad);
    const { code, stdout } = await run("check", "--print", file);
    assert.deepEqual([code, stdout], [2, ""]);
  });
});

test("- is standard input", { skip }, async () => {
  const child = spawnSync(process.execPath, [main, "check", "-"], { input: bad, encoding: "utf8" });
  assert.equal(child.status, 2);
  assert.match(child.stderr, /^-:2:1: error: /m);
});

test("what is no file, or never ends, is refused at once", { skip }, async () => {
  await withFolder(async (folder) => {
    const pipe = `${folder}/pipe`;
    execFileSync("mkfifo", [pipe]);
    for (const [name, reason] of [
      [pipe, /it is not a regular file/],
      ["/dev/zero", /it is not a regular file/],
      [folder, /it is a directory/],
      [`${folder}/missing`, /no such file/],
    ] as const) {
      const { code, stderr } = await run("check", name);
      assert.equal(code, 2, name);
      assert.match(stderr, reason);
    }
    const child = spawnSync("sh", ["-c", '"$0" "$1" check - </dev/zero', process.execPath, main], { encoding: "utf8" });
    assert.equal(child.status, 2);
    assert.match(child.stderr, /it has more than 64 MiB/);
  });
});
