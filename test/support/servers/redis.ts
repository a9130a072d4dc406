import { accepts, loopbackOfThisProcess, missingPrograms, serverDirectory, startDaemon } from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const redisIsMissing = missingPrograms("/usr/bin/redis-server");

export interface Redis extends Daemon {
  readonly address: string;
  readonly port: number;
}

/** Redis, which speaks by lines. */
export async function startRedis(): Promise<Redis> {
  const directory = serverDirectory("redis");
  const [address, port] = [loopbackOfThisProcess(), 16_379];
  const settings = { bind: address, port, dir: directory, save: "", databases: 1 };
  const daemon = await startDaemon({
    command: "/usr/bin/redis-server",
    parameters: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    directory,
    isReady: () => accepts(address, port),
  });
  return { ...daemon, address, port };
}
