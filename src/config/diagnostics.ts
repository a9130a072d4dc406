import type { Diagnostic, Position } from "../model/config.ts";

/** Where readers and rules say what they find. */
export interface Messages {
  error(position: Position, message: string): void;
  warn(position: Position, message: string): void;
}

/** Collects what is found wrong or noteworthy in one file. */
export interface Report extends Messages {
  readonly file: string;
  readonly diagnostics: readonly Diagnostic[];
  /** How many of them are errors. */
  readonly errors: number;
  /** Takes over what another report collected. */
  take(other: Report): void;
}

export function createReport(file: string): Report {
  const diagnostics: Diagnostic[] = [];
  let errors = 0;
  const add = (severity: Diagnostic["severity"], { line, column }: Position, message: string): void => {
    if (severity === "error") errors += 1;
    diagnostics.push({ file, line, column, severity, message });
  };
  return {
    file,
    diagnostics,
    get errors() {
      return errors;
    },
    error: (position, message) => add("error", position, message),
    warn: (position, message) => add("warning", position, message),
    take: (other) => other.diagnostics.forEach((each) => add(each.severity, each, each.message)),
  };
}

/** In the order of the file. */
export function sortDiagnostics(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  return [...diagnostics].sort((a, b) => a.line - b.line || a.column - b.column);
}

/** `file:line:col: error|warning: message`. */
export function printDiagnostic({ file, line, column, severity, message }: Diagnostic): string {
  return `${file}:${line}:${column}: ${severity}: ${message}`;
}

const longestQuote = 60;

/** Text of the file inside a message: quoted, on one line, not too long. */
export function quote(text: string): string {
  text = text.replace(/\r$/, "");
  return JSON.stringify(text.length > longestQuote ? `${text.slice(0, longestQuote)}...` : text);
}
