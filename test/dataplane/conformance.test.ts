import assert from "node:assert/strict";
import { CompositeDataPlane } from "../../src/dataplane/ladder/composite-data-plane.ts";
import type { DataPlane } from "../../src/dataplane/data-plane.ts";
import type { PlaneName } from "../../src/model/statistics.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";
import { conformance } from "./conformance.ts";
import { cannotRun, PlaneFolder } from "./planes.ts";

conformance("in memory", { skip: false, open: () => Promise.resolve(new MemoryDataPlane()) });

/** One for all, as loading the program takes long. */
const folder = cannotRun === false ? new PlaneFolder() : undefined;
let opened: DataPlane | undefined;
conformance("xdp", {
  skip: cannotRun,
  async open() {
    opened ??= await folder?.open();
    assert.ok(opened);
    await opened.apply(plan({ services: [] }, opened.read()));
    return opened;
  },
  async reopen() {
    opened = await folder?.open();
    assert.ok(opened);
    return opened;
  },
});

// The kernel's IPVS is in ipvs.test.ts, in a guest that has it.

function composite(): CompositeDataPlane {
  const planes = new Map<PlaneName, DataPlane>();
  const rungs = (["xdp", "ipvs"] as const).map((name) => ({
    name,
    open: () => new MemoryDataPlane(undefined, name),
    mayOpenNow: () => true,
  }));
  planes.set("xdp", new MemoryDataPlane());
  const say = (): void => {};
  return new CompositeDataPlane(rungs, planes, new Map(), {
    log: { info: say, warn: say, error: say },
    interfacesOf: () => [],
  });
}

conformance("of several as one", { skip: false, open: () => Promise.resolve(composite()) });
