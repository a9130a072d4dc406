/** What the addon's tests share: the compiled test object, loaded; and why a test cannot run here. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { loadNative } from "../../src/native.ts";
import type { NativeError, ObjectHandle } from "../../src/native.ts";

/** This file runs as build/test/native/fixture.js. */
const objectPath = join(import.meta.dirname, "..", "..", "test-bpf", "binding.bpf.o");

export const native = loadNative();

/** False, or what is missing for tests that load BPF programs. */
export const cannotLoad =
  process.getuid?.() !== 0
    ? "loading BPF programs needs root"
    : !existsSync(objectPath) && "build/test-bpf/binding.bpf.o is missing: run `make test-bpf`";

/** Opens test/native/binding.bpf.c; its program `broken` is loaded only on demand. */
export function openObject(): ObjectHandle {
  const object = native.objectOpen(readFileSync(objectPath), "binding");
  native.objectSetAutoload(object, "broken", false);
  return object;
}

/** Runs a body with the loaded object and closes the object after it. */
export function withObject(body: (object: ObjectHandle) => void): void {
  const object = openObject();
  try {
    native.objectLoad(object);
    body(object);
  } finally {
    native.objectClose(object);
  }
}

/** The error that a call throws; fails if it throws none, or one without the promised properties. */
export function errorOf(call: () => unknown): NativeError {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof Error);
    const { code, errno, call: name, object, log } = error as NativeError;
    assert.deepEqual(
      [code, errno, name, object, log].map((property) => typeof property),
      ["string", "number", "string", "string", "string"],
    );
    return error as NativeError;
  }
  assert.fail("the call throws");
}

export function u32(...values: number[]): Buffer {
  return Buffer.from(Uint32Array.from(values).buffer);
}

export function u64(...values: bigint[]): Buffer {
  return Buffer.from(BigUint64Array.from(values).buffer);
}

/** Collects what nothing refers to any more, and lets finalizers run. */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  assert.ok(typeof collect === "function");
  for (let round = 0; round < 3; round++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const folderVariable = "XLB_TEST_NAMESPACE_FOLDER";

/** In a process of {@link runInNamespace}: an empty folder, in which it may mount. Elsewhere undefined. */
export const namespaceFolder = process.env[folderVariable];

/** Runs a test file once more, in network and mount namespaces of its own, which end with it. Returns its output. */
export function runInNamespace(file: string): { readonly status: number | null; readonly output: string } {
  const folder = mkdtempSync(join(tmpdir(), "xlb-native-"));
  const environment: NodeJS.ProcessEnv = { ...process.env, [folderVariable]: folder };
  // Or node:test takes the process for one of the runner's own.
  delete environment["NODE_TEST_CONTEXT"];
  try {
    const { status, stdout, stderr } = spawnSync(
      "unshare",
      ["--net", "--mount", process.execPath, "--enable-source-maps", file],
      { env: environment, encoding: "utf8", timeout: 60_000 },
    );
    return { status, output: stdout + stderr };
  } finally {
    rmdirSync(folder);
  }
}

/** Runs ip(8) with these arguments. */
export function ip(command: string): string {
  return execFileSync("ip", command.split(" "), { encoding: "utf8" });
}
