import type { InterfaceStatus, PlaneStatistics } from "../../model/statistics.ts";

/** Gives each plane its part of what is known of the interfaces of all: by mode, detached ones to the XDP plane. */
export function withInterfaces(
  planes: readonly PlaneStatistics[],
  interfaces: readonly InterfaceStatus[],
): readonly PlaneStatistics[] {
  return planes.map((plane) => ({
    ...plane,
    interfaces: interfaces.filter(({ mode }) => (mode === "ipvs") === (plane.plane === "ipvs")),
  }));
}
