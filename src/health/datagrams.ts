import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { CheckOutcome } from "./check.ts";
import { describeError, isOwnTrouble } from "./check.ts";

export interface DatagramQuestion {
  /** An address. */
  readonly host: string;
  readonly port: number;
  /** Makes the datagram; called once, with the director's own address and port. */
  readonly request: (local: { readonly address: string; readonly port: number }) => Buffer | string;
  /** Sent again after so long, milliseconds each, while no answer is the last. */
  readonly resendAfterMs?: readonly number[];
  /** What an answer of the server is worth; undefined: it is none, another is waited for. */
  readonly judge: (answer: Buffer) => CheckOutcome | undefined;
}

/**
 * Asks by datagram. Only what comes from the asked address and port counts, and a refusal that comes back by ICMP. The
 * socket is closed when the promise settles; only what is the director's own trouble rejects.
 */
export function askByDatagram(
  { host, port, request, resendAfterMs = [], judge }: DatagramQuestion,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      resolve({ up: false, detail: "no answer in time" });
      return;
    }
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
    const timers: NodeJS.Timeout[] = [];
    let closed = false;
    let lastObjection = "no answer in time";
    const close = (): void => {
      if (closed) return;
      closed = true;
      for (const timer of timers) clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      socket.close();
    };
    const settle = (outcome: CheckOutcome): void => {
      resolve(outcome);
      close();
    };
    const onAbort = (): void => settle({ up: false, detail: lastObjection });
    // Stays for the socket's whole life: an error after the outcome goes nowhere.
    const onError = (error: Error): void => {
      if (isOwnTrouble(error)) {
        reject(error);
        close();
      } else settle({ up: false, detail: describeError(error) });
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("error", onError);
    socket.on("message", (answer) => {
      if (closed) return;
      const outcome = judge(answer);
      if (outcome !== undefined) settle(outcome);
      else lastObjection = "no good answer in time";
    });
    socket.on("connect", () => {
      const datagram = Buffer.from(request(socket.address()));
      const send = (): void => {
        if (!closed) socket.send(datagram, (error) => error !== null && onError(error));
      };
      send();
      for (const delayMs of resendAfterMs) timers.push(setTimeout(send, delayMs));
    });
    // Connected, so that the kernel drops what comes from others and tells of refusals.
    socket.connect(port, host);
  });
}
