/** Lines to directives: which section each line belongs to, and its value read by the table of directives. */
import type { Position } from "../model/config.ts";
import type { Family } from "../model/service.ts";
import { createReport, quote } from "./diagnostics.ts";
import type { Messages, Report } from "./diagnostics.ts";
import { directives, isDirectiveName, lastOf, similarDirective } from "./directives.ts";
import type { DirectiveDefinition, DirectiveName, DirectiveValues, Located, Settings } from "./directives.ts";
import { readVirtual } from "./endpoints.ts";
import type { VirtualLine } from "./endpoints.ts";
import {
  cutComment,
  cutCommentOutsideQuotes,
  isBlank,
  isComment,
  readDirective,
  sectionContent,
  valueAt,
} from "./lex.ts";
import type { Directive, SourceLine } from "./lex.ts";
import type { SectionContext } from "./values.ts";

/** One `virtual=` line and what is indented under it. */
export interface Section {
  readonly family: Family;
  /** Of the virtual line. */
  readonly position: Position;
  /** Undefined if the virtual line has an error. */
  readonly virtual: VirtualLine | undefined;
  readonly settings: Settings;
}

export interface Sections {
  readonly globals: Settings;
  readonly sections: readonly Section[];
}

export function readSections(lines: readonly SourceLine[], report: Report): Sections {
  const globals: Settings = {};
  const sections: Section[] = [];
  let open: Section | undefined;
  let closedBy: SourceLine | undefined;
  let blankSince: SourceLine | undefined;

  const carriageReturn = lines.find((line) => line.text.endsWith("\r"));
  if (carriageReturn !== undefined) {
    const position = { line: carriageReturn.number, column: [...carriageReturn.text].length };
    report.warn(
      position,
      "lines end in CR LF; the carriage returns are ignored, which ldirectord does not do everywhere",
    );
  }

  for (const line of lines) {
    if (isComment(line.text)) continue;
    if (line.notUtf8) {
      report.warn({ line: line.number, column: 1 }, "this line is not UTF-8 and is read as ISO 8859-1");
    }

    const content = sectionContent(cutComment(line.text));
    if (open !== undefined && content !== undefined) {
      if (isBlank(content.content)) {
        if (blankSince === undefined) {
          report.warn({ line: line.number, column: 1 }, "ldirectord refuses blanks on an otherwise empty line here");
        }
        continue;
      }
      if (blankSince !== undefined) {
        report.warn(
          { line: line.number, column: 1 },
          `taken for a part of the section of line ${open.position.line}; for ldirectord the blank line ` +
            `${blankSince.number} ends that section and this line is an error`,
        );
        blankSince = undefined;
      }
      readSectionLine(line, content, open, report);
      continue;
    }
    if (isBlank(line.text)) {
      if (open !== undefined) blankSince ??= line;
      continue;
    }
    if (/^[ \t]/.test(line.text)) {
      reportIndentation(line, open, closedBy, sections.at(-1), report);
      continue;
    }

    if (open !== undefined) closedBy = line;
    open = undefined;
    blankSince = undefined;
    const directive = readDirective(line, line.text, 0, false);
    if (directive?.name === "virtual" || directive?.name === "virtual6") {
      const family = directive.name === "virtual" ? "ipv4" : "ipv6";
      open = {
        family,
        position: directive.position,
        virtual: readVirtual(directive.value, family, report),
        settings: {},
      };
      sections.push(open);
      if (line === lines.at(-1)) {
        report.warn(
          directive.position,
          "ldirectord takes a file that ends in this line for a duplicate of it; taken here",
        );
      }
    } else {
      readGlobalLine(line, directive, globals, report);
    }
  }
  return { globals, sections };
}

function reportIndentation(
  line: SourceLine,
  open: Section | undefined,
  closedBy: SourceLine | undefined,
  last: Section | undefined,
  report: Report,
): void {
  const position = { line: line.number, column: 1 };
  if (open !== undefined) {
    report.error(position, "expected an indentation of at least 4 columns, or a tab, inside a section");
  } else if (last !== undefined && closedBy !== undefined) {
    report.error(
      position,
      `expected a directive in column 1: line ${closedBy.number} ends the section of line ${last.position.line}`,
    );
  } else {
    report.error(position, "expected a directive in column 1: no virtual= line is above this one");
  }
}

function readGlobalLine(line: SourceLine, directive: Directive | undefined, globals: Settings, report: Report): void {
  const position = { line: line.number, column: 1 };
  if (/^supervised[ \t\r\n\f\v]*$/.test(line.text)) {
    report.warn(position, "write supervised=yes");
    (globals.supervised ??= []).push({ value: true, position });
    return;
  }
  if (directive === undefined || !isDirectiveName(directive.name)) {
    reportUnknown(line, line.text, position, directive, "global", report);
    return;
  }
  if (directives[directive.name].scope === "section") {
    report.error(position, `"${directive.name}" belongs inside a virtual section: indent it under its virtual= line`);
    return;
  }
  if (directive.name === "checkcount") warnOfCheckCount(directive.position, report);
  store(globals, directive.name, directive, undefined, report);
}

