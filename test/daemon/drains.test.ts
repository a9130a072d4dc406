import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Drains } from "../../src/daemon/drains.ts";
import { drainStage } from "../../src/model/drain.ts";

const folder = mkdtempSync(join(tmpdir(), "xlb-drains-"));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
function newFile(): string {
  return join(folder, `drains-${++files}`);
}

const since = new Date("2025-03-01T12:00:00Z");

test("a drain is for an address or for one port of it, and ends with its deadline", () => {
  const at = (seconds: number) => new Date(since.getTime() + seconds * 1000);
  const drains = [
    { realServer: "192.0.2.1", since },
    { realServer: "192.0.2.2:80", since, deadline: at(60) },
    { realServer: "[2001:db8::1]:80", since, deadline: at(60) },
  ];
  const stages = (seconds: number) =>
    (
      [
        ["192.0.2.1", 443],
        ["192.0.2.2", 80],
        ["192.0.2.2", 443],
        ["2001:db8::1", 80],
        ["192.0.2.3", 80],
      ] as const
    ).map(([address, port]) => drainStage(drains, address, port, at(seconds)));
  assert.deepEqual(stages(59), ["draining", "draining", "serving", "draining", "serving"]);
  assert.deepEqual(stages(60), ["draining", "ended", "serving", "ended", "serving"]);
});

test("drains outlive the daemon, and the last one leaves no file behind", () => {
  const path = newFile();
  const first = new Drains(path, assert.fail);
  const deadline = new Date(Date.now() + 60_000);
  first.put({ realServer: "192.0.2.1", since, deadline });
  first.put({ realServer: "192.0.2.2", since });
  const second = new Drains(path, assert.fail);
  assert.deepEqual(second.list(), first.list());
  assert.equal(second.stageOf("192.0.2.1", 80), "draining");
  // Drained again, it has no deadline any more.
  second.put({ realServer: "192.0.2.1", since });
  assert.deepEqual(second.list(), [
    { realServer: "192.0.2.2", since },
    { realServer: "192.0.2.1", since },
  ]);
  assert.equal(second.remove("192.0.2.3"), false);
  assert.ok(second.remove("192.0.2.1"));
  assert.ok(second.remove("192.0.2.2"));
  assert.ok(!existsSync(path));
});

test("a damaged file is a warning, and a file that cannot be written changes nothing", () => {
  const path = newFile();
  writeFileSync(path, "{");
  const warnings: string[] = [];
  assert.deepEqual(new Drains(path, (message) => warnings.push(message)).list(), []);
  assert.equal(warnings.length, 1);
  const nowhere = new Drains(join(folder, "missing", "drains"), assert.fail);
  assert.throws(() => nowhere.put({ realServer: "192.0.2.1", since }), { code: "ENOENT" });
  assert.deepEqual(nowhere.list(), []);
});

test("each deadline is told when it is over, also one that is set later", async () => {
  const drains = new Drains(newFile(), assert.fail);
  const ending = new AbortController();
  let due = 0;
  const told: (() => void)[] = [];
  const running = drains.run(ending.signal, () => {
    due++;
    told.shift()?.();
  });
  try {
    for (const [realServer, milliseconds] of [
      ["192.0.2.1", 30],
      ["192.0.2.2", 1],
    ] as const) {
      const next = new Promise<void>((resolve) => told.push(resolve));
      drains.put({ realServer, since, deadline: new Date(Date.now() + milliseconds) });
      await next;
      assert.equal(drains.stageOf(realServer, 80), "ended");
    }
    assert.equal(due, 2);
  } finally {
    ending.abort();
    await running;
  }
});
