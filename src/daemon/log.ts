/** Where log lines go: ldirectord's `logfile`, a syslog facility, journald, and a terminal. pino decides what is a line. */
import { closeSync, fstatSync, openSync, statSync, writeSync } from "node:fs";
import { basename } from "node:path";
import { pino } from "pino";
import type { Logger } from "pino";
import { printCtime } from "../model/ctime.ts";
import type { Native } from "../native.ts";
import { sendUnixDatagram } from "./unix-datagram.ts";

/** `logfile` cannot be opened: an error of the configuration, as in ldirectord. */
export class LogFileError extends Error {
  constructor(path: string, cause: unknown) {
    super(`unable to open logfile: ${path}: ${(cause as Error).message}`, { cause });
    this.name = "LogFileError";
  }
}

/** One place that log lines go to. Writing never throws: a full disk must not end the daemon. */
interface Sink {
  write(line: LogLine): void;
  /** Follows a rotation at once. */
  reopen(): void;
  close(): void;
}

interface LogLine {
  readonly time: Date;
  /** pino's numbers: 30 info, 40 warn, 50 error, 60 fatal. */
  readonly level: number;
  readonly text: string;
}

/** Where the system's logs listen, and under which name lines are found there. */
export interface SystemLog {
  readonly syslog: string;
  readonly journal: string;
  readonly tag: string;
}

export const systemLog: SystemLog = { syslog: "/dev/log", journal: "/run/systemd/journal/socket", tag: "xlb" };

/** The daemon's log. Its destination can be replaced while it is in use, which a reload may ask for. */
export class DaemonLog {
  readonly logger: Logger;
  readonly #name: string;
  readonly #native: () => Native;
  readonly #terminal: Sink | undefined;
  readonly #system: SystemLog;
  #target = "";
  #sink: Sink | undefined;

