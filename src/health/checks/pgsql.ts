import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { QueryResult } from "pg";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { withSocket } from "../guarded-socket.ts";
import type { Speech } from "../guarded-socket.ts";
import { excerpt } from "../receive.ts";
import { tlsOptions } from "../tls.ts";
import type { TlsPolicy } from "../tls.ts";
import { enoughRows, judgeRows, maxAnswerMebibytes, prepareSql } from "./sql.ts";

/** SSLRequest: its length, and a number that is no version of the protocol; network byte order. */
const tlsRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const [yes, no] = [0x53, 0x4e];

/** pgsql: PostgreSQL, over TLS if the server has it, as libpq does by default. */
export function preparePgsql(spec: CheckSpec, { tls }: CheckSurroundings): Check {
  return prepareSql(spec, (statement, signal) => ask(spec, tls, statement, signal));
}

function ask(spec: CheckSpec, tls: TlsPolicy, statement: string, signal: AbortSignal): Promise<CheckOutcome> {
  const socket = connect({ host: spec.address, port: spec.port });
  const speak: Speech = async (waitFor) => {
    socket.once("connect", () => waitFor("answer to the request for TLS"));
    socket.write(tlsRequest);
    if (!(await offersTls(socket))) return await query(socket, spec, statement, waitFor);
    const secure = connectTls({ socket, host: spec.address, ...tlsOptions(tls, spec.virtualHost) });
    waitFor("TLS session");
    return await withSocket(secure, signal, () => query(secure, spec, statement, waitFor), maxAnswerMebibytes);
  };
  return withSocket(socket, signal, speak, maxAnswerMebibytes);
}

/** Reads the one byte that answers the request for TLS. */
function offersTls(socket: Socket): Promise<boolean> {
  return new Promise((resolve, reject) => {
    socket.once("data", (answer: Buffer) => {
      // More than a byte would be read by nobody, or come from somebody in the middle.
      if (answer.length === 1 && (answer[0] === yes || answer[0] === no)) resolve(answer[0] === yes);
      else reject(new Error(`the answer is not PostgreSQL: ${excerpt(answer)}`));
    });
  });
}

async function query(
  socket: Socket,
  spec: CheckSpec,
  statement: string,
  waitFor: (what: string) => void,
): Promise<CheckOutcome> {
  const { Client, Query } = await import("pg");
  return await new Promise((resolve, reject) => {
    // The library insists on connecting, and waits for the event.
    socket.connect = () => {
      setImmediate(() => socket.emit("connect"));
      return socket;
    };
    const client = new Client({
      stream: () => socket,
      host: spec.address,
      user: spec.login,
      // As a function, or an empty one is looked for in files.
      password: () => spec.password,
      database: spec.database === "" ? spec.login : spec.database,
      ssl: false,
    });
    client.on("error", reject);
    client.connect((error: Error | null) => {
      if (error !== null && error !== undefined) reject(error);
      else waitFor("result");
    });
    waitFor("login");
    const running = client.query(new Query(statement));
    let rows = 0;
    running.on("row", () => {
      rows += 1;
      if (rows >= enoughRows) resolve(judgeRows(rows));
    });
    running.on("error", reject);
    running.on("end", (result: QueryResult | QueryResult[]) => {
      // Of several statements the last one counts.
      resolve(judgeRows([result].flat().at(-1)?.rowCount ?? 0));
      void client.end();
    });
  });
}
