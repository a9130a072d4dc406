import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { ask, NotRunningError, socketPath } from "../../src/control/client.ts";
import type { DaemonStatus, Reply, Request } from "../../src/control/protocol.ts";
import { ControlServer, parseRequest } from "../../src/control/server.ts";

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "xlb-control-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function serve(t: TestContext, handler: (request: Request) => Promise<Reply>): Promise<string> {
  const stateDir = temporaryDirectory(t);
  const server = new ControlServer(handler);
  await server.listen(socketPath(stateDir));
  t.after(() => server.close());
  return stateDir;
}

const status: DaemonStatus = {
  pid: 7,
  version: "0.1.0",
  startedAt: new Date(1000),
  configFile: "/etc/ha.d/ldirectord.cf",
  stateDir: "/run/xlb",
  bpffs: "/sys/fs/bpf/xlb",
  metrics: "off",
  configLoadedAt: new Date(2000),
  lastReload: { at: new Date(3000), ok: true, message: "at 10" },
  reloads: 0,
  reloadFailures: 0,
  notActive: [],
  failedChanges: [],
  rounds: 1,
  interfaces: [],
  checkLagMs: 0,
};

test("A status comes back as it was sent, moments included", async (t) => {
  const stateDir = await serve(t, () => Promise.resolve({ kind: "status", status }));
  assert.deepEqual(await ask(stateDir, { kind: "status" }), { kind: "status", status });
});

test("Each request reaches the handler", async (t) => {
  const seen: Request[] = [];
  const stateDir = await serve(t, (request) => {
    seen.push(request);
    return Promise.resolve({ kind: "done", message: request.kind });
  });
  const requests: Request[] = [{ kind: "health" }, { kind: "reload" }, { kind: "stop", keep: true }];
  for (const request of requests) {
    assert.deepEqual(await ask(stateDir, request), { kind: "done", message: request.kind });
  }
  assert.deepEqual(seen, requests);
});

test("A handler that fails is told to the asker", async (t) => {
  const stateDir = await serve(t, () => Promise.reject(new Error("the map is gone")));
  assert.deepEqual(await ask(stateDir, { kind: "reload" }), { kind: "error", message: "the map is gone" });
});

test("A state directory without a daemon is an error of its own kind", async (t) => {
  const stateDir = temporaryDirectory(t);
  await assert.rejects(ask(stateDir, { kind: "status" }), NotRunningError);
  writeFileSync(socketPath(stateDir), "");
  await assert.rejects(ask(stateDir, { kind: "status" }), NotRunningError);
});

test("A daemon that does not answer in time ends the wait", async (t) => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  t.after(() => release());
  const stateDir = await serve(t, async () => {
    await held;
    return { kind: "done", message: "" };
  });
  await assert.rejects(ask(stateDir, { kind: "status" }, AbortSignal.timeout(20)), { name: "TimeoutError" });
});

test("Only the owner may connect, and a stale socket is no obstacle", async (t) => {
  const stateDir = temporaryDirectory(t);
  writeFileSync(socketPath(stateDir), "");
  const server = new ControlServer(() => Promise.resolve({ kind: "done", message: "" }));
  await server.listen(socketPath(stateDir));
  assert.equal(statSync(socketPath(stateDir)).mode & 0o777, 0o600);
  await server.close();
  assert.ok(!existsSync(socketPath(stateDir)));
});

test("Closing sends the replies that are still being made", async (t) => {
  const stateDir = temporaryDirectory(t);
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  let asked = (): void => {};
  const asking = new Promise<void>((resolve) => (asked = resolve));
  const server = new ControlServer(async () => {
    asked();
    await held;
    return { kind: "done", message: "late" };
  });
  await server.listen(socketPath(stateDir));
  const reply = ask(stateDir, { kind: "stop", keep: false });
  await asking;
  const closed = server.close();
  release();
  await closed;
  assert.deepEqual(await reply, { kind: "done", message: "late" });
});

test("What is no request is refused in words", () => {
  assert.equal(parseRequest("status"), "the request is not JSON");
  assert.equal(parseRequest("7"), "the request has no kind");
  assert.equal(parseRequest('{"kind":"explode"}'), 'unknown request "explode"');
  assert.equal(parseRequest('{"kind":"stop"}'), "a stop request says whether to keep forwarding");
  assert.deepEqual(parseRequest('{"kind":"stop","keep":false,"more":1}'), { kind: "stop", keep: false });
  assert.equal(parseRequest('{"kind":"change-plane"}'), "a change-plane request names the plane: xdp or ipvs");
  assert.deepEqual(parseRequest('{"kind":"change-plane","to":"ipvs"}'), { kind: "change-plane", to: "ipvs" });
});

test("An asker that goes away or sends without end does no harm", async (t) => {
  const stateDir = await serve(t, () => Promise.resolve({ kind: "status", status }));
  const hasty = createConnection({ path: socketPath(stateDir) });
  hasty.on("error", () => {});
  hasty.end('{"kind":"status"}\n');
  hasty.destroy();
  const talker = createConnection({ path: socketPath(stateDir) });
  talker.setEncoding("utf8");
  talker.write("x".repeat(10_000));
  let answer = "";
  for await (const chunk of talker) answer += chunk as string;
  assert.equal(answer, '{"kind":"error","message":"the request is too long"}\n');
  assert.equal((await ask(stateDir, { kind: "status" })).kind, "status");
});
