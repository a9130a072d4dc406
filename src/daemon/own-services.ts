/** Which services in the tables are this director's, in a file of the state directory that outlives the daemon. */
import { readFileSync } from "node:fs";
import { replaceFile } from "../control/replace-file.ts";
import type { OwnServices } from "../reconcile/reconciler.ts";

/** One service a line, as `printIdentity` prints it. A file that cannot be written costs the memory, not the daemon. */
export function ownServicesFile(path: string, warn: (message: string) => void): OwnServices {
  return {
    read() {
      try {
        return readFileSync(path, "utf8").split("\n").filter(Boolean);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== "ENOENT")
          warn(`cannot read ${path}: ${(cause as Error).message}`);
        return [];
      }
    },
    write(keys) {
      try {
        replaceFile(path, keys.map((key) => `${key}\n`).join(""));
      } catch (cause) {
        warn((cause as Error).message);
      }
    },
  };
}
