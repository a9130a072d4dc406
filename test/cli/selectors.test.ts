import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidArgumentError } from "commander";
import { seconds, wholeNumber } from "../../src/cli/options.ts";
import {
  anyService,
  connectionState,
  connectionStates,
  endpoint,
  network,
  serviceSelector,
} from "../../src/cli/selectors.ts";
import { stateNames } from "../../src/dataplane/xdp/codec.ts";
import type { ServiceIdentity } from "../../src/model/service.ts";

const web: ServiceIdentity = { kind: "address", protocol: "tcp", address: "192.0.2.1", port: 80 };
const dns: ServiceIdentity = { kind: "address", protocol: "udp", address: "2001:db8::53", port: 53 };
const mark: ServiceIdentity = { kind: "mark", mark: 7, family: "ipv4" };
const mark6: ServiceIdentity = { kind: "mark", mark: 7, family: "ipv6" };

test("a service is chosen by its key, by address and port, or by address", () => {
  const cases: readonly (readonly [string, readonly ServiceIdentity[]])[] = [
    ["tcp:192.0.2.1:80", [web]],
    ["udp:192.0.2.1:80", []],
    ["192.0.2.1:80", [web]],
    ["192.0.2.1:81", []],
    ["192.0.2.1", [web]],
    ["tcp:192.0.2.1", [web]],
    ["udp:[2001:db8::53]:53", [dns]],
    ["[2001:DB8:0:0::53]:53", [dns]],
    ["[2001:db8::53]", [dns]],
    ["2001:db8::53", [dns]],
    ["fwm:7", [mark]],
    ["fwm6:7", [mark6]],
    ["fwm:8", []],
  ];
  for (const [text, chosen] of cases) {
    assert.deepEqual([web, dns, mark, mark6].filter(serviceSelector(text)), chosen, text);
  }
});

test("several services are chosen by repeating the option", () => {
  const selector = anyService("fwm:7", anyService("192.0.2.1", undefined));
  assert.deepEqual([web, dns, mark, mark6].filter(selector), [web, mark]);
});

test("networks and endpoints are put in canonical text", () => {
  assert.equal(network("192.0.2.1"), "192.0.2.1/32");
  assert.equal(network("192.0.2.0/24"), "192.0.2.0/24");
  assert.equal(network("2001:DB8::0/32"), "2001:db8::/32");
  assert.equal(network("0.0.0.0/0"), "0.0.0.0/0");
  assert.equal(endpoint("192.0.2.1"), "192.0.2.1");
  assert.equal(endpoint("192.0.2.1:80"), "192.0.2.1:80");
  assert.equal(endpoint("2001:DB8:0::1"), "2001:db8::1");
  assert.equal(endpoint("[2001:DB8:0::1]:80"), "[2001:db8::1]:80");
  assert.equal(endpoint("[2001:db8::1]"), "2001:db8::1");
});

test("states are those of the connection table, in any case", () => {
  assert.deepEqual(
    connectionStates,
    [...new Set(stateNames)].filter((name) => name !== "TEMPLATE" && name !== ""),
  );
  assert.equal(connectionState("fin_wait"), "FIN_WAIT");
});

test("what is not valid is refused", () => {
  const refused: readonly (() => unknown)[] = [
    () => serviceSelector(""),
    () => serviceSelector("tcp:"),
    () => serviceSelector("sctp6:192.0.2.1:80"),
    () => serviceSelector("www.example.com:80"),
    () => network("192.0.2.0/"),
    () => network("/24"),
    () => network("192.0.2.0/-1"),
    () => endpoint("192.0.2.1:"),
    () => endpoint("192.0.2.1:65536"),
    () => connectionState("TEMPLATE"),
    () => wholeNumber(1)("1e3"),
    () => wholeNumber(1)("9007199254740993"),
    () => seconds(""),
    () => seconds("."),
    () => seconds("0.05"),
    () => seconds("Infinity"),
  ];
  for (const parse of refused) assert.throws(parse, InvalidArgumentError, parse.toString());
});

test("seconds may have a fraction", () => {
  assert.equal(seconds("0.1"), 0.1);
  assert.equal(seconds(".5"), 0.5);
  assert.equal(seconds("86400"), 86400);
});
