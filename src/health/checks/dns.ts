import { readFileSync } from "node:fs";
import { connect, isIPv4, isIPv6 } from "node:net";
import { Address6 } from "ip-address";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck } from "../check.ts";
import { askByDatagram } from "../datagrams.ts";
import { decodeAnswer, DnsError, encodeQuery } from "../dns-message.ts";
import type { DnsAnswer, DnsQuestion } from "../dns-message.ts";
import { withSocket } from "../guarded-socket.ts";
import { excerpt, withReceive } from "../receive.ts";
import type { Receive } from "../receive.ts";

/** RFC 1035, section 4.1.1, by number. */
const responseCodes = ["no error", "format error", "server failure", "no such name", "not implemented", "refused"];
/** When a question by UDP is repeated, milliseconds. */
const resendAfterMs = [1000, 3000, 7000, 15_000];
const longestName = 253;
const longestLabel = 63;

/**
 * dns: asks for the request without its leading `/`, an address by PTR, a name by A, which is looked for in the domains of
 * /etc/resolv.conf as a resolver does. Over TCP if the virtual service is TCP, or if the answer by UDP is cut off. Up if
 * `receive` matches an answer; without `receive` never (ldirectord 4.12). The question is repeated within the time allowed.
 */
export function prepareDns(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  if (spec.port === 0) return constantCheck({ up: false, detail: "no port to ask" });
  if (spec.receive === "") return constantCheck({ up: false, detail: "a dns check without receive is never up" });
  const questions = questionsOf(spec.request.replace(/^\//, ""), readResolverConfiguration);
  const wrong = questions.find(({ name }) => !canBeAsked(name));
  if (wrong !== undefined) return constantCheck({ up: false, detail: `${wrong.name} cannot be asked for` });
  return withReceive(spec, surroundings, (receive) => ({
    timeoutMs: spec.negotiateTimeoutMs,
    attempt: (signal) => askInTurn(spec, questions, receive, signal),
  }));
}

/** What is asked in turn until there is an answer; `readConfiguration` gives the text of /etc/resolv.conf. */
export function questionsOf(request: string, readConfiguration: () => string): DnsQuestion[] {
  if (isIPv4(request)) return [{ type: "PTR", name: `${request.split(".").reverse().join(".")}.in-addr.arpa` }];
  if (isIPv6(request)) return [{ type: "PTR", name: new Address6(request).reverseForm().replace(/\.$/, "") }];
  const name = request.replace(/\.$/, "");
  const absolute: DnsQuestion = { type: "A", name };
  if (name !== request || name === "") return [absolute];
  const { domains, dots } = readSearch(readConfiguration());
  const found = domains.map((domain): DnsQuestion => ({ type: "A", name: `${name}.${domain}` }));
  const dotsInName = name.split(".").length - 1;
  // As Net::DNS: a name with enough dots stands for itself; another one with a dot first does, one without a dot last.
  if (dotsInName >= dots) return [absolute];
  return dotsInName > 0 ? [absolute, ...found] : [...found, absolute];
}

/** resolv.conf(5): the last `search` or `domain` counts, and `options ndots:N`. */
function readSearch(configuration: string): { readonly domains: readonly string[]; readonly dots: number } {
  let domains: readonly string[] = [];
  let dots = 1;
  for (const line of configuration.split("\n")) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === "search") domains = values.map((domain) => domain.replace(/\.$/, "")).filter((name) => name !== "");
    if (keyword === "domain") domains = values.slice(0, 1);
    if (keyword === "options") dots = Number(/(?:^| )ndots:(\d+)/.exec(values.join(" "))?.[1] ?? dots);
  }
  return { domains, dots };
}

function readResolverConfiguration(): string {
  try {
    return readFileSync("/etc/resolv.conf", "utf8");
  } catch {
    // Without the file there are no domains.
    return "";
  }
}

function canBeAsked(name: string): boolean {
  if (name === "") return true;
  const lengths = name.split(".").map((label) => Buffer.byteLength(label));
  return Buffer.byteLength(name) <= longestName && lengths.every((length) => length > 0 && length <= longestLabel);
}

async function askInTurn(
  spec: CheckSpec,
  questions: readonly DnsQuestion[],
  receive: Receive,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  let outcome: CheckOutcome = { up: false, detail: "nothing to ask for" };
  for (const question of questions) {
    const answer = await ask(spec, question, signal);
    if ("up" in answer) return answer;
    if (answer.values.length > 0) return judge(answer.values, receive);
    const { responseCode } = answer;
    const noRecord = `no ${question.type} record`;
    const why = responseCode === 0 ? noRecord : (responseCodes[responseCode] ?? `response code ${responseCode}`);
    outcome = { up: false, detail: `${why} (${question.name === "" ? "." : question.name})` };
  }
  return outcome;
}

function judge(values: readonly string[], receive: Receive): CheckOutcome {
  const good = values.find((value) => receive(Buffer.from(value)) === undefined);
  if (good !== undefined) return { up: true, detail: `${good}, receive matches` };
  return { up: false, detail: receive(Buffer.from(values.join(" "))) ?? "receive matches no single answer" };
}

/** The answer to one question, or what the check has come to. */
async function ask(
  { address, port, protocol }: CheckSpec,
  question: DnsQuestion,
  signal: AbortSignal,
): Promise<DnsAnswer | CheckOutcome> {
  const query = encodeQuery(question);
  const read = (message: Buffer): DnsAnswer | undefined => {
    try {
      return decodeAnswer(message, query);
    } catch (error) {
      if (error instanceof DnsError) return undefined;
      throw error;
    }
  };
  if (protocol !== "tcp") {
    let answer: DnsAnswer | undefined;
    const judgeDatagram = (datagram: Buffer): CheckOutcome | undefined => {
      answer = read(datagram);
      return answer === undefined ? undefined : { up: true, detail: "" };
    };
    const asked = { host: address, port, request: () => query, resendAfterMs, judge: judgeDatagram };
    const outcome = await askByDatagram(asked, signal);
    if (answer === undefined) return outcome;
    if (!answer.truncated) return answer;
  }
  return await askByConnection(address, port, query, read, signal);
}

/** RFC 1035, section 4.2.2: each message after two bytes with its length, network byte order. */
async function askByConnection(
  address: string,
  port: number,
  query: Buffer,
  read: (message: Buffer) => DnsAnswer | undefined,
  signal: AbortSignal,
): Promise<DnsAnswer | CheckOutcome> {
  const socket = connect({ host: address, port });
  let answer: DnsAnswer | undefined;
  const outcome = await withSocket(socket, signal, (waitFor) => {
    socket.once("connect", () => waitFor("answer"));
    const length = Buffer.alloc(2);
    length.writeUInt16BE(query.length);
    socket.write(Buffer.concat([length, query]));
    return new Promise((resolve) => {
      const chunks: Buffer[] = [];
      let received = 0;
      socket.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        received += chunk.length;
        if (received < 2) return;
        const all = Buffer.concat(chunks);
        const end = 2 + all.readUInt16BE();
        if (received < end) return;
        answer = read(all.subarray(2, end));
        resolve({ up: answer !== undefined, detail: `the answer is not DNS, or to another question: ${excerpt(all)}` });
      });
    });
  });
  return answer ?? outcome;
}
