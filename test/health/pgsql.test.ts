import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startAttempt } from "../../src/health/attempt.ts";
import { prepareCheck } from "../../src/health/checks.ts";
import type { TlsPolicy } from "../../src/health/tls.ts";
import type { CheckSpec } from "../../src/model/config.ts";
import { postgresqlIsMissing, startPostgresql } from "../support/servers/postgresql.ts";
import type { Postgresql } from "../support/servers/postgresql.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { atDeadline, specOf, surroundings } from "./fixtures.ts";

/** The check that is up. */
function goodSpec(changes: Partial<CheckSpec>): CheckSpec {
  return specOf({
    service: "pgsql",
    login: "monitor",
    password: `it's "me"`,
    database: "shop",
    request: "/SELECT * FROM item",
    negotiateTimeoutMs: 10_000,
    ...changes,
  });
}

testMisbehaviour("pgsql", (port) => goodSpec({ port }));

describe("pgsql checks of PostgreSQL", { skip: postgresqlIsMissing }, () => {
  let withTls: Postgresql;
  let plain: Postgresql;
  before(async () => {
    withTls = await startPostgresql({ tls: true });
    plain = await startPostgresql({ tls: false });
  });
  after(async () => {
    await withTls.stop();
    await plain.stop();
  });

  async function outcome(
    changes: Partial<CheckSpec> = {},
    tls: TlsPolicy = surroundings.tls,
  ): Promise<[boolean, string]> {
    const { address, port } = withTls;
    const check = prepareCheck(goodSpec({ address, port, ...changes }), { ...surroundings, tls });
    const { up, detail } = await startAttempt(check).result;
    return [up, detail];
  }

  testInterruption(
    "PostgreSQL with TLS",
    (port) => goodSpec({ port }),
    () => ({ host: withTls.address, port: withTls.port }),
  );
  testInterruption(
    "PostgreSQL without TLS",
    (port) => goodSpec({ port }),
    () => ({ host: plain.address, port: plain.port }),
  );

  test("a statement that gives rows is up, with TLS and without", async () => {
    assert.deepEqual(await outcome(), [true, "2 rows"]);
    assert.deepEqual(await outcome({ port: plain.port }), [true, "2 rows"]);
    assert.deepEqual(await outcome({ request: "/SELECT generate_series(1, 1000000)" }), [true, "100 rows or more"]);
    assert.deepEqual(await outcome({ request: "/SELECT 1; SELECT * FROM item" }), [true, "2 rows"]);
  });

  test("a statement that gives no rows, or is none, is down", async () => {
    assert.deepEqual(await outcome({ request: "/SELECT * FROM item WHERE name = 'plum'" }), [false, "no rows"]);
    assert.deepEqual(await outcome({ request: "/DELETE FROM item WHERE name = 'plum'" }), [false, "no rows"]);
    assert.deepEqual(await outcome({ request: "/SELECT * FROM nothing" }), [
      false,
      'relation "nothing" does not exist',
    ]);
  });

  test("passwords are given as the server asks for them", async () => {
    for (const login of ["monitor", "legacy", "plain"]) {
      assert.deepEqual(await outcome({ login }), [true, "2 rows"], login);
      assert.deepEqual(await outcome({ login, password: "wrong" }), [
        false,
        `password authentication failed for user "${login}"`,
      ]);
      assert.equal((await outcome({ login, password: "" }))[0], false);
    }
  });

  test("a server that lets in only with TLS does, and one that lets in only without it does where it has none", async () => {
    assert.deepEqual(await outcome({ login: "secure", password: "" }), [true, "2 rows"]);
    assert.deepEqual(await outcome({ login: "trusted", password: "", port: plain.port }), [true, "2 rows"]);
  });

  test("with verification the certificate must be trusted and made for the name", async () => {
    const verify = { verify: true, ca: withTls.certificate };
    assert.equal((await outcome({ virtualHost: "database.example" }, verify))[0], true);
    assert.equal((await outcome({ virtualHost: "other.example" }, verify))[0], false);
    assert.equal((await outcome({ virtualHost: "database.example" }, { verify: true }))[0], false);
  });

  test("an unknown database is down, and no database is the one with the login's name", async () => {
    assert.deepEqual(await outcome({ database: "other" }), [false, 'database "other" does not exist']);
    assert.deepEqual(await outcome({ database: "" }), [false, 'database "monitor" does not exist']);
  });

  test("a slow statement ends at the deadline", async () => {
    const slow = { request: "/SELECT pg_sleep(60)" };
    for (const changes of [slow, { ...slow, port: plain.port }]) {
      const attempt = (negotiateTimeoutMs: number) => outcome({ ...changes, negotiateTimeoutMs });
      await atDeadline(300, attempt, [false, "no result in time"]);
    }
  });
});
