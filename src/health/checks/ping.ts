import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { describeError, isOwnTrouble } from "../check.ts";

/** Up to `checkcount` ICMP echo requests, each waiting `checktimeout`; IPv6 too, which ldirectord cannot. */
export function preparePing(spec: CheckSpec, { echo }: CheckSurroundings): Check {
  const attempt = async (signal: AbortSignal): Promise<CheckOutcome> => {
    try {
      for (let tries = 0; tries < spec.checkCount && !signal.aborted; tries++) {
        if (await echo.ask(spec.address, spec.checkTimeoutMs, signal)) return { up: true, detail: "echo reply" };
      }
    } catch (error) {
      if (isOwnTrouble(error)) throw error;
      return { up: false, detail: `echo request: ${describeError(error)}` };
    }
    return { up: false, detail: `no echo reply, ${spec.checkCount} sent` };
  };
  return { timeoutMs: spec.checkTimeoutMs * spec.checkCount, attempt };
}
