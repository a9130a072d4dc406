import type { OverrideStore } from "../../src/daemon/daemon.ts";
import type { Override } from "../../src/model/override.ts";

/** What was set by hand, without a file. */
export function overridesInMemory(...overrides: readonly Override[]): OverrideStore {
  let list = overrides;
  return {
    list: () => list,
    replace: (now) => {
      list = [...now];
    },
  };
}
