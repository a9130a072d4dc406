import { isIPv6 } from "node:net";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckSurroundings } from "../check.ts";
import { constantCheck, describeError } from "../check.ts";
import { dialogueCheck, DialogueError } from "../dialogue.ts";
import type { Dialogue, DialogueReply } from "../dialogue.ts";
import { compileReceive } from "../receive.ts";
import type { Receive } from "../receive.ts";

/**
 * ftp: logs in, fetches the request as a file by a passive transfer, QUIT; up if the text matches `receive`. What the
 * server refuses on the way leaves the text empty. As ldirectord 4.12, but an empty `receive` matches any text, and the
 * data connection goes to the real server's own address, whatever address it offers.
 */
export function prepareFtp(spec: CheckSpec, { native }: CheckSurroundings): Check {
  let receive: Receive;
  try {
    receive = compileReceive(spec.receive, native);
  } catch (error) {
    return constantCheck({ up: false, detail: `receive: ${describeError(error)}` });
  }
  return dialogueCheck(spec, undefined, async (control) => {
    const greeting = await control.readReply("greeting");
    if (!isPositive(greeting)) return { up: false, detail: `greeting is ${greeting.code} ${greeting.text}` };
    const { text, refusal } = await fetchFile(control, spec);
    const objection = receive(text);
    if (objection !== undefined) return { up: false, detail: refusal ?? objection };
    await control.leave("QUIT");
    return { up: true, detail: refusal ?? (spec.receive === "" ? "file fetched" : "receive matches") };
  });
}

interface Fetched {
  readonly text: Buffer;
  /** What the server refused, if it did. */
  readonly refusal?: string;
}

async function fetchFile(control: Dialogue, { address, login, password, request }: CheckSpec): Promise<Fetched> {
  const refused = (what: string, { code, text }: DialogueReply): Fetched => ({
    text: Buffer.alloc(0),
    refusal: `${what} refused: ${code} ${text}`,
  });
  const user = await control.ask(`USER ${login}`);
  const pass = isIntermediate(user) ? await control.ask(`PASS ${password}`) : user;
  if (!isPositive(pass)) return refused("login", pass);
  for (const command of ["CWD /", "TYPE I"]) await control.ask(command);
  const passive = await control.ask(isIPv6(address) ? "EPSV" : "PASV");
  const port = isPositive(passive) ? dataPort(passive.text) : undefined;
  if (port === undefined) return refused("passive transfer", passive);
  return await control.beside({ host: address, port }, async (data) => {
    const begin = await control.ask(`RETR ${request}`);
    if (!isPreliminary(begin)) return refused(`RETR ${request}`, begin);
    const text = await data.readAll("file");
    const end = await control.readReply("end of the transfer");
    if (!isPositive(end)) throw new DialogueError(`transfer ended with ${end.code} ${end.text}`);
    return { text };
  });
}

/** Of the answer to PASV (RFC 959), `(127,0,0,1,4,210)` in whatever brackets, or to EPSV (RFC 2428), `(|||1234|)`. */
function dataPort(text: string): number | undefined {
  const extended = /\(([!-~])\1\1(\d{1,5})\1\)/.exec(text)?.[2];
  if (extended !== undefined) return inRange(Number(extended));
  const bytes = /(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})/.exec(text);
  return bytes === null ? undefined : inRange(Number(bytes[5]) * 256 + Number(bytes[6]));
}

function inRange(port: number): number | undefined {
  return port > 0 && port < 65536 ? port : undefined;
}

function isPreliminary({ code }: DialogueReply): boolean {
  return code < 200;
}

function isPositive({ code }: DialogueReply): boolean {
  return code >= 200 && code < 300;
}

function isIntermediate({ code }: DialogueReply): boolean {
  return code >= 300 && code < 400;
}
