import assert from "node:assert/strict";
import { test } from "node:test";
import { Stopwatch } from "../support/starvation.ts";
import { errorOf, native } from "./fixture.ts";

function matches(pattern: string, subject: string | Uint8Array): boolean {
  return native.regexTest(native.regexCompile(pattern), Buffer.from(subject));
}

test("patterns mean what they mean in Perl", () => {
  for (const [pattern, subject, expected] of [
    ["Test Page", "<h1>Test Page</h1>", true],
    ["test page", "<h1>Test Page</h1>", false],
    ["(?i)test page", "<h1>Test Page</h1>", true],
    ["^second$", "first\nsecond\nthird", false],
    ["(?m)^second$", "first\nsecond\nthird", true],
    ["a.b", "a\nb", false],
    ["(?s)a.b", "a\nb", true],
    ["a.b", "a\rb", true],
    ["ok$", "ok\n", true],
    ["ok\\z", "ok\n", false],
    ["ok\\Z", "ok\n", true],
    ["\\Aok", "not ok", false],
    ["a++ab", "aaab", false],
    ["a++b", "aaab", true],
    ["(?>a|ab)c", "abc", false],
    ["[[:digit:]]{3}-[[:alpha:]]+", "call 555-PERL", true],
    ["[[:^space:]]", " \t\n", false],
    ["(?<=HTTP/1\\.)[01] 200", "HTTP/1.1 200 OK", true],
    ["(?<!in)valid", "invalid", false],
    ["(?<word>\\w+) \\k<word>", "twice twice", true],
    ["\\Qa.b\\E", "axb", false],
    ["\\bup\\b", "it is up.", true],
    ["^(\\((?:[^()]|(?1))*\\))$", "(a(b)c)", true],
    ["(a)?(?(1)b|c)", "c", true],
    ["(?x) o k # a comment", "ok", true],
    ["\\x41\\d+", "A42", true],
    ["one\\Ktwo", "onetwo", true],
    ["", "", true],
    ["^$", "", true],
  ] as const) {
    assert.equal(matches(pattern, subject), expected, `/${pattern}/ in ${JSON.stringify(subject)}`);
  }
});

test("subjects are bytes: a letter of UTF-8 is two of them, and zero bytes count", () => {
  assert.equal(matches("^..$", "ü"), true);
  assert.equal(matches("^ü$", "ü"), true);
  assert.equal(matches("\\xff\\x00end", Uint8Array.of(1, 0xff, 0, 0x65, 0x6e, 0x64)), true);
  assert.equal(errorOf(() => native.regexCompile("(*UTF)a")).code, "EINVAL");
});

test("a bad pattern is named with the place of its error", () => {
  for (const [pattern, text] of [
    ["a(b", /missing closing parenthesis at offset 3/],
    ["[z-a]", /range out of order in character class at offset 3/],
    ["*", /quantifier does not follow a repeatable item at offset 0/],
  ] as const) {
    const error = errorOf(() => native.regexCompile(pattern));
    assert.deepEqual([error.code, error.call, error.object], ["EINVAL", "regexCompile", pattern]);
    assert.match(error.message, text);
  }
});

test("a pattern that would take for ever ends with ELOOP", () => {
  for (const pattern of ["^(a+)+$", "^(a|aa)+$", "^(\\w+\\s?)*\\z"]) {
    const regex = native.regexCompile(pattern);
    const watch = new Stopwatch();
    assert.equal(errorOf(() => native.regexTest(regex, Buffer.from(`${"a".repeat(5000)}!`))).code, "ELOOP");
    assert.ok(watch.usedMs() < 2000, `${pattern} took ${watch.usedMs()} ms of a processor`);
  }
});

test("a long subject is searched where the compiled code's stack does not suffice", () => {
  assert.equal(matches("^(?:a|b)*end$", `${"ab".repeat(50_000)}end`), true);
});

test("thousands of patterns are compiled and forgotten", () => {
  for (let i = 0; i < 5000; i++) assert.equal(matches(`^${i}$`, String(i)), true);
});
