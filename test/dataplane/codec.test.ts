import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Address6 } from "ip-address";
import {
  addressText,
  addressWords,
  decodeSchedulerFlags,
  encodeSchedulerFlags,
  netmaskWords,
  prefixOf,
} from "../../src/dataplane/xdp/codec.ts";

test("IPv4 addresses lie in the last word", () => {
  assert.deepEqual(addressWords("10.1.2.255"), [0, 0, 0, 0x0a0102ff]);
  assert.equal(addressText([0, 0, 0, 0xc0a80001], "ipv4"), "192.168.0.1");
});

test("IPv6 addresses are printed as RFC 5952 wants, and read back", () => {
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      const address = new Address6(groups.map((part) => part.toString(16)).join(":"));
      const text = address.correctForm();
      assert.equal(addressText(addressWords(text), "ipv6"), text);
    }),
  );
  assert.deepEqual(addressWords("::ffff:192.0.2.1"), [0, 0, 0xffff, 0xc0000201]);
  assert.deepEqual(addressWords("::"), [0, 0, 0, 0]);
  assert.deepEqual(addressWords("fd00::1"), [0xfd000000, 0, 0, 1]);
});

test("a netmask is its prefix length", () => {
  for (let prefix = 0; prefix <= 32; prefix++) assert.equal(prefixOf(netmaskWords(prefix, "ipv4")), prefix);
  for (let prefix = 0; prefix <= 128; prefix++) assert.equal(prefixOf(netmaskWords(prefix, "ipv6")), prefix);
  assert.deepEqual(netmaskWords(24, "ipv4"), [0, 0, 0, 0xffffff00]);
});

test("scheduler flags keep their names", () => {
  for (const [scheduler, flags] of [
    ["sh", ["sh-fallback", "sh-port"]],
    ["mh", ["mh-port"]],
    ["wlc", ["flag-1", "flag-3"]],
  ] as const) {
    assert.deepEqual(decodeSchedulerFlags(encodeSchedulerFlags(flags), scheduler), flags);
  }
});
