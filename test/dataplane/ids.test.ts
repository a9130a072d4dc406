import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IdAllocator, RegionAllocator } from "../../src/dataplane/xdp/ids.ts";
import type { Region } from "../../src/dataplane/xdp/ids.ts";

test("ids begin behind those in use, and what was free before comes after", () => {
  const ids = new IdAllocator(8, [1, 4]);
  assert.deepEqual([ids.take(), ids.take(), ids.take()], [5, 6, 7]);
  assert.deepEqual([ids.take(), ids.take(), ids.take()], [2, 3, undefined]);
});

test("the id that was released first is given first", () => {
  const ids = new IdAllocator(4, []);
  assert.deepEqual([ids.take(), ids.take(), ids.take()], [1, 2, 3]);
  ids.release(3);
  ids.release(1);
  assert.equal(ids.free, 2);
  assert.deepEqual([ids.take(), ids.take(), ids.take()], [3, 1, undefined]);
});

test("a region rests for a second after its release", () => {
  const regions = new RegionAllocator(10, []);
  const region = regions.take(10, 0);
  assert.deepEqual(region, { offset: 0, length: 10 });
  regions.release(region as Region, 0);
  assert.equal(regions.take(1, 999), undefined);
  assert.equal(regions.settlesIn(400), 600);
  assert.deepEqual(regions.take(1, 1000), { offset: 0, length: 1 });
});

test("regions never overlap, and everything released is one piece again, also when restored from records", () => {
  const operation = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant("release" as const));
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), fc.nat(60), (operations, restart) => {
      const size = 200;
      let regions = new RegionAllocator(size, []);
      const taken: Region[] = [];
      let now = 0;
      for (const [index, what] of operations.entries()) {
        now += 500;
        if (index === restart) regions = new RegionAllocator(size, taken);
        if (what === "release") {
          const region = taken.shift();
          if (region !== undefined) regions.release(region, now);
          continue;
        }
        const region = regions.take(what, now);
        if (region === undefined) continue;
        assert.ok(region.offset >= 0 && region.offset + region.length <= size);
        for (const other of taken) {
          assert.ok(region.offset >= other.offset + other.length || other.offset >= region.offset + region.length);
        }
        taken.push(region);
      }
      for (const region of taken) regions.release(region, now);
      assert.deepEqual(regions.take(size, now + 1000), { offset: 0, length: size });
    }),
  );
});
