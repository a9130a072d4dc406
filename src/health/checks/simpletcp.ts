import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck, describeError } from "../check.ts";
import { askByDatagram } from "../datagrams.ts";
import { dialogueCheck } from "../dialogue.ts";
import { compileReceive } from "../receive.ts";
import type { Receive } from "../receive.ts";

/**
 * simpletcp: sends the request without its first character, with a line feed for each `\n`, and ends the sending side;
 * up if one line of the answer matches `receive`, each looked at by itself and with its end. Over UDP under a UDP
 * service. As ldirectord 4.12, but any line matches an empty `receive`.
 */
export function prepareSimpleTcp(spec: CheckSpec, { native }: CheckSurroundings): Check {
  let receive: Receive;
  try {
    receive = compileReceive(spec.receive, native);
  } catch (error) {
    return constantCheck({ up: false, detail: `receive: ${describeError(error)}` });
  }
  const request = spec.request.slice(1).replaceAll("\\n", "\n");
  return spec.protocol === "udp" ? overUdp(spec, request, receive) : overTcp(spec, request, receive);
}

/** So many lines of one answer are looked at. */
const maxLines = 65_536;

const good: CheckOutcome = { up: true, detail: "receive matches a line" };

function overTcp(spec: CheckSpec, request: string, receive: Receive): Check {
  return dialogueCheck(spec, undefined, async (dialogue) => {
    dialogue.sendLast(request);
    let objection = "connection closed, no answer";
    for (let lines = 0; lines < maxLines; lines++) {
      const line = await dialogue.readPiece("line that matches receive");
      if (line === undefined) return { up: false, detail: objection };
      const refusal = receive(Buffer.from(line, "latin1"));
      if (refusal === undefined) return good;
      objection = refusal;
    }
    return { up: false, detail: `none of ${maxLines} lines matches receive` };
  });
}

function overUdp(spec: CheckSpec, request: string, receive: Receive): Check {
  const { address: host, port } = spec;
  if (port === 0) return constantCheck({ up: false, detail: "no port to send to" });
  // Each datagram ends its last line, and more may come.
  const judge = (answer: Buffer): CheckOutcome | undefined =>
    answer
      .toString("latin1")
      .split(/(?<=\n)/)
      .some((line) => receive(Buffer.from(line, "latin1")) === undefined)
      ? good
      : undefined;
  return {
    timeoutMs: spec.negotiateTimeoutMs,
    attempt: (signal) => askByDatagram({ host, port, request: () => request, judge }, signal),
  };
}
