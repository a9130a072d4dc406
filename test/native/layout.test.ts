import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { layout, realServer, realServerFlag, settings } from "../../src/dataplane/xdp/layout.generated.ts";
import type { RealServer } from "../../src/dataplane/xdp/layout.generated.ts";

const build = join(import.meta.dirname, "..", "..");
const script = join(build, "scripts", "generate-layout.js");
const object = join(build, "bpf", "director.bpf.o");

const server: RealServer = {
  ...realServer.decode(new Uint8Array(realServer.size)),
  next_hop_mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
  address: [0, 0, 0, 0xc0a8c866],
  port: 80,
  ifindex: 0x01020304,
  flags: realServerFlag.REAL_SERVER_RESOLVED,
};

test("a struct that is written is read again", () => {
  assert.deepEqual(realServer.decode(realServer.encode(server)), server);
});

test("addresses and ports are in network byte order, all else is little-endian", () => {
  const bytes = Buffer.from(realServer.encode(server));
  const { address, port, ifindex, next_hop_mac: mac } = realServer.fields;
  assert.deepEqual([...bytes.subarray(address.offset + 12, address.offset + 16)], [192, 168, 200, 102]);
  assert.deepEqual([...bytes.subarray(port.offset, port.offset + port.size)], [0, 80]);
  assert.deepEqual([...bytes.subarray(ifindex.offset, ifindex.offset + 4)], [4, 3, 2, 1]);
  assert.deepEqual([...bytes.subarray(mac.offset, mac.offset + 6)], [2, 0, 0, 0, 0, 1]);
});

test("writing clears reserved fields and touches nothing outside the struct", () => {
  const bytes = new Uint8Array(realServer.size + 16).fill(0xff);
  realServer.write(new DataView(bytes.buffer), 8, server);
  assert.deepEqual(bytes.subarray(8, 8 + realServer.size), realServer.encode(server));
  assert.ok([...bytes.subarray(0, 8), ...bytes.subarray(8 + realServer.size)].every((byte) => byte === 0xff));
});

test("words of 64 bits are exact, and arrays of a wrong length are refused", () => {
  const value = { ...settings.decode(new Uint8Array(settings.size)), key: [1n, 2n, 3n, 0xfedcba9876543210n] };
  assert.equal(settings.decode(settings.encode(value)).key[3], 0xfedcba9876543210n);
  assert.throws(() => settings.encode({ ...value, key: [1n] }), RangeError);
});

test("fields lie one after the other and fill their struct", () => {
  for (const [name, codec] of Object.entries(layout)) {
    let end = 0;
    for (const { offset, size } of Object.values(codec.fields)) {
      assert.equal(offset, end, name);
      end = offset + size;
    }
    assert.equal(end, codec.size, name);
  }
});

test("the generator notices a header that has changed and a type that BTF has not", { skip: missing() }, () => {
  const folder = mkdtempSync(join(tmpdir(), "xlb-layout-"));
  try {
    const header = join(folder, "director.h");
    const output = join(folder, "layout.ts");
    copyFileSync(join(build, "..", "bpf", "director.h"), header);
    const run = (...options: string[]): ReturnType<typeof spawnSync> =>
      spawnSync(process.execPath, [script, "--object", object, "--header", header, "--output", output, ...options]);
    execFileSync(process.execPath, [script, "--object", object, "--header", header, "--output", output]);
    assert.equal(run("--check").status, 0);
    writeFileSync(header, `${readFileSync(header, "utf8")}\n#define ANOTHER_LIMIT 5\n`);
    assert.equal(run("--check").status, 1);
    writeFileSync(header, `${readFileSync(header, "utf8")}\nenum not_there {\n\tA,\n};\n`);
    const { status, stderr } = run();
    assert.equal(status, 2);
    assert.match(String(stderr), /BTF of the object lacks enum not_there/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function missing(): string | false {
  if (!existsSync(script)) return "build/scripts is missing";
  return existsSync(object) ? false : "build/bpf/director.bpf.o is missing: run `make bpf`";
}
