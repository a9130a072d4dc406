import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { testMisbehaviour } from "../support/servers/misbehaving.ts";
import { attemptOnce, freePort, specOf } from "./fixtures.ts";

/** A check that could be up. */
function goodSpec(changes: Partial<CheckSpec>): CheckSpec {
  const login = { login: "monitor", password: "secret", database: "XE" };
  return specOf({
    service: "oracle",
    ...login,
    request: "/SELECT 1 FROM dual",
    negotiateTimeoutMs: 10_000,
    ...changes,
  });
}

testMisbehaviour("oracle", (port) => goodSpec({ port }), { deadlineMs: 1500 });

describe("oracle checks", () => {
  test("a server that is not there is down, by IPv4 and IPv6", async () => {
    const port = await freePort();
    for (const address of ["127.0.0.1", "::1"]) {
      const { up, detail } = await attemptOnce(goodSpec({ address, port }));
      assert.equal(up, false);
      assert.match(detail, /ECONNREFUSED/);
    }
  });

  test("without login, request or database it is down, and nothing is asked", async () => {
    const detail = async (changes: Partial<CheckSpec>): Promise<string> =>
      (await attemptOnce(goodSpec(changes))).detail;
    assert.equal(await detail({ login: "" }), "there is no login to log in with");
    assert.equal(await detail({ request: "/" }), "there is no request to run");
    assert.equal(await detail({ database: "" }), "there is no database (SID) to connect to");
    assert.equal(await detail({ database: "X)(HOST=other" }), "there is no database (SID) to connect to");
  });
});
