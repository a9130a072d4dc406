import assert from "node:assert/strict";
import { test } from "node:test";
import { leafNode, leavesFor, provisionalTree } from "../../src/dataplane/xdp/trees.ts";

test("leaves are the next power of two", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 100].map(leavesFor), [1, 1, 2, 4, 4, 8, 128]);
});

test("a newer real server lies further left, whatever the size of the tree", () => {
  for (const leaves of [4, 8, 64]) {
    assert.equal(leafNode(leaves, 0), 2 * leaves - 1);
    assert.ok(leafNode(leaves, 3) < leafNode(leaves, 2));
  }
});

test("a provisional tree names a member at its root, whichever leaves are empty", () => {
  for (const orders of [[0], [3], [1, 2], [0, 1, 2, 3]]) {
    const tree = provisionalTree(
      4,
      orders.map((order) => ({ id: order + 10, order })),
    );
    assert.equal(tree.length, 8);
    for (const order of orders) assert.equal(tree[leafNode(4, order)], order + 10);
    assert.ok(orders.includes((tree[1] ?? 0) - 10));
  }
  assert.equal(provisionalTree(4, [])[1], 0);
});
