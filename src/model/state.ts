import type { VirtualService } from "./service.ts";

/** What the director does, desired or actual: the same type, so that one diff tells what to change. */
export interface DirectorState {
  readonly services: readonly VirtualService[];
}
