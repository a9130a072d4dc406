import assert from "node:assert/strict";
import { test } from "node:test";
import { addressWords } from "../../src/dataplane/xdp/codec.ts";
import { destinationTable, maglevTable, shortSipHash, sourceTable } from "../../src/dataplane/xdp/hash-tables.ts";
import type { Member } from "../../src/dataplane/xdp/rings.ts";
import { serverAddress } from "../guest/scheduler-traces.ts";

/** By server number less one; as they were added. */
const weights = [3, 0, 1, 7, 100];
const clients = 48;

/**
 * What IPVS of Linux 6.1 (user-mode Linux) has chosen for the clients below, a digit each: the server's number, 0: none.
 * With `port` the flag sh-port or mh-port is set.
 */
const recorded = [
  { scheduler: "dh", port: false, ipv6: false, chosen: "111111111111111111111111111111111111111111111111" },
  { scheduler: "sh", port: false, ipv6: false, chosen: "555555555515555555555545555155455555555055555554" },
  { scheduler: "sh", port: true, ipv6: false, chosen: "555555555553555555555155555545555355555545555555" },
  { scheduler: "sh", port: true, ipv6: true, chosen: "555543555515555555555554355551555555555555405555" },
  { scheduler: "mh", port: false, ipv6: false, chosen: "555555555555455555555545545554555555555555455354" },
  { scheduler: "mh", port: true, ipv6: false, chosen: "555455555455554555555545544555555554555555555555" },
  { scheduler: "mh", port: true, ipv6: true, chosen: "455555555555555555555555555555555555555555455555" },
] as const;

function members(ipv6: boolean, changed: Partial<Member> = {}): Member[] {
  return weights
    .map((weight, index) => ({
      id: index + 1,
      weight,
      lastWeight: weight,
      address: serverAddress(index + 1, ipv6),
      port: 80,
      family: ipv6 ? ("ipv6" as const) : ("ipv4" as const),
      ...changed,
    }))
    .reverse();
}

function fold(address: string): number {
  return addressWords(address).reduce((folded, word) => folded ^ word, 0);
}

/** hash_32() of linux/hash.h, to eight bits. */
function hash32(value: number): number {
  return Math.imul(value, 0x61c88647) >>> 24;
}

for (const { scheduler, port, ipv6, chosen } of recorded) {
  test(`${scheduler}${port ? " with ports" : ""} sends ${ipv6 ? "IPv6" : "IPv4"} clients where the kernel has sent them`, () => {
    const servers = members(ipv6);
    const table = { dh: destinationTable, sh: sourceTable, mh: maglevTable }[scheduler](servers);
    const digits = Array.from({ length: clients }, (_, i) => {
      const client = ipv6 ? `fd00:20::${((i * 977) % 65536).toString(16)}` : `11.0.${i}.${(i * 37) % 256}`;
      const address = scheduler === "dh" ? "10.10.10.53" : client;
      const value = (fold(address) + (port ? 1024 + i * 111 : 0)) >>> 0;
      const place = scheduler === "mh" ? shortSipHash(value, 2654435761n) % table.length : hash32(value);
      const id = table[place] ?? 0;
      return servers.find((server) => server.id === id && server.weight > 0)?.id ?? 0;
    });
    assert.equal(digits.join(""), chosen);
  });
}

test("tables have the kernel's sizes, and are empty without real servers", () => {
  assert.equal(destinationTable(members(false)).length, 256);
  assert.equal(sourceTable(members(false)).length, 256);
  assert.equal(maglevTable(members(false)).length, 4093);
  for (const make of [destinationTable, sourceTable, maglevTable]) assert.deepEqual(make([]), []);
});

test("mh keeps the places of a real server whose weight becomes 0, and has none when none ever had a weight", () => {
  const quiescent = members(false).map((member) => (member.id === 5 ? { ...member, weight: 0 } : member));
  assert.deepEqual(maglevTable(quiescent), maglevTable(members(false)));
  assert.deepEqual(maglevTable(members(false, { weight: 0, lastWeight: 0 })), []);
});
