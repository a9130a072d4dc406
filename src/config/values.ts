/** Readers of a directive's value: ldirectord 4.12's readings, with warnings where it reads less than was written. */
import type { Family } from "../model/service.ts";
import { quote } from "./diagnostics.ts";
import type { Messages } from "./diagnostics.ts";
import type { Value } from "./lex.ts";

/** The section a value stands in. */
export interface SectionContext {
  readonly family: Family;
  /** The virtual service is a firewall mark. */
  readonly mark: boolean;
}

/** Reads a value; undefined after an error was reported. `section` is undefined for a global directive. */
export type Reader<T> = (value: Value, report: Messages, section: SectionContext | undefined) => T | undefined;

const trailingBlanks = /[ \t\r\n\f\v]+$/;

/** Blanks and a comment: what may follow a value without being worth a word. */
function isNegligible(rest: string): boolean {
  return /^[ \t\r\n\f\v]*(#.*)?$/s.test(rest);
}

function warnOfRest(value: Value, report: Messages, read: string, start: number): void {
  const before = value.text.slice(0, start);
  const after = value.text.slice(start + read.length);
  if (before !== "" || !isNegligible(after)) {
    report.warn(value.position(0), `only ${quote(read)} of ${quote(value.text)} is read`);
  }
}

/** The first run of digits anywhere. `0` is refused unless `zero`; `00` is not, and is 0. */
export function number({ zero }: { zero: boolean }): Reader<number> {
  return (value, report) => {
    const match = /\d+/.exec(value.text);
    if (match === null) {
      report.error(value.position(0), `expected a number, found ${quote(value.text)}`);
      return undefined;
    }
    if (match[0] === "0" && !zero) {
      report.error(value.position(match.index), "expected a number greater than 0");
      return undefined;
    }
    warnOfRest(value, report, match[0], match.index);
    return Math.min(Number(match[0]), Number.MAX_SAFE_INTEGER);
  };
}

/** A number of seconds, in which ldirectord refuses `00` too when the directive is global. */
export const timeout: Reader<number> = (value, report, section) => {
  const seconds = number({ zero: false })(value, report, section);
  if (seconds === 0 && section === undefined) {
    report.error(value.position(0), "expected a number greater than 0");
    return undefined;
  }
  return seconds;
};

/** Digits at the very start; 0 is allowed. */
export const leadingNumber: Reader<number> = (value, report) => {
  const match = /^\d+/.exec(value.text);
  if (match === null) {
    report.error(value.position(0), `expected a number, found ${quote(value.text)}`);
    return undefined;
  }
  warnOfRest(value, report, match[0], 0);
  return Math.min(Number(match[0]), Number.MAX_SAFE_INTEGER);
};

/** Splits off blanks or a comment after a value that ldirectord takes only when nothing follows it. */
function exact(value: Value): { text: string; warn: (report: Messages) => void } {
  const match = /^(.*?)([ \t\r\n\f\v]*#.*|[ \t\r\n\f\v]+)$/s.exec(value.text);
  if (match === null) return { text: value.text, warn: () => undefined };
  const text = match[1] ?? "";
  const ignored = (match[2] ?? "").includes("#") ? "a comment" : "blanks";
  return {
    text,
    warn: (report) =>
      report.warn(value.position(text.length), `ldirectord refuses ${ignored} after this value; ignored here`),
  };
}

/** Exactly `yes` or `no`. */
export const yesNo: Reader<boolean> = (value, report) => {
  const { text, warn } = exact(value);
  if (text === "yes" || text === "no") {
    warn(report);
    return text === "yes";
  }
  const hint = /^"?(yes|no)"?$/i.test(text) ? ", in lower case and without quotes" : "";
  report.error(value.position(0), `expected yes or no${hint}, found ${quote(value.text)}`);
  return undefined;
};

/** The first run of word characters, out of a list. */
export function word<const T extends string>(words: readonly T[], characters: "word" | "word-" = "word"): Reader<T> {
  const run = characters === "word" ? /\w+/ : /[\w-]+/;
  return (value, report) => {
    const match = run.exec(value.text);
    const found = words.find((each) => each === match?.[0]);
    if (match === null || found === undefined) {
      const lower = words.find((each) => each === match?.[0].toLowerCase());
      report.error(
        value.position(match?.index ?? 0),
        lower === undefined
          ? `expected ${list(words)}, found ${quote(value.text)}`
          : `expected ${lower} in lower case, found ${quote(value.text)}`,
      );
      return undefined;
    }
    warnOfRest(value, report, match[0], match.index);
    return found;
  };
}

/** `a, b or c`. */
export function list(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** From a `"` to the line's last `"`; no escapes, inner quotes are kept. Quotes are required. */
export function quoted({ empty }: { empty: boolean }): Reader<string> {
  return (value, report) => {
    const match = /^"(.*)"/s.exec(value.text);
    if (match === null) {
      const found = value.text === "" ? "nothing" : quote(value.text);
      const hint = value.text.startsWith('"') ? ": the closing quote is missing" : "";
      report.error(value.position(0), `expected a value in double quotes, found ${found}${hint}`);
      return undefined;
    }
    const text = match[1] ?? "";
    if (text === "" && !empty) {
      report.error(value.position(0), "expected a value that is not empty");
      return undefined;
    }
    if (!isNegligible(value.text.slice(match[0].length))) {
      report.warn(value.position(match[0].length), "what follows the closing quote is ignored");
    }
    return text;
  };
}

/** Everything to the line's end. Blanks at the end are dropped, in which ldirectord differs. */
export function bare({ empty }: { empty: boolean }): Reader<string> {
  return (value, report, section) => {
    const text = value.text.replace(trailingBlanks, "");
    if (text === "" && !empty) {
      report.error(value.position(0), "expected a value that is not empty");
      return undefined;
    }
    if (section === undefined && /(^|\s)#/.test(text)) {
      report.warn(value.position(text.indexOf("#")), "this comment is part of the value, as for ldirectord");
    }
    return text;
  };
}

/** Quoted, or else everything to the line's end. */
export function quotedOrBare({ empty }: { empty: boolean }): Reader<string> {
  return (value, report, section) =>
    /^".*"/s.test(value.text) ? quoted({ empty })(value, report, section) : bare({ empty })(value, report, section);
}

/** A bare value whose quotes stay part of it. */
export function verbatim(warning: string): Reader<string> {
  return (value, report, section) => {
    const text = bare({ empty: false })(value, report, section);
    if (text?.startsWith('"')) report.warn(value.position(0), warning);
    return text;
  };
}

/** A Host header: what is before the first quote, after one at the start. */
export const virtualHost: Reader<string> = (value) =>
  (/^"?([^"]*)"?/.exec(value.text)?.[1] ?? "").replace(trailingBlanks, "");

/** Bare, or wholly in one pair of quotes. Addresses separated by commas. */
export const emailAddresses: Reader<readonly string[]> = (value, report, section) => {
  const text = bare({ empty: false })(value, report, section)?.replace(/^"([^"]*)"$/, "$1");
  if (text === "") report.error(value.position(0), "expected an email address");
  if (text === undefined || text === "") return undefined;
  return text
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each !== "");
};

