import type { CheckSpec } from "../../model/config.ts";
import type { Check } from "../check.ts";
import { dialogueCheck } from "../dialogue.ts";
import type { DialogueReply } from "../dialogue.ts";

/** As Net::SMTP introduces itself. */
const clientName = "localhost.localdomain";

/** smtp and submission: up if the server greets and takes EHLO or HELO; then QUIT (ldirectord 4.12). No STARTTLS. */
export function prepareSmtp(spec: CheckSpec): Check {
  return dialogueCheck(spec, undefined, async (dialogue) => {
    const greeting = await dialogue.readReply("greeting");
    if (!isPositive(greeting)) return { up: false, detail: `greeting is ${greeting.code} ${greeting.text}` };
    let hello = await dialogue.ask(`EHLO ${clientName}`);
    if (!isPositive(hello)) hello = await dialogue.ask(`HELO ${clientName}`);
    if (!isPositive(hello)) return { up: false, detail: `HELO refused: ${hello.code} ${hello.text}` };
    await dialogue.leave("QUIT");
    return { up: true, detail: "EHLO accepted" };
  });
}

function isPositive({ code }: DialogueReply): boolean {
  return code >= 200 && code < 300;
}
