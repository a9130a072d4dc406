/**
 * Schedulers that compare loads: the members of a service are the leaves of a tournament tree whose root is the next
 * real server. Which of two wins, only the data path knows (control operation BUILD_TREE); here leaves get their place.
 */
import type { Control } from "./control.ts";
import type { DirectorMaps } from "./maps.ts";

/** Nodes of a tree in `trees`; its members lie in tree_leaves at half of its first node's index. */
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

/** Those of all services. */
export function buildTrees({ services }: Pick<DirectorMaps, "services">, control: Control): void {
  for (const [id, record] of services.readRange(0, services.entries).entries()) {
    if (record.tree_leaves > 0) control.buildTree(id, record);
  }
}
