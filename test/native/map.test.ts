import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { cannotLoad, collectGarbage, errorOf, native, u32, u64, withObject } from "./fixture.ts";

const options = { skip: cannotLoad };

test("a map tells what the kernel knows of it", options, () => {
  withObject((object) => {
    const map = native.objectMap(object, "hash");
    const { id, ...info } = native.mapInfo(map);
    assert.ok(id > 0);
    assert.deepEqual(info, { type: 1, keySize: 8, valueSize: 16, maxEntries: 128, flags: 0, name: "hash" });
    native.mapClose(map);
  });
});

test("elements of a hash map are written, read, listed and deleted", options, () => {
  withObject((object) => {
    const map = native.objectMap(object, "hash");
    assert.equal(native.mapLookup(map, u64(1n)), undefined);
    native.mapUpdate(map, u64(1n), u64(10n, 11n), 0);
    native.mapUpdate(map, u64(2n), u64(20n, 21n), 1);
    assert.deepEqual(native.mapLookup(map, u64(1n)), u64(10n, 11n));
    assert.equal(errorOf(() => native.mapUpdate(map, u64(1n), u64(0n, 0n), 1)).code, "EEXIST");
    assert.equal(errorOf(() => native.mapUpdate(map, u64(3n), u64(0n, 0n), 2)).code, "ENOENT");
    const keys = native.mapKeys(map);
    assert.deepEqual([keys.readBigUInt64LE(0), keys.readBigUInt64LE(8)].sort(), [1n, 2n]);
    assert.equal(keys.length, 16);
    assert.equal(native.mapDelete(map, u64(1n)), true);
    assert.equal(native.mapDelete(map, u64(1n)), false);
    native.mapDelete(map, u64(2n));
    assert.equal(native.mapKeys(map).length, 0);
    native.mapClose(map);
  });
});

test("all keys of a full hash map are listed", options, () => {
  withObject((object) => {
    const map = native.objectMap(object, "hash");
    for (let key = 0n; key < 128n; key++) native.mapUpdate(map, u64(key), u64(key, 0n), 0);
    const keys = native.mapKeys(map);
    const listed = Array.from({ length: keys.length / 8 }, (_, i) => Number(keys.readBigUInt64LE(8 * i)));
    assert.deepEqual(
      listed.sort((a, b) => a - b),
      Array.from({ length: 128 }, (_, i) => i),
    );
    assert.equal(errorOf(() => native.mapUpdate(map, u64(128n), u64(0n, 0n), 0)).code, "E2BIG");
    native.mapClose(map);
  });
});

test("a buffer that has not the map's size is refused before the kernel writes to it", options, () => {
  withObject((object) => {
    const hash = native.objectMap(object, "hash");
    const perCpu = native.objectMap(object, "per_cpu_array");
    const array = native.objectMap(object, "array");
    for (const call of [
      () => native.mapLookup(hash, u32(1)),
      () => native.mapLookup(hash, Buffer.alloc(9)),
      () => native.mapUpdate(hash, u64(1n), u64(1n), 0),
      () => native.mapDelete(hash, Buffer.alloc(0)),
      () => native.mapUpdate(perCpu, u32(0), Buffer.alloc(12 * native.possibleCpus()), 0),
      () => native.mapWriteRange(array, 0, Buffer.alloc(7)),
      () => native.mapReadRange(hash, 0, 1),
      () => native.mapWriteRange(perCpu, 0, Buffer.alloc(16)),
      () => native.mapMemory(array, false),
    ]) {
      assert.equal(errorOf(call).code, "EINVAL");
    }
    for (const call of [
      () => native.mapReadRange(array, 19999, 2),
      () => native.mapReadRange(array, 0xffffffff, 0xffffffff),
      () => native.mapWriteRange(array, 20000, u32(1)),
    ]) {
      assert.equal(errorOf(call).code, "ERANGE");
    }
    assert.match(errorOf(() => native.mapLookup(hash, u32(1))).message, /mapLookup hash: the key has 4 bytes.* 8 /);
    for (const map of [hash, perCpu, array]) native.mapClose(map);
  });
});

test("arguments of other kinds are refused", options, () => {
  withObject((object) => {
    const map = native.objectMap(object, "hash");
    const untyped = native as unknown as Record<string, (...values: unknown[]) => unknown>;
    for (const values of [[], [{}], [1], [null], [object, u64(1n)], [map], [map, "key"], [map, new Uint16Array(4)]]) {
      assert.equal(errorOf(() => untyped["mapLookup"]?.(...values)).code, "EINVAL");
    }
    for (const flags of [-1, 1.5, NaN, 2 ** 32, "0", undefined]) {
      assert.equal(errorOf(() => untyped["mapUpdate"]?.(map, u64(1n), u64(1n, 1n), flags)).code, "EINVAL");
    }
    assert.equal(errorOf(() => native.mapOpenPinned("/sys/fs/bpf/a\0b")).code, "EINVAL");
    assert.equal(errorOf(() => native.mapOpenPinned(`/${"a".repeat(5000)}`)).code, "ENAMETOOLONG");
    native.mapClose(map);
  });
});

