import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The version in package.json, the nearest one above the compiled file. */
export function readVersion(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    try {
      const description: unknown = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
      if (hasVersion(description) && description.name === "xlb") return description.version;
    } catch (error) {
      // No package.json in this directory: the one above is looked at.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
    const parent = dirname(directory);
    if (parent === directory) return "unknown";
    directory = parent;
  }
}

function hasVersion(value: unknown): value is { name: string; version: string } {
  return typeof value === "object" && value !== null && "name" in value && "version" in value;
}
