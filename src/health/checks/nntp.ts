import type { CheckSpec } from "../../model/config.ts";
import type { Check } from "../check.ts";
import { dialogueCheck } from "../dialogue.ts";
import { excerpt } from "../receive.ts";

/** nntp: up if the greeting begins with `2`. ldirectord 4.12 says nothing; here it is QUIT. */
export function prepareNntp(spec: CheckSpec): Check {
  return dialogueCheck(spec, undefined, async (dialogue) => {
    const greeting = await dialogue.readLine("greeting");
    const shown = excerpt(Buffer.from(greeting, "latin1"));
    if (!greeting.startsWith("2")) return { up: false, detail: `greeting is ${shown}` };
    await dialogue.leave("QUIT");
    return { up: true, detail: `greeting ${shown}` };
  });
}
