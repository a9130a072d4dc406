import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, test } from "node:test";
import type { CheckSpec } from "../../src/model/config.ts";
import { Stopwatch } from "../support/starvation.ts";
import { atDeadline, attemptOnce, eventually, freePort, nginxIsMissing, respond, serve } from "./fixtures.ts";
import { specOf, startNginx } from "./fixtures.ts";
import type { Nginx } from "./fixtures.ts";

describe("http and https checks of nginx", { skip: nginxIsMissing }, () => {
  let nginx: Nginx;
  before(async () => {
    nginx = await startNginx(`
      default_type text/plain;
      location = / { return 200 "OK\\n"; }
      location = /echo { return 200 "$request_method host=$http_host agent=$http_user_agent sni=$ssl_server_name"; }
      location = "/a b" { return 200 "raw=$request_uri"; }
      location = /500 { return 500; }
      location = /404 { return 404; }
      location = /204 { return 204; }
      location = /relative { return 302 /echo; }
      location = /absolute { return 301 $scheme://127.0.0.1:$server_port/echo; }
      location = /secure { return 307 https://127.0.0.1:$arg_port/echo; }
      location = /ftp { return 302 ftp://127.0.0.1/; }
      location = /nowhere { return 302 http://127.0.0.1:1/; }
      location = /named { return 302 http://localhost:$server_port/echo; }
      location = /hops7 { return 302 /hops6; } location = /hops6 { return 302 /hops5; }
      location = /hops5 { return 302 /hops4; } location = /hops4 { return 302 /hops3; }
      location = /hops3 { return 302 /hops2; } location = /hops2 { return 302 /hops1; }
      location = /hops1 { return 302 /echo; } location = /hops8 { return 302 /hops7; }
      absolute_redirect off;
    `);
  });
  after(async () => {
    await nginx.stop();
  });

  const rows: readonly { name: string; spec: Partial<CheckSpec>; up: boolean; detail?: RegExp }[] = [
    { name: "status 200 is up", spec: {}, up: true, detail: /^HTTP status 200$/ },
    { name: "status 204 is up", spec: { request: "/204" }, up: true },
    { name: "a body that matches receive is up", spec: { receive: "^OK$" }, up: true },
    { name: "receive is a Perl expression", spec: { receive: "(?i)\\Aok\\s*\\z" }, up: true },
    {
      name: "a body that does not match receive is down, and is shown",
      spec: { receive: "Still alive" },
      up: false,
      detail: /receive does not match "OK "/,
    },
    { name: "status 500 is down", spec: { request: "/500" }, up: false, detail: /^HTTP status 500$/ },
    { name: "status 404 is down even if receive matches", spec: { request: "/404", receive: "404" }, up: false },
    { name: "HEAD is up by its status", spec: { httpMethod: "HEAD", request: "/echo" }, up: true },
    { name: "HEAD with receive never matches", spec: { httpMethod: "HEAD", receive: ".*" }, up: false, detail: /HEAD/ },
    {
      name: "Host is the address without port, and the agent is xlb",
      spec: { request: "/echo", receive: "^GET host=127\\.0\\.0\\.1 agent=xlb/test sni=$" },
      up: true,
    },
    {
      name: "Host is virtualhost",
      spec: { request: "/echo", virtualHost: "w.test", receive: "host=w\\.test " },
      up: true,
    },
    { name: "blanks are sent as %20", spec: { request: "/a b", receive: "^raw=/a%20b$" }, up: true },
    {
      name: "a relative redirect leads to the same server, and Host is what the address says",
      spec: { request: "/relative", virtualHost: "w.test", receive: "host=127\\.0\\.0\\.1:\\d+ " },
      up: true,
    },
    { name: "an absolute redirect is followed", spec: { request: "/absolute", receive: "^GET" }, up: true },
    { name: "a redirect to a name is followed", spec: { request: "/named", receive: "host=localhost:" }, up: true },
    { name: "seven redirects are followed", spec: { request: "/hops7", receive: "^GET" }, up: true },
    {
      name: "more than seven redirects are down",
      spec: { request: "/hops8" },
      up: false,
      detail: /more than 7 redirects/,
    },
    { name: "a redirect to another protocol is down", spec: { request: "/ftp" }, up: false, detail: /leads nowhere/ },
    {
      name: "a redirect to a refusal is down",
      spec: { request: "/nowhere" },
      up: false,
      detail: /127\.0\.0\.1:1: conn/,
    },
    { name: "an invalid expression is down", spec: { receive: "(" }, up: false, detail: /^receive: / },
    {
      name: "an expression without end is down",
      spec: { receive: "(?:(?:\\w|\\S)+)+$$!", request: "/echo" },
      up: false,
    },
  ];
  for (const { name, spec, up, detail } of rows) {
    test(name, async () => {
      const result = await attemptOnce(specOf({ port: nginx.port, ...spec }));
      assert.equal(result.up, up, result.detail);
      if (detail !== undefined) assert.match(result.detail, detail);
    });
  }

  test("a whole address as request is fetched instead of the real server's own", async () => {
    const request = `/http://127.0.0.1:${nginx.port}/echo`;
    const result = await attemptOnce(specOf({ address: "127.0.0.9", port: 9, request, receive: "^GET" }));
    assert.equal(result.up, true, result.detail);
  });

  test("https accepts a self-signed certificate and names virtualhost by SNI", async () => {
    const spec = { service: "https", port: nginx.securePort, request: "/echo", virtualHost: "w.test" } as const;
    const result = await attemptOnce(specOf({ ...spec, receive: "host=w\\.test .* sni=w\\.test$" }));
    assert.equal(result.up, true, result.detail);
  });

  test("https names no server if virtualhost is an address or absent", async () => {
    for (const virtualHost of ["", "127.0.0.1"]) {
      const spec = { service: "https", port: nginx.securePort, request: "/echo", virtualHost } as const;
      const result = await attemptOnce(specOf({ ...spec, receive: "sni=$" }));
      assert.equal(result.up, true, result.detail);
    }
  });

  test("verified, https needs a certificate of a trusted authority for virtualhost, or the address", async () => {
    const { certificate: ca, securePort: port } = nginx;
    const spec = specOf({ service: "https", port, virtualHost: "self-signed", negotiateTimeoutMs: 10_000 });
    const trusted = await attemptOnce(spec, { verify: true, ca });
    assert.equal(trusted.up, true, trusted.detail);
    const unknown = await attemptOnce(spec, { verify: true });
    assert.deepEqual([unknown.up, unknown.detail], [false, "self-signed certificate"]);
    for (const virtualHost of ["other.test", ""]) {
      const { up, detail } = await attemptOnce({ ...spec, virtualHost }, { verify: true, ca });
      assert.equal(up, false);
      assert.match(detail, /^Hostname\/IP does not match certificate's altnames: /);
    }
  });

  test("a redirect from http to https is followed", async () => {
    const request = `/secure?port=${nginx.securePort}`;
    const result = await attemptOnce(specOf({ port: nginx.port, request, receive: "^GET" }));
    assert.equal(result.up, true, result.detail);
  });

  test("https to a plain port is down", async () => {
    const result = await attemptOnce(specOf({ service: "https", port: nginx.port }));
    assert.equal(result.up, false);
  });
});

describe("http checks of servers that misbehave", () => {
  test("refusal is down at once", async () => {
    const result = await attemptOnce(specOf({ port: await freePort() }));
    assert.deepEqual([result.up, result.detail], [false, "connection refused"]);
  });

  test("port 0 is down", async () => {
    assert.equal((await attemptOnce(specOf({ port: 0 }))).up, false);
  });

  const silences = [
    { name: "silence", service: "http", answer: "", detail: "no answer in time" },
    { name: "silence in place of TLS", service: "https", answer: "", detail: "no TLS session in time" },
    {
      name: "headers without end",
      service: "http",
      answer: "HTTP/1.1 200 OK\r\nX: y\r\n",
      detail: "no answer in time",
    },
    {
      name: "a body without end",
      service: "http",
      answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK",
      detail: "answer not complete in time",
    },
  ] as const;
  for (const { name, service, answer, detail } of silences) {
    test(`${name} is down at the deadline, and the connection is closed`, async () => {
      const server = await serve((socket) => socket.once("data", () => socket.write(answer)));
      const attempt = async (negotiateTimeoutMs: number): Promise<[boolean, string]> => {
        const watch = new Stopwatch();
        const { up, detail, durationMs } = await attemptOnce(
          specOf({ service, port: server.port, negotiateTimeoutMs }),
        );
        assert.ok(durationMs > negotiateTimeoutMs - 5, `${durationMs} ms`);
        const lateMs = durationMs - negotiateTimeoutMs - watch.starvedMs();
        assert.ok(lateMs < 450, `${lateMs} ms late`);
        return [up, detail];
      };
      await atDeadline(150, attempt, [false, detail]);
      await eventually("the connection is closed", () => server.open() === 0);
      await server.close();
    });
  }

  test("a server that dribbles is down at the deadline", async () => {
    const server = await serve((socket) => {
      const timer = setInterval(() => socket.write("x"), 20);
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.on("close", () => clearInterval(timer));
    });
    const attempt = async (negotiateTimeoutMs: number): Promise<[boolean, string]> => {
      const { up, detail } = await attemptOnce(specOf({ port: server.port, negotiateTimeoutMs, receive: "x" }));
      return [up, detail];
    };
    await atDeadline(200, attempt, [false, "answer not complete in time"]);
    await server.close();
  });

  const answers = [
    { name: "garbage", answer: "\x00\x01 no http\r\n\r\n", up: false },
    { name: "another protocol's greeting", answer: "220 mail ESMTP\r\n", up: false },
    { name: "an empty answer", answer: "", up: false },
    { name: "an answer that breaks off", answer: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nOK", up: false },
    { name: "a broken chunk", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", up: false },
    { name: "a change of protocol", answer: "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", up: false },
    { name: "chunks", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n", up: true },
    { name: "HTTP/1.0 up to the end of the connection", answer: "HTTP/1.0 200 OK\r\n\r\nOK", up: true },
  ] as const;
  for (const { name, answer, up } of answers) {
    test(`${name} is ${up ? "up" : "down"}`, async () => {
      const server = await serve(respond(answer));
      const result = await attemptOnce(specOf({ port: server.port, receive: "^OK$" }));
      assert.equal(result.up, up, result.detail);
      assert.ok(result.durationMs < 10_000, `not before its deadline of 20 s: ${result.detail}`);
      await server.close();
    });
  }

  test("an answer without a head is up if receive matches it, and down without receive", async () => {
    const server = await serve(respond("all is well\n"));
    const good = await attemptOnce(specOf({ port: server.port, receive: "^all is well$" }));
    assert.deepEqual([good.up, good.detail], [true, "no HTTP, receive matches"]);
    const bad = await attemptOnce(specOf({ port: server.port }));
    assert.deepEqual([bad.up, bad.detail], [false, "the answer is not HTTP"]);
    await server.close();
  });

  test("a reset in the middle of the answer is down", async () => {
    const server = await serve((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nOK");
        setImmediate(() => socket.resetAndDestroy());
      });
    });
    assert.equal((await attemptOnce(specOf({ port: server.port }))).up, false);
    await server.close();
  });

  test("an endless body is read up to 1 MiB and matched that far", async () => {
    const server = await serve((socket) => {
      const more = (): void => {
        while (socket.write("y".repeat(65_536)));
      };
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\nbegin ");
        socket.on("drain", more);
        more();
      });
    });
    const good = await attemptOnce(specOf({ port: server.port, receive: "^begin y" }));
    assert.equal(good.up, true, good.detail);
    const bad = await attemptOnce(specOf({ port: server.port, receive: "z" }));
    assert.equal(bad.up, false);
    await eventually("the connections are closed", () => server.open() === 0);
    await server.close();
  });

  test("nothing is thrown by what a server does after the check has ended", async () => {
    const server = await serve((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        setTimeout(() => socket.write("garbage"), 20);
        setTimeout(() => socket.resetAndDestroy(), 40);
      });
    });
    assert.equal((await attemptOnce(specOf({ port: server.port }))).up, false);
    await sleep(80);
    await server.close();
  });

  test("IPv6 real servers are asked with their address in brackets as Host", async () => {
    const server = await serve((socket) => {
      socket.once("data", (request) => socket.end(`HTTP/1.0 200 OK\r\n\r\n${request.toString("latin1")}`));
    }, "::1");
    const result = await attemptOnce(specOf({ address: "::1", port: server.port, receive: "Host: \\[::1\\]\r\n" }));
    assert.equal(result.up, true, result.detail);
    await server.close();
  });
});