export const emailStatuses = ["starting", "running", "stopping", "reloading"] as const;
export type EmailStatus = (typeof emailStatuses)[number];

/** A list out of all, none, starting, running, stopping and reloading. */
export const emailAlertStatus: Reader<readonly EmailStatus[]> = (value, report) => {
  const { text, warn } = exact(value);
  warn(report);
  const items = text.split(/[ \t\r\n\f\v]*,[ \t\r\n\f\v]*/);
  while (items.at(-1) === "") items.pop();
  const statuses = new Set<EmailStatus>();
  for (const item of items) {
    const status = emailStatuses.find((each) => each === item);
    if (status !== undefined) statuses.add(status);
    else if (item === "all") emailStatuses.forEach((each) => statuses.add(each));
    else if (item !== "none") {
      report.error(value.position(0), `expected ${list(["all", "none", ...emailStatuses])}, found ${quote(item)}`);
      return undefined;
    }
  }
  if (items.includes("none") && statuses.size > 0) {
    report.error(value.position(0), "none cannot stand beside other states");
    return undefined;
  }
  return emailStatuses.filter((each) => statuses.has(each));
};

/** The leading run of the characters a host name is made of. */
export const mailServer: Reader<string> = (value, report) => {
  const match = /^[0-9A-Za-z._+-]+/.exec(value.text);
  if (match === null) {
    report.error(value.position(0), `expected the address of an SMTP server, found ${quote(value.text)}`);
    return undefined;
  }
  warnOfRest(value, report, match[0], 0);
  return match[0];
};

