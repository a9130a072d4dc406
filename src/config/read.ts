import type { Config, Diagnostic } from "../model/config.ts";
import { sortDiagnostics } from "./diagnostics.ts";
import { loadConfig } from "./load.ts";
import { createSystemResolver } from "./resolve.ts";

/** The part of the addon that tries Perl regular expressions; it throws when one is wrong. */
export interface RegexCompiler {
  regexCompile(pattern: string): unknown;
}

export interface Configuration {
  /** Undefined if there is an error. */
  readonly config: Config | undefined;
  /** In the order of the file. */
  readonly diagnostics: readonly Diagnostic[];
  /** Of the bytes that were read, for `watchConfig`; undefined if the file could not be read. */
  readonly digest: string | undefined;
}

/** Reads a file as daemon and commands do, with the names that this machine knows. */
export async function readConfiguration(file: string, native: RegexCompiler): Promise<Configuration> {
  const { config, diagnostics, globals, digest } = await loadConfig(file, {
    resolver: createSystemResolver(),
    compileRegex: (pattern) => regexError(native, pattern),
  });
  if (config === undefined) return { config, diagnostics, digest };
  if (!config.fork) return { config, diagnostics, digest };
  const message = "fork=yes starts no processes: all checks run side by side, each service at its own checkinterval";
  const warning = { line: 1, column: 1, ...globals.get("fork"), file, severity: "warning", message } as const;
  return { config, diagnostics: sortDiagnostics([...diagnostics, warning]), digest };
}

function regexError(native: RegexCompiler, pattern: string): string | undefined {
  try {
    native.regexCompile(pattern);
    return undefined;
  } catch (cause) {
    // That the expression is wrong, and why, is the answer.
    return (cause as Error).message;
  }
}
