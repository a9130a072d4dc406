import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { readConfiguration } from "../../src/config/read.ts";
import { ExecutedFiles } from "../../src/daemon/executed-files.ts";
import type { Config } from "../../src/model/config.ts";
import { printIdentity } from "../../src/model/service.ts";

const regexes = { regexCompile: (pattern: string): unknown => new RegExp(pattern) };

function section(port: number, weight = 1): string {
  return `virtual=10.0.0.1:${port}\n\treal=10.0.0.2:${port} gate ${weight}\n\tchecktype=on\n\tquiescent=no\n`;
}

function start(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), "xlb-executed-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const changed: string[] = [];
  let notice = (): void => {};
  const files = new ExecutedFiles((path) => readConfiguration(path, regexes));
  const watcher = {
    changed: (config: Config) => Promise.resolve(void changed.push(config.file)).then(() => notice()),
    warn: (): void => {},
  };
  const path = (name: string): string => join(directory, name);
  const write = (name: string, text: string): void => writeFileSync(path(name), text);
  const read = async (name: string): Promise<Config> => {
    const { config } = await readConfiguration(path(name), regexes);
    assert.ok(config !== undefined);
    return config;
  };
  const join_ = async (): Promise<{ services: string[]; messages: string[] }> => {
    const { config, diagnostics } = await files.join(await read("main.cf"));
    return {
      services: config.services.map(
        ({ identity, realServers }) => `${printIdentity(identity)} ${realServers.map(({ weight }) => weight).join()}`,
      ),
      messages: diagnostics.map(({ file, line, severity, message }) => `${file}:${line} ${severity} ${message}`),
    };
  };
  const onChange = (): Promise<void> => new Promise((resolve) => (notice = resolve));
  return { files, watcher, path, write, join: join_, changed, onChange };
}

test("What is executed is served with the file that executes it, and what that executes, too", async (t) => {
  const { write, join } = start(t);
  write("main.cf", `execute=one.cf\nexecute=two.cf\n${section(80)}`);
  write("one.cf", section(81));
  write("two.cf", `execute=one.cf\nexecute=main.cf\nexecute=three.cf\n${section(82)}`);
  write("three.cf", section(83));
  assert.deepEqual(await join(), {
    services: ["tcp:10.0.0.1:80 1", "tcp:10.0.0.1:81 1", "tcp:10.0.0.1:82 1", "tcp:10.0.0.1:83 1"],
    messages: [],
  });
});

test("A file that is missing or bad does not keep the others from being served", async (t) => {
  const { write, join, path } = start(t);
  write("main.cf", `execute=missing.cf\nexecute=bad.cf\n${section(80)}`);
  write("bad.cf", "nonsense\n");
  const { services, messages } = await join();
  assert.deepEqual(services, ["tcp:10.0.0.1:80 1"]);
  assert.equal(messages[0], `${path("main.cf")}:1 warning execute=missing.cf: there is no such file`);
  assert.match(messages[1]!, /bad\.cf:1 warning .*nonsense/);
  assert.equal(messages[2], `${path("bad.cf")}:1 warning not taken, as it has errors`);
});

test("A file that becomes bad keeps what it had, while the others are taken", async (t) => {
  const { write, join, path } = start(t);
  write("main.cf", `execute=one.cf\n${section(80)}`);
  write("one.cf", section(81));
  await join();
  write("main.cf", `execute=one.cf\n${section(80, 5)}`);
  write("one.cf", `${section(81, 9)}nonsense\n`);
  const { services, messages } = await join();
  assert.deepEqual(services, ["tcp:10.0.0.1:80 5", "tcp:10.0.0.1:81 1"]);
  assert.equal(messages.at(-1), `${path("one.cf")}:1 warning has errors: what it was before goes on`);
});

test("Of a service in two files the first counts, and what holds for all files is said", async (t) => {
  const { write, join, path } = start(t);
  write("main.cf", `execute=one.cf\n${section(80)}`);
  write("one.cf", `emailalertfrom=one@example.com\n${section(80, 7)}`);
  const { services, messages } = await join();
  assert.deepEqual(services, ["tcp:10.0.0.1:80 1"]);
  assert.deepEqual(messages, [
    `${path("one.cf")}:2 warning tcp:10.0.0.1:80 is left out: another file that is served has it, too`,
    `${path("one.cf")}:1 warning emailalertfrom is that of ${path("main.cf")} for all files that it executes`,
  ]);
});

test("A change of an executed file is told, also of one that was added by a reload", async (t) => {
  const { files, watcher, write, join, path, changed, onChange } = start(t);
  write("main.cf", section(80));
  write("one.cf", section(81));
  await join();
  const ending = new AbortController();
  const running = files.watch(watcher, ending.signal);
  write("main.cf", `execute=one.cf\n${section(80)}`);
  await join();
  const told = onChange();
  write("one.cf", section(81, 2));
  await told;
  assert.deepEqual(changed, [path("one.cf")]);
  ending.abort();
  await running;
});
