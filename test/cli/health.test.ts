import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { socketPath } from "../../src/control/client.ts";
import type { Reply } from "../../src/control/protocol.ts";
import { ControlServer } from "../../src/control/server.ts";
import { health } from "../report/sample.ts";
import { run, start, withFolder } from "./command.ts";

/** A daemon that always answers the same. */
async function withDaemon(reply: Reply, body: (stateDir: string) => Promise<void>): Promise<void> {
  await withFolder(async (stateDir) => {
    const server = new ControlServer(() => Promise.resolve(reply));
    await server.listen(socketPath(stateDir));
    try {
      await body(stateDir);
    } finally {
      await server.close();
    }
  });
}

test("health prints a table of what the daemon tells", async () => {
  await withDaemon({ kind: "health", health }, async (stateDir) => {
    const { code, stdout, stderr } = await run("health", "--state-dir", stateDir);
    assert.equal(stderr, "");
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^TCP {2}10\.10\.10\.53:80\n {2}-> 192\.168\.200\.102:80 +negotiate http +up +2025-03-01 10:00:00 +0\/3 /m,
    );
    assert.match(stdout, / down .*down because connection refused\n/);
  });
});

test("health as JSON, of one service only", async () => {
  await withDaemon({ kind: "health", health }, async (stateDir) => {
    const { code, stdout } = await run(
      "health",
      "--json",
      "--service",
      "udp:[2001:DB8:0::53]:53",
      "--state-dir",
      stateDir,
    );
    assert.equal(code, 0);
    const [entry, ...more] = JSON.parse(stdout) as { service: string; health: { state: string; since: string } }[];
    assert.deepEqual(more, []);
    assert.equal(entry?.service, "udp:[2001:db8::53]:53");
    assert.deepEqual(entry.health, { state: "up", since: "2025-02-28T12:00:00.000Z" });
  });
});

test("without a daemon health says so, with exit status 3", async () => {
  await withFolder(async (stateDir) => {
    const { code, stdout, stderr } = await run("health", "--state-dir", stateDir);
    assert.equal(code, 3);
    assert.equal(stdout, "");
    assert.match(stderr, /^xlb: no daemon answers in .*\n$/);
    assert.ok(stderr.includes(stateDir));
  });
});

test("a daemon that ends before it answers is no daemon", async () => {
  await withFolder(async (stateDir) => {
    const server = createServer((socket) => socket.destroy()).listen(socketPath(stateDir));
    await once(server, "listening");
    try {
      assert.equal((await run("health", "--state-dir", stateDir)).code, 3);
    } finally {
      server.close();
    }
  });
});

test("what the daemon cannot do is told, with exit status 1", async () => {
  await withDaemon({ kind: "error", message: "not now" }, async (stateDir) => {
    const { code, stderr } = await run("health", "--state-dir", stateDir);
    assert.equal(code, 1);
    assert.equal(stderr, "xlb: the daemon does not tell its health: not now\n");
  });
});

test("a reader that goes away early is no failure", async () => {
  const many = Array.from({ length: 5000 }, () => health).flat();
  await withDaemon({ kind: "health", health: many }, async (stateDir) => {
    const child = start(["health", "--state-dir", stateDir]);
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    await once(child.stdout, "readable");
    child.stdout.destroy();
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(stderr, "");
    assert.equal(code, 0);
  });
});
