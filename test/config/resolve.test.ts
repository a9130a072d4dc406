import assert from "node:assert/strict";
import { test } from "node:test";
import {
  addressRange,
  createSystemResolver,
  parseInetAton,
  parseServices,
  printIpv4,
  readAddress,
} from "../../src/config/resolve.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { deps } from "./surroundings.ts";

test("addresses have all of inet_aton's forms", () => {
  const forms: readonly (readonly [string, string | undefined])[] = [
    ["192.168.1.2", "192.168.1.2"],
    ["192.168.258", "192.168.1.2"],
    ["10.258", "10.0.1.2"],
    ["5060", "0.0.19.196"],
    ["4294967295", "255.255.255.255"],
    ["4294967296", undefined],
    ["010.0.0.1", "8.0.0.1"],
    ["0x7f.1", "127.0.0.1"],
    ["0", "0.0.0.0"],
    ["1.2.3.256", undefined],
    ["1.2.3.4.5", undefined],
    ["08.0.0.1", undefined],
    ["1..2", undefined],
    ["", undefined],
    ["web", undefined],
  ];
  for (const [text, expected] of forms) assert.equal(parseInetAton(text), expected, text);
});

test("only what may be a name is looked up", () => {
  assert.deepEqual(readAddress("300.1.2.3", "ipv4"), { kind: "none" });
  assert.deepEqual(readAddress("10.0.0.1", "ipv6"), { kind: "none" });
  assert.deepEqual(readAddress("1::2::3", "ipv6"), { kind: "none" });
  assert.deepEqual(readAddress("FD00:0::1", "ipv6"), { kind: "address", address: "fd00::1" });
  assert.deepEqual(readAddress("", "ipv4"), { kind: "address", address: "127.0.0.1" });
  assert.deepEqual(readAddress("web1", "ipv4"), { kind: "name" });
});

test("service names are found by protocol and alias, the first of a kind first", () => {
  const services = parseServices("# c\nhttp 80/tcp www # web\nhttp\t81/tcp\ndomain 53/tcp\ndomain 53/udp\nbroken\n");
  assert.equal(services.get("http/tcp"), 80);
  assert.equal(services.get("www"), 80);
  assert.equal(services.get("http/udp"), undefined);
  assert.equal(services.get("domain/udp"), 53);
});

test("a range includes both ends and crosses octets", () => {
  assert.deepEqual(addressRange("10.0.0.254", "10.0.1.1")?.addresses(), [
    "10.0.0.254",
    "10.0.0.255",
    "10.0.1.0",
    "10.0.1.1",
  ]);
  assert.equal(addressRange("10.0.0.2", "10.0.0.1"), undefined);
  assert.equal(printIpv4(2 ** 32 - 1), "255.255.255.255");
});

test("the system knows localhost in the family that is asked for", async () => {
  const resolver = createSystemResolver();
  assert.match((await resolver.host("localhost", "ipv4")) ?? "", /^127\./);
});

test("without a services file no service has a name", () => {
  assert.equal(createSystemResolver("/nonexistent").service("http", "tcp"), undefined);
});

test("a name is looked up once for a file, all names at the same time", async () => {
  const asked: string[] = [];
  let release: () => void = () => undefined;
  const all = new Promise<void>((resolve) => (release = resolve));
  const resolver = {
    ...deps.resolver,
    host: async (name: string) => {
      asked.push(name);
      if (asked.length === 3) release();
      await all;
      return "10.0.0.7";
    },
  };
  const reals = Array.from({ length: 50 }, (_, index) => `\treal=web${index % 2}:${index + 1} masq\n`).join("");
  const text = `virtual=director:80\n${reals}\tfallback=web0\n`;
  const { config } = await parseConfig(text, "f", { ...deps, resolver });
  assert.deepEqual(asked.sort(), ["director", "web0", "web1"]);
  assert.equal(config?.services[0]?.realServers.length, 50);
});
