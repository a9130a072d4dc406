import { createHash, createHmac } from "node:crypto";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckSurroundings } from "../check.ts";
import { dialogueCheck } from "../dialogue.ts";
import type { Dialogue } from "../dialogue.ts";
import { excerpt } from "../receive.ts";
import { tlsOptions } from "../tls.ts";

/**
 * pop and pops: up if the server greets and, if `login` is set, lets the user in and answers STAT; then QUIT. Of the
 * ways to log in the one that keeps the password is tried first, CRAM-MD5, APOP, USER and PASS, as ldirectord 4.12
 * does. Without a login ldirectord takes every server as up, even one that is not there.
 */
export function preparePop(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  const tls = spec.service === "pops" ? tlsOptions(surroundings.tls, spec.virtualHost) : undefined;
  return dialogueCheck(spec, tls, async (dialogue) => {
    const greeting = await dialogue.readLine("greeting");
    if (!isPositive(greeting)) return { up: false, detail: `greeting is ${shown(greeting)}` };
    if (spec.login !== "") {
      const refusal = await logIn(dialogue, greeting, spec);
      if (refusal !== undefined) return { up: false, detail: `login refused: ${shown(refusal)}` };
      const stat = await ask(dialogue, "STAT");
      if (!isPositive(stat)) return { up: false, detail: `STAT refused: ${shown(stat)}` };
    }
    await dialogue.leave("QUIT");
    return { up: true, detail: spec.login === "" ? "greeting" : "logged in" };
  });
}

/** Undefined if some way of logging in was accepted, else the last refusal. */
async function logIn(
  dialogue: Dialogue,
  greeting: string,
  { login, password }: CheckSpec,
): Promise<string | undefined> {
  if (await offersCramMd5(dialogue)) {
    const challenge = await ask(dialogue, "AUTH CRAM-MD5");
    if (challenge.startsWith("+ ")) {
      const digest = createHmac("md5", password)
        .update(Buffer.from(challenge.slice(2), "base64"))
        .digest("hex");
      const answer = await ask(dialogue, Buffer.from(`${login} ${digest}`).toString("base64"), "answer to AUTH");
      if (isPositive(answer)) return undefined;
    }
  }
  // RFC 1939, 7: a greeting with a time stamp offers APOP.
  const stamp = /<[^<>@\s]+@[^<>\s]+>/.exec(greeting)?.[0];
  if (stamp !== undefined) {
    const digest = createHash("md5").update(stamp, "latin1").update(password).digest("hex");
    if (isPositive(await ask(dialogue, `APOP ${login} ${digest}`))) return undefined;
  }
  const user = await ask(dialogue, `USER ${login}`);
  if (!isPositive(user)) return user;
  const pass = await ask(dialogue, `PASS ${password}`);
  return isPositive(pass) ? undefined : pass;
}

/** RFC 2449; a server without CAPA offers nothing. */
async function offersCramMd5(dialogue: Dialogue): Promise<boolean> {
  if (!isPositive(await ask(dialogue, "CAPA"))) return false;
  let offers = false;
  for (;;) {
    const line = await dialogue.readLine("answer to CAPA");
    if (line === ".") return offers;
    if (/^SASL\b.*\bCRAM-MD5\b/i.test(line)) offers = true;
  }
}

async function ask(
  dialogue: Dialogue,
  command: string,
  what = `answer to ${command.split(" ", 1)[0]}`,
): Promise<string> {
  dialogue.send(`${command}\r\n`);
  return await dialogue.readLine(what);
}

function isPositive(answer: string): boolean {
  return /^\+OK\b/i.test(answer);
}

function shown(line: string): string {
  return excerpt(Buffer.from(line, "latin1"));
}
