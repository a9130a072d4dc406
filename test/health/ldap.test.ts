import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startAttempt } from "../../src/health/attempt.ts";
import { prepareCheck } from "../../src/health/checks.ts";
import type { CheckSpec } from "../../src/model/config.ts";
import { slapdIsMissing, startSlapd } from "../support/servers/slapd.ts";
import type { Slapd } from "../support/servers/slapd.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { attemptOnce, specOf, surroundings } from "./fixtures.ts";

testMisbehaviour("ldap", (port) => specOf({ service: "ldap", port }));
testMisbehaviour("ldaps", (port) => specOf({ service: "ldaps", port }), { tls: true });

describe("ldap checks of slapd", { skip: slapdIsMissing }, () => {
  let slapd: Slapd;
  before(async () => {
    slapd = await startSlapd();
  });
  after(async () => {
    await slapd.stop();
  });

  function specFor(changes: Partial<CheckSpec> = {}): CheckSpec {
    const { address, port } = slapd;
    return specOf({ service: "ldap", address, port, checkTimeoutMs: 5000, request: "/dc=example,dc=org", ...changes });
  }
  function secure(changes: Partial<CheckSpec> = {}): CheckSpec {
    return specFor({ service: "ldaps", port: slapd.securePort, ...changes });
  }
  async function outcome(spec: CheckSpec): Promise<[boolean, string]> {
    const { up, detail } = await attemptOnce(spec);
    return [up, detail];
  }

  testInterruption(
    "slapd",
    (port) => specFor({ address: "127.0.0.1", port, request: "/dc=example,dc=org" }),
    () => ({ host: slapd.address, port: slapd.port }),
  );
  testInterruption(
    "slapd over TLS",
    (port) => secure({ address: "127.0.0.1", port, request: "/dc=example,dc=org" }),
    () => ({ host: slapd.address, port: slapd.securePort }),
  );

  test("an entry that is there is up, by the name that the request has without its first character", async () => {
    assert.deepEqual(await outcome(specFor()), [true, "1 entry"]);
    assert.deepEqual(await outcome(specFor({ request: "xdc=example,dc=org" })), [true, "1 entry"]);
    assert.deepEqual(await outcome(specFor({ request: "/dc=other,dc=org" })), [false, "search: no such object (32)"]);
    const [up, detail] = await outcome(specFor({ request: "dc=example,dc=org" }));
    assert.deepEqual([up, detail.split(":")[0]], [false, "search"]);
  });

  test("no request reads the server's own entry", async () => {
    assert.deepEqual(await outcome(specFor({ request: "/" })), [true, "1 entry"]);
  });

  test("receive is looked for in the entry's name", async () => {
    assert.equal((await outcome(specFor({ receive: "dc=example,.*org$" })))[0], true);
    assert.deepEqual(await outcome(specFor({ receive: "dc=other" })), [
      false,
      '1 entry, receive does not match "dc=example,dc=org"',
    ]);
  });

  test("login and password are used if both are set", async () => {
    const login = "cn=admin,dc=example,dc=org";
    assert.equal((await outcome(specFor({ login, password: "open sesame" })))[0], true);
    assert.deepEqual(await outcome(specFor({ login, password: "wrong" })), [false, "bind: invalid credentials (49)"]);
    assert.equal((await outcome(specFor({ login: "cn=nobody" })))[0], true);
  });

  test("ldaps works, whatever the certificate", async () => {
    assert.deepEqual(await outcome(secure()), [true, "1 entry"]);
    assert.equal((await outcome(secure({ port: slapd.port })))[0], false);
  });

  test("with verification the certificate must be trusted and made for the name", async () => {
    const verified = async (ca: string | undefined, virtualHost: string): Promise<boolean> => {
      const tls = { verify: true, ...(ca === undefined ? {} : { ca }) };
      return (await startAttempt(prepareCheck(secure({ virtualHost }), { ...surroundings, tls })).result).up;
    };
    assert.equal(await verified(slapd.certificate, "directory.example"), true);
    assert.equal(await verified(slapd.certificate, "other.example"), false);
    assert.equal(await verified(undefined, "directory.example"), false);
  });
});
