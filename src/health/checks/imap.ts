import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckSurroundings } from "../check.ts";
import { dialogueCheck, DialogueError } from "../dialogue.ts";
import type { Dialogue } from "../dialogue.ts";
import { excerpt } from "../receive.ts";
import { tlsOptions } from "../tls.ts";

/**
 * imap and imaps: up if the server greets and, if `login` is set, accepts LOGIN; then LOGOUT. As ldirectord 4.12, but
 * without its EXPUNGE, which would remove mail.
 */
export function prepareImap(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  const tls = spec.service === "imaps" ? tlsOptions(surroundings.tls, spec.virtualHost) : undefined;
  return dialogueCheck(spec, tls, async (dialogue) => {
    const greeting = await dialogue.readLine("greeting");
    const status = /^\* (OK|PREAUTH)\b/i.exec(greeting)?.[1]?.toUpperCase();
    if (status === undefined) return { up: false, detail: `greeting is ${shown(greeting)}` };
    if (spec.login !== "" && status !== "PREAUTH") {
      const answer = await logIn(dialogue, spec.login, spec.password);
      if (!/^a OK\b/i.test(answer)) return { up: false, detail: `login refused: ${shown(answer)}` };
    }
    await dialogue.leave("b LOGOUT");
    return { up: true, detail: spec.login === "" ? "greeting" : "logged in" };
  });
}

/** The tagged answer to LOGIN (RFC 3501, 6.2.3). */
async function logIn(dialogue: Dialogue, login: string, password: string): Promise<string> {
  const what = "answer to LOGIN";
  let command = "a LOGIN";
  for (const text of [login, password]) {
    if (/^[\x20-\x7e]*$/.test(text)) command += ` "${text.replaceAll(/["\\]/g, "\\$&")}"`;
    else {
      // Whatever cannot stand in quotes goes as a literal, which the server has to ask for.
      dialogue.send(`${command} {${Buffer.byteLength(text)}}\r\n`);
      const line = await readAnswer(dialogue, what);
      if (!line.startsWith("+")) return line;
      command = text;
    }
  }
  dialogue.send(`${command}\r\n`);
  const answer = await readAnswer(dialogue, what);
  if (answer.startsWith("+")) throw new DialogueError(`${what} is ${shown(answer)}`);
  return answer;
}

/** Skips what the server tells unasked. */
async function readAnswer(dialogue: Dialogue, what: string): Promise<string> {
  for (;;) {
    const line = await dialogue.readLine(what);
    if (line.startsWith("+") || line.startsWith("a ")) return line;
    if (!line.startsWith("* ")) throw new DialogueError(`${what} is ${shown(line)}`);
  }
}

function shown(line: string): string {
  return excerpt(Buffer.from(line, "latin1"));
}
