import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { questionsOf } from "../../src/health/checks/dns.ts";
import type { CheckSpec } from "../../src/model/config.ts";
import { testInterruption, testMisbehaviour } from "../support/servers/misbehaving.ts";
import { nsdIsMissing, startNsd } from "../support/servers/nsd.ts";
import type { Nsd } from "../support/servers/nsd.ts";
import { attemptOnce, specOf } from "./fixtures.ts";

/** The check that is up. */
function goodSpec(changes: Partial<CheckSpec>): CheckSpec {
  return specOf({
    service: "dns",
    request: "/www.example.org",
    receive: "192.0.2.10",
    negotiateTimeoutMs: 5000,
    ...changes,
  });
}

testMisbehaviour("dns", (port) => goodSpec({ protocol: "udp", port }), { transport: "udp" });
testMisbehaviour("dns over TCP", (port) => goodSpec({ port }));

describe("what a dns check asks", () => {
  const asked = (request: string, configuration = ""): string =>
    questionsOf(request, () => configuration)
      .map(({ type, name }) => `${type} ${name}`)
      .join(", ");

  test("a name is asked for by A, an address by PTR", () => {
    assert.equal(asked("www.example.org"), "A www.example.org");
    assert.equal(asked("www.example.org."), "A www.example.org");
    assert.equal(asked(""), "A ");
    assert.equal(asked("192.0.2.10"), "PTR 10.2.0.192.in-addr.arpa");
    assert.equal(asked("2001:db8::10"), "PTR 0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
  });

  test("a name with few dots is looked for in the domains of the resolver's configuration", () => {
    const search = "nameserver 192.0.2.1\nsearch a.example. b.example\n";
    assert.equal(asked("www", search), "A www.a.example, A www.b.example, A www");
    assert.equal(asked("www.org", search), "A www.org");
    assert.equal(
      asked("www.org", `${search}options timeout:1 ndots:2\n`),
      "A www.org, A www.org.a.example, A www.org.b.example",
    );
    assert.equal(asked("www.", search), "A www");
    assert.equal(asked("www", "domain one.example\n"), "A www.one.example, A www");
  });

  test("a name that DNS cannot ask for is down", async () => {
    for (const request of ["/a..b", `/${"x".repeat(64)}.org`, `/${"abcdefgh.".repeat(40)}org`]) {
      const { up, detail } = await attemptOnce(goodSpec({ request }));
      assert.deepEqual([up, detail], [false, `${request.slice(1)} cannot be asked for`]);
    }
  });
});

describe("dns checks of NSD", { skip: nsdIsMissing }, () => {
  let nsd: Nsd;
  before(async () => {
    nsd = await startNsd();
  });
  after(async () => {
    await nsd.stop();
  });

  for (const protocol of ["udp", "tcp"] as const) {
    describe(`over ${protocol}`, () => {
      async function outcome(changes: Partial<CheckSpec> = {}): Promise<[boolean, string]> {
        const { address, port } = nsd;
        const { up, detail } = await attemptOnce(goodSpec({ protocol, address, port, ...changes }));
        return [up, detail];
      }

      test("any one of the addresses may match", async () => {
        assert.deepEqual(await outcome(), [true, "192.0.2.10, receive matches"]);
        assert.deepEqual(await outcome({ receive: "\\.11$" }), [true, "192.0.2.11, receive matches"]);
        assert.deepEqual(await outcome({ request: "/alias.example.org" }), [true, "192.0.2.10, receive matches"]);
        assert.deepEqual(await outcome({ receive: "198.51.100" }), [
          false,
          'receive does not match "192.0.2.10 192.0.2.11"',
        ]);
      });

      test("an address is asked for its name", async () => {
        assert.deepEqual(await outcome({ request: "/192.0.2.10", receive: "^www" }), [
          true,
          "www.example.org, receive matches",
        ]);
        assert.equal((await outcome({ request: "/2001:db8::10", receive: "^six" }))[0], true);
      });

      test("no such name, no such record and a zone of others are down", async () => {
        assert.deepEqual(await outcome({ request: "/none.example.org" }), [false, "no such name (none.example.org)"]);
        assert.deepEqual(await outcome({ request: "/text.example.org" }), [false, "no A record (text.example.org)"]);
        assert.deepEqual(await outcome({ request: "/www.example.net" }), [false, "refused (www.example.net)"]);
      });

      test("an answer that no datagram holds is had", async () => {
        assert.equal((await outcome({ request: "/many.example.org", receive: "192.0.2.199" }))[0], true);
      });

      test("without receive it is never up", async () => {
        assert.deepEqual(await outcome({ receive: "" }), [false, "a dns check without receive is never up"]);
      });
    });
  }

  testInterruption(
    "NSD over TCP",
    (port) => goodSpec({ port }),
    () => ({ host: nsd.address, port: nsd.port }),
  );
});
