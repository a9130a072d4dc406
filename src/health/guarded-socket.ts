import type { Socket } from "node:net";
import type { CheckOutcome } from "./check.ts";
import { describeError, isOwnTrouble } from "./check.ts";

/** What a server may send in one attempt, MiB, unless told otherwise. */
const defaultMaxMebibytes = 1;

/** What a protocol library does with the socket; `waitFor` says what it waits for from now on: `the answer`. */
export type Speech = (waitFor: (what: string) => void) => Promise<CheckOutcome>;

/**
 * One attempt of a check whose protocol a library speaks, on a socket that is ours, connected or about to be. The socket
 * is closed when the promise settles, and at once when the signal aborts. What the library throws in a listener of the
 * socket, because a server sends what no server should, is an outcome and never an exception of the daemon.
 */
export function withSocket(
  socket: Socket,
  signal: AbortSignal,
  speak: Speech,
  maxMebibytes = defaultMaxMebibytes,
): Promise<CheckOutcome> {
  return new Promise((resolve, reject) => {
    let waitsFor = "connection";
    const settle = (outcome: CheckOutcome): void => {
      resolve(outcome);
      socket.destroy();
    };
    const fail = (error: unknown): void => {
      if (isOwnTrouble(error)) {
        reject(error instanceof Error ? error : new Error(String(error)));
        socket.destroy();
      } else settle({ up: false, detail: describeError(error) });
    };
    guardListeners(socket, fail);
    socket.on("data", () => {
      if (socket.bytesRead <= maxMebibytes << 20) return;
      settle({ up: false, detail: `more than ${maxMebibytes} MiB from the server` });
    });
    socket.on("close", () => settle({ up: false, detail: `connection closed, no ${waitsFor}` }));
    const onAbort = (): void => settle({ up: false, detail: `no ${waitsFor} in time` });
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    speak((what) => (waitsFor = what)).then((outcome) => {
      resolve(outcome);
      // The library has said goodbye; that is still sent, and nothing is waited for.
      socket.destroySoon();
    }, fail);
  });
}

/** Hands on every error of the socket, even if a library has removed all listeners, and every exception of a listener. */
function guardListeners(socket: Socket, fail: (error: unknown) => void): void {
  const emit = socket.emit.bind(socket) as (...event: unknown[]) => boolean;
  socket.emit = (...event: unknown[]): boolean => {
    if (event[0] === "error") fail(event[1]);
    try {
      return emit(...event);
    } catch (error) {
      fail(error);
      return true;
    }
  };
}
