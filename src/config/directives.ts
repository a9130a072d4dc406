/**
 * Every directive of ldirectord 4.12: where it may stand, how its value is read, its default, one line of help.
 * Where ldirectord's program and its manual differ, the program counts.
 */
import { checkServices } from "../model/config.ts";
import type { CheckType, Position } from "../model/config.ts";
import { fallback, real } from "./endpoints.ts";
import type { FallbackLine, RealLine } from "./endpoints.ts";
import { quote } from "./diagnostics.ts";
import {
  bare,
  checkPort,
  emailAddresses,
  emailAlertStatus,
  httpMethod,
  leadingNumber,
  mailServer,
  netmask,
  number,
  protocol,
  quoted,
  quotedOrBare,
  refused,
  scheduler,
  schedulerFlags,
  timeout,
  verbatim,
  virtualHost,
  word,
  yesNo,
} from "./values.ts";
import type { EmailStatus, Reader } from "./values.ts";

/** What each directive's value is once read. */
export interface DirectiveValues {
  readonly autoreload: boolean;
  readonly callback: string;
  readonly checkcommand: string;
  readonly checkcount: number;
  readonly checkinterval: number;
  readonly checkport: number;
  readonly checktimeout: number;
  readonly checktype: CheckType;
  readonly cleanstop: boolean;
  readonly comment: string;
  readonly connecttimeout: never;
  readonly database: string;
  readonly emailalert: readonly string[];
  readonly emailalertfreq: number;
  readonly emailalertfrom: string;
  readonly emailalertstatus: readonly EmailStatus[];
  readonly execute: string;
  readonly failurecount: number;
  readonly fallback: FallbackLine;
  readonly fallback6: FallbackLine;
  readonly fallbackcommand: string;
  readonly fork: boolean;
  readonly httpmethod: "GET" | "HEAD";
  readonly load: string;
  readonly logfile: string;
  readonly login: string;
  readonly maintenancedir: string;
  readonly monitorfile: string;
  readonly negotiatetimeout: number;
  readonly netmask: { readonly prefix: number } | { readonly refused: string };
  readonly ops: boolean;
  readonly passwd: string;
  readonly persistent: number;
  readonly protocol: "tcp" | "udp" | "fwm";
  readonly quiescent: boolean;
  readonly readdquiescent: boolean;
  readonly real: RealLine;
  readonly real6: RealLine;
  readonly receive: string;
  readonly request: string;
  readonly schedflags: readonly string[];
  readonly scheduler: string;
  readonly secret: string;
  readonly service: (typeof checkServices)[number];
  readonly servicename: string;
  readonly smtp: string;
  readonly supervised: boolean;
  readonly timeout: never;
  readonly virtualhost: string;
}
export type DirectiveName = keyof DirectiveValues;

/** A value and where it stands. */
export interface Located<T> {
  readonly value: T;
  readonly position: Position;
}

/** What was set, in the order of the file: the last one of a kind counts, but each `real` and `execute` does. */
export type Settings = { [Name in DirectiveName]?: Located<DirectiveValues[Name]>[] };

/** The value that counts. */
export function lastOf<Name extends DirectiveName>(
  settings: Settings,
  name: Name,
): Located<DirectiveValues[Name]> | undefined {
  const located: readonly Located<DirectiveValues[Name]>[] | undefined = settings[name];
  return located?.at(-1);
}

export type Scope = "global" | "section" | "both";

export interface DirectiveDefinition<T> {
  readonly scope: Scope;
  readonly read: Reader<T>;
  /** As a user would write it; empty: none. */
  readonly default: string;
  readonly help: string;
  /** Each one counts, not only the last. */
  readonly repeats?: true;
}

const checkTypes = ["connect", "external", "external-perl", "negotiate", "off", "on", "ping"] as const;

/** One of the words, or any value with a digit in it: a number of connect checks for each negotiate check. */
const checkType: Reader<CheckType> = (value, report, section) => {
  if (!/\d/.test(value.text)) {
    const kind = word(checkTypes, "word-")(value, report, section);
    return kind === undefined ? undefined : { kind };
  }
  const connects = number({ zero: true })(value, report, section);
  return connects === undefined ? undefined : { kind: "combined", connects };
};

