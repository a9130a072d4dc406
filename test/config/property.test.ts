import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { printDiagnostic } from "../../src/config/diagnostics.ts";
import { directives } from "../../src/config/directives.ts";
import { checkServices } from "../../src/model/config.ts";
import { forwardingMethods, schedulers } from "../../src/model/service.ts";
import { configOf, parse } from "./surroundings.ts";

// --- a random configuration, printed and read again

const octet = fc.integer({ min: 1, max: 223 });
const address = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join("."));
const port = fc.integer({ min: 1, max: 65_535 });
const seconds = fc.integer({ min: 1, max: 100_000 });
const blanks = fc.stringMatching(/^[ \t]{0,3}$/);
const indentation = fc.constantFrom("\t", "    ", "      ", " \t", "\t\t");
const text = fc.stringMatching(/^[a-z0-9 .,:=?&%-]{0,20}[a-z]$/);

const realServer = fc.record({
  address,
  port: fc.option(port),
  method: fc.constantFrom(...forwardingMethods),
  weight: fc.integer({ min: 0, max: 65_535 }),
  pair: fc.option(fc.record({ request: text, receive: text })),
  upper: fc.integer({ min: 0, max: 1_000_000 }),
});

const service = fc.record({
  address,
  port,
  protocol: fc.constantFrom("tcp", "udp"),
  scheduler: fc.constantFrom(...schedulers),
  persistent: fc.option(
    fc.record({ timeout: fc.integer({ min: 1, max: 2_678_400 }), prefix: fc.integer({ min: 0, max: 32 }) }),
  ),
  quiescent: fc.option(fc.boolean()),
  cleanStop: fc.option(fc.boolean()),
  onePacket: fc.boolean(),
  checkService: fc.constantFrom(...checkServices),
  checkType: fc.oneof(
    fc.constantFrom("negotiate", "connect", "ping", "external", "external-perl", "off", "on"),
    fc.nat(9),
  ),
  checkPort: fc.option(port),
  request: text,
  receive: text,
  httpMethod: fc.constantFrom("GET", "HEAD"),
  failureCount: fc.integer({ min: 1, max: 99 }),
  fallback: fc.option(fc.record({ address, method: fc.constantFrom(...forwardingMethods) })),
  realServers: fc.uniqueArray(realServer, { maxLength: 6, selector: (each) => each.address }),
});

const file = fc.record({
  quiescent: fc.boolean(),
  cleanStop: fc.boolean(),
  autoreload: fc.boolean(),
  checkInterval: seconds,
  checkTimeout: fc.option(seconds),
  negotiateTimeout: fc.option(seconds),
  services: fc.uniqueArray(service, { maxLength: 5, selector: (each) => each.address }),
});

type FileShape = typeof file extends fc.Arbitrary<infer Shape> ? Shape : never;
type ServiceShape = FileShape["services"][number];

const yesNo = (value: boolean): string => (value ? "yes" : "no");
const maskOf = (prefix: number): string => {
  const mask = prefix === 0 ? 0 : 2 ** 32 - 2 ** (32 - prefix);
  return [24, 16, 8, 0].map((shift) => (mask >>> shift) & 0xff).join(".");
};

function printService(each: ServiceShape, indent: string, equals: string): string {
  const lines = [
    ...each.realServers.map((real) => {
      const endpoint = real.port === null ? real.address : `${real.address}:${real.port}`;
      const pair = real.pair === null ? "" : ` "${real.pair.request}", "${real.pair.receive}"`;
      return `real${equals}${endpoint} ${real.method} ${real.weight}${pair}${real.upper > 0 ? ` u:${real.upper}` : ""}`;
    }),
    `protocol${equals}${each.protocol}`,
    `scheduler${equals}${each.scheduler}`,
    ...(each.persistent === null
      ? []
      : [`persistent${equals}${each.persistent.timeout}`, `netmask${equals}${maskOf(each.persistent.prefix)}`]),
    ...(each.quiescent === null ? [] : [`quiescent${equals}${yesNo(each.quiescent)}`]),
    ...(each.cleanStop === null ? [] : [`cleanstop${equals}${yesNo(each.cleanStop)}`]),
    `ops${equals}${yesNo(each.onePacket)}`,
    `service${equals}${each.checkService}`,
    `checktype${equals}${each.checkType}`,
    ...(each.checkPort === null ? [] : [`checkport${equals}${each.checkPort}`]),
    `request${equals}"${each.request}"`,
    `receive${equals}"${each.receive}"`,
    `httpmethod${equals}${each.httpMethod}`,
    `failurecount${equals}${each.failureCount}`,
    ...(each.fallback === null ? [] : [`fallback${equals}${each.fallback.address} ${each.fallback.method}`]),
  ];
  return [`virtual${equals}${each.address}:${each.port}`, ...lines.map((line) => indent + line)].join("\n");
}

function printFile(shape: FileShape, indent: string, equals: string): string {
  return [
    `quiescent${equals}${yesNo(shape.quiescent)}`,
    `cleanstop${equals}${yesNo(shape.cleanStop)}`,
    `autoreload${equals}${yesNo(shape.autoreload)}`,
    `checkinterval${equals}${shape.checkInterval}`,
    ...(shape.checkTimeout === null ? [] : [`checktimeout${equals}${shape.checkTimeout}`]),
    ...(shape.negotiateTimeout === null ? [] : [`negotiatetimeout${equals}${shape.negotiateTimeout}`]),
    ...shape.services.map((each) => printService(each, indent, equals)),
    "",
  ].join("\n");
}

