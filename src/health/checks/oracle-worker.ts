/** The thread of one attempt of an oracle check; posts its outcome. */
import { parentPort, workerData } from "node:worker_threads";
import type { CheckOutcome } from "../check.ts";
import { describeError, errorCode } from "../check.ts";
import type { OracleQuestion } from "./oracle.ts";
import { enoughRows, judgeRows } from "./sql.ts";

async function ask({ address, port, login, password, sid, statement }: OracleQuestion): Promise<CheckOutcome> {
  const { default: oracledb } = await import("oracledb");
  const connection = await oracledb.getConnection({
    user: login,
    password,
    connectString: `(DESCRIPTION=(RETRY_COUNT=0)(ADDRESS=(PROTOCOL=tcp)(HOST=${address})(PORT=${port}))(CONNECT_DATA=(SID=${sid})))`,
  });
  const { rows, rowsAffected } = await connection.execute(statement, [], { maxRows: enoughRows });
  // Says goodbye; the thread's end closes what is left.
  void connection.close().catch(() => undefined);
  return judgeRows(rows?.length ?? rowsAffected ?? 0);
}

try {
  // What the parent has passed.
  parentPort?.postMessage(await ask(workerData as OracleQuestion));
} catch (error) {
  const detail =
    errorCode(error) === "ERR_MODULE_NOT_FOUND"
      ? "the npm package oracledb is not installed"
      : describeError(error).replace(/ \(CONNECTION_ID=[^)]*\)/, "");
  parentPort?.postMessage({ up: false, detail } satisfies CheckOutcome);
}
