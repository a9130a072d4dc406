/** The lines that name servers: `virtual`, `real` and `fallback`, read as ldirectord 4.12 reads them, unresolved. */
import type { Position } from "../model/config.ts";
import { forwardingMethods } from "../model/service.ts";
import type { Family, ForwardingMethod } from "../model/service.ts";
import { quote } from "./diagnostics.ts";
import type { Messages } from "./diagnostics.ts";
import type { Value } from "./lex.ts";
import { list } from "./values.ts";
import type { Reader } from "./values.ts";

/** A host or service name, or a number, as written. Brackets around an IPv6 address are gone. */
export interface Name {
  readonly text: string;
  readonly position: Position;
}

export type VirtualLine =
  | { readonly kind: "address"; readonly host: Name; readonly port: Name }
  | { readonly kind: "mark"; readonly digits: string };

export interface RealLine {
  readonly host: Name;
  /** The last address of a range. */
  readonly end?: Name;
  readonly port?: Name;
  readonly method: ForwardingMethod;
  readonly weight: number;
  readonly weightPosition: Position;
  readonly pair?: { readonly request: string; readonly receive: string; readonly receivePosition: Position };
  readonly lowerThreshold: number;
  readonly upperThreshold: number;
}

export interface FallbackLine {
  readonly host: Name;
  readonly port?: Name;
  readonly method: ForwardingMethod;
}

function withoutBrackets(text: string): string {
  return /\[(.*)\]/s.exec(text)?.[1] ?? text;
}

