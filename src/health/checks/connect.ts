import { connect } from "node:net";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck, describeError, isOwnTrouble } from "../check.ts";
import { preparePing } from "./ping.ts";

/** A TCP connection that is closed at once; under a UDP service a ping (ldirectord 4.12). */
export function prepareConnect(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  if (spec.protocol === "udp") return preparePing(spec, surroundings);
  if (spec.port === 0) return constantCheck({ up: false, detail: "no port to connect to" });
  return { timeoutMs: spec.checkTimeoutMs, attempt: (signal) => connectOnce(spec.address, spec.port, signal) };
}

function connectOnce(address: string, port: number, signal: AbortSignal): Promise<CheckOutcome> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    const settle = (outcome: CheckOutcome): void => {
      resolve(outcome);
      socket.destroy();
    };
    signal.addEventListener("abort", () => settle({ up: false, detail: "no connection in time" }), { once: true });
    socket.on("connect", () => settle({ up: true, detail: "connected" }));
    // Stays for the socket's whole life: an error after the outcome goes nowhere.
    socket.on("error", (error) => {
      if (isOwnTrouble(error)) reject(error);
      else settle({ up: false, detail: describeError(error) });
    });
  });
}
