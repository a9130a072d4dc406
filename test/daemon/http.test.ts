import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { parseListenAddress } from "../../src/control/daemon-options.ts";
import { MetricsServer } from "../../src/daemon/http.ts";
import type { Page } from "../../src/daemon/http.ts";

async function serve(t: TestContext, render: () => Promise<Page>): Promise<string> {
  const server = new MetricsServer(render);
  t.after(() => server.close());
  return `http://127.0.0.1:${await server.listen({ host: "127.0.0.1", port: 0 })}`;
}

const page: Page = { contentType: "text/plain; version=0.0.4", body: "xlb_up 1\n" };

test("The metrics page is served with its content type", async (t) => {
  const url = await serve(t, () => Promise.resolve(page));
  const response = await fetch(`${url}/metrics?name=x`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), page.contentType);
  assert.equal(await response.text(), page.body);
});

test("Supervisors have a page of their own, and nothing else is served", async (t) => {
  const url = await serve(t, () => Promise.reject(new Error("not asked for")));
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  assert.equal((await fetch(`${url}/`)).status, 404);
  assert.equal((await fetch(`${url}/metrics/x`)).status, 404);
  assert.equal((await fetch(`${url}/metrics`, { method: "POST" })).status, 405);
});

test("A page that cannot be made is told to the scraper, and the next one is tried afresh", async (t) => {
  let fail = true;
  const url = await serve(t, () => (fail ? Promise.reject(new Error("no maps")) : Promise.resolve(page)));
  const response = await fetch(`${url}/metrics`);
  assert.equal(response.status, 500);
  assert.match(await response.text(), /no maps/);
  fail = false;
  assert.equal((await fetch(`${url}/metrics`)).status, 200);
});

test("A taken port is an error that names it", async (t) => {
  const url = await serve(t, () => Promise.resolve(page));
  const port = Number(new URL(url).port);
  const second = new MetricsServer(() => Promise.resolve(page));
  await assert.rejects(second.listen({ host: "127.0.0.1", port }), new RegExp(`127.0.0.1 port ${port}.*EADDRINUSE`));
  await second.close();
});

test("Listening addresses are read in each of their forms", () => {
  assert.deepEqual(parseListenAddress("127.0.0.1:9820"), { host: "127.0.0.1", port: 9820 });
  assert.deepEqual(parseListenAddress("[::1]:9820"), { host: "::1", port: 9820 });
  assert.deepEqual(parseListenAddress(":9820"), { host: "::", port: 9820 });
  for (const wrong of ["9820", "127.0.0.1", "127.0.0.1:99999", "::1:9820", "a b:1"]) {
    assert.equal(parseListenAddress(wrong), undefined, wrong);
  }
});
