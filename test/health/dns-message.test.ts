import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeAnswer, DnsError, encodeQuery } from "../../src/health/dns-message.ts";

const question = { type: "A", name: "www.example.org" } as const;
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

/** An answer to the query: a CNAME, and the address of what it leads to, with names by pointers. */
function answerTo(query: Buffer): Buffer {
  const answer = Buffer.concat([
    query,
    hex("c00c 0005 0001 0000003c 0004 0161 c010"),
    hex("c02d 0001 0001 0000003c 0004 c000020a"),
  ]);
  answer.writeUInt16BE(0x8180, 2);
  answer.writeUInt16BE(2, 6);
  return answer;
}

test("a query asks for one name and wants recursion", () => {
  assert.equal(
    encodeQuery(question).subarray(2).toString("hex"),
    hex("0100 0001 0000 0000 0000 03777777 076578616d706c65 036f7267 00 0001 0001").toString("hex"),
  );
  assert.equal(encodeQuery({ type: "PTR", name: "" }).subarray(12).toString("hex"), "00000c0001");
});

test("addresses are read over aliases and pointers", () => {
  const query = encodeQuery(question);
  assert.deepEqual(decodeAnswer(answerTo(query), query), { truncated: false, responseCode: 0, values: ["192.0.2.10"] });
});

test("an answer to another query, or to another question, is none", () => {
  const query = encodeQuery(question);
  const other = Buffer.from(query);
  other.writeUInt16BE(query.readUInt16BE(0) ^ 1, 0);
  assert.equal(decodeAnswer(answerTo(query), other), undefined);
  assert.equal(decodeAnswer(query, query), undefined);
  const renamed = answerTo(query);
  renamed[13] = 0x78;
  assert.equal(decodeAnswer(renamed, query), undefined);
  const inCapitals = answerTo(query);
  inCapitals[13] = 0x57;
  assert.deepEqual(decodeAnswer(inCapitals, query)?.values, ["192.0.2.10"]);
});

test("a message cut off anywhere is broken, or says that it is", () => {
  const query = encodeQuery(question);
  const whole = answerTo(query);
  for (let length = 12; length < whole.length; length++) {
    assert.throws(() => decodeAnswer(whole.subarray(0, length), query), DnsError, `${length} bytes`);
  }
  whole.writeUInt16BE(0x8380, 2);
  assert.equal(decodeAnswer(whole, query)?.truncated, true);
});

test("names that point at themselves or ahead are broken", () => {
  const query = encodeQuery(question);
  for (const target of ["c021", "c0ff", "c00c c00c"]) {
    const answer = Buffer.concat([query, hex(target), hex("0001 0001 00000000 0004 7f000001")]);
    answer.writeUInt16BE(0x8180, 2);
    answer.writeUInt16BE(target.length > 4 ? 2 : 1, 6);
    assert.throws(() => decodeAnswer(answer, query), DnsError, target);
  }
});

test("any bytes are an answer, none, or broken, and that soon", () => {
  const query = encodeQuery(question);
  const damage = fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 })), { maxLength: 12 });
  fc.assert(
    fc.property(damage, fc.uint8Array({ maxLength: 60 }), (changes, more) => {
      const message = Buffer.concat([answerTo(query), more]);
      for (const [at, value] of changes) if (at < message.length) message[at] = value;
      query.copy(message, 0, 0, 2);
      try {
        decodeAnswer(message, query);
      } catch (error) {
        assert.ok(error instanceof DnsError, String(error));
      }
    }),
    { numRuns: 5000 },
  );
});
