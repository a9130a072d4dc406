/** Ends a data path whose daemon is dead. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Native } from "../../native.ts";
import { bpfFilesystem, removePins } from "./load.ts";

/** Detaches the program and removes everything that is pinned in `bpffs`. Returns false if there was nothing. */
export function destroyPinned(native: Native, bpffs: string): boolean {
  if (!existsSync(bpffs) || native.filesystemType(bpffs) !== bpfFilesystem) return false;
  const links = join(bpffs, "links");
  const found = existsSync(join(bpffs, "director")) || existsSync(links);
  for (const file of existsSync(links) ? readdirSync(links) : []) {
    const link = native.linkOpenPinned(join(links, file));
    if (native.linkInfo(link).ifindex !== 0) native.linkDetach(link);
    native.linkClose(link);
    rmSync(join(links, file));
  }
  removePins(native, bpffs);
  return found;
}
