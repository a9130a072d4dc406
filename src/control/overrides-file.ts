/** What was set by hand, in a file of the state directory that outlives the daemon. Whoever holds its lock writes it. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Override } from "../model/override.ts";
import { printIdentity } from "../model/service.ts";
import { replaceFile } from "./replace-file.ts";

export function overridesPath(stateDir: string): string {
  return join(stateDir, "overrides.json");
}

/** A file that cannot be read is a warning, and nothing is overridden. */
export function readOverrides(stateDir: string, warn: (message: string) => void): readonly Override[] {
  const path = overridesPath(stateDir);
  try {
    const stored = JSON.parse(readFileSync(path, "utf8")) as readonly (Override & { readonly since: string })[];
    return stored.map((override) => ({ ...override, since: new Date(override.since) })); // Written below.
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") {
      warn(`cannot read ${path}, what was set by hand is forgotten: ${(cause as Error).message}`);
    }
    return [];
  }
}

/** The tables are gone, and with them the services that were made by hand. */
export function forgetServicesByHand(stateDir: string): void {
  const overrides = readOverrides(stateDir, () => {});
  const gone = new Set(
    overrides
      .filter(({ setting }) => setting.kind === "service" && setting.added)
      .map(({ identity }) => printIdentity(identity)),
  );
  if (gone.size > 0) {
    writeOverrides(
      stateDir,
      overrides.filter(({ identity }) => !gone.has(printIdentity(identity))),
    );
  }
}

/** Throws if the file cannot be written; then it is as it was. */
export function writeOverrides(stateDir: string, overrides: readonly Override[]): void {
  const path = overridesPath(stateDir);
  if (overrides.length === 0) return rmSync(path, { force: true });
  replaceFile(path, `${JSON.stringify(overrides)}\n`, 0o600);
}
