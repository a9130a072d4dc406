import { accessSync, constants, statSync } from "node:fs";
import type { Stats } from "node:fs";
import { dirname } from "node:path";

/** What the parser asks of the file system. Nothing is created or changed. */
export interface Files {
  isDirectory(path: string): boolean;
  /** Why the file cannot be appended to (or made); undefined if it can. */
  appendError(path: string): string | undefined;
}

export const systemFiles: Files = {
  isDirectory: (path) => statusOf(path)?.isDirectory() ?? false,
  appendError: (path) => {
    try {
      const exists = statSync(path, { throwIfNoEntry: false });
      if (exists?.isDirectory() === true) return "is a directory";
      accessSync(exists === undefined ? dirname(path) : path, constants.W_OK);
      return undefined;
    } catch (error) {
      // The reason is what is asked for.
      return error instanceof Error ? error.message : String(error);
    }
  },
};

export function isRegularFile(path: string): boolean {
  return statusOf(path)?.isFile() ?? false;
}

/** Undefined also if a part of the path is a file, may not be looked into or is too long: nothing is there to be used. */
function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
