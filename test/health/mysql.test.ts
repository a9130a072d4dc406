import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { mariadbIsMissing, startMariadb } from "../support/servers/mariadb.ts";
import type { Mariadb } from "../support/servers/mariadb.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { atDeadline, attemptOnce, specOf } from "./fixtures.ts";

/** The check that is up. */
function goodSpec(changes: Partial<CheckSpec>): CheckSpec {
  return specOf({
    service: "mysql",
    login: "monitor",
    password: `it's "me"`,
    database: "shop",
    request: "/SELECT * FROM item",
    negotiateTimeoutMs: 10_000,
    ...changes,
  });
}

testMisbehaviour("mysql", (port) => goodSpec({ port }));

describe("mysql checks of MariaDB", { skip: mariadbIsMissing }, () => {
  let mariadb: Mariadb;
  before(async () => {
    mariadb = await startMariadb();
  });
  after(async () => {
    await mariadb.stop();
  });

  async function outcome(changes: Partial<CheckSpec> = {}): Promise<[boolean, string]> {
    const { address, port } = mariadb;
    const { up, detail } = await attemptOnce(goodSpec({ address, port, ...changes }));
    return [up, detail];
  }

  testInterruption(
    "MariaDB",
    (port) => goodSpec({ port }),
    () => ({ host: mariadb.address, port: mariadb.port }),
  );

  test("a statement that gives rows is up", async () => {
    assert.deepEqual(await outcome(), [true, "2 rows"]);
    assert.deepEqual(await outcome({ request: "/SHOW TABLES" }), [true, "1 row"]);
    assert.deepEqual(await outcome({ request: "/SELECT seq FROM seq_1_to_1000000" }), [true, "100 rows or more"]);
  });

  test("a statement that gives no rows, or is none, is down", async () => {
    assert.deepEqual(await outcome({ request: "/SELECT * FROM item WHERE name = 'plum'" }), [false, "no rows"]);
    assert.deepEqual(await outcome({ request: "/DELETE FROM item WHERE name = 'plum'" }), [false, "no rows"]);
    assert.deepEqual(await outcome({ request: "/SELECT * FROM nothing" }), [
      false,
      "Table 'shop.nothing' doesn't exist",
    ]);
  });

  test("a wrong password and an unknown database are down, with what the server says", async () => {
    const [up, detail] = await outcome({ password: "wrong" });
    assert.deepEqual([up, detail.split("@")[0]], [false, "Access denied for user 'monitor'"]);
    assert.match((await outcome({ database: "other" }))[1], /Access denied .* to database 'other'/);
  });

  test("an empty password is none, and an empty database is none", async () => {
    assert.deepEqual(await outcome({ login: "anybody", password: "", database: "", request: "/SELECT 1" }), [
      true,
      "1 row",
    ]);
  });

  test("without login or request it is down, and nothing is asked", async () => {
    assert.deepEqual(await outcome({ login: "" }), [false, "there is no login to log in with"]);
    assert.deepEqual(await outcome({ request: "/" }), [false, "there is no request to run"]);
  });

  test("a slow statement ends at the deadline", async () => {
    const attempt = (negotiateTimeoutMs: number) => outcome({ request: "/SELECT SLEEP(60)", negotiateTimeoutMs });
    await atDeadline(300, attempt, [false, "no result in time"]);
  });
});
