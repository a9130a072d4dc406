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
  const startedMs = performance.now();
  let graceTimer: NodeJS.Timeout | undefined;
  let giveUp = (): void => undefined;
  const abort = (): void => {
    controller.abort();
    graceTimer ??= setTimeout(giveUp, graceMs);
  };
  const deadline = setTimeout(abort, check.timeoutMs);
  const result = new Promise<CheckResult>((resolve, reject) => {
    const settle = ({ up, detail }: CheckOutcome): void => {
      clearTimeout(deadline);
      clearTimeout(graceTimer);
      resolve({ up, detail, durationMs: performance.now() - startedMs });
    };
    giveUp = () => settle({ up: false, detail: "no end in time" });
    check.attempt(controller.signal).then(settle, (error: unknown) => {
      clearTimeout(deadline);
      clearTimeout(graceTimer);
      reject(error instanceof Error ? error : new Error(String(error)));
    });
  });
  return { result, cancel: abort };
}
