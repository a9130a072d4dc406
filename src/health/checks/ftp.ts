import { isIPv6 } from "node:net";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck, describeError } from "../check.ts";
import { dialogueCheck, DialogueError } from "../dialogue.ts";
import type { Dialogue, DialogueReply } from "../dialogue.ts";
import { compileReceive } from "../receive.ts";
import type { Receive } from "../receive.ts";

/** What `login` is by default: a server that lets no stranger in is as good as any. */
const stranger = "anonymous";

/**
 * ftp: logs in, fetches the request as a file by a passive transfer, QUIT; up if the text matches `receive`. What the
 * server refuses on the way leaves the text empty (ldirectord 4.12). The data connection goes to the real server's own
 * address, whatever address it offers.
 *
 * Without `receive` ldirectord takes every server as up, even one that is not there. Here it must greet, and grant what
 * it is asked for: the login, other than `anonymous`, and the file, other than `/`.
 */
export function prepareFtp(spec: CheckSpec, { native }: CheckSurroundings): Check {
  let receive: Receive;
  try {
    receive = compileReceive(spec.receive, native);
  } catch (error) {
    return constantCheck({ up: false, detail: `receive: ${describeError(error)}` });
  }
  const matches = spec.receive !== "";
  return dialogueCheck(spec, undefined, async (control) => {
    const greeting = await control.readReply("greeting");
    if (!isPositive(greeting)) return { up: false, detail: `greeting is ${greeting.code} ${greeting.text}` };
    const outcome = matches ? await judgeFile(control, spec, receive) : await judgeGrants(control, spec);
    if (outcome.up) await control.leave("QUIT");
    return outcome;
  });
}

async function judgeFile(control: Dialogue, spec: CheckSpec, receive: Receive): Promise<CheckOutcome> {
  const refusal = await logIn(control, spec);
  const fetched = refusal === undefined ? await fetchFile(control, spec) : { text: Buffer.alloc(0), refusal };
  const objection = receive(fetched.text);
  if (objection === undefined) return { up: true, detail: fetched.refusal ?? "receive matches" };
  return { up: false, detail: fetched.refusal ?? objection };
}

async function judgeGrants(control: Dialogue, spec: CheckSpec): Promise<CheckOutcome> {
  const { login, request } = spec;
  if (login === "" && request === "/") return { up: true, detail: "greeting" };
  const refusal = await logIn(control, spec);
  if (refusal !== undefined) return { up: login === stranger && request === "/", detail: refusal };
  if (request === "/") return { up: true, detail: "logged in" };
  const fetched = await fetchFile(control, spec);
  return fetched.refusal === undefined ? { up: true, detail: "file fetched" } : { up: false, detail: fetched.refusal };
}

/** Undefined if the server lets the user in, else its refusal. */
async function logIn(control: Dialogue, { login, password }: CheckSpec): Promise<string | undefined> {
  const user = await control.ask(`USER ${login}`);
  const pass = isIntermediate(user) ? await control.ask(`PASS ${password}`) : user;
  return isPositive(pass) ? undefined : refused("login", pass);
}

interface Fetched {
  readonly text: Buffer;
  /** What the server refused, if it did; the text is empty then. */
  readonly refusal?: string;
}

async function fetchFile(control: Dialogue, { address, request }: CheckSpec): Promise<Fetched> {
  const nothing = Buffer.alloc(0);
  for (const command of ["CWD /", "TYPE I"]) await control.ask(command);
  const passive = await control.ask(isIPv6(address) ? "EPSV" : "PASV");
  const port = isPositive(passive) ? dataPort(passive.text) : undefined;
  if (port === undefined) return { text: nothing, refusal: refused("passive transfer", passive) };
  return await control.beside({ host: address, port }, async (data) => {
    const begin = await control.ask(`RETR ${request}`);
    if (!isPreliminary(begin)) return { text: nothing, refusal: refused(`RETR ${request}`, begin) };
    const text = await data.readAll("file");
    // What is too large to be read whole is left unfinished.
    if (data.overflowed) return { text };
    const end = await control.readReply("end of the transfer");
    if (!isPositive(end)) throw new DialogueError(refused("transfer", end));
    return { text };
  });
}

function refused(what: string, { code, text }: DialogueReply): string {
  return `${what} refused: ${code} ${text}`;
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
