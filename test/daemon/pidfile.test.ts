import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import {
  AlreadyRunningError,
  DaemonLock,
  pidFilePath,
  processStartTime,
  readPidFile,
  recordPath,
} from "../../src/control/pidfile.ts";

function directories(t: TestContext): { stateDir: string; bpffs: string } {
  const directory = mkdtempSync(join(tmpdir(), "xlb-pidfile-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return { stateDir: join(directory, "state"), bpffs: join(directory, "bpffs") };
}

test("The pid file names its process and goes with the lock", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const lock = await DaemonLock.acquire(stateDir, bpffs);
  assert.deepEqual(readPidFile(stateDir), { pid: process.pid, alive: true });
  lock.release();
  assert.equal(readPidFile(stateDir), undefined);
});

test("A second daemon of a state directory is refused by name", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const lock = await DaemonLock.acquire(stateDir, bpffs);
  t.after(() => lock.release());
  await assert.rejects(DaemonLock.acquire(stateDir, `${bpffs}-2`), (error: Error) => {
    return error instanceof AlreadyRunningError && error.message.includes(`pid ${process.pid} in ${stateDir}`);
  });
  assert.deepEqual(readPidFile(stateDir), { pid: process.pid, alive: true });
});

test("A second daemon of a bpf directory is refused and leaves nothing", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const lock = await DaemonLock.acquire(stateDir, bpffs);
  t.after(() => lock.release());
  await assert.rejects(DaemonLock.acquire(`${stateDir}-2`, bpffs), /--bpffs/);
  assert.ok(!existsSync(`${stateDir}-2`));
});

test("Of many that begin together exactly one gets the lock, over a stale pid file", async (t) => {
  const { stateDir, bpffs } = directories(t);
  mkdirSync(stateDir);
  writeFileSync(pidFilePath(stateDir), "4194305\n");
  writeFileSync(recordPath(stateDir), "4194305 1\n");
  const module = JSON.stringify(new URL("../../src/control/pidfile.js", import.meta.url).href);
  const program = `
    const { DaemonLock } = await import(${module});
    try {
      await DaemonLock.acquire(process.argv[1], process.argv[2]);
      console.log("got it");
      setInterval(() => {}, 1000);
    } catch (error) {
      console.log(error.name);
    }`;
  const children = Array.from({ length: 4 }, () =>
    spawn(process.execPath, ["--input-type=module", "-e", program, stateDir, bpffs], {
      stdio: ["ignore", "pipe", "inherit"],
    }),
  );
  t.after(() => children.forEach((child) => child.kill("SIGKILL")));
  const answers = await Promise.all(
    children.map(async (child) => {
      child.stdout.setEncoding("utf8");
      for await (const chunk of child.stdout) return { pid: child.pid, answer: (chunk as string).trim() };
      return undefined;
    }),
  );
  const winners = answers.filter((answer) => answer?.answer === "got it");
  assert.equal(winners.length, 1);
  assert.equal(answers.filter((answer) => answer?.answer === "AlreadyRunningError").length, 3);
  assert.deepEqual(readPidFile(stateDir), { pid: winners[0]!.pid, alive: true });
});

test("A lock dies with its process, and the pid file then says so", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const module = JSON.stringify(new URL("../../src/control/pidfile.js", import.meta.url).href);
  const program = `
    const { DaemonLock } = await import(${module});
    await DaemonLock.acquire(process.argv[1], process.argv[2]);
    process.kill(process.pid, "SIGKILL");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, stateDir, bpffs]);
  await new Promise((resolve) => child.once("exit", resolve));
  assert.deepEqual(readPidFile(stateDir), { pid: child.pid, alive: false });
  const lock = await DaemonLock.acquire(stateDir, bpffs);
  assert.deepEqual(readPidFile(stateDir), { pid: process.pid, alive: true });
  lock.release();
});

test("Another process that was given the same pid later is not taken for the daemon", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const lock = await DaemonLock.acquire(stateDir, bpffs);
  t.after(() => lock.release());
  writeFileSync(recordPath(stateDir), `${process.pid} ${Number(processStartTime(process.pid)) - 1}\n`);
  assert.deepEqual(readPidFile(stateDir), { pid: process.pid, alive: false });
  writeFileSync(recordPath(stateDir), "nonsense");
  assert.deepEqual(readPidFile(stateDir), { pid: 0, alive: false });
});

test("The pid file holds the pid alone, as tools of other daemons expect", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const lock = await DaemonLock.acquire(stateDir, bpffs);
  t.after(() => lock.release());
  assert.equal(readFileSync(pidFilePath(stateDir), "utf8"), `${process.pid}\n`);
});

test("Under a supervisor there is no pid file, but the lock holds", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const lock = await DaemonLock.acquire(stateDir, bpffs, false);
  assert.ok(!existsSync(pidFilePath(stateDir)));
  assert.deepEqual(readPidFile(stateDir), { pid: process.pid, alive: true });
  await assert.rejects(DaemonLock.acquire(stateDir, `${bpffs}-2`), AlreadyRunningError);
  lock.release();
  assert.equal(readPidFile(stateDir), undefined);
});

test("Long directories that differ have different locks", async (t) => {
  const { stateDir, bpffs } = directories(t);
  const long = join(stateDir, "d".repeat(150));
  const locks = [
    await DaemonLock.acquire(join(long, "a"), bpffs),
    await DaemonLock.acquire(join(long, "b"), `${bpffs}2`),
  ];
  t.after(() => locks.forEach((lock) => lock.release()));
  await assert.rejects(DaemonLock.acquire(join(long, "a"), `${bpffs}3`), AlreadyRunningError);
});
