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
const realPattern = new RegExp(
  String.raw`(${hostPattern})(?:->(${hostPattern}))?(?::([A-Za-z0-9_-]+))?[ \t\r\f\v]+(.*)`,
  "ds",
);
const realForm = 'HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]';

/**
 * A cursor over what follows a real server's address: ldirectord looks for each part anywhere in what is left,
 * and forgets what stands before it.
 */
class Remainder {
  text: string;
  readonly #value: Value;
  #offset: number;

  constructor(value: Value, offset: number) {
    this.#value = value;
    this.#offset = offset;
    this.text = value.text.slice(offset);
  }

  get position(): Position {
    return this.#value.position(this.#offset + (/[^ \t\r\f\v]/.exec(this.text)?.index ?? 0));
  }

  /** The groups of the pattern if it is found, each with its position; what is up to its end is consumed. */
  take(pattern: RegExp): { skipped: string; groups: Name[] } | undefined {
    const match = pattern.exec(this.text);
    if (match === null) return undefined;
    const groups = (match.indices ?? []).slice(1).map((range, index) => ({
      text: match[index + 1] ?? "",
      position: this.#value.position(this.#offset + (range?.[0] ?? 0)),
    }));
    const skipped = this.text.slice(0, match.index);
    this.#offset += match.index + match[0].length;
    this.text = this.text.slice(match.index + match[0].length);
    return { skipped, groups };
  }
}

export const real: Reader<RealLine> = (value, report, section) => {
  const match = realPattern.exec(value.text);
  const [, first = "", end, port, rest = ""] = match ?? [];
  const indices = match?.indices;
  if (match === null || indices === undefined) {
    report.error(value.position(0), `expected ${realForm}, found ${quote(value.text)}`);
    return undefined;
  }
  const at = (group: number): Position => value.position(indices[group]?.[0] ?? 0);
  if (match.index > 0) {
    const garbage = value.text.slice(0, match.index);
    if (section?.family === "ipv6" && garbage.includes(":")) {
      report.error(value.position(0), "an IPv6 address must stand in brackets, such as [2001:db8::1]:80");
      return undefined;
    }
    report.warn(value.position(0), `${quote(garbage)} is ignored: the real server is read as ${quote(match[0])}`);
  }

  const remainder = new Remainder(value, value.text.length - rest.length);
  const methodAt = remainder.position;
  const methodWord = remainder.take(/(\w+)/d);
  const method = forwardingMethods.find((each) => each === methodWord?.groups[0]?.text);
  if (method === undefined) {
    const found = methodWord?.groups[0]?.text ?? "";
    report.error(methodAt, `expected the forwarding method ${list(forwardingMethods)}, found ${quote(found)}`);
    return undefined;
  }
  const skipped: string[] = [methodWord?.skipped ?? ""];

  const weightAt = remainder.position;
  const weight = remainder.take(/[ \t\r\f\v]+(\d+)/d);
  const weightInQuotes = weight?.skipped.includes('"') ?? false;
  const pair = remainder.take(/[ \t\r\f\v]+"(.*)"[, ][ \t\r\f\v]*"(.*)"/ds);
  const lower = remainder.take(/[ \t\r\f\v]+l:(\d+)/d);
  const upper = remainder.take(/[ \t\r\f\v]+u:(\d+)/d);
  skipped.push(...[weight, pair, lower, upper].map((part) => part?.skipped ?? ""));

  const request = pair?.groups[0];
  const receive = pair?.groups[1];
  const leadingSlash = request?.text.startsWith("/") ?? false;
  if (!isNegligible(remainder.text)) {
    const message = `${quote(remainder.text.trim())} cannot be read; expected ${realForm}`;
    if (!leadingSlash) {
      const hint = weightInQuotes
        ? "; a number after blanks inside quotes is taken for the weight: write a weight"
        : "";
      report.error(remainder.position, message + hint);
      return undefined;
    }
    // ldirectord forgets the rest of such a line without looking at it.
    report.warn(remainder.position, `ignored: ${message}`);
  }
  const forgotten = skipped.filter((each) => !isNegligible(each)).join(" ");
  if (forgotten !== "") report.warn(methodAt, `${quote(forgotten.trim())} on this line is ignored`);
  if (leadingSlash && request !== undefined) {
    report.warn(
      request.position,
      'the request and receive of this line are used; ldirectord ignores them when the request is written with a leading "/"',
    );
  }
  if (request !== undefined && /^[lu]:\d+$/.test(request.text)) {
    report.warn(
      request.position,
      "quoted thresholds are read as a request and a receive; write l:N u:N without quotes",
    );
  }
  const cap = (digits: string | undefined, otherwise: number): number =>
    digits === undefined ? otherwise : Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
  return {
    host: { text: withoutBrackets(first), position: at(1) },
    ...(end !== undefined && { end: { text: withoutBrackets(end), position: at(2) } }),
    ...(port !== undefined && { port: { text: port, position: at(3) } }),
    method,
    weight: cap(weight?.groups[0]?.text, 1),
    weightPosition: weight?.groups[0]?.position ?? weightAt,
    ...(request !== undefined &&
      receive !== undefined && {
        pair: {
          request: leadingSlash ? request.text : `/${request.text}`,
          receive: receive.text,
          receivePosition: receive.position,
        },
      }),
    lowerThreshold: cap(lower?.groups[0]?.text, 0),
    upperThreshold: cap(upper?.groups[0]?.text, 0),
  };
};

/** `HOST[:PORT] [gate|masq|ipip]`: the last one or two words of the line count. */
export const fallback: Reader<FallbackLine> = (value, report) => {
  const words = [...value.text.matchAll(/[^ \t\r\f\v]+/g)];
  const [server, methodWord] = words.length > 1 ? words.slice(-2) : words;
  const method = methodWord === undefined ? "gate" : forwardingMethods.find((each) => each === methodWord[0]);
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
  const text = server?.[0] ?? "";
  const offset = server?.index ?? 0;
  const port = /:([A-Za-z0-9_-]+)$/.exec(text)?.[1];
  const host = port === undefined ? text : text.slice(0, -port.length - 1);
  return {
    host: { text: withoutBrackets(host), position: value.position(offset) },
    ...(port !== undefined && { port: { text: port, position: value.position(offset + text.length - port.length) } }),
    method,
  };
};
