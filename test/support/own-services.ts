import type { OwnServices } from "../../src/reconcile/reconciler.ts";

/** Remembers in memory which services are ours. */
export function ownInMemory(...keys: string[]): OwnServices & { readonly keys: () => readonly string[] } {
  let known: readonly string[] = keys;
  return { read: () => known, write: (now) => (known = now), keys: () => known };
}
