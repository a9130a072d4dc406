import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseAddress } from "../../src/dataplane/netlink/address.ts";
import type { Address } from "../../src/dataplane/netlink/address.ts";
import { RouteCache } from "../../src/dataplane/xdp/netlink-routes.ts";
import type { Route } from "../../src/dataplane/xdp/netlink-routes.ts";

/** A cache in front of a kernel that answers with how often it was asked. */
function counting(): { cache: RouteCache; asked: string[] } {
  const asked: string[] = [];
  const cache = new RouteCache((address) => {
    asked.push(address.text);
    return { kind: "unicast", ifindex: asked.length, gateway: undefined, mtu: 0 };
  });
  return { cache, asked };
}

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

function add(cache: RouteCache, prefix: string, multipath = false): void {
  const [text = "", length = ""] = prefix.split("/");
  const { bytes } = address(text);
  cache.add(bytes.length, bytes, Number(length), multipath);
}

void describe("the route cache", () => {
  test("asks once for all addresses of a subnet", () => {
    const { cache, asked } = counting();
    add(cache, "10.0.0.0/8");
    for (let i = 0; i < 1000; i++) cache.look(address(`10.0.${i >> 8}.${i & 255}`));
    assert.equal(asked.length, 1);
    cache.look(address("192.0.2.1"));
    cache.look(address("198.51.100.1"));
    assert.equal(asked.length, 2, "what no route covers is one group");
    cache.look(address("2001:db8::1"));
    cache.look(address("fd00::1"));
    assert.equal(asked.length, 3, "IPv6 is another family");
  });

  test("asks anew for the part that a more specific route takes out", () => {
    const { cache, asked } = counting();
    add(cache, "10.0.0.0/8");
    cache.look(address("10.0.0.1"));
    add(cache, "10.0.0.0/24");
    cache.look(address("10.0.0.1"));
    cache.look(address("10.0.1.1"));
    assert.deepEqual(asked, ["10.0.0.1", "10.0.0.1"]);
  });

  test("asks for each address where several paths are", () => {
    const { cache, asked } = counting();
    add(cache, "10.0.0.0/8", true);
    add(cache, "10.1.0.0/16");
    for (const text of ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.1.0.1", "10.1.0.2"]) cache.look(address(text));
    assert.deepEqual(asked, ["10.0.0.1", "10.0.0.2", "10.1.0.1", "10.1.0.2"]);
  });

  test("asks again after a change", () => {
    const { cache, asked } = counting();
    cache.look(address("10.0.0.1"));
    cache.forget();
    cache.look(address("10.0.0.1"));
    assert.equal(asked.length, 2);
  });

  test("answers what the kernel answers, for any routes and addresses", () => {
    const octet = fc.constantFrom(0, 1, 128, 255);
    const ipv4 = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join("."));
    const tables = fc.array(fc.array(fc.tuple(ipv4, fc.integer({ min: 0, max: 32 }), fc.integer({ min: 1, max: 9 }))), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(tables, fc.array(ipv4), (routesByTable, questions) => {
        // Tables one after the other, as policy rules do; in each the longest prefix decides.
        const kernel = (asked: Address): Route => {
          for (const routes of routesByTable) {
            let best: { length: number; ifindex: number } | undefined;
            for (const [text, length, ifindex] of routes) {
              const shift = BigInt(32 - length);
              if (address(text).value >> shift !== asked.value >> shift) continue;
              if (best === undefined || length > best.length) best = { length, ifindex };
            }
            if (best !== undefined) return { kind: "unicast", ifindex: best.ifindex, gateway: undefined, mtu: 0 };
          }
          return { kind: "none", because: "" };
        };
        const cache = new RouteCache(kernel);
        for (const routes of routesByTable) for (const [text, length] of routes) add(cache, `${text}/${length}`);
        for (const text of questions) assert.deepEqual(cache.look(address(text)), kernel(address(text)));
      }),
    );
  });
});
