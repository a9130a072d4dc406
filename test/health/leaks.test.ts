import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import type { Socket } from "node:net";
import { describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { startAttempt } from "../../src/health/attempt.ts";
import { prepareCheck } from "../../src/health/checks.ts";
import type { CheckSpec } from "../../src/model/config.ts";
import { eventually, freePort, serve, specOf, surroundings } from "./fixtures.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Greets, answers every line the same, and closes when told goodbye. */
function replying(greeting: string, answer: string): (socket: Socket) => void {
  return (socket) => {
    if (greeting !== "") socket.write(greeting);
    socket.on("data", (chunk) => {
      if (/QUIT|LOGOUT/.test(chunk.toString())) socket.end();
      else socket.write(answer);
    });
  };
}

const kinds: readonly { spec: Partial<CheckSpec>; good: (socket: Socket) => void }[] = [
  { spec: { service: "nntp" }, good: replying("200 hello\r\n", "") },
  { spec: { service: "smtp" }, good: replying("220 hello\r\n", "250-one\r\n250 two\r\n") },
  { spec: { service: "imap", login: "a", password: "b" }, good: replying("* OK hello\r\n", "a OK\r\n") },
  { spec: { service: "pop" }, good: replying("+OK hello\r\n", "") },
  { spec: { service: "ftp", login: "a", password: "b" }, good: replying("220 hello\r\n", "230 in\r\n") },
  { spec: { service: "simpletcp", request: "/ask\\n", receive: "yes" }, good: (socket) => socket.end("no\nyes\n") },
  { spec: { service: "sip", login: "a@b" }, good: replying("", "SIP/2.0 200 OK\r\n\r\n") },
  { spec: { service: "http_proxy", request: "/http://w/" }, good: replying("", "HTTP/1.1 204 No Content\r\n\r\n") },
];

/** The heap in use when all that can be collected is, bytes. */
async function heapUsed(): Promise<number> {
  for (let round = 0; round < 3; round++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed;
}

function sockets(): number {
  return process.getActiveResourcesInfo().filter((kind) => /TCP|UDP|TLS|Socket/i.test(kind)).length;
}

describe("thousands of dialogues", () => {
  test("leave no socket and no memory behind, whether the servers are good or bad", { timeout: 300_000 }, async () => {
    const socketsBefore = sockets();
    const udp = createSocket("udp4");
    udp.on("message", (_, { port, address }) => udp.send("SIP/2.0 200 OK\r\n\r\n", port, address));
    await new Promise<void>((resolve) => udp.bind(0, "127.0.0.1", resolve));
    const closing = await serve((socket) => socket.end("2"));
    const silent = await serve((socket) => socket.resume());
    const refused = await freePort();
    const goodServers = await Promise.all(kinds.map(({ good }) => serve(good)));
    const prepare = (changes: Partial<CheckSpec>) => prepareCheck(specOf(changes), surroundings);
    const checks = [
      {
        check: prepare({ service: "sip", protocol: "udp", port: udp.address().port, negotiateTimeoutMs: 20_000 }),
        up: true,
      },
      { check: prepare({ service: "sip", protocol: "udp", port: refused }), up: false },
      ...kinds.flatMap(({ spec }, index) => [
        { check: prepare({ ...spec, port: goodServers[index]?.port ?? 0, negotiateTimeoutMs: 20_000 }), up: true },
        { check: prepare({ ...spec, port: closing.port, negotiateTimeoutMs: 20_000 }), up: false },
        { check: prepare({ ...spec, port: refused, negotiateTimeoutMs: 20_000 }), up: false },
        { check: prepare({ ...spec, port: silent.port, negotiateTimeoutMs: 20 }), up: false },
      ]),
    ];
    const attemptAll = async (times: number): Promise<void> => {
      for (let count = 0; count < times; count++) {
        const results = await Promise.all(checks.map(({ check }) => startAttempt(check).result));
        results.forEach(({ up, detail }, index) => assert.equal(up, checks[index]?.up, detail));
      }
    };
    try {
      await attemptAll(30);
      const before = await heapUsed();
      await attemptAll(100);
      const grown = (await heapUsed()) - before;
      assert.ok(grown < 1 << 20, `${grown} bytes after ${100 * checks.length} attempts`);
    } finally {
      await Promise.all([...goodServers, closing, silent].map((server) => server.close()));
      await new Promise<void>((resolve) => udp.close(resolve));
    }
    await eventually("no socket is left", () => sockets() <= socketsBefore);
  });
});
