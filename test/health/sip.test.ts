import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { kamailioIsMissing, startKamailio } from "../support/servers/kamailio.ts";
import type { Kamailio } from "../support/servers/kamailio.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { attemptOnce, serve, specOf } from "./fixtures.ts";

const sip = { service: "sip", login: "ldirectord@director.example", negotiateTimeoutMs: 10_000 } as const;

describe("sip checks of kamailio", { skip: kamailioIsMissing }, () => {
  let kamailio: Kamailio;
  before(async () => {
    kamailio = await startKamailio();
  });
  after(async () => {
    await kamailio.stop();
  });

  const ask = async (changes: Partial<CheckSpec>): Promise<{ up: boolean; detail: string }> =>
    await attemptOnce(specOf({ ...sip, address: kamailio.address, port: kamailio.port, ...changes }));

  for (const protocol of ["tcp", "udp"] as const) {
    test(`200 OK over ${protocol} is up`, async () => {
      const result = await ask({ protocol });
      assert.deepEqual([result.up, result.detail], [true, 'answer "SIP/2.0 200 OK"']);
    });

    test(`another status over ${protocol} is down, and is shown`, async () => {
      const result = await ask({ protocol, login: "refuse@director.example" });
      assert.deepEqual([result.up, result.detail], [false, 'answer "SIP/2.0 403 Forbidden"']);
    });

    test(`after a provisional answer over ${protocol} the final one counts`, async () => {
      const result = await ask({ protocol, login: "trying@director.example" });
      assert.deepEqual([result.up, result.detail], [true, 'answer "SIP/2.0 200 OK"']);
    });
  }

  test("a request that is lost over UDP is repeated", async () => {
    const result = await ask({ protocol: "udp", login: "late@director.example" });
    assert.deepEqual([result.up, result.detail], [true, 'answer "SIP/2.0 200 OK"']);
  });

  testInterruption(
    "sip",
    (port) => specOf({ ...sip, port }),
    () => ({ host: kamailio.address, port: kamailio.port }),
  );
});

test("a sip request names its transport and its sender, and is another one each time", async () => {
  const requests: string[] = [];
  const server = await serve((socket) =>
    socket.once("data", (chunk) => {
      requests.push(chunk.toString());
      socket.end("SIP/2.0 200 OK\r\n\r\n");
    }),
  );
  for (let count = 0; count < 2; count++) await attemptOnce(specOf({ ...sip, port: server.port }));
  await server.close();
  for (const request of requests) {
    assert.match(
      request,
      /^OPTIONS sip:ldirectord@director\.example SIP\/2\.0\r\nVia: SIP\/2\.0\/TCP 127\.0\.0\.1:\d+;rport;/,
    );
    assert.match(request, /\r\nContent-Length: 0\r\n\r\n$/);
  }
  const branches = requests.map((request) => /branch=(\S+)/.exec(request)?.[1]);
  assert.equal(new Set(branches).size, 2);
});

testMisbehaviour("sip", (port) => specOf({ ...sip, port }));
testMisbehaviour("sip over UDP", (port) => specOf({ ...sip, protocol: "udp", port }), { transport: "udp" });
