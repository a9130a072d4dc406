import assert from "node:assert/strict";
import { test } from "node:test";
import { cannotLoad, collectGarbage, errorOf, native, openObject, withObject } from "./fixture.ts";

const options = { skip: cannotLoad };

/** Lets the program write so many records, numbered from `first`. */
function write(program: ReturnType<typeof native.objectProgram>, first: number, count: number): void {
  for (let number = first; number < first + count; number++) {
    native.programTestRun(program, Buffer.alloc(64, number), 1, 0);
  }
}

const numbersOf = (records: readonly Buffer[]): number[] => records.map((record) => record[0] ?? -1);

test("records come in their order, as many at a time as are asked for", options, () => {
  withObject((object) => {
    const program = native.objectProgram(object, "tell");
    const ring = native.ringOpen(native.objectMap(object, "ring"));
    assert.deepEqual(native.ringRead(ring, 10), []);
    write(program, 1, 5);
    assert.deepEqual(numbersOf(native.ringRead(ring, 2)), [1, 2]);
    write(program, 6, 1);
    const rest = native.ringRead(ring, 10);
    assert.deepEqual(numbersOf(rest), [3, 4, 5, 6]);
    assert.deepEqual(rest[0], Buffer.alloc(16, 3));
    assert.deepEqual(native.ringRead(ring, 10), []);
    native.ringClose(ring);
  });
});

test("the descriptor is readable on Node's loop while there are records", options, async () => {
  const object = openObject();
  native.objectLoad(object);
  const program = native.objectProgram(object, "tell");
  const ring = native.ringOpen(native.objectMap(object, "ring"));
  const descriptor = native.ringDescriptor(ring);
  const found: number[] = [];
  const done = new Promise<void>((resolve) => {
    native.pollStart(descriptor, () => {
      found.push(...numbersOf(native.ringRead(ring, 1)));
      if (found.length === 3) resolve();
    });
  });
  write(program, 1, 3);
  await done;
  assert.deepEqual(found, [1, 2, 3]);
  native.pollStop(descriptor);
  native.ringClose(ring);
  native.objectClose(object);
});

test("a closed ring throws EBADF, closing it again is harmless, and it needs no map handle", options, async () => {
  const object = openObject();
  native.objectLoad(object);
  const map = native.objectMap(object, "ring");
  const ring = native.ringOpen(map);
  native.mapClose(map);
  write(native.objectProgram(object, "tell"), 9, 1);
  assert.deepEqual(numbersOf(native.ringRead(ring, 10)), [9]);
  native.ringClose(ring);
  native.ringClose(ring);
  assert.equal(errorOf(() => native.ringRead(ring, 10)).code, "EBADF");
  assert.equal(errorOf(() => native.ringDescriptor(ring)).code, "EBADF");
  assert.equal(errorOf(() => native.ringOpen(native.objectMap(object, "hash"))).code, "EINVAL");
  assert.equal(errorOf(() => native.ringOpen(map)).code, "EBADF");
  // Of one that was forgotten the finalizer takes care.
  native.ringOpen(native.objectMap(object, "ring"));
  await collectGarbage();
  native.objectClose(object);
});

test("a read of no records is refused", options, () => {
  withObject((object) => {
    const ring = native.ringOpen(native.objectMap(object, "ring"));
    assert.equal(errorOf(() => native.ringRead(ring, 0)).code, "EINVAL");
    native.ringClose(ring);
  });
});

test("a program meets a packet as if an interface had received it", options, () => {
  withObject((object) => {
    const program = native.objectProgram(object, "tell");
    const ring = native.ringOpen(native.objectMap(object, "ring"));
    native.programReceive(program, Buffer.alloc(64, 7), 1);
    assert.deepEqual(numbersOf(native.ringRead(ring, 10)), [7]);
    assert.equal(errorOf(() => native.programReceive(program, Buffer.alloc(64), 0x7ffffff0)).code, "ENODEV");
    assert.equal(errorOf(() => native.programReceive(program, Buffer.alloc(3), 1)).code, "EINVAL");
    assert.equal(errorOf(() => native.programReceive(program, Buffer.alloc(5000), 1)).code, "EINVAL");
    native.ringClose(ring);
  });
});
