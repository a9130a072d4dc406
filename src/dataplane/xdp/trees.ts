/**
 * Schedulers that compare loads: the members of a service are the leaves of a tournament tree whose root is the next
 * real server. Which of two wins, only the data path knows (control operation BUILD_TREE); here leaves get their place.
 */

/** Nodes of a tree in tree_nodes; its members lie in tree_leaves at half of its first node's index. */
export function nodesOf(leaves: number): number {
  return 2 * leaves;
}

/** Leaves are a power of two. */
export function leavesFor(members: number): number {
  let leaves = 1;
  while (leaves < members) leaves *= 2;
  return leaves;
}

/**
 * The leaf of the member with this place in the order of addition. Counted from the last leaf, so a newer one lies
 * further left, and growing the tree changes no order.
 */
export function leafOf(leaves: number, order: number): number {
  return leaves - 1 - order;
}

/** Whether two members may differ though the words of their nodes do not (bpf/schedulers/tree.h). */
export function isWide(leaves: number, weights: readonly number[]): boolean {
  return weights.some((weight) => weight ** 2 * leaves > 2 ** 32);
}
