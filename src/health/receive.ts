import type { CheckSpec } from "../model/config.ts";
import type { Native } from "../native.ts";
import { constantCheck, describeError } from "./check.ts";
import type { Check, CheckSurroundings } from "./check.ts";

/** Judges an answer: undefined if it is good, else why not, on one line for people. */
export type Receive = (answer: Buffer) => string | undefined;

/**
 * `receive`, a Perl regular expression that is looked for anywhere in the answer; empty: any answer will do. Throws if
 * it is not one.
 */
export function compileReceive(pattern: string, native: Pick<Native, "regexCompile" | "regexTest">): Receive {
  if (pattern === "") return () => undefined;
  const regex = native.regexCompile(pattern);
  return (answer) => {
    try {
      return native.regexTest(regex, answer) ? undefined : `receive does not match ${excerpt(answer)}`;
    } catch (error) {
      return `receive: ${describeError(error)}`;
    }
  };
}

/** The beginning of an answer, fit for one line of a log. */
export function excerpt(answer: Buffer): string {
  const text = answer.toString("latin1", 0, 40).replaceAll(/[^\x20-\x7e]+/g, " ");
  return `${JSON.stringify(text)}${answer.length > 40 ? "..." : ""}`;
}

/** The check that `prepare` makes with the compiled `receive`; if that is no regular expression, one that says so. */
export function withReceive(
  { receive }: CheckSpec,
  { native }: Pick<CheckSurroundings, "native">,
  prepare: (receive: Receive) => Check,
): Check {
  try {
    return prepare(compileReceive(receive, native));
  } catch (error) {
    return constantCheck({ up: false, detail: `receive: ${describeError(error)}` });
  }
}