/** ldirectord reads `load` for nothing but wants a word character in it. */
const load: Reader<string> = (value, report, section) => {
  const text = quoted({ empty: false })(value, report, section);
  if (text === undefined || /\w/.test(text)) return text;
  report.error(value.position(0), `expected a letter or digit in quotes, found ${quote(value.text)}`);
  return undefined;
};

const request: Reader<string> = (value, report, section) => {
  const text = quoted({ empty: false })(value, report, section);
  return text === undefined || text.startsWith("/") ? text : `/${text}`;
};

/** In a section quotes go; a global value keeps them, for the shell. */
const fallbackCommand: Reader<string> = (value, report, section) =>
  section === undefined
    ? verbatim("these quotes reach the shell, which takes all that is in them for the name of the program")(
        value,
        report,
        section,
      )
    : quotedOrBare({ empty: false })(value, report, section);

/** The name of a configuration. Of an empty one ldirectord's own command line makes the usual one. */
const execute: Reader<string> = (value, report, section) => {
  if (value.text.trim() !== "") return verbatim("the quotes are part of the name")(value, report, section);
  report.warn(value.position(0), "without a name this is the usual configuration, ldirectord.cf");
  return "ldirectord.cf";
};

const positive = number({ zero: false });
const text = quoted({ empty: false });

