/** fallbackcommand and callback, with real commands. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { printIdentity } from "../../src/model/service.ts";
import { Callbacks } from "../../src/notify/callback.ts";
import { runShell } from "../../src/notify/command.ts";
import { FallbackCommands } from "../../src/notify/fallback-commands.ts";
import { config, configuredService, identity } from "../reconcile/samples.ts";

/** A director has more to do than to wait for commands, which therefore keep no process alive. */
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "xlb-notify-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function notes() {
  const lines: string[] = [];
  const note = (line: string): void => void lines.push(line);
  return { lines, log: { info: note, warn: note, error: note } };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, "not seen in time");
    await sleep(5);
  }
}

/** The lines that a command has written so far. */
function written(path: string): string[] {
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : [];
}

test("A fallback command is told start and stop at each change, with service and protocol", async (t) => {
  const file = join(temporaryDirectory(t), "told");
  const service = configuredService({ fallbackCommand: `printf '%s\\n' >>${file} "$(id -u):"` });
  const { lines, log } = notes();
  const commands = new FallbackCommands(log);
  const key = printIdentity(service.identity);
  const round = async (isDown: boolean, count: number): Promise<void> => {
    commands.round(config(service), new Map([[key, isDown]]));
    await until(() => written(file).length === count);
  };
  const uid = `${process.getuid?.()}:`;
  // printf repeats its format for each argument that ldirectord appends.
  const told = (occasion: string): string[] => [uid, occasion, "10.10.10.53:80", "tcp"];
  await round(true, 4);
  await round(true, 4);
  await round(false, 8);
  await round(true, 12);
  assert.deepEqual(written(file), [...told("start"), ...told("stop"), ...told("start")]);
  await commands.stopAll();
  assert.deepEqual(written(file).slice(12), told("stop"));
  await commands.stopAll();
  assert.equal(written(file).length, 16);
  assert.deepEqual(lines, []);
});

test("The first round tells what is, a reload that changes nothing tells nothing, another command does", async (t) => {
  const directory = temporaryDirectory(t);
  const service = (name: string) => configuredService({ fallbackCommand: `echo >>${join(directory, name)}` });
  const commands = new FallbackCommands(notes().log);
  const up = new Map([[printIdentity(identity), false]]);
  commands.round(config(service("one")), up);
  await until(() => written(join(directory, "one")).length === 1);
  commands.round(config(service("one")), up);
  commands.round(config(service("two")), up);
  await until(() => written(join(directory, "two")).length === 1);
  assert.deepEqual(written(join(directory, "one")), ["stop 10.10.10.53:80 tcp"]);
  assert.deepEqual(written(join(directory, "two")), ["stop 10.10.10.53:80 tcp"]);
});

test("Changes while a command runs are told by one more, and never two run at a time", async (t) => {
  const directory = temporaryDirectory(t);
  const [told, gate, busy] = ["told", "gate", "busy"].map((name) => join(directory, name));
  const script = join(directory, "command");
  writeFileSync(
    script,
    `#!/bin/sh
mkdir ${busy} || echo overlap >>${told}
echo $1 >>${told}
while [ ! -e ${gate} ]; do sleep 0.01; done
rmdir ${busy}
`,
  );
  chmodSync(script, 0o755);
  const service = configuredService({ fallbackCommand: script });
  const commands = new FallbackCommands(notes().log);
  const round = (isDown: boolean): void =>
    commands.round(config(service), new Map([[printIdentity(identity), isDown]]));
  round(true);
  await until(() => written(told!).length === 1);
  round(false);
  round(true);
  round(false);
  writeFileSync(gate!, "");
  await until(() => written(told!).length === 2);
  await commands.stopAll();
  assert.deepEqual(written(told!), ["start", "stop"]);
});

test("A command that fails is logged as ldirectord logs it", async () => {
  const { lines, log } = notes();
  const commands = new FallbackCommands(log);
  const service = configuredService({ fallbackCommand: "exit 3;" });
  commands.round(config(service), new Map([[printIdentity(identity), true]]));
  await until(() => lines.length === 1);
  assert.deepEqual(lines, ["system(exit 3; start 10.10.10.53:80 tcp) failed: exit status 3"]);
});

test("A firewall mark has neither address nor port for a fallback command", async (t) => {
  const file = join(temporaryDirectory(t), "told");
  const mark = { kind: "mark", mark: 7, family: "ipv4" } as const;
  const commands = new FallbackCommands(notes().log);
  const service = configuredService({ identity: mark, fallbackCommand: `echo >>${file}` });
  commands.round(config(service), new Map([[printIdentity(mark), true]]));
  await until(() => written(file).length === 1);
  assert.deepEqual(written(file), ["start :0 fwm"]);
});

test("A service that nobody serves has no fallback to command", async (t) => {
  const file = join(temporaryDirectory(t), "told");
  const commands = new FallbackCommands(notes().log);
  commands.round(config(configuredService({ fallbackCommand: `echo >>${file}` })), new Map());
  await commands.stopAll();
  assert.deepEqual(written(file), []);
});

test("A callback gets the configuration's path, whatever is in its own", async (t) => {
  const directory = temporaryDirectory(t);
  const program = join(directory, "copy it; now");
  // Without a first line that names an interpreter, which the shell then is.
  writeFileSync(program, `echo "$#:$1" >>"${directory}/called"\n`);
  chmodSync(program, 0o755);
  const { lines, log } = notes();
  const callbacks = new Callbacks(log);
  callbacks.request(program, "/etc/ha.d/ldirectord.cf");
  await until(() => written(join(directory, "called")).length === 1);
  assert.deepEqual(written(join(directory, "called")), ["1:/etc/ha.d/ldirectord.cf"]);
  callbacks.request("", "/etc/ha.d/ldirectord.cf");
  chmodSync(program, 0o644);
  callbacks.request(program, "/etc/ha.d/ldirectord.cf");
  await until(() => lines.length === 1);
  assert.match(lines[0]!, /^system\(.*\) failed: EACCES/);
});

test("A command that does not end is killed with all that it has started", async (t) => {
  const file = join(temporaryDirectory(t), "pid");
  const run = async (timeoutMs: number): Promise<number> => {
    const trouble = await runShell(`sleep 600 & echo $! >${file}; wait`, [], { timeoutMs });
    assert.match(trouble ?? "", /^it did not end within/);
    // On a busy machine it may not have got so far by then.
    const told = existsSync(file) ? readFileSync(file, "utf8") : "";
    return told.endsWith("\n") || timeoutMs > 30_000 ? Number(told) : await run(4 * timeoutMs);
  };
  const pid = await run(500);
  assert.ok(pid > 0);
  const isGone = (): boolean => {
    try {
      // What is not reaped yet has ended, too.
      return /^\d+ \(sleep\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
    } catch {
      return true;
    }
  };
  await until(isGone);
});

test("What a command leaves in the background is not waited for", async (t) => {
  const file = join(temporaryDirectory(t), "pid");
  assert.equal(await runShell(`sleep 600 & echo $! >${file}`, [], { timeoutMs: 60_000 }), undefined);
  process.kill(Number(readFileSync(file, "utf8")), "SIGKILL");
});