  /**
   * `configFile` gives the log its name, as in ldirectord. `terminal` is a descriptor that gets every line too.
   * The addon is asked for only when `system`'s log is written to.
   */
  constructor(configFile: string, native: () => Native, terminal?: number, system: SystemLog = systemLog) {
    this.#system = system;
    this.#name = basename(configFile);
    this.#native = native;
    this.#terminal = terminal === undefined ? undefined : new DescriptorSink(terminal, (line) => this.#print(line));
    this.logger = pino({ base: null, level: "info" }, { write: (json: string) => this.#write(json) });
  }

  /**
   * Sends lines to a file (`/path`, appended to), to a syslog facility, or to `journald` from now on. Throws
   * {@link LogFileError} if the file cannot be opened, and goes on as before.
   */
  open(target: string): void {
    if (target === this.#target) return;
    const sink = this.#makeSink(target);
    this.#sink?.close();
    this.#sink = sink;
    this.#target = target;
  }

  #makeSink(target: string): Sink {
    if (target.startsWith("/")) return new FileSink(target, (line) => this.#print(line));
    const { syslog, journal } = this.#system;
    const warn = (message: string): void => this.#warn(message);
    const native = this.#native();
    return target === "journald"
      ? new DatagramSink(journal, journalSender(native, this.#system), warn)
      : new DatagramSink(syslog, syslogSender(native, this.#system, target, warn), warn);
  }

  reopen(): void {
    this.#sink?.reopen();
  }

  close(): void {
    this.#sink?.close();
    this.#sink = undefined;
    this.#target = "";
  }

  #write(json: string): void {
    const record = JSON.parse(json) as { level: number; time: number; msg?: string; err?: { stack?: string } };
    const stack = record.err?.stack === undefined ? "" : `: ${record.err.stack.replaceAll(/\n\s*/g, " | ")}`;
    const line = { time: new Date(record.time), level: record.level, text: `${record.msg ?? ""}${stack}` };
    this.#sink?.write(line);
    this.#terminal?.write(line);
  }

  /** A trouble of the log itself goes where a person may see it. */
  #warn(text: string): void {
    process.stderr.write(`xlb: ${text}\n`);
  }

  /** `[Sun Nov 22 21:49:49 2026|ldirectord.cf|4711] Added real server: ...`: ldirectord's line, in local time. */
  #print({ time, level, text }: LogLine): string {
    return `[${printCtime(time)}|${this.#name}|${process.pid}] ${severityOf(level).prefix}${text}\n`;
  }
}

/** Syslog's severity and what stands before the text in a file. */
function severityOf(level: number): { readonly severity: number; readonly prefix: string } {
  if (level >= 60) return { severity: 2, prefix: "Fatal: " };
  if (level >= 50) return { severity: 3, prefix: "Error: " };
  if (level >= 40) return { severity: 4, prefix: "Warning: " };
  return { severity: 6, prefix: "" };
}

class DescriptorSink implements Sink {
  readonly #fd: number;
  readonly #print: (line: LogLine) => string;

  constructor(fd: number, print: (line: LogLine) => string) {
    this.#fd = fd;
    this.#print = print;
  }

  write(line: LogLine): void {
    try {
      writeSync(this.#fd, this.#print(line));
    } catch {
      // The terminal or the reader of the pipe went away; the log file has the line.
    }
  }

  reopen(): void {}

  close(): void {}
}

/** Notices at every line whether the file was renamed or removed, so a rotation needs no signal. */
class FileSink implements Sink {
  readonly #path: string;
  readonly #print: (line: LogLine) => string;
  #fd: number;
  /** Device and inode of what is open. */
  #identity: string;

  constructor(path: string, print: (line: LogLine) => string) {
    this.#path = path;
    this.#print = print;
    try {
      this.#fd = openSync(path, "a", 0o644);
    } catch (cause) {
      throw new LogFileError(path, cause);
    }
    this.#identity = identityOf(fstatSync(this.#fd));
  }

  write(line: LogLine): void {
    if (this.#moved()) this.reopen();
    try {
      writeSync(this.#fd, this.#print(line));
    } catch (cause) {
      process.stderr.write(`xlb: cannot write ${this.#path}: ${(cause as Error).message}: ${this.#print(line)}`);
    }
  }

  reopen(): void {
    try {
      const fd = openSync(this.#path, "a", 0o644);
      closeSync(this.#fd);
      this.#fd = fd;
      this.#identity = identityOf(fstatSync(fd));
    } catch (cause) {
      // Better the rotated file than none.
      process.stderr.write(`xlb: cannot open ${this.#path} again: ${(cause as Error).message}\n`);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #moved(): boolean {
    try {
      return identityOf(statSync(this.#path)) !== this.#identity;
    } catch {
      return true; // Whatever keeps it from being seen.
    }
  }
}

function identityOf(stats: { readonly dev: number; readonly ino: number }): string {
  return `${stats.dev}:${stats.ino}`;
}

/** Numbers of RFC 3164. */
const facilities: Readonly<Record<string, number>> = {
  kern: 0, user: 1, mail: 2, daemon: 3, auth: 4, security: 4, syslog: 5, lpr: 6, news: 7, uucp: 8, cron: 9,
  authpriv: 10, ftp: 11, local0: 16, local1: 17, local2: 18, local3: 19, local4: 20, local5: 21, local6: 22, local7: 23,
}; // prettier-ignore

type Send = (line: LogLine) => void;

/** RFC 3164. */
function syslogSender(
  native: Native,
  { syslog, tag }: SystemLog,
  facility: string,
  warn: (message: string) => void,
): Send {
  const number = facilities[facility];
  // ldirectord takes any word for a facility, and syslog(3) files unknown ones under `user`.
  if (number === undefined) warn(`unknown syslog facility ${facility}; daemon is used`);
  return ({ time, level, text }) => {
    const priority = (number ?? 3) * 8 + severityOf(level).severity;
    const stamp = printCtime(time).slice(4, 19);
    sendUnixDatagram(native, syslog, Buffer.from(`<${priority}>${stamp} ${tag}[${process.pid}]: ${text}`));
  };
}

/** journald's own protocol: a field a line, none of which holds a newline here. */
function journalSender(native: Native, { journal, tag }: SystemLog): Send {
  return ({ level, text }) => {
    const { severity } = severityOf(level);
    const message = `MESSAGE=${text.replaceAll("\n", " ")}\nPRIORITY=${severity}\nSYSLOG_IDENTIFIER=${tag}\n`;
    sendUnixDatagram(native, journal, Buffer.from(message));
  };
}

/** Datagrams to a log daemon. Without one lines go to standard error, and the first says why. */
class DatagramSink implements Sink {
  readonly #socket: string;
  readonly #send: Send;
  readonly #warn: (message: string) => void;
  #warned = false;

  constructor(socket: string, send: Send, warn: (message: string) => void) {
    this.#socket = socket;
    this.#send = send;
    this.#warn = warn;
  }

  write(line: LogLine): void {
    try {
      this.#send(line);
      this.#warned = false;
    } catch (cause) {
      if (!this.#warned) this.#warn(`no log daemon at ${this.#socket} (${(cause as Error).message}); logging here`);
      this.#warned = true;
      this.#warn(line.text);
    }
  }

  reopen(): void {}

  close(): void {}
}
