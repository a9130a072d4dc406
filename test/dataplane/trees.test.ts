import assert from "node:assert/strict";
import { test } from "node:test";
import { isWide, leafOf, leavesFor, nodesOf } from "../../src/dataplane/xdp/trees.ts";

test("leaves are the next power of two, and half of the nodes", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 100].map(leavesFor), [1, 1, 2, 4, 4, 8, 128]);
  assert.equal(nodesOf(128), 256);
});

test("a newer real server lies further left, and keeps its distance to the last leaf in a larger tree", () => {
  for (const leaves of [4, 8, 64]) {
    assert.equal(leafOf(leaves, 0), leaves - 1);
    assert.ok(leafOf(leaves, 3) < leafOf(leaves, 2));
    assert.equal(leafOf(2 * leaves, 3) - leaves, leafOf(leaves, 3));
  }
});

test("weights are wide from the first on whose fractions two words of a node cannot tell apart", () => {
  for (const [leaves, narrow] of [
    [1, 65536],
    [16, 16384],
    [128, 5792],
    [65536, 256],
  ] as const) {
    assert.ok(!isWide(leaves, [0, 1, narrow]), `${narrow} among ${leaves}`);
    assert.ok(isWide(leaves, [1, narrow + 1]), `${narrow + 1} among ${leaves}`);
  }
});
