/** Options of xlb that stand in a file of the system, so that commands with another program's command line get them. */
import { readFileSync } from "node:fs";

export const defaultsFile = "/etc/default/xlb";

/** Sets `XLB_*` variables that are not set yet from {@link defaultsFile}; an empty value, other lines and a missing file are ignored. */
export function loadDefaults(environment: NodeJS.ProcessEnv, file = defaultsFile): void {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return; // Most machines have none, and what cannot be read says nothing.
  }
  for (const [name, value] of parseDefaults(text)) if (value !== "") environment[name] ??= value;
}

/** `NAME=VALUE` lines as a shell reads simple ones: blanks around a line, `#` comments, one pair of quotes. */
export function parseDefaults(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^\s*(?:export\s+)?(XLB_[A-Z_]+)=(?:"([^"]*)"|'([^']*)'|([^\s"'#]*))\s*(?:#.*)?$/.exec(line);
    if (match !== null) values.set(match[1]!, match[2] ?? match[3] ?? match[4] ?? "");
  }
  return values;
}
