import { connect } from "node:net";
import type { Socket } from "node:net";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome } from "../check.ts";
import { withSocket } from "../guarded-socket.ts";
import { excerpt } from "../receive.ts";
import { enoughRows, judgeRows, maxAnswerMebibytes, prepareSql } from "./sql.ts";

const protocolVersion = 10;
const errorPacket = 255;

/** mysql: MySQL and MariaDB, without TLS, as ldirectord's library by default. */
export function prepareMysql(spec: CheckSpec): Check {
  return prepareSql(spec, (statement, signal) => ask(spec, statement, signal));
}

async function ask(spec: CheckSpec, statement: string, signal: AbortSignal): Promise<CheckOutcome> {
  const { createConnection } = await import("mysql2");
  const socket = connect({ host: spec.address, port: spec.port });
  const speak = (waitFor: (what: string) => void): Promise<CheckOutcome> =>
    new Promise((resolve, reject) => {
      socket.once("connect", () => waitFor("greeting"));
      checkGreeting(socket, () => waitFor("login"));
      const connection = createConnection({
        stream: socket,
        user: spec.login,
        password: spec.password,
        ...(spec.database === "" ? {} : { database: spec.database }),
        // The deadline is the attempt's.
        connectTimeout: 0,
        // Tells rows from the result of a statement that has none.
        rowsAsArray: true,
        // Rows are hardly looked at: no parser is compiled for them.
        disableEval: true,
      });
      connection.on("error", reject);
      // A packet out of order: thrown, or the library writes it to the terminal and goes on.
      connection.on("warn", (error: Error) => {
        throw error;
      });
      connection.once("connect", () => waitFor("result"));
      let rows = 0;
      const query = connection.query(statement);
      query.on("error", reject);
      query.on("result", (result: unknown) => {
        if (Array.isArray(result)) rows += 1;
        else rows += affectedRows(result);
        if (rows >= enoughRows) resolve(judgeRows(rows));
      });
      query.on("end", () => {
        resolve(judgeRows(rows));
        connection.end();
      });
    });
  return await withSocket(socket, signal, speak, maxAnswerMebibytes);
}

/**
 * Looks at the beginning of the first packet (3 bytes of length, little endian, a sequence number, and the version of the
 * protocol or 255 for an error) before the library does, which would take any length for true and wait for it.
 */
function checkGreeting(socket: Socket, onGood: () => void): void {
  let start = Buffer.alloc(0);
  const look = (chunk: Buffer): void => {
    start = Buffer.concat([start, chunk.subarray(0, 5)]);
    if (start.length < 5) return;
    socket.off("data", look);
    const [, , longest, sequence, kind] = start;
    if (longest === 0 && sequence === 0 && (kind === protocolVersion || kind === errorPacket)) onGood();
    else throw new Error(`the greeting is not MySQL: ${excerpt(start)}`);
  };
  socket.on("data", look);
}

function affectedRows(result: unknown): number {
  if (typeof result !== "object" || result === null || !("affectedRows" in result)) return 0;
  return Number(result.affectedRows);
}
