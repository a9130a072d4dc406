import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { dovecotIsMissing, dovecotPassword, startDovecot } from "../support/servers/dovecot.ts";
import type { Dovecot } from "../support/servers/dovecot.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { attemptOnce, respondAtOnce, serve, specOf } from "./fixtures.ts";

const timeouts = { negotiateTimeoutMs: 20_000 } as const;
const alice = { login: "alice", password: dovecotPassword } as const;

describe("pop and pops checks of dovecot", { skip: dovecotIsMissing }, () => {
  let dovecot: Dovecot;
  before(async () => {
    dovecot = await startDovecot();
  });
  after(async () => {
    await dovecot.stop();
  });

  for (const service of ["pop", "pops"] as const) {
    const at = (changes: Partial<CheckSpec>): CheckSpec =>
      specOf({ ...timeouts, service, address: dovecot.address, port: dovecot.ports[service], ...changes });

    test(`a greeting is up for ${service} without login`, async () => {
      const result = await attemptOnce(at({}));
      assert.deepEqual([result.up, result.detail], [true, "greeting"]);
    });

    test(`a login is up for ${service}`, async () => {
      const result = await attemptOnce(at(alice));
      assert.deepEqual([result.up, result.detail], [true, "logged in"]);
    });

    test(`a wrong password is down for ${service}`, async () => {
      const result = await attemptOnce(at({ ...alice, password: "wrong" }));
      assert.equal(result.up, false);
      assert.match(result.detail, /^login refused: "-ERR \[AUTH\]/);
    });

    testInterruption(
      service,
      (port) => specOf({ ...timeouts, service, port, ...alice }),
      () => ({ host: dovecot.address, port: dovecot.ports[service] }),
    );
  }

  test("pops to a port without TLS is down", async () => {
    const { address, ports } = dovecot;
    const result = await attemptOnce(specOf({ ...timeouts, service: "pops", address, port: ports.pop }));
    assert.deepEqual([result.up, result.detail], [false, "TLS: wrong version number"]);
  });

  test("verified, pops needs a certificate for virtualhost", async () => {
    const { address, ports, certificate: ca } = dovecot;
    const spec = specOf({ ...timeouts, service: "pops", address, port: ports.pops, virtualHost: "mail.example" });
    assert.equal((await attemptOnce(spec, { verify: true, ca })).up, true);
    assert.equal((await attemptOnce({ ...spec, virtualHost: "other.example" }, { verify: true, ca })).up, false);
    assert.equal((await attemptOnce({ ...spec, virtualHost: "other.example" })).up, true);
  });
});

describe("pop checks of a dovecot that takes no plain passwords", { skip: dovecotIsMissing }, () => {
  let dovecot: Dovecot;
  before(async () => {
    dovecot = await startDovecot({ mechanisms: "cram-md5", refusePlain: true });
  });
  after(async () => {
    await dovecot.stop();
  });

  test("CRAM-MD5 is used where it is offered", async () => {
    const at = { ...timeouts, service: "pop", address: dovecot.address, port: dovecot.ports.pop } as const;
    const result = await attemptOnce(specOf({ ...at, ...alice }));
    assert.deepEqual([result.up, result.detail], [true, "logged in"]);
    assert.equal((await attemptOnce(specOf({ ...at, ...alice, password: "wrong" }))).up, false);
  });
});

describe("pop checks", () => {
  test("APOP is used where a greeting offers it (the example of RFC 1939)", async () => {
    const said: string[] = [];
    const server = await serve((socket) => {
      socket.write("+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n");
      socket.on("data", (chunk) => {
        const line = chunk.toString().trim();
        said.push(line);
        const known = ["APOP mrose c4c9334bac560ecc979e58001b3e22fb", "STAT", "QUIT"];
        socket.write(known.includes(line) ? "+OK 0 0\r\n" : "-ERR\r\n");
        if (line === "QUIT") socket.end();
      });
    });
    const spec = specOf({ ...timeouts, service: "pop", port: server.port, login: "mrose", password: "tanstaaf" });
    const result = await attemptOnce(spec);
    assert.deepEqual([result.up, result.detail], [true, "logged in"]);
    assert.deepEqual(said, ["CAPA", "APOP mrose c4c9334bac560ecc979e58001b3e22fb", "STAT", "QUIT"]);
    await server.close();
  });

  test("a server out of order is down, with and without login", async () => {
    const server = await serve(respondAtOnce("-ERR maintenance\r\n"));
    for (const login of ["", "alice"]) {
      const result = await attemptOnce(specOf({ ...timeouts, service: "pop", port: server.port, login }));
      assert.deepEqual([result.up, result.detail], [false, 'greeting is "-ERR maintenance"']);
    }
    await server.close();
  });
});

testMisbehaviour("pop", (port) => specOf({ service: "pop", port, ...alice }));
testMisbehaviour("pop without login", (port) => specOf({ service: "pop", port }));
testMisbehaviour("pops", (port) => specOf({ service: "pops", port, ...alice }), { tls: true });
