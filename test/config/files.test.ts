import assert from "node:assert/strict";
import { test } from "node:test";
import { isRegularFile, systemFiles } from "../../src/config/files.ts";

const absent = ["/nowhere/at/all", "/etc/passwd/below/a/file", `/${"x".repeat(300)}`, `/tmp/${"x/".repeat(3000)}`];

test("what cannot be looked at is no directory and no file, for whatever reason", () => {
  for (const path of absent) {
    assert.equal(systemFiles.isDirectory(path), false, path);
    assert.equal(isRegularFile(path), false, path);
    assert.notEqual(systemFiles.appendError(path), undefined, path);
  }
});

test("a directory is not a file, and a file no directory", () => {
  assert.deepEqual([systemFiles.isDirectory("/etc"), isRegularFile("/etc")], [true, false]);
  assert.deepEqual([systemFiles.isDirectory("/etc/passwd"), isRegularFile("/etc/passwd")], [false, true]);
});
