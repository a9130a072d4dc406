import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { kamailioIsMissing, startKamailio } from "../support/servers/kamailio.ts";
import type { Kamailio } from "../support/servers/kamailio.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { redisIsMissing, startRedis } from "../support/servers/redis.ts";
import type { Redis } from "../support/servers/redis.ts";
import { atDeadline, attemptOnce, respondAtOnce, serve, specOf } from "./fixtures.ts";
import type { TestServer } from "./fixtures.ts";

const simpletcp = { service: "simpletcp", negotiateTimeoutMs: 10_000 } as const;

describe("simpletcp checks of redis", { skip: redisIsMissing }, () => {
  let redis: Redis;
  before(async () => {
    redis = await startRedis();
  });
  after(async () => {
    await redis.stop();
  });

  const ask = async (changes: Partial<CheckSpec>): Promise<{ up: boolean; detail: string }> =>
    await attemptOnce(specOf({ ...simpletcp, address: redis.address, port: redis.port, ...changes }));

  test("a line that matches is up; the request's first character is not sent", async () => {
    const result = await ask({ request: "/PING\\n", receive: "^\\+PONG" });
    assert.deepEqual([result.up, result.detail], [true, "receive matches a line"]);
  });

  test("each line is looked at by itself, with its end", async () => {
    assert.equal((await ask({ request: "/PING\\nECHO second\\n", receive: "^second\\r\\n$" })).up, true);
    assert.equal((await ask({ request: "/PING\\nECHO second\\n", receive: "(?s)PONG.*second" })).up, false);
  });

  test("a wrong answer is down, and is shown", async () => {
    const result = await ask({ request: "/PLING\\n", receive: "PONG" });
    assert.deepEqual([result.up, result.detail.slice(0, 40)], [false, 'receive does not match "-ERR unknown com']);
  });

  test("any line will do without receive", async () => {
    assert.equal((await ask({ request: "/PING\\n" })).up, true);
  });

  test("a server that has nothing to say to the request is down", async () => {
    const result = await ask({ request: "/", receive: "PONG" });
    assert.deepEqual([result.up, result.detail], [false, "connection closed, no answer"]);
  });

  testInterruption(
    "simpletcp",
    (port) => specOf({ ...simpletcp, port, request: "/PING\\nECHO healthy\\n", receive: "healthy\\r\\n" }),
    () => ({ host: redis.address, port: redis.port }),
  );
});

describe("simpletcp checks over UDP of kamailio", { skip: kamailioIsMissing }, () => {
  let kamailio: Kamailio;
  before(async () => {
    kamailio = await startKamailio();
  });
  after(async () => {
    await kamailio.stop();
  });

  const request =
    "/OPTIONS sip:a@b SIP/2.0\\nVia: SIP/2.0/UDP h;rport;branch=z9hG4bK1\\nTo: <sip:a@b>\\nFrom: <sip:a@b>;tag=1\\n" +
    "Call-ID: 1\\nCSeq: 1 OPTIONS\\nContent-Length: 0\\n\\n";

  test("a datagram with a line that matches is up", async () => {
    const { address, port } = kamailio;
    const spec = specOf({ ...simpletcp, protocol: "udp", address, port, request, receive: "^Server: kamailio" });
    const result = await attemptOnce(spec);
    assert.deepEqual([result.up, result.detail], [true, "receive matches a line"]);
  });

  test("another answer is down at the deadline", async () => {
    const { address, port } = kamailio;
    const spec = specOf({ ...simpletcp, protocol: "udp", address, port, request, receive: "nobody" });
    const attempt = async (negotiateTimeoutMs: number): Promise<[boolean, string]> => {
      const { up, detail } = await attemptOnce({ ...spec, negotiateTimeoutMs });
      return [up, detail];
    };
    await atDeadline(500, attempt, [false, "no good answer in time"]);
  });
});

describe("simpletcp checks", () => {
  const serveHalfOpen = async (onConnection: (socket: Socket) => void): Promise<TestServer> =>
    await serve(onConnection, "127.0.0.1", true);

  test("the last line needs no end if the server closes, and is not judged before", async () => {
    const closing = await serveHalfOpen((socket) => socket.once("data", () => socket.end("first\nready")));
    const spec = specOf({ ...simpletcp, port: closing.port, request: "/x", receive: "^ready$" });
    const result = await attemptOnce(spec);
    assert.equal(result.up, true, result.detail);
    await closing.close();
    const open = await serveHalfOpen(respondAtOnce("ready"));
    const attempt = async (negotiateTimeoutMs: number): Promise<[boolean, string]> => {
      const { up, detail } = await attemptOnce({ ...spec, port: open.port, negotiateTimeoutMs });
      return [up, detail];
    };
    await atDeadline(200, attempt, [false, "line that matches receive not complete in time"]);
    await open.close();
  });

  test("the sending side is closed after the request", async () => {
    let request = "";
    const server = await serveHalfOpen((socket) => {
      socket.on("data", (chunk) => (request += chunk.toString()));
      socket.on("end", () => socket.end("good\n"));
    });
    const result = await attemptOnce(
      specOf({ ...simpletcp, port: server.port, request: "/two\\nlines\\n", receive: "good" }),
    );
    assert.deepEqual([result.up, request], [true, "two\nlines\n"]);
    await server.close();
  });

  test("lines without end are not looked at without end", async () => {
    const server = await serveHalfOpen((socket) => socket.end("\n".repeat(1 << 20)));
    const result = await attemptOnce(specOf({ ...simpletcp, port: server.port, receive: "x" }));
    assert.deepEqual([result.up, result.detail], [false, "none of 65536 lines matches receive"]);
    await server.close();
  });

  test("an invalid expression is down", async () => {
    const result = await attemptOnce(specOf({ ...simpletcp, receive: "(" }));
    assert.equal(result.up, false);
    assert.match(result.detail, /^receive: /);
  });
});

testMisbehaviour("simpletcp", (port) => specOf({ ...simpletcp, port, request: "/PING\\n", receive: "^\\+PONG" }), {
  halfCloses: true,
});
testMisbehaviour(
  "simpletcp over UDP",
  (port) => specOf({ ...simpletcp, protocol: "udp", port, request: "/PING\\n", receive: "^\\+PONG" }),
  { transport: "udp" },
);
