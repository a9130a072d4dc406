import { renameSync, rmSync, writeFileSync } from "node:fs";

/**
 * Readers see the old content or the new, never half of it. Throws an error with `code` (errno name) if
 * it cannot be written; then nothing has changed.
 */
export function replaceFile(path: string, text: string, mode = 0o666): void {
  const temporary = `${path}.${process.pid}`;
  try {
    writeFileSync(temporary, text, { mode });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    const { message, code } = cause as NodeJS.ErrnoException;
    throw Object.assign(new Error(`cannot write ${path}: ${message}`, { cause }), { code });
  }
}