function readSectionLine(
  line: SourceLine,
  { content, offset }: { content: string; offset: number },
  section: Section,
  report: Report,
): void {
  const directive = readDirective(line, content, offset, true);
  const position = valueAt(line, content, offset, true).position(0);
  const name = directive?.name;
  if (directive === undefined || name === undefined || !isDirectiveName(name)) {
    const virtual = name === "virtual" || name === "virtual6";
    if (virtual) report.error(position, `"${name}" must start in column 1`);
    else reportUnknown(line, content, position, directive, "section", report);
    return;
  }
  if (directives[name].scope === "global") {
    report.error(position, `"${name}" is a global directive: it must start in column 1`);
    return;
  }
  const plain = name.replace(/6$/, "");
  if (plain === "real" || plain === "fallback") {
    const expected = section.family === "ipv6" ? `${plain}6` : plain;
    if (name !== expected) {
      const virtual = section.family === "ipv6" ? "virtual6" : "virtual";
      report.error(position, `expected "${expected}" in a section of "${virtual}", found "${name}"`);
      return;
    }
  }
  if (name === "checkcount") warnOfCheckCount(position, report);
  const context = { family: section.family, mark: section.virtual?.kind === "mark" };
  if (name === "protocol" && section.virtual === undefined) return;
  storeWithComment(line, directive, name, section.settings, context, report);
}

/**
 * ldirectord cuts a line at its first `#`. Where it then refuses what is left and the `#` stands inside quotes,
 * the quotes win; where it accepts what is left, so do we.
 */
function storeWithComment(
  line: SourceLine,
  directive: Directive,
  name: DirectiveName,
  settings: Settings,
  context: SectionContext,
  report: Report,
): void {
  const whole = cutCommentOutsideQuotes(line.text);
  if (whole === undefined || whole === cutComment(line.text)) {
    store(settings, name, directive, context, report);
    return;
  }
  const hash = { line: line.number, column: [...cutComment(line.text)].length + 1 };
  const scratch = createReport(report.file);
  store(settings, name, directive, context, scratch);
  const content = scratch.errors > 0 ? sectionContent(whole) : undefined;
  const wholeDirective = content && readDirective(line, content.content, content.offset, true);
  if (wholeDirective === undefined) {
    report.take(scratch);
    report.warn(hash, 'everything from this "#" on is a comment, as for ldirectord, although it stands in quotes');
    return;
  }
  const before = report.errors;
  store(settings, name, wholeDirective, context, report);
  if (report.errors === before) {
    report.warn(hash, 'this "#" inside quotes is part of the value; ldirectord refuses such a line');
  }
}

function store<Name extends DirectiveName>(
  settings: Settings,
  name: Name,
  { value, position }: Directive,
  context: SectionContext | undefined,
  report: Messages,
): void {
  const definition: DirectiveDefinition<DirectiveValues[Name]> = directives[name];
  const read = definition.read(
    value,
    {
      error: (at, message) => report.error(at, `${name}: ${message}`),
      warn: (at, message) => report.warn(at, `${name}: ${message}`),
    },
    context,
  );
  const earlier = lastOf(settings, name);
  if (earlier !== undefined && definition.repeats === undefined) {
    report.warn(position, `"${name}" stands on line ${earlier.position.line} already; the last one counts`);
  }
  if (read === undefined) return;
  const values: Located<DirectiveValues[Name]>[] = settings[name] ?? [];
  values.push({ value: read, position: value.position(0) });
  settings[name] = values as Settings[Name]; // The compiler does not relate the two indexed types.
}

function warnOfCheckCount(position: Position, report: Report): void {
  report.warn(position, '"checkcount" is deprecated and only counts the tries of a ping check; see failurecount');
}

function reportUnknown(
  line: SourceLine,
  content: string,
  position: Position,
  directive: Directive | undefined,
  scope: "global" | "section",
  report: Report,
): void {
  if (line.number === 1 && content.startsWith("\uFEFF")) {
    report.error(position, "the file begins with a byte-order mark: save it without one");
    return;
  }
  const name = directive?.name ?? /^[^ \t\r\n\f\v]*/.exec(content)?.[0] ?? "";
  const known = isDirectiveName(name) || name === "virtual" || name === "virtual6";
  if (directive === undefined && known) {
    report.error(position, `expected "=" after "${name}"`);
    return;
  }
  const similar = similarDirective(name, scope);
  const hint = similar === undefined ? "" : `; did you mean "${similar}"?`;
  const what =
    directive === undefined
      ? `expected a directive, found ${quote(content.trim())}`
      : `unknown directive ${quote(name)}`;
  report.error(position, what + hint);
}
