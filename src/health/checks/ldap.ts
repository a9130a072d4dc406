import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ResultCodeError, SearchOptions } from "ldapts";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck } from "../check.ts";
import { withSocket } from "../guarded-socket.ts";
import { excerpt, withReceive } from "../receive.ts";
import type { Receive } from "../receive.ts";
import { tlsOptions } from "../tls.ts";

const searchOptions = { scope: "base", filter: "(objectClass=*)", attributes: ["1.1"] } satisfies SearchOptions;
/** Every message of LDAP is a BER sequence. */
const sequenceTag = 0x30;

/**
 * ldap and ldaps: bind, with `login` and `passwd` if both are set, else anonymously; read the entry that the request
 * names without its first character. Up if there is one, and `receive` matches its name (ldirectord 4.12). No attributes
 * are asked for.
 */
export function prepareLdap(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  if (spec.port === 0) return constantCheck({ up: false, detail: "no port to connect to" });
  return withReceive(spec, surroundings, (receive) => ({
    timeoutMs: spec.checkTimeoutMs,
    attempt: (signal) => readEntry(spec, surroundings, receive, signal),
  }));
}

async function readEntry(
  { service, address, port, virtualHost, login, password, request }: CheckSpec,
  { tls }: CheckSurroundings,
  receive: Receive,
  signal: AbortSignal,
): Promise<CheckOutcome> {
  const { Client, ResultCodeError } = await import("ldapts");
  const target = { host: address, port };
  const secureSocket = service === "ldaps" ? connectTls({ ...target, ...tlsOptions(tls, virtualHost) }) : undefined;
  const socket = secureSocket ?? connect(target);
  return await withSocket(socket, signal, async (waitFor) => {
    if (secureSocket !== undefined) socket.once("connect", () => waitFor("TLS session"));
    socket.once(secureSocket === undefined ? "connect" : "secureConnect", () => waitFor("answer to bind"));
    // The library would wait for more.
    socket.once("data", (start: Buffer) => {
      if (start[0] !== sequenceTag) throw new Error(`the answer is not LDAP: ${excerpt(start)}`);
    });
    const client = new Client(
      secureSocket === undefined
        ? { url: "ldap://server", createConnection: () => socket }
        : { url: "ldaps://server", createSecureConnection: () => secureSocket },
    );
    let step = "bind";
    try {
      const anonymous = login === "" || password === "";
      await client.bind(anonymous ? "" : login, anonymous ? "" : password);
      step = "search";
      waitFor("answer to search");
      const { searchEntries } = await client.search(request.slice(1), searchOptions);
      void client.unbind().catch(() => undefined);
      const [entry] = searchEntries;
      const detail = searchEntries.length === 1 ? "1 entry" : `${searchEntries.length} entries`;
      if (entry === undefined || searchEntries.length !== 1) return { up: false, detail };
      const objection = receive(Buffer.from(entry.dn));
      return objection === undefined ? { up: true, detail } : { up: false, detail: `${detail}, ${objection}` };
    } catch (error) {
      if (!(error instanceof ResultCodeError)) throw error;
      void client.unbind().catch(() => undefined);
      return { up: false, detail: `${step}: ${describeResult(error)}` };
    }
  });
}

/** `InvalidCredentials (0x31)`, and what the server says to it. */
function describeResult({ name, code, message }: ResultCodeError): string {
  const said = message.replace(/ *Code: 0x[0-9a-f]+$/, "");
  return `${name.replace(/Error$/, "")} (0x${code.toString(16)})${said === "" ? "" : `: ${said}`}`;
}
