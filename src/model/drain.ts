import { printEndpoint } from "./service.ts";

/** A real server that the operator takes out of service by hand, wherever it is one. */
export interface Drain {
  /** `192.0.2.1` for all ports of it, `192.0.2.1:80`, `[2001:db8::1]:80`. */
  readonly realServer: string;
  readonly since: Date;
  /** Then it is taken away, and clients that are left are told by a reset; absent: they may stay. */
  readonly deadline?: Date;
}

/** `draining`: no new connections, the live ones go on; `ended`: its deadline is over, and it is taken away. */
export type DrainStage = "serving" | "draining" | "ended";

export function drainStage(drains: readonly Drain[], address: string, port: number, now: Date): DrainStage {
  const own = drains.filter(({ realServer }) => realServer === address || realServer === printEndpoint(address, port));
  if (own.length === 0) return "serving";
  return own.some(({ deadline }) => deadline !== undefined && deadline <= now) ? "ended" : "draining";
}
