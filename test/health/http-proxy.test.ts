import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { squidIsMissing, startSquid } from "../support/servers/squid.ts";
import type { Squid } from "../support/servers/squid.ts";
import { attemptOnce, freePort, nginxIsMissing, specOf, startNginx } from "./fixtures.ts";
import type { Nginx } from "./fixtures.ts";

const proxy = { service: "http_proxy", negotiateTimeoutMs: 20_000 } as const;

describe("http_proxy checks of squid", { skip: squidIsMissing !== false ? squidIsMissing : nginxIsMissing }, () => {
  let squid: Squid;
  let nginx: Nginx;
  before(async () => {
    nginx = await startNginx(`
      default_type text/plain;
      location = /echo { return 200 "$request_method host=$http_host via=$http_via"; }
      location = /redirect { return 302 http://127.0.0.1:$server_port/echo; }
      location = /secure { return 302 https://127.0.0.1:$arg_port/echo; }
      location = /500 { return 500; }
    `);
    squid = await startSquid();
  });
  after(async () => {
    await squid.stop();
    await nginx.stop();
  });

  const ask = async (path: string, changes: Partial<CheckSpec> = {}): Promise<{ up: boolean; detail: string }> => {
    const request = `/http://127.0.0.1:${nginx.port}${path}`;
    return await attemptOnce(specOf({ ...proxy, address: squid.address, port: squid.port, request, ...changes }));
  };

  test("a page that is fetched through the proxy is up, and virtualhost plays no part", async () => {
    const receive = `^GET host=127\\.0\\.0\\.1:${nginx.port} via=1\\.1 proxy\\.example`;
    const result = await ask("/echo", { receive, virtualHost: "www.example" });
    assert.deepEqual([result.up, result.detail], [true, "HTTP status 200, receive matches"]);
  });

  test("HEAD goes through the proxy", async () => {
    assert.equal((await ask("/echo", { httpMethod: "HEAD" })).up, true);
  });

  test("a redirect is followed through the proxy", async () => {
    const result = await ask("/redirect", { receive: "via=1\\.1 proxy" });
    assert.equal(result.up, true, result.detail);
  });

  test("a redirect to https is followed past the proxy", async () => {
    const result = await ask(`/secure?port=${nginx.securePort}`, { receive: "via=$" });
    assert.equal(result.up, true, result.detail);
  });

  test("another page is down, and is shown", async () => {
    const result = await ask("/echo", { receive: "all is well" });
    assert.equal(result.up, false);
    assert.match(result.detail, /^HTTP status 200, receive does not match "GET host/);
  });

  test("what the server behind refuses, and what the proxy refuses, is down", async () => {
    assert.deepEqual((await ask("/500")).detail, "HTTP status 500");
    assert.deepEqual((await ask("/forbidden")).detail, "HTTP status 403");
    const request = `/http://127.0.0.1:${await freePort()}/`;
    assert.deepEqual((await ask("", { request })).detail, "HTTP status 503");
  });

  test("a request that is no absolute address is down", async () => {
    const result = await ask("", { request: "/echo" });
    assert.deepEqual([result.up, result.detail], [false, "cannot fetch /echo"]);
  });

  testInterruption(
    "http_proxy",
    (port) => specOf({ ...proxy, port, request: `/http://127.0.0.1:${nginx.port}/echo`, receive: "via=" }),
    () => ({ host: squid.address, port: squid.port }),
  );
});

testMisbehaviour("http_proxy", (port) => specOf({ ...proxy, port, request: "/http://www.example/" }));
testMisbehaviour("http", (port) => specOf({ service: "http", port }));
testMisbehaviour("https", (port) => specOf({ service: "https", port }), { tls: true });