test("ranges of an array map are written and read, whatever their place and length", options, () => {
  withObject((object) => {
    const map = native.objectMap(object, "array");
    const all = Uint32Array.from({ length: 20000 }, (_, i) => i * 7);
    native.mapWriteRange(map, 0, new Uint8Array(all.buffer));
    for (const [first, count] of [
      [0, 20000],
      [0, 1],
      [19999, 1],
      [8191, 2],
      [1, 8192],
      [3, 16385],
      [20000, 0],
    ] as const) {
      const read = native.mapReadRange(map, first, count);
      assert.deepEqual(read, u32(...all.subarray(first, first + count)), `${first}, ${count}`);
    }
    native.mapWriteRange(map, 8190, u32(1, 2, 3));
    assert.deepEqual(native.mapReadRange(map, 8189, 5), u32(8189 * 7, 1, 2, 3, 8193 * 7));
    native.mapClose(map);
  });
});

test("per-CPU maps carry the values of all CPUs, each on 8 bytes", options, () => {
  withObject((object) => {
    const cpus = native.possibleCpus();
    const array = native.objectMap(object, "per_cpu_array");
    const value = (seed: number): Buffer =>
      Buffer.concat(Array.from({ length: cpus }, (_, cpu) => u32(seed + cpu, seed * 2, seed * 3, 0)));
    for (let i = 0; i < 300; i++) native.mapUpdate(array, u32(i), value(i), 0);
    assert.deepEqual(native.mapLookup(array, u32(5)), value(5));
    for (const [first, count] of [
      [0, 300],
      [299, 1],
      [7, 12],
    ] as const) {
      const expected = Buffer.concat(Array.from({ length: count }, (_, i) => value(first + i)));
      assert.deepEqual(native.mapReadRange(array, first, count), expected);
    }
    const hash = native.objectMap(object, "per_cpu_hash");
    const words = u64(...Array.from({ length: cpus }, (_, cpu) => BigInt(cpu) << 40n));
    native.mapUpdate(hash, u32(9), words, 0);
    assert.deepEqual(native.mapLookup(hash, u32(9)), words);
    native.mapClose(array);
    native.mapClose(hash);
  });
});

test("mapped memory is the map's own, in both directions, and outlives its handle", options, async () => {
  let words = new BigUint64Array();
  withObject((object) => {
    const map = native.objectMap(object, "shared");
    words = new BigUint64Array(native.mapMemory(map, true));
    const readOnly = new BigUint64Array(native.mapMemory(map, false));
    assert.equal(words.length, 1024);
    words[3] = 0x1122334455667788n;
    assert.deepEqual(native.mapLookup(map, u32(3)), u64(0x1122334455667788n));
    native.mapUpdate(map, u32(1023), u64(42n), 0);
    assert.equal(words[1023], 42n);
    assert.equal(readOnly[1023], 42n);
    native.mapClose(map);
  });
  await collectGarbage();
  assert.equal(words[1023], 42n);
});

test("memory that nothing refers to is unmapped", options, async () => {
  const mappings = (): number => readdirSync("/proc/self/map_files").length;
  await collectGarbage();
  const before = mappings();
  withObject((object) => {
    const map = native.objectMap(object, "shared");
    for (let i = 0; i < 200; i++) native.mapMemory(map, i % 2 === 0);
    native.mapClose(map);
  });
  await collectGarbage();
  assert.ok(mappings() - before < 50, `${mappings() - before} more mappings`);
});

test("a closed map throws EBADF, and closing it again is harmless", options, () => {
  withObject((object) => {
    const map = native.objectMap(object, "hash");
    native.mapClose(map);
    // The next descriptor gets the same number: closing again must not hit it.
    const other = native.objectMap(object, "hash");
    native.mapClose(map);
    native.mapUpdate(other, u64(1n), u64(1n, 1n), 0);
    const error = errorOf(() => native.mapLookup(map, u64(1n)));
    assert.deepEqual([error.code, error.errno, error.call, error.object], ["EBADF", 9, "mapLookup", "hash"]);
    assert.equal(errorOf(() => native.mapMemory(map, false)).code, "EBADF");
    native.mapClose(other);
  });
});

test("handles that are lost give their descriptors back", options, async () => {
  const descriptors = (): number => readdirSync("/proc/self/fd").length;
  await collectGarbage();
  const before = descriptors();
  withObject((object) => {
    for (let i = 0; i < 500; i++) {
      native.objectMap(object, "hash");
      native.objectProgram(object, "answer");
    }
  });
  await collectGarbage();
  assert.ok(descriptors() - before < 50, `${descriptors() - before} more descriptors`);
});

test("100,000 lookups leave no memory behind", options, async () => {
  const maps: { lookup(): void; close(): void }[] = [];
  withObject((object) => {
    const hash = native.objectMap(object, "hash");
    native.mapUpdate(hash, u64(1n), u64(1n, 1n), 0);
    const array = native.objectMap(object, "per_cpu_array");
    maps.push(
      { lookup: () => native.mapLookup(hash, u64(1n)), close: () => native.mapClose(hash) },
      { lookup: () => native.mapLookup(hash, u64(2n)), close: () => undefined },
      { lookup: () => native.mapReadRange(array, 0, 20), close: () => native.mapClose(array) },
      { lookup: () => errorOf(() => native.mapLookup(hash, u32(1))), close: () => undefined },
    );
  });
  const run = async (times: number): Promise<number> => {
    for (let i = 0; i < times; i++) for (const map of maps) map.lookup();
    await collectGarbage();
    return process.memoryUsage().rss;
  };
  const before = await run(5_000);
  const after = await run(25_000);
  for (const map of maps) map.close();
  assert.ok(after - before < 16 << 20, `${(after - before) >> 10} KiB more`);
});