export const directives: { readonly [Name in DirectiveName]: DirectiveDefinition<DirectiveValues[Name]> } = {
  autoreload: { scope: "global", read: yesNo, default: "no", help: "Read the file again when it has changed." },
  callback: {
    scope: "global",
    read: quoted({ empty: true }),
    default: "",
    help: "Program run with the file's path after the file has changed.",
  },
  checkcommand: {
    scope: "section",
    read: quotedOrBare({ empty: false }),
    default: "/bin/true",
    help: "Program of external checks.",
  },
  checkcount: { scope: "both", read: positive, default: "1", help: "Tries of a ping check; see failurecount." },
  checkinterval: {
    scope: "both",
    read: positive,
    default: "10",
    help: "Seconds between two checks; in a section only with fork=yes.",
  },
  checkport: {
    scope: "section",
    read: checkPort,
    default: "",
    help: "Port the checks go to, if not the real server's.",
  },
  checktimeout: {
    scope: "both",
    read: timeout,
    default: "5",
    help: "Seconds for a connect, external or ping check; default negotiatetimeout if that is set.",
  },
  checktype: {
    scope: "section",
    read: checkType,
    default: "negotiate",
    help: "How real servers are checked; a number N: one negotiate check, then N connect checks.",
  },
  cleanstop: { scope: "both", read: yesNo, default: "yes", help: "Remove the virtual services when stopped." },
  comment: { scope: "section", read: bare({ empty: true }), default: "", help: "Text for emails." },
  connecttimeout: {
    scope: "both",
    read: refused('"connecttimeout" is no longer known: write negotiatetimeout'),
    default: "",
    help: "Refused: write negotiatetimeout.",
  },
  database: { scope: "section", read: text, default: "", help: "Database of mysql, pgsql and oracle checks." },
  emailalert: { scope: "both", read: emailAddresses, default: "", help: "Who gets emails about real servers." },
  emailalertfreq: {
    scope: "both",
    read: leadingNumber,
    default: "0",
    help: "Seconds between repeated emails about a real server that is down; 0: none.",
  },
  emailalertfrom: { scope: "global", read: bare({ empty: false }), default: "", help: "Sender of emails." },
  emailalertstatus: {
    scope: "both",
    read: emailAlertStatus,
    default: "all",
    help: "When to send emails: starting, running, stopping, reloading, all or none.",
  },
  execute: {
    scope: "global",
    read: execute,
    default: "",
    help: "Another configuration, served by a process of its own.",
    repeats: true,
  },
  failurecount: {
    scope: "both",
    read: positive,
    default: "1",
    help: "Consecutive failures that take a real server down.",
  },
  fallback: { scope: "both", read: fallback, default: "", help: "Server used while no real server is up." },
  fallback6: { scope: "both", read: fallback, default: "", help: "The same for IPv6 services." },
  fallbackcommand: {
    scope: "both",
    read: fallbackCommand,
    default: "",
    help: "Command run with start or stop when the last real server goes down or the first one comes up.",
  },
  fork: { scope: "global", read: yesNo, default: "no", help: "Check each virtual service at its own checkinterval." },
  httpmethod: { scope: "section", read: httpMethod, default: "GET", help: "Method of http and https checks." },
  load: { scope: "section", read: load, default: "", help: "Read and ignored." },
  logfile: {
    scope: "global",
    read: quoted({ empty: true }),
    default: "/var/log/ldirectord.log",
    help: "Absolute path of the log file, or else a syslog facility.",
  },
  login: {
    scope: "section",
    read: text,
    default: "",
    help: "User of ftp, imap, ldap, pop, radius, sip and SQL checks.",
  },
  maintenancedir: {
    scope: "global",
    read: verbatim("the quotes are part of the path"),
    default: "",
    help: "Directory in which a file named like a real server takes it down.",
  },
  monitorfile: {
    scope: "section",
    read: quotedOrBare({ empty: false }),
    default: "",
    help: "File to which the result of every check is written.",
  },
  negotiatetimeout: {
    scope: "both",
    read: timeout,
    default: "30",
    help: "Seconds for a negotiate check; default checktimeout if that is set.",
  },
  netmask: {
    scope: "section",
    read: netmask,
    default: "255.255.255.255",
    help: "Clients of one such network share a real server, if persistent; for IPv6 a prefix length.",
  },
  ops: { scope: "section", read: yesNo, default: "no", help: "Schedule every UDP datagram on its own." },
  passwd: { scope: "section", read: text, default: "", help: "Password that goes with login." },
  persistent: {
    scope: "section",
    read: number({ zero: true }),
    default: "",
    help: "Seconds for which a client stays with its real server.",
  },
  protocol: {
    scope: "section",
    read: protocol,
    default: "tcp",
    help: "tcp or udp, default udp if the port is written 53 or domain; fwm for a firewall mark.",
  },
  quiescent: {
    scope: "both",
    read: yesNo,
    default: "no",
    help: "A real server that is down gets weight 0 instead of being removed.",
  },
  readdquiescent: {
    scope: "global",
    read: yesNo,
    default: "no",
    help: "With quiescent, add a real server that is down with weight 0 if it is not there.",
  },
  real: {
    scope: "section",
    read: real,
    default: "",
    help: 'HOST[->HOST][:PORT] gate|masq|ipip [WEIGHT] ["REQUEST", "RECEIVE"] [l:N] [u:N]',
    repeats: true,
  },
  real6: { scope: "section", read: real, default: "", help: "The same in a virtual6 section.", repeats: true },
  receive: {
    scope: "section",
    read: text,
    default: "",
    help: "Perl regular expression that a good answer matches.",
  },
  request: { scope: "section", read: request, default: "/", help: "What a negotiate check asks for." },
  schedflags: { scope: "section", read: schedulerFlags, default: "", help: "Flags of the scheduler, as ipvsadm -b." },
  scheduler: { scope: "section", read: scheduler, default: "wrr", help: "How connections are spread." },
  secret: { scope: "section", read: text, default: "", help: "Shared secret of radius checks." },
  service: {
    scope: "section",
    read: word(checkServices),
    default: "",
    help: "What a negotiate check speaks; default by the virtual service's port.",
  },
  servicename: { scope: "section", read: bare({ empty: true }), default: "", help: "Name for emails." },
  smtp: { scope: "both", read: mailServer, default: "", help: "Mail server; default the local mail program." },
  supervised: { scope: "global", read: yesNo, default: "no", help: "Stay in the foreground and log to stdout." },
  timeout: {
    scope: "both",
    read: refused('"timeout" is no longer known: write checktimeout and negotiatetimeout'),
    default: "",
    help: "Refused: write checktimeout and negotiatetimeout.",
  },
  virtualhost: { scope: "section", read: virtualHost, default: "", help: "Host header of http and https checks." },
};

export function isDirectiveName(name: string): name is DirectiveName {
  return Object.hasOwn(directives, name);
}

/** The directive that was probably meant; undefined if none is near. */
export function similarDirective(name: string, scope: Scope): string | undefined {
  const known = [...Object.keys(directives), "virtual", "virtual6"].filter(
    (each) => !isDirectiveName(each) || directives[each].scope === "both" || directives[each].scope === scope,
  );
  const lower = name.toLowerCase();
  const limit = lower.length < 5 ? 1 : 2;
  let best: { name: string; distance: number } | undefined;
  for (const each of known) {
    if (Math.abs(each.length - lower.length) > limit) continue;
    const distance = editDistance(lower, each);
    if (distance <= limit && (best === undefined || distance < best.distance)) best = { name: each, distance };
  }
  return best?.name;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
