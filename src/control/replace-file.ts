import { renameSync, writeFileSync } from "node:fs";

/** Readers see the old content or the new, never half of it. Throws if it cannot be written; then the file is as it was. */
export function replaceFile(path: string, text: string, mode = 0o666): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, text, { mode });
  renameSync(temporary, path);
}