test("what is printed is read again", async () => {
  await fc.assert(
    fc.asyncProperty(file, indentation, blanks, blanks, async (shape, indent, before, after) => {
      const config = await configOf(printFile(shape, indent, `${before}=${after}`));
      assert.equal(config.autoreload, shape.autoreload);
      assert.deepEqual(
        config.services.map((each) => ({
          identity: each.identity,
          scheduler: each.scheduler,
          persistence: each.persistence,
          onePacket: each.onePacket,
          quiescent: each.quiescent,
          cleanStop: each.cleanStop,
          failureCount: each.failureCount,
          checkIntervalMs: each.checkIntervalMs,
          fallback: each.fallback,
          realServers: each.realServers.map((real) => ({
            address: real.address,
            port: real.port,
            method: real.method,
            weight: real.weight,
            upper: real.upperThreshold,
            type: real.check.type,
            service: real.check.service,
            httpMethod: real.check.httpMethod,
            request: real.check.request,
            receive: real.check.receive,
            realPort: real.check.realPort,
            checkTimeoutMs: real.check.checkTimeoutMs,
            negotiateTimeoutMs: real.check.negotiateTimeoutMs,
          })),
        })),
        shape.services.map((each) => ({
          identity: { kind: "address", protocol: each.protocol, address: each.address, port: each.port },
          scheduler: each.scheduler,
          persistence: each.persistent === null ? undefined : { ...each.persistent },
          onePacket: each.onePacket && each.protocol === "udp",
          quiescent: each.quiescent ?? shape.quiescent,
          cleanStop: each.cleanStop ?? shape.cleanStop,
          failureCount: each.failureCount,
          checkIntervalMs: shape.checkInterval * 1000,
          fallback: each.fallback === null ? undefined : { ...each.fallback, port: each.port },
          realServers: each.realServers.map((real) => ({
            address: real.address,
            port: real.method === "masq" ? (real.port ?? 0) : each.port,
            method: real.method,
            weight: real.weight,
            upper: real.upper,
            type:
              typeof each.checkType === "number"
                ? { kind: "combined", connects: each.checkType }
                : { kind: each.checkType },
            service: each.checkService,
            httpMethod: each.httpMethod,
            request: `/${real.pair?.request ?? each.request}`,
            receive: real.pair?.receive ?? each.receive,
            realPort: real.port ?? 0,
            checkTimeoutMs: (shape.checkTimeout ?? shape.negotiateTimeout ?? 5) * 1000,
            negotiateTimeoutMs: (shape.negotiateTimeout ?? shape.checkTimeout ?? 30) * 1000,
          })),
        })),
      );
    }),
    { numRuns: 200 },
  );
});

// --- any text at all

/** Never throws, and tells an error exactly if there is no configuration, with places that are in the text. */
async function assertTotal(source: string | Uint8Array): Promise<void> {
  const { config, diagnostics } = await parse(source);
  assert.equal(
    config === undefined,
    diagnostics.some(({ severity }) => severity === "error"),
  );
  const lines = (typeof source === "string" ? source : Buffer.from(source).toString("latin1")).split("\n");
  for (const diagnostic of diagnostics) {
    const line = lines[diagnostic.line - 1];
    assert.ok(line !== undefined, printDiagnostic(diagnostic));
    assert.ok(diagnostic.column >= 1 && diagnostic.column <= line.length + 1, printDiagnostic(diagnostic));
    assert.doesNotMatch(diagnostic.message, /[\r\n]/);
  }
}

test("any bytes are a configuration or have errors", async () => {
  await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), assertTotal), { numRuns: 500 });
});

test("any lines made of the language's own pieces are a configuration or have errors", async () => {
  const piece = fc.constantFrom(
    ...Object.keys(directives),
    ...["virtual", "virtual6", "=", " = ", "\t", "    ", " ", "\n", "\n", "\r\n", "#", '"', ",", ":", "->", "[", "]"],
    ...[
      "10.0.0.1",
      "10.0.0.9",
      "[::1]",
      "web1",
      "80",
      "http",
      "0",
      "00",
      "99999999999999999999",
      "gate",
      "masq",
      "yes",
    ],
    ...[
      "no",
      "l:1",
      "u:2",
      "/",
      "(",
      "all",
      "none",
      "negotiate",
      "fwm",
      "udp",
      "255.255.255.0",
      "\u00e9",
      "\u2028",
      "\f",
    ],
  );
  const structured = fc.tuple(
    fc.constantFrom("", "virtual=10.0.0.1:80\n", "virtual6=[::1]:80\n", "virtual=7\n"),
    fc.array(fc.tuple(fc.constantFrom("\t", "    ", ""), fc.array(piece, { maxLength: 12 })), { maxLength: 8 }),
  );
  await fc.assert(
    fc.asyncProperty(structured, async ([head, lines]) => {
      await assertTotal(head + lines.map(([indent, pieces]) => indent + pieces.join("")).join("\n"));
    }),
    { numRuns: 1500 },
  );
});

test("every directive takes any value, or says what it expects", async () => {
  const value = fc.oneof(
    fc.string(),
    text,
    fc.nat().map(String),
    text.map((each) => `"${each}"`),
  );
  const name = fc.constantFrom(...Object.keys(directives));
  await fc.assert(
    fc.asyncProperty(name, value, fc.boolean(), async (directive, written, inSection) => {
      const line = `${directive}=${written.replaceAll("\n", " ")}\n`;
      await assertTotal(inSection ? `virtual=10.0.0.1:80\n\t${line}` : line);
    }),
    { numRuns: 1500 },
  );
});
