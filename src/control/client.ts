/** The asking side of the control socket. */
import { createConnection } from "node:net";
import { join } from "node:path";
import type { Reply, Request } from "./protocol.ts";

/** No daemon answers on the control socket. */
export class NotRunningError extends Error {
  constructor(stateDir: string, options?: ErrorOptions) {
    super(`no daemon answers in ${stateDir}; start one with \`xlb start\``, options);
    this.name = "NotRunningError";
  }
}

/** Where the daemon of a state directory listens. */
export function socketPath(stateDir: string): string {
  return join(stateDir, "xlb.sock");
}

/** JSON members that hold a moment. */
const moments: ReadonlySet<string> = new Set(["at", "since", "deadline", "startedAt", "configLoadedAt"]);

/** Reads one reply line; moments become `Date`s again. */
export function parseReply(line: string): Reply {
  return JSON.parse(line, (key, value: unknown) =>
    moments.has(key) && typeof value === "string" ? new Date(value) : value,
  ) as Reply;
}

/**
 * Sends one request to the daemon of `stateDir` and returns its reply.
 * Throws {@link NotRunningError} when nobody listens there or the daemon goes away before it has answered,
 * and the signal's reason when it aborts.
 */
export async function ask(stateDir: string, request: Request, signal?: AbortSignal): Promise<Reply> {
  signal?.throwIfAborted();
  const socket = createConnection({ path: socketPath(stateDir) });
  const abort = (): void => {
    socket.destroy(signal?.reason instanceof Error ? signal.reason : new Error("aborted"));
  };
  signal?.addEventListener("abort", abort, { once: true });
  let received = "";
  try {
    socket.setEncoding("utf8");
    socket.write(`${JSON.stringify(request)}\n`);
    for await (const chunk of socket) {
      received += chunk as string;
      const end = received.indexOf("\n");
      if (end >= 0) return parseReply(received.slice(0, end));
    }
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ECONNRESET" || code === "EPIPE") {
      throw new NotRunningError(stateDir, { cause });
    }
    throw new Error(`cannot ask the daemon at ${socketPath(stateDir)}: ${(cause as Error).message}`, { cause });
  } finally {
    signal?.removeEventListener("abort", abort);
    socket.destroy();
  }
  throw new NotRunningError(stateDir);
}
