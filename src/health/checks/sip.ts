import { randomBytes } from "node:crypto";
import { isIPv6 } from "node:net";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome } from "../check.ts";
import { constantCheck } from "../check.ts";
import { askByDatagram } from "../datagrams.ts";
import { dialogueCheck } from "../dialogue.ts";
import { excerpt } from "../receive.ts";

/** When a request over UDP is sent again, milliseconds after the first (RFC 3261, 17.1.2.2: 0.5 s, doubled to 4 s). */
const resendAfterMs = [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500];

/**
 * sip: OPTIONS over the protocol of the virtual service; up if the answer is `SIP/2.0 200 OK` (ldirectord 4.12). The
 * request differs from ldirectord's in what made answers get lost: it asks for an answer to the port that it came from,
 * names the transport that it takes, is of its own transaction each time, and is repeated over UDP.
 */
export function prepareSip(spec: CheckSpec): Check {
  const { address: host, port, login, negotiateTimeoutMs: timeoutMs } = spec;
  if (spec.protocol !== "udp") {
    return dialogueCheck(spec, undefined, async (dialogue) => {
      const { address, port } = dialogue.local;
      dialogue.send(optionsRequest(login, "TCP", address, port));
      for (;;) {
        const outcome = judgeStatus(await dialogue.readLine("answer"));
        if (outcome !== undefined) return outcome;
        // The rest of a provisional answer: its header fields, up to the empty line.
        while ((await dialogue.readLine("answer")) !== "");
      }
    });
  }
  if (port === 0) return constantCheck({ up: false, detail: "no port to send to" });
  const question = {
    host,
    port,
    request: (local: { address: string; port: number }) => optionsRequest(login, "UDP", local.address, local.port),
    resendAfterMs: resendAfterMs.filter((delayMs) => delayMs < timeoutMs),
    judge: (answer: Buffer) => judgeStatus(answer.toString("latin1").split(/\r?\n/, 1)[0] ?? ""),
  };
  return { timeoutMs, attempt: (signal) => askByDatagram(question, signal) };
}

/** Undefined for a provisional answer: another one follows. */
function judgeStatus(line: string): CheckOutcome | undefined {
  if (/^SIP\/2\.0 1\d\d /.test(line)) return undefined;
  return { up: line.startsWith("SIP/2.0 200 OK"), detail: `answer ${excerpt(Buffer.from(line, "latin1"))}` };
}

function optionsRequest(login: string, transport: "TCP" | "UDP", address: string, port: number): string {
  const sender = `${isIPv6(address) ? `[${address}]` : address}:${port}`;
  const [branch, tag, call] = [randomBytes(8), randomBytes(4), randomBytes(8)].map((bytes) => bytes.toString("hex"));
  return [
    `OPTIONS sip:${login} SIP/2.0`,
    `Via: SIP/2.0/${transport} ${sender};rport;branch=z9hG4bK${branch}`,
    "Max-Forwards: 70",
    `To: <sip:${login}>`,
    `From: <sip:${login}>;tag=${tag}`,
    `Call-ID: ${call}`,
    "CSeq: 1 OPTIONS",
    `Contact: <sip:${login}>`,
    "Accept: application/sdp",
    "Content-Length: 0",
    "",
    "",
  ].join("\r\n");
}
