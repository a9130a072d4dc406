import { Worker } from "node:worker_threads";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome } from "../check.ts";
import { constantCheck, describeError, isOwnTrouble } from "../check.ts";
import { prepareSql } from "./sql.ts";

/** What the worker is told. */
export interface OracleQuestion {
  readonly address: string;
  readonly port: number;
  readonly login: string;
  readonly password: string;
  /** The database's system identifier. */
  readonly sid: string;
  readonly statement: string;
}

/** What may stand in a connect descriptor as it is. */
const plainWord = /^[\w.$#-]+$/;

/**
 * oracle: `database` is the SID, as in ldirectord 4.12. Oracle's own client, which is an optional package, makes its
 * sockets itself and lets nobody close them, so that each attempt has a thread of its own, which ends with the deadline.
 */
export function prepareOracle(spec: CheckSpec): Check {
  const { address, port, login, password, database } = spec;
  if (!plainWord.test(database))
    return constantCheck({ up: false, detail: "there is no database (SID) to connect to" });
  return prepareSql(spec, (statement, signal) =>
    askInThread({ address, port, login, password, sid: database, statement }, signal),
  );
}

async function askInThread(question: OracleQuestion, signal: AbortSignal): Promise<CheckOutcome> {
  if (signal.aborted) return { up: false, detail: "not started" };
  const worker = new Worker(new URL("./oracle-worker.js", import.meta.url), {
    workerData: question,
    // Nothing that it writes gets to the daemon's terminal.
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: 64 },
  });
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => resolve({ up: false, detail: "no result in time" }), { once: true });
      worker.on("message", resolve);
      worker.on("error", (error) => {
        if (isOwnTrouble(error)) reject(error);
        else resolve({ up: false, detail: describeError(error) });
      });
      worker.on("exit", () => resolve({ up: false, detail: "the client ended without a result" }));
    });
  } finally {
    await worker.terminate();
  }
}