function isNegligible(rest: string): boolean {
  return /^[ \t\r\f\v]*(#.*)?$/s.test(rest);
}

/** What opens a section; undefined after an error was reported. */
export function readVirtual(value: Value, family: Family, report: Messages): VirtualLine | undefined {
  const { text } = value;
  const bracketed = /^\[([0-9A-Fa-f:]+)\]:([0-9A-Za-z_-]+)/.exec(text);
  if (bracketed !== null && family === "ipv4") {
    report.error(value.position(0), 'an IPv6 address belongs in "virtual6="');
    return undefined;
  }
  const named = bracketed ?? /^([0-9A-Za-z._+-]+):([0-9A-Za-z_-]+)/.exec(text);
  if (named !== null) {
    const [whole, host = "", port = ""] = named;
    if (!isNegligible(text.slice(whole.length))) {
      report.warn(value.position(whole.length), "what follows the port is ignored");
    }
    return {
      kind: "address",
      host: { text: host, position: value.position(bracketed === null ? 0 : 1) },
      port: { text: port, position: value.position(whole.length - port.length) },
    };
  }
  const mark = /^\d+/.exec(text)?.[0];
  if (mark !== undefined) {
    const rest = text.slice(mark.length);
    if (/^\.\d+\.\d+\.\d+/.test(rest)) {
      report.warn(value.position(0), `without a port this is not an address but the firewall mark ${mark}`);
    } else if (!isNegligible(rest)) {
      report.warn(value.position(mark.length), `what follows the firewall mark ${mark} is ignored`);
    }
    return { kind: "mark", digits: mark };
  }
  const example = family === "ipv4" ? "ADDRESS:PORT, HOST:PORT" : "[ADDRESS]:PORT, HOST:PORT";
  report.error(value.position(0), `expected ${example} or a firewall mark, found ${quote(text)}`);
  return undefined;
}

const hostPattern = String.raw`\d+\.\d+\.\d+\.\d+|[A-Za-z0-9.-]+|\[[0-9A-fa-f:]+\]`;
// As in all patterns of `Remainder`, each character that matches is in a group.
const realPattern = new RegExp(
  String.raw`(${hostPattern})(?:(->)(${hostPattern}))?(?:(:)([A-Za-z0-9_-]+))?([ \t\r\f\v]+)`,
);
const realForm = 'HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]';

/** One part of a line. */
interface Part {
  /** What stands before it and is forgotten. */
  readonly skipped: string;
  /** The text of a group; undefined if it took no part in the match. */
  group(index: number): string | undefined;
  position(index: number): Position;
}

/** What is left of a line: ldirectord looks for each part anywhere in it, and forgets what stands before that. */
class Remainder {
  text: string;
  readonly #value: Value;
  #offset = 0;

  constructor(value: Value) {
    this.#value = value;
    this.text = value.text;
  }

  get position(): Position {
    return this.#value.position(this.#offset + (/[^ \t\r\f\v]/.exec(this.text)?.index ?? 0));
  }

  /**
   * Consumes what is up to the end of the first match. The pattern consists of nothing but groups, side by side,
   * so that a group's place is the sum of the lengths before it.
   */
  take(pattern: RegExp): Part | undefined {
    const match = pattern.exec(this.text);
    if (match === null) return undefined;
    const value = this.#value;
    const start = this.#offset + match.index;
    const part: Part = {
      skipped: this.text.slice(0, match.index),
      group: (index) => match[index],
      position: (index) =>
        value.position(match.slice(1, index).reduce((sum, group) => sum + (group?.length ?? 0), start)),
    };
    this.#offset = start + match[0].length;
    this.text = this.text.slice(match.index + match[0].length);
    return part;
  }
}

export const real: Reader<RealLine> = (value, report, section) => {
  const remainder = new Remainder(value);
  const server = remainder.take(realPattern);
  const [host, end, port] = [server?.group(1), server?.group(3), server?.group(5)];
  if (server === undefined || host === undefined) {
    report.error(value.position(0), `expected ${realForm}, found ${quote(value.text)}`);
    return undefined;
  }
  if (server.skipped !== "") {
    if (section?.family === "ipv6" && server.skipped.includes(":")) {
      report.error(value.position(0), "an IPv6 address must stand in brackets, such as [2001:db8::1]:80");
      return undefined;
    }
    const read = value.text.slice(server.skipped.length);
    report.warn(value.position(0), `${quote(server.skipped)} is ignored: the real server is read as ${quote(read)}`);
  }

  const methodAt = remainder.position;
  const methodWord = remainder.take(/(\w+)/);
  const method = forwardingMethods.find((each) => each === methodWord?.group(1));
  if (method === undefined) {
    const found = quote(methodWord?.group(1) ?? "");
    report.error(methodAt, `expected the forwarding method ${list(forwardingMethods)}, found ${found}`);
    return undefined;
  }
  const weight = remainder.take(/([ \t\r\f\v]+)(\d+)/);
  const pair = remainder.take(/([ \t\r\f\v]+")(.*)("[, ][ \t\r\f\v]*")(.*)(")/s);
  const lower = remainder.take(/([ \t\r\f\v]+l:)(\d+)/);
  const upper = remainder.take(/([ \t\r\f\v]+u:)(\d+)/);

  const request = pair?.group(2);
  const receive = pair?.group(4);
  const leadingSlash = request?.startsWith("/") ?? false;
  if (!isNegligible(remainder.text)) {
    const message = `${quote(remainder.text.trim())} cannot be read; expected ${realForm}`;
    if (!leadingSlash) {
      const hint = weight?.skipped.includes('"')
        ? "; a number after blanks inside quotes is taken for the weight: write a weight"
        : "";
      report.error(remainder.position, message + hint);
      return undefined;
    }
    // ldirectord forgets the rest of such a line without looking at it.
    report.warn(remainder.position, `ignored: ${message}`);
  }
  for (const { skipped } of [methodWord, weight, pair, lower, upper].filter((part) => part !== undefined)) {
    if (!isNegligible(skipped)) report.warn(methodAt, `${quote(skipped.trim())} on this line is ignored`);
  }
  if (pair !== undefined && leadingSlash) {
    report.warn(
      pair.position(2),
      'the request and receive of this line are used; ldirectord ignores them when the request is written with a leading "/"',
    );
  }
  if (pair !== undefined && /^[lu]:\d+$/.test(request ?? "")) {
    const message = "quoted thresholds are read as a request and a receive; write l:N u:N without quotes";
    report.warn(pair.position(2), message);
  }
  return {
    host: { text: withoutBrackets(host), position: server.position(1) },
    ...(end !== undefined && { end: { text: withoutBrackets(end), position: server.position(3) } }),
    ...(port !== undefined && { port: { text: port, position: server.position(5) } }),
    method,
    weight: boundedNumber(weight?.group(2) ?? "1"),
    weightPosition: weight?.position(2) ?? methodAt,
    ...(pair !== undefined &&
      request !== undefined &&
      receive !== undefined && {
        pair: { request: leadingSlash ? request : `/${request}`, receive, receivePosition: pair.position(4) },
      }),
    lowerThreshold: boundedNumber(lower?.group(2) ?? "0"),
    upperThreshold: boundedNumber(upper?.group(2) ?? "0"),
  };
};

function boundedNumber(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
}

/** `HOST[:PORT] [gate|masq|ipip]`: the last one or two words of the line count. */
export const fallback: Reader<FallbackLine> = (value, report) => {
  const words = [...value.text.matchAll(/[^ \t\r\n\f\v]+/g)];
  const [server, methodWord] = words.length > 1 ? words.slice(-2) : words;
  // For Perl the word 0 is as good as none.
  const isNone = methodWord === undefined || methodWord[0] === "0";
  const method = isNone ? "gate" : forwardingMethods.find((each) => each === methodWord[0]);
  if (method === undefined) {
    const found = methodWord?.[0] ?? "";
    const hint = value.text.includes("#") ? "; no comment can follow here" : "";
    report.error(
      value.position(methodWord?.index ?? 0),
      `expected the forwarding method ${list(forwardingMethods)}, found ${quote(found)}${hint}`,
    );
    return undefined;
  }
  if (words.length > 2) report.warn(value.position(0), "only the last two words of this line are read");
  if (methodWord !== undefined && isNone) report.warn(value.position(methodWord.index), "this 0 is ignored");
  const [text, offset] = [server?.[0] ?? "", server?.index ?? 0];
  const port = /:([A-Za-z0-9_-]+)$/.exec(text)?.[1];
  const host = port === undefined ? text : text.slice(0, -port.length - 1);
  // ldirectord asks the resolver for the empty name, which is the loopback address.
  if (host === "") report.warn(value.position(offset), "without an address the fallback is this machine's loopback");
  return {
    host: { text: withoutBrackets(host), position: value.position(offset) },
    ...(port !== undefined && { port: { text: port, position: value.position(offset + text.length - port.length) } }),
    method,
  };
};
