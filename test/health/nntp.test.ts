import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { leafnodeIsMissing, startLeafnode } from "../support/servers/leafnode.ts";
import type { Leafnode } from "../support/servers/leafnode.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { attemptOnce, respondAtOnce, serve, specOf } from "./fixtures.ts";

const nntp = { service: "nntp", negotiateTimeoutMs: 20_000 } as const;

describe("nntp checks of leafnode", { skip: leafnodeIsMissing }, () => {
  let leafnode: Leafnode;
  before(async () => {
    leafnode = await startLeafnode();
  });
  after(async () => {
    await leafnode.stop();
  });

  test("a server that greets with 200 is up", async () => {
    const { address, port } = leafnode;
    const result = await attemptOnce(specOf({ ...nntp, address, port }));
    assert.equal(result.up, true, result.detail);
    assert.match(result.detail, /^greeting "200 Leafnode NNTP Daemon/);
  });

  test("a server that is out of order greets with 503 and is down", async () => {
    const { address, namelessPort } = leafnode;
    const result = await attemptOnce(specOf({ ...nntp, address, port: namelessPort }));
    assert.equal(result.up, false);
    assert.match(result.detail, /^greeting is "503 Leafnode must have/);
  });

  testInterruption(
    "nntp",
    (port) => specOf({ ...nntp, port }),
    () => ({ host: leafnode.address, port: leafnode.port }),
  );
});

describe("nntp checks", () => {
  test("a greeting that begins with 2 is up, any other is down", async () => {
    for (const [greeting, up] of [
      ["201 posting prohibited\r\n", true],
      ["2\n", true],
      ["400 too many users\r\n", false],
      [" 200 welcome\r\n", false],
      ["\r\n", false],
    ] as const) {
      const server = await serve(respondAtOnce(greeting));
      assert.equal((await attemptOnce(specOf({ ...nntp, port: server.port }))).up, up, greeting);
      await server.close();
    }
  });
});

testMisbehaviour("nntp", (port) => specOf({ ...nntp, port }));
