import type { Check } from "../check.ts";

/**
 * `checktype=N`: after a good negotiate check come `connects` connect checks, then a negotiate one again; whatever
 * fails, the next one is a negotiate check (ldirectord 4.12).
 */
export function combine(negotiate: Check, connect: Check, connects: number): Check {
  let connectsLeft = 0;
  return {
    get timeoutMs(): number {
      return connectsLeft > 0 ? connect.timeoutMs : negotiate.timeoutMs;
    },
    async attempt(signal) {
      const negotiates = connectsLeft === 0;
      const outcome = await (negotiates ? negotiate : connect).attempt(signal);
      if (!outcome.up) connectsLeft = 0;
      else connectsLeft = negotiates ? connects : connectsLeft - 1;
      return outcome;
    },
  };
}
