import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { dovecotIsMissing, dovecotPassword, startDovecot } from "../support/servers/dovecot.ts";
import type { Dovecot } from "../support/servers/dovecot.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { attemptOnce, eventually, respondAtOnce, serve, specOf } from "./fixtures.ts";

const timeouts = { negotiateTimeoutMs: 20_000 } as const;
const alice = { login: "alice", password: dovecotPassword } as const;

describe("imap and imaps checks of dovecot", { skip: dovecotIsMissing }, () => {
  let dovecot: Dovecot;
  before(async () => {
    dovecot = await startDovecot();
  });
  after(async () => {
    await dovecot.stop();
  });

  for (const service of ["imap", "imaps"] as const) {
    const at = (changes: Partial<CheckSpec>): CheckSpec =>
      specOf({ ...timeouts, service, address: dovecot.address, port: dovecot.ports[service], ...changes });

    test(`a greeting is up for ${service} without login`, async () => {
      const result = await attemptOnce(at({}));
      assert.deepEqual([result.up, result.detail], [true, "greeting"]);
    });

    test(`a login is up for ${service}, whatever is in the password`, async () => {
      const result = await attemptOnce(at(alice));
      assert.deepEqual([result.up, result.detail], [true, "logged in"]);
    });

    test(`a wrong password is down for ${service}`, async () => {
      const result = await attemptOnce(at({ ...alice, password: "wrong" }));
      assert.equal(result.up, false);
      assert.match(result.detail, /^login refused: "a NO \[AUTHENTICATIONFAILED\]/);
    });

    testInterruption(
      service,
      (port) => specOf({ ...timeouts, service, port, ...alice }),
      () => ({ host: dovecot.address, port: dovecot.ports[service] }),
    );
  }

  test("the dialogue ends with LOGOUT, as dovecot sees it", async () => {
    const { address, ports } = dovecot;
    const { up } = await attemptOnce(specOf({ ...timeouts, service: "imap", address, port: ports.imap, ...alice }));
    assert.equal(up, true);
    await eventually("the dialogue is in dovecot's log", () => /imap\(alice\).*Logged out/.test(dovecot.output()));
  });

  test("imaps to a port without TLS is down", async () => {
    const { address, ports } = dovecot;
    const result = await attemptOnce(specOf({ ...timeouts, service: "imaps", address, port: ports.imap }));
    assert.deepEqual([result.up, result.detail], [false, "TLS: wrong version number"]);
  });

  test("verified, imaps needs a certificate of a trusted authority for virtualhost, or the address", async () => {
    const { address, ports, certificate: ca } = dovecot;
    const spec = specOf({ ...timeouts, service: "imaps", address, port: ports.imaps, virtualHost: "mail.example" });
    assert.equal((await attemptOnce(spec, { verify: true, ca })).up, true);
    const unknown = await attemptOnce(spec, { verify: true });
    assert.deepEqual([unknown.up, unknown.detail], [false, "self-signed certificate"]);
    const other = await attemptOnce({ ...spec, virtualHost: "www.example" }, { verify: true, ca });
    assert.equal(other.up, false);
    assert.match(other.detail, /www\.example/);
    const nameless = await attemptOnce({ ...spec, virtualHost: "" }, { verify: true, ca });
    assert.equal(nameless.up, false);
    assert.match(nameless.detail, /not in the cert's list|does not match/);
  });
});

describe("imap checks", () => {
  test("a server that says BYE is down, one that has logged us in already is up", async () => {
    const rows = [
      { greeting: "* BYE too many connections\r\n", login: "", up: false },
      { greeting: "* PREAUTH welcome\r\n", login: "alice", up: true },
      { greeting: "* OK welcome\r\n", login: "", up: true },
    ];
    for (const { greeting, login, up } of rows) {
      const server = await serve(respondAtOnce(greeting));
      const result = await attemptOnce(specOf({ ...timeouts, service: "imap", port: server.port, login }));
      assert.equal(result.up, up, result.detail);
      await server.close();
    }
  });
});

testMisbehaviour("imap", (port) => specOf({ service: "imap", port, ...alice }));
testMisbehaviour("imaps", (port) => specOf({ service: "imaps", port, ...alice }), { tls: true });
