import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome } from "../check.ts";
import { constantCheck } from "../check.ts";

/** After so many rows a server has shown that it answers, and the rest is not waited for. */
export const enoughRows = 100;
/** What those rows may be at the most, MiB. */
export const maxAnswerMebibytes = 16;

/**
 * What the checks of databases have in common: log in, run the request without its leading `/`, up if there is a row, or
 * a row was changed. Without login or request they are down (ldirectord 4.12).
 */
export function prepareSql(
  spec: CheckSpec,
  ask: (statement: string, signal: AbortSignal) => Promise<CheckOutcome>,
): Check {
  const statement = spec.request.replace(/^\//, "");
  if (spec.port === 0) return constantCheck({ up: false, detail: "no port to connect to" });
  if (spec.login === "") return constantCheck({ up: false, detail: "there is no login to log in with" });
  if (statement === "") return constantCheck({ up: false, detail: "there is no request to run" });
  return { timeoutMs: spec.negotiateTimeoutMs, attempt: (signal) => ask(statement, signal) };
}

export function judgeRows(rows: number): CheckOutcome {
  if (rows === 0) return { up: false, detail: "no rows" };
  if (rows >= enoughRows) return { up: true, detail: `${enoughRows} rows or more` };
  return { up: true, detail: rows === 1 ? "1 row" : `${rows} rows` };
}
