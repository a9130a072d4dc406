import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { postfixIsMissing, startPostfix } from "../support/servers/postfix.ts";
import type { Postfix } from "../support/servers/postfix.ts";
import { attemptOnce, eventually, serve, specOf } from "./fixtures.ts";

const smtp = { service: "smtp", negotiateTimeoutMs: 10_000 } as const;

describe("smtp and submission checks of postfix", { skip: postfixIsMissing }, () => {
  let postfix: Postfix;
  before(async () => {
    postfix = await startPostfix();
  });
  after(async () => {
    await postfix.stop();
  });

  for (const service of ["smtp", "submission"] as const) {
    test(`a server that takes EHLO is up for ${service}`, async () => {
      const result = await attemptOnce(specOf({ ...smtp, service, address: postfix.address, port: postfix.port }));
      assert.deepEqual([result.up, result.detail], [true, "EHLO accepted"]);
    });
  }

  test("a server that refuses the director is down, and is shown", async () => {
    const result = await attemptOnce(specOf({ ...smtp, address: postfix.address, port: postfix.refusingPort }));
    assert.equal(result.up, false);
    assert.match(result.detail, /^(greeting is|HELO refused:) [45]\d\d .*Access denied|^greeting is 5/);
  });

  test("the dialogue ends with QUIT, as postfix sees it", async () => {
    await attemptOnce(specOf({ ...smtp, address: postfix.address, port: postfix.port }));
    await eventually("the dialogue is in postfix's log", () =>
      / disconnect from .* ehlo=1 quit=1 /.test(postfix.log()),
    );
  });

  testInterruption(
    "smtp",
    (port) => specOf({ ...smtp, port }),
    () => ({ host: postfix.address, port: postfix.port }),
  );
});

/** Answers each line by its first word. */
async function serveReplies(greeting: string, replies: Readonly<Record<string, string>>) {
  const said: string[] = [];
  const server = await serve((socket) => {
    socket.write(`${greeting}\r\n`);
    socket.on("data", (chunk) => {
      for (const line of chunk.toString().split("\r\n").slice(0, -1)) {
        said.push(line);
        socket.write(`${replies[line.split(" ", 1)[0] ?? ""] ?? "500 what?"}\r\n`);
        if (line === "QUIT") socket.end();
      }
    });
  });
  return { ...server, said };
}

describe("smtp checks", () => {
  test("HELO will do where EHLO is not known", async () => {
    const server = await serveReplies("220 old", { HELO: "250 hello", QUIT: "221 bye" });
    const result = await attemptOnce(specOf({ ...smtp, port: server.port }));
    assert.equal(result.up, true, result.detail);
    assert.deepEqual(server.said, ["EHLO localhost.localdomain", "HELO localhost.localdomain", "QUIT"]);
    await server.close();
  });

  test("refused EHLO and HELO are down", async () => {
    const server = await serveReplies("220-two\r\n220 lines", {});
    const result = await attemptOnce(specOf({ ...smtp, port: server.port }));
    assert.deepEqual([result.up, result.detail], [false, "HELO refused: 500 what?"]);
    await server.close();
  });

  test("a server that is too busy is down", async () => {
    const server = await serveReplies("421 later", { EHLO: "250 hello" });
    const result = await attemptOnce(specOf({ ...smtp, port: server.port }));
    assert.deepEqual([result.up, result.detail], [false, "greeting is 421 later"]);
    await server.close();
  });

  test("a server that never says goodbye is up, and is not waited for", async () => {
    const server = await serve((socket) => {
      socket.write("220 hello\r\n");
      socket.once("data", () => socket.write("250 hello\r\n"));
    });
    const result = await attemptOnce(specOf({ ...smtp, port: server.port, negotiateTimeoutMs: 60_000 }));
    assert.equal(result.up, true, result.detail);
    assert.ok(result.durationMs < 30_000, `${result.durationMs} ms`);
    await server.close();
  });
});

testMisbehaviour("smtp", (port) => specOf({ ...smtp, port }));