/** The first run of lower-case letters; whether IPVS has such a scheduler is judged later. */
export const scheduler: Reader<string> = (value, report) => {
  const match = /[a-z]+/.exec(value.text);
  if (match === null) {
    report.error(value.position(0), `expected a scheduler in lower-case letters, found ${quote(value.text)}`);
    return undefined;
  }
  warnOfRest(value, report, match[0], match.index);
  return match[0];
};

/** The first run of non-blank characters. */
export const schedulerFlags: Reader<readonly string[]> = (value, report) => {
  const match = /[^ \t\r\n\f\v]+/.exec(value.text);
  if (match === null) {
    report.error(value.position(0), "expected scheduler flags, such as sh-port,sh-fallback");
    return undefined;
  }
  warnOfRest(value, report, match[0], match.index);
  return match[0].split(",").filter((each) => each !== "");
};

/** The prefix length of a netmask: IPv4 as a dotted quad, IPv6 as a number from 1 to 128. */
export const netmask: Reader<{ readonly prefix: number } | { readonly refused: string }> = (value, report, section) => {
  const { text, warn } = exact(value);
  warn(report);
  if (section?.family === "ipv6") {
    const prefix = /^\d+$/.test(text) ? Number(text) : 0;
    if (prefix >= 1 && prefix <= 128) return { prefix };
    report.error(value.position(0), `expected a prefix length from 1 to 128, found ${quote(value.text)}`);
    return undefined;
  }
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(text)) {
    report.error(value.position(0), `expected a netmask such as 255.255.255.0, found ${quote(value.text)}`);
    return undefined;
  }
  const octets = text.split(".").map((each) => (/^0[0-7]+$/.test(each) ? Number.parseInt(each, 8) : Number(each)));
  if (octets.some((each) => each > 255)) return { refused: `there is no netmask ${text}` };
  const mask = octets.reduce((sum, each) => sum * 256 + each, 0);
  const prefix = mask.toString(2).replace(/0*$/, "").length * (mask === 0 ? 0 : 1);
  if (mask !== (prefix === 0 ? 0 : 2 ** 32 - 2 ** (32 - prefix))) {
    report.error(value.position(0), `expected a netmask whose ones stand before its zeros, found ${quote(text)}`);
    return undefined;
  }
  return { prefix };
};

/** `tcp` or `udp`; for a firewall mark `fwm` only. */
export const protocol: Reader<"tcp" | "udp" | "fwm"> = (value, report, section) =>
  word(section?.mark === true ? (["fwm"] as const) : (["tcp", "udp"] as const))(value, report, section);

export const checkPort: Reader<number> = (value, report, section) => {
  const port = number({ zero: true })(value, report, section);
  if (port === undefined || (port >= 1 && port <= 65535)) return port;
  report.error(value.position(0), `expected a port from 1 to 65535, found ${quote(value.text)}`);
  return undefined;
};

export const httpMethod: Reader<"GET" | "HEAD"> = (value, report) => {
  const match = /\w+/.exec(value.text);
  const method = match?.[0].toUpperCase();
  if (match === null || (method !== "GET" && method !== "HEAD")) {
    report.error(value.position(0), `expected GET or HEAD, found ${quote(value.text)}`);
    return undefined;
  }
  warnOfRest(value, report, match[0], match.index);
  return method;
};

/** A name that ldirectord once knew. */
export function refused(message: string): Reader<never> {
  return (value, report) => {
    report.error(value.position(0), message);
    return undefined;
  };
}
