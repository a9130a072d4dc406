interface Entry<T> {
  readonly dueMs: number;
  readonly item: T;
}

/** A binary heap: what is due next comes first. */
export class DueQueue<T> {
  #entries: Entry<T>[] = [];

  get nextDueMs(): number | undefined {
    return this.#entries[0]?.dueMs;
  }

  push(dueMs: number, item: T): void {
    const entries = this.#entries;
    const entry = { dueMs, item };
    let index = entries.length;
    entries.push(entry);
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = entries[above];
      if (parent === undefined || parent.dueMs <= dueMs) break;
      entries[index] = parent;
      index = above;
    }
    entries[index] = entry;
  }

  pop(): T | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined || entries.length === 0) return first?.item;
    let index = 0;
    for (;;) {
      let below = 2 * index + 1;
      let child = entries[below];
      const right = entries[below + 1];
      if (child !== undefined && right !== undefined && right.dueMs < child.dueMs) {
        below += 1;
        child = right;
      }
      if (child === undefined || child.dueMs >= last.dueMs) break;
      entries[index] = child;
      index = below;
    }
    entries[index] = last;
    return first.item;
  }

  /** Takes everything out, in no order. */
  drain(): Entry<T>[] {
    const entries = this.#entries;
    this.#entries = [];
    return entries;
  }
}
