import type { CheckSpec } from "../model/config.ts";
import type { Native } from "../native.ts";
import type { EchoSockets } from "./echo-sockets.ts";
import type { HostNames } from "./host-names.ts";
import type { TlsPolicy } from "./tls.ts";

/** What one attempt found; `detail` is one line for people. */
export interface CheckOutcome {
  readonly up: boolean;
  readonly detail: string;
}

/**
 * The check of one spec, ready to be tried again and again; attempts never overlap.
 *
 * An implementer promises: everything that does not change is computed when the check is prepared; an unhealthy server
 * is an outcome, and a rejected promise means that the director itself is in trouble ({@link isOwnTrouble}), which says
 * nothing about the server; when the signal aborts, all sockets close and the promise settles at once, with an
 * outcome that tells what was waited for; nothing fires afterwards.
 */
export interface Check {
  /** Time allowed for the whole next attempt, milliseconds. */
  readonly timeoutMs: number;
  attempt(signal: AbortSignal): Promise<CheckOutcome>;
}

/** What checks share and need from outside. */
export interface CheckSurroundings {
  readonly native: Pick<Native, "regexCompile" | "regexTest">;
  readonly echo: EchoSockets;
  readonly names: HostNames;
  readonly userAgent: string;
  readonly tls: TlsPolicy;
}

export type PrepareCheck = (spec: CheckSpec, surroundings: CheckSurroundings) => Check;

/** The director cannot make the check: this says nothing about the server. */
export class OwnTrouble extends Error {}

/** The errors of a system that has run out of something. */
const ownTroubleCodes: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN"]);

export function isOwnTrouble(error: unknown): boolean {
  return error instanceof OwnTrouble || ownTroubleCodes.has(errorCode(error));
}

/** The errno name of a system error, else "". */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

const plainWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset by the server",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network unreachable",
  ETIMEDOUT: "connection timed out",
  EPIPE: "connection closed by the server",
  EACCES: "permission denied",
  EPERM: "not permitted",
  ENOENT: "no such file",
};

/** One line that says what went wrong. */
export function describeError(error: unknown): string {
  const words = plainWords[errorCode(error)];
  if (words !== undefined) return words;
  // What OpenSSL objects to; its message is a line of its source.
  if (error instanceof Error && "library" in error && "reason" in error) return `TLS: ${String(error.reason)}`;
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, " ");
}

/** A check that never needs to ask. */
export function constantCheck(outcome: CheckOutcome): Check {
  return { timeoutMs: 1000, attempt: () => Promise.resolve(outcome) };
}
