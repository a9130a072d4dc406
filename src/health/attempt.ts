import type { CheckResult } from "../model/health.ts";
import type { Check, CheckOutcome } from "./check.ts";

/** How long a check may take to close its sockets after its deadline, milliseconds. */
const graceMs = 1000;

export interface Attempt {
  /** Rejects if the director itself is in trouble, or the check has a bug. */
  readonly result: Promise<CheckResult>;
  /** Ends the attempt early; the result then means nothing. */
  readonly cancel: () => void;
}

/** Starts one attempt with one deadline for all it does. */
export function startAttempt(check: Check): Attempt {
  const controller = new AbortController();
  const { timeoutMs } = check;
  const startedMs = performance.now();
  let graceTimer: NodeJS.Timeout | undefined;
  const overdue = new Promise<CheckOutcome>((resolve) => {
    controller.signal.addEventListener(
      "abort",
      () => (graceTimer = setTimeout(() => resolve({ up: false, detail: "no end in time" }), graceMs)),
      { once: true },
    );
  });
  const deadline = setTimeout(() => controller.abort(), timeoutMs);
  const run = async (): Promise<CheckResult> => {
    try {
      const outcome = await Promise.race([check.attempt(controller.signal), overdue]);
      return { ...outcome, durationMs: performance.now() - startedMs };
    } finally {
      clearTimeout(deadline);
      clearTimeout(graceTimer);
    }
  };
  return { result: run(), cancel: () => controller.abort() };
}
