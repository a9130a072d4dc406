/**
 * Schedulers that compare loads: the members of a service are the leaves of a tournament tree whose root is the next
 * real server. Which of two wins, only the data path knows (control operation BUILD_TREE); here leaves get their place.
 */

/** A tree lies in tree_nodes at `tree`: node 1 is the root, node i has the children 2i and 2i + 1. */
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
 * The node of the member with this place in the order of addition. Counted from the last leaf, so a newer one lies
 * further left, and growing the tree changes no order.
 */
export function leafNode(leaves: number, order: number): number {
  return 2 * leaves - 1 - order;
}

/**
 * A whole tree with any member on the way from each leaf to the root, so that a packet between the switch to it and
 * BUILD_TREE finds a real server.
 */
export function provisionalTree(leaves: number, members: readonly { id: number; order: number }[]): Uint32Array {
  const nodes = new Uint32Array(nodesOf(leaves));
  for (const member of members) nodes[leafNode(leaves, member.order)] = member.id;
  for (let node = leaves - 1; node > 0; node--) {
    nodes[node] = (nodes[2 * node] as number) || (nodes[2 * node + 1] as number); // within 2 * leaves
  }
  return nodes;
}
