import assert from "node:assert/strict";
import { test } from "node:test";
import { cannotLoad, errorOf, native, openObject, u32, u64, withObject } from "./fixture.ts";

const options = { skip: cannotLoad };

test("bytes that are no object are refused with libbpf's own words", () => {
  const error = errorOf(() => native.objectOpen(Buffer.from("not an object"), "junk"));
  assert.equal(error.call, "objectOpen");
  assert.equal(error.object, "junk");
  assert.match(error.code, /^LIBBPF_/);
  assert.match(error.log, /not a proper ELF/);
});

test("an object names its maps and programs; data sections by the section's name", options, () => {
  const object = openObject();
  assert.deepEqual(native.objectMapNames(object).sort(), [
    ".data.counter",
    ".rodata",
    "array",
    "hash",
    "per_cpu_array",
    "per_cpu_hash",
    "ring",
    "shared",
  ]);
  assert.deepEqual(native.objectProgramNames(object).sort(), ["answer", "broken", "drop", "tell"]);
  native.objectClose(object);
});

test("a name that the object does not have is ENOENT", options, () => {
  const object = openObject();
  for (const call of [
    () => native.objectMap(object, "nothing"),
    () => native.objectProgram(object, "nothing"),
    () => native.objectSetMaxEntries(object, "nothing", 1),
    () => native.objectSetAutoload(object, "nothing", true),
  ]) {
    const error = errorOf(call);
    assert.deepEqual([error.code, error.object], ["ENOENT", "nothing"]);
  }
  native.objectClose(object);
});

test("maps and programs cannot be had before loading, nor sizes be set after it", options, () => {
  const object = openObject();
  assert.equal(errorOf(() => native.objectMap(object, "hash")).code, "EBADF");
  assert.equal(errorOf(() => native.objectProgram(object, "answer")).code, "EBADF");
  native.objectLoad(object);
  assert.equal(errorOf(() => native.objectSetMaxEntries(object, "hash", 5)).code, "EBUSY");
  assert.equal(errorOf(() => native.objectLoad(object)).code, "EINVAL");
  native.objectClose(object);
});

test("map sizes and initial values set before loading are what the program gets", options, () => {
  const object = openObject();
  native.objectSetMaxEntries(object, "hash", 77);
  assert.deepEqual(native.objectInitialValue(object, ".rodata"), u32(2));
  native.objectSetInitialValue(object, ".rodata", u32(3));
  assert.deepEqual(native.objectInitialValue(object, ".data.counter"), u64(5n));
  native.objectSetInitialValue(object, ".data.counter", u64(100n));
  assert.equal(errorOf(() => native.objectSetInitialValue(object, ".rodata", u64(1n))).code, "EINVAL");
  assert.equal(errorOf(() => native.objectInitialValue(object, "hash")).code, "EINVAL");
  native.objectLoad(object);

  const hash = native.objectMap(object, "hash");
  const counter = native.objectMap(object, ".data.counter");
  const program = native.objectProgram(object, "answer");
  native.objectClose(object);
  assert.equal(native.mapInfo(hash).maxEntries, 77);
  assert.equal(native.programTestRun(program, Buffer.alloc(64), 1, 0).verdict, 3);
  assert.deepEqual(native.mapLookup(counter, u32(0)), u64(101n));
  const memory = new BigUint64Array(native.mapMemory(counter, true));
  native.programTestRun(program, Buffer.alloc(64), 10, 0);
  assert.equal(memory[0], 111n);
  native.mapClose(hash);
  native.mapClose(counter);
  native.programClose(program);
});

test("a test run returns verdict and packet, with the interface asked for", options, () => {
  withObject((object) => {
    const program = native.objectProgram(object, "answer");
    const packet = Buffer.from(Array.from({ length: 100 }, (_, i) => i));
    const { verdict, data, durationNs } = native.programTestRun(program, packet, 1, 1);
    assert.equal(verdict, 2);
    assert.equal(data.length, 100);
    assert.equal(data[0], 1);
    assert.deepEqual(data.subarray(1), packet.subarray(1));
    assert.equal(packet[0], 0);
    assert.ok(durationNs >= 0);
    assert.equal(errorOf(() => native.programTestRun(program, packet, 1, 0x7ffffff0)).code, "ENODEV");
    assert.equal(errorOf(() => native.programTestRun(program, Buffer.alloc(3), 1, 0)).code, "EINVAL");
    native.programClose(program);
    assert.equal(errorOf(() => native.programTestRun(program, packet, 1, 0)).code, "EBADF");
  });
});

test("a program tells its id, name and tag", options, () => {
  withObject((object) => {
    const program = native.objectProgram(object, "answer");
    const { id, name, tag } = native.programInfo(program);
    assert.ok(id > 0);
    assert.equal(name, "answer");
    assert.match(tag, /^[0-9a-f]{16}$/);
    native.programClose(program);
  });
});

test("a program that the verifier refuses throws its log, and the next error has none", options, () => {
  const object = openObject();
  native.objectSetAutoload(object, "broken", true);
  const error = errorOf(() => native.objectLoad(object));
  assert.deepEqual([error.code, error.errno, error.call, error.object], ["EACCES", 13, "objectLoad", "binding"]);
  assert.match(error.log, /invalid access to packet/);
  assert.match(error.log, /prog 'broken'/);
  native.objectClose(object);
  assert.equal(errorOf(() => native.objectLoad(object)).log, "");
});

test("a map taken from another object is shared with it", options, () => {
  withObject((first) => {
    const shared = native.objectMap(first, "hash");
    const second = openObject();
    native.objectReuseMap(second, "hash", shared);
    native.objectLoad(second);
    const same = native.objectMap(second, "hash");
    assert.equal(native.mapInfo(same).id, native.mapInfo(shared).id);
    native.objectClose(second);
    native.mapUpdate(same, u64(1n), u64(2n, 3n), 0);
    assert.deepEqual(native.mapLookup(shared, u64(1n)), u64(2n, 3n));
    native.mapClose(same);
    native.mapClose(shared);
  });
});

test("a closed object throws EBADF, closing it again is harmless, its maps go on", options, () => {
  const object = openObject();
  native.objectLoad(object);
  const map = native.objectMap(object, "hash");
  native.objectClose(object);
  native.objectClose(object);
  assert.equal(errorOf(() => native.objectMap(object, "hash")).code, "EBADF");
  native.mapUpdate(map, u64(1n), u64(1n, 1n), 0);
  native.mapClose(map);
});
