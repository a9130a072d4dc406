import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { freeradiusIsMissing, startFreeradius } from "../support/servers/freeradius.ts";
import type { Freeradius } from "../support/servers/freeradius.ts";
import { testMisbehaviour } from "../support/servers/misbehaving.ts";
import { atDeadline, attemptOnce, specOf } from "./fixtures.ts";

/** The check that is up. */
function goodSpec(changes: Partial<CheckSpec>): CheckSpec {
  return specOf({
    service: "radius",
    protocol: "udp",
    login: "monitor",
    password: "a password of more than sixteen bytes",
    secret: "shared secret",
    checkTimeoutMs: 20_000,
    ...changes,
  });
}

testMisbehaviour("radius", (port) => goodSpec({ port }), { transport: "udp" });

describe("radius checks of FreeRADIUS", { skip: freeradiusIsMissing }, () => {
  let freeradius: Freeradius;
  before(async () => {
    freeradius = await startFreeradius();
  });
  after(async () => {
    await freeradius.stop();
  });

  async function outcome(changes: Partial<CheckSpec> = {}): Promise<[boolean, string]> {
    const { address, port } = freeradius;
    const { up, detail } = await attemptOnce(goodSpec({ address, port, ...changes }));
    return [up, detail];
  }

  test("a login that is accepted is up", async () => {
    assert.deepEqual(await outcome(), [true, "access accepted"]);
  });

  test("a wrong password and an unknown login are down", async () => {
    assert.deepEqual(await outcome({ password: "wrong" }), [false, "access rejected"]);
    assert.deepEqual(await outcome({ password: "" }), [false, "access rejected"]);
    assert.deepEqual(await outcome({ login: "nobody" }), [false, "access rejected"]);
  });

  test("a wrong secret is met with silence", async () => {
    const attempt = (checkTimeoutMs: number) => outcome({ secret: "wrong", checkTimeoutMs });
    await atDeadline(400, attempt, [false, "no answer in time, perhaps for a wrong secret"]);
  });

  test("login and password have a limit", async () => {
    assert.deepEqual(await outcome({ login: "x".repeat(254) }), [false, "the login is too long"]);
    assert.deepEqual(await outcome({ password: "x".repeat(129) }), [false, "the password is too long"]);
  });

  test("an answer that was changed on its way is not believed", async () => {
    const relay = createSocket("udp4");
    const upstream = createSocket("udp4");
    let client = 0;
    relay.on("message", (request, { port }) => {
      client = port;
      upstream.send(request, freeradius.port, freeradius.address);
    });
    upstream.on("message", (answer) => {
      // A rejection becomes an acceptance.
      answer[0] = 2;
      relay.send(answer, client, "127.0.0.1");
    });
    await new Promise<void>((resolve) => relay.bind(0, "127.0.0.1", resolve));
    const forged = { address: "127.0.0.1", port: relay.address().port, password: "wrong" };
    const attempt = (checkTimeoutMs: number) => outcome({ ...forged, checkTimeoutMs });
    await atDeadline(800, attempt, [false, "the answer is not signed with the secret"]);
    assert.equal((await outcome({ ...forged, password: goodSpec({}).password }))[0], true);
    relay.close();
    upstream.close();
  });

  test("a question that is lost is repeated", async () => {
    const relay = createSocket("udp4");
    const upstream = createSocket("udp4");
    let requests = 0;
    let client = 0;
    relay.on("message", (request, { port }) => {
      client = port;
      requests += 1;
      if (requests > 1) upstream.send(request, freeradius.port, freeradius.address);
    });
    upstream.on("message", (answer) => relay.send(answer, client, "127.0.0.1"));
    await new Promise<void>((resolve) => relay.bind(0, "127.0.0.1", resolve));
    const { port } = relay.address();
    assert.deepEqual(await outcome({ address: "127.0.0.1", port }), [true, "access accepted"]);
    assert.ok(requests >= 2, `${requests} requests`);
    relay.close();
    upstream.close();
  });
});
