/**
 * Lines of a configuration file and what they are made of, with positions.
 * The rules are ldirectord 4.12's: a section's lines are indented by 4 columns or more, where each tab counts as 4
 * wherever it stands; inside a section `#` cuts a line before anything else is looked at.
 */
import type { Position } from "../model/config.ts";

/** White space as Perl's `\s` knows it in bytes; JavaScript's knows more. */
const blanks = /^[ \t\r\n\f\v]*$/;
const comment = /^[ \t\r\n\f\v]*#/;
const tabWidth = 4;

export interface SourceLine {
  /** From 1. */
  readonly number: number;
  /** Without line feed. A carriage return before that is a blank at the end of the line. */
  readonly text: string;
  /** The line's bytes are not UTF-8 and were taken for ISO 8859-1. */
  readonly notUtf8: boolean;
}

/** What stands after a directive's `=`, with the white space in front of it gone. */
export interface Value {
  readonly text: string;
  /** The place in the file of a character of `text`. */
  position(offset: number): Position;
}

export interface Directive {
  readonly name: string;
  readonly position: Position;
  readonly value: Value;
}

/** Splits into lines. Bytes are UTF-8; a line that is not is taken for ISO 8859-1. */
export function readLines(source: string | Uint8Array): SourceLine[] {
  const isText = typeof source === "string";
  const lines = (isText ? source : Buffer.from(source).toString("latin1")).split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line, index) => {
    const { text, notUtf8 } = isText ? { text: line, notUtf8: false } : decode(line);
    return { number: index + 1, text, notUtf8 };
  });
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(latin1: string): { text: string; notUtf8: boolean } {
  if (!/[\x80-\xff]/.test(latin1)) return { text: latin1, notUtf8: false };
  try {
    return { text: utf8.decode(Buffer.from(latin1, "latin1")), notUtf8: false };
  } catch {
    // Not UTF-8, which the caller reports.
    return { text: latin1, notUtf8: true };
  }
}

export function isBlank(text: string): boolean {
  return blanks.test(text);
}

export function isComment(text: string): boolean {
  return comment.test(text);
}

export function expandTabs(text: string): string {
  return text.replaceAll("\t", " ".repeat(tabWidth));
}

/** Everything before the first `#`: ldirectord's reading of a section's line. */
export function cutComment(text: string): string {
  const hash = text.indexOf("#");
  return hash === -1 ? text : text.slice(0, hash);
}

/** Everything before the first `#` outside double quotes; undefined if a quote stays open. */
export function cutCommentOutsideQuotes(text: string): string | undefined {
  let quoted = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (character === '"') quoted = !quoted;
    else if (character === "#" && !quoted) return text.slice(0, index);
  }
  return quoted ? undefined : text;
}

/** What a section's line holds after its indentation, tabs expanded; undefined if it is not indented enough. */
export function sectionContent(text: string): { content: string; offset: number } | undefined {
  const expanded = expandTabs(text);
  const indentation = /^ {4,}/.exec(expanded)?.[0].length;
  if (indentation === undefined || (indentation === expanded.length && indentation === tabWidth)) return undefined;
  return { content: expanded.slice(indentation), offset: indentation };
}

/** The column in the line as written of an offset in the line with tabs expanded. */
function columnOf(written: string, expandedOffset: number): number {
  let offset = 0;
  let column = 1;
  for (const character of written) {
    offset += character === "\t" ? tabWidth : character.length;
    if (offset > expandedOffset) break;
    column += 1;
  }
  return column;
}

/** A value of a line. `offset` is where `text` begins in the line, counted with tabs expanded if `expanded`. */
export function valueAt(line: SourceLine, text: string, offset: number, expanded: boolean): Value {
  return {
    text,
    position: (within) => ({
      line: line.number,
      column: expanded ? columnOf(line.text, offset + within) : [...line.text.slice(0, offset + within)].length + 1,
    }),
  };
}

const directive = /^([^ \t\r\n\f\v="#]*)[ \t\r\n\f\v]*=[ \t\r\n\f\v]*/;

/** `NAME = VALUE`, or undefined if that is not what stands there. */
export function readDirective(
  line: SourceLine,
  content: string,
  offset: number,
  expanded: boolean,
): Directive | undefined {
  const match = directive.exec(content);
  if (match === null) return undefined;
  return {
    name: match[1] ?? "",
    position: valueAt(line, content, offset, expanded).position(0),
    value: valueAt(line, content.slice(match[0].length), offset + match[0].length, expanded),
  };
}
