import { readFileSync } from "node:fs";
import { exitCodes, Failure } from "./failure.ts";

/** Bits of linux/capability.h. CAP_SYS_ADMIN contains the BPF ones. */
const needed = { CAP_NET_ADMIN: 12, CAP_NET_RAW: 13, CAP_PERFMON: 38, CAP_BPF: 39 } as const;
const CAP_SYS_ADMIN = 21;

/** Throws a {@link Failure} that names what the process may not do, before something half works. */
export function requirePrivileges(): void {
  const effective = effectiveCapabilities();
  const has = (bit: number): boolean => ((effective >> BigInt(bit)) & 1n) === 1n;
  const missing = Object.entries(needed)
    .filter(([, bit]) => !has(bit) && !(bit >= needed.CAP_PERFMON && has(CAP_SYS_ADMIN)))
    .map(([name]) => name);
  if (missing.length > 0) {
    throw new Failure(exitCodes.failure, `this needs root, or the missing ${missing.join(", ")}`);
  }
}

/** `CapEff` of /proc/self/status. */
function effectiveCapabilities(): bigint {
  const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return BigInt(`0x${match?.[1] ?? "0"}`);
}
