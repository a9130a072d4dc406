import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DueQueue } from "../../src/health/due-queue.ts";

test("what is due first comes out first, whatever came in when", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.integer(), fc.constant("pop" as const))), (steps) => {
      const queue = new DueQueue<number>();
      const expected: number[] = [];
      for (const step of steps) {
        if (step === "pop") assert.equal(queue.pop(), expected.shift());
        else {
          queue.push(step, step);
          expected.push(step);
          expected.sort((a, b) => a - b);
        }
        assert.equal(queue.nextDueMs, expected[0]);
      }
      assert.deepEqual(
        queue
          .drain()
          .map(({ item }) => item)
          .sort((a, b) => a - b),
        expected,
      );
      assert.equal(queue.pop(), undefined);
    }),
  );
});
