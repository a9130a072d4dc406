import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { HttpResponseReader } from "../../src/health/http-response.ts";
import type { HttpResponseOptions } from "../../src/health/http-response.ts";

/** What is read of pieces that come one after the other; then the connection is closed. */
function read(pieces: readonly string[], options: HttpResponseOptions = {}): string {
  const reader = new HttpResponseReader(options);
  // One place for all pieces, as in a check.
  const place = Buffer.alloc(64 << 10);
  try {
    for (const piece of pieces) {
      const length = place.write(piece, "latin1");
      if (reader.push(place.subarray(0, length))) break;
      place.fill(0);
    }
    reader.end();
  } catch (error) {
    return `error: ${(error as Error).message}`;
  }
  const { response } = reader;
  if (response === undefined) return reader.hasHead ? "body incomplete" : "head incomplete";
  const { status, location, body, bare } = response;
  return `${bare ? "bare " : ""}${status}${location === "" ? "" : ` to ${location}`} ${body.toString("latin1")}`;
}

const responses: readonly { readonly text: string; readonly is: string; readonly options?: HttpResponseOptions }[] = [
  { text: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKxxx", is: "200 OK" },
  { text: "HTTP/1.1 200\nContent-Length: 2\n\nOK", is: "200 OK" },
  { text: "HTTP/1.0 404 No\r\n\r\nnothing here", is: "404 nothing here" },
  { text: "HTTP/1.1 200 OK\r\ncontent-LENGTH:  3 \r\n\r\nOK", is: "body incomplete" },
  { text: "HTTP/1.1 302 Found\r\nLocation: /x y\r\nContent-Length: 0\r\n\r\n", is: "302 to /x y " },
  { text: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n", is: "204 " },
  { text: "HTTP/1.1 200 OK\r\nno header\r\n: none\r\nX: y\r\n folded\r\n\r\nOK", is: "200 OK" },
  {
    text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\none\r\n0B\r\n two\r\nthree\r\n0\r\nTrailer: x\r\n\r\nrest",
    is: "200 one two\r\nthree",
  },
  { text: "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\nContent-Length: 1\n\n2\nOK\n0\n\n", is: "200 OK" },
  { text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n", is: "body incomplete" },
  {
    text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOKAY\r\n",
    is: "error: a chunk is longer than it says",
  },
  { text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n", is: 'error: a chunk\'s length is "-2"' },
  { text: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", is: 'error: content-length is "-1"' },
  { text: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", is: "200 ", options: { hasBody: false } },
  { text: "HTTP/1.1 200 OK\r\n\r\nabcdef", is: "200 abcd", options: { maxBodyBytes: 4 } },
  { text: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef", is: "200 abcd", options: { maxBodyBytes: 4 } },
  { text: "HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n", is: "101 " },
  { text: "HTTP/1.1 200 OK\r\nX: y\r\n", is: "head incomplete" },
  { text: "", is: "head incomplete" },
  { text: "SSH-2.0-x\r\n", is: "error: the answer is not HTTP" },
  { text: "HTTP/1.1 OK\r\n\r\n", is: "error: the answer is not HTTP" },
  { text: "all is well\n", is: "bare 200 all is well\n", options: { mayBeBare: true } },
  { text: "HTTP/ is what I speak\n\n", is: "bare 200 HTTP/ is what I speak\n\n", options: { mayBeBare: true } },
];

describe("the reader of HTTP responses", () => {
  for (const { text, is, options } of responses) {
    test(`reads ${JSON.stringify(text.slice(0, 70))} however it comes in pieces`, () => {
      assert.equal(read([text], options), is);
      assert.equal(read([...text], options), is);
      for (let split = 1; split < text.length; split++) {
        assert.equal(read([text.slice(0, split), text.slice(split)], options), is);
      }
    });
  }

  test("a head without end is an error", () => {
    const line = `X: ${"y".repeat(1000)}\r\n`;
    const pieces = Array.from({ length: 70 }, () => line);
    assert.equal(read(["HTTP/1.1 200 OK\r\n", ...pieces]), "error: the head of the answer is over 64 KiB");
  });

  test("any bytes are a response, incomplete or an error, the same in any pieces", () => {
    const words = [
      "HTTP/1.1 ",
      "200",
      " OK",
      "\r\n",
      "\n",
      "Content-Length: ",
      "Transfer-Encoding: chunked",
      "\r\n\r\n",
    ];
    const word = fc.oneof(fc.constantFrom(...words, "0", "5", "a"), fc.string({ maxLength: 3 }));
    const text = fc.array(word, { maxLength: 20 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, fc.boolean(), fc.array(fc.nat(40), { maxLength: 8 }), (whole, mayBeBare, cuts) => {
        const options = { mayBeBare, maxBodyBytes: 8 };
        const ascii = Buffer.from(whole, "latin1").toString("latin1");
        const points = [0, ...cuts.filter((cut) => cut < ascii.length).sort((a, b) => a - b), ascii.length];
        const pieces = points.slice(1).map((end, index) => ascii.slice(points[index], end));
        assert.equal(read(pieces, options), read([ascii], options));
      }),
      { numRuns: 2000 },
    );
  });
});
