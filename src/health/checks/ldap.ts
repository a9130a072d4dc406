import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { CheckSpec } from "../../model/config.ts";
import { berElement, BerError, readBerElement, readBerElements, readBerInteger } from "../ber.ts";
import type { BerElement } from "../ber.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck } from "../check.ts";
import { withSocket } from "../guarded-socket.ts";
import { excerpt, withReceive } from "../receive.ts";
import type { Receive } from "../receive.ts";
import { tlsOptions } from "../tls.ts";

/** RFC 4511, by its names; the tags of BER. */
const tags = {
  boolean: 0x01,
  integer: 0x02,
  octetString: 0x04,
  enumerated: 0x0a,
  sequence: 0x30,
  bindRequest: 0x60,
  bindResponse: 0x61,
  unbindRequest: 0x42,
  searchRequest: 0x63,
  searchResultEntry: 0x64,
  searchResultDone: 0x65,
  extendedResponse: 0x78,
  simplePassword: 0x80,
  presentFilter: 0x87,
} as const;

/** RFC 4511, section 4.1.9: the results that a check may meet. */
const resultNames: Readonly<Record<number, string>> = {
  1: "operations error",
  2: "protocol error",
  7: "authentication method not supported",
  8: "stronger authentication required",
  13: "confidentiality required",
  32: "no such object",
  34: "invalid DN syntax",
  48: "inappropriate authentication",
  49: "invalid credentials",
  50: "insufficient access rights",
  51: "busy",
  52: "unavailable",
  53: "unwilling to perform",
};

/** A message with the name of one entry is small, even if its attributes come unasked. */
const maxMessageBytes = 64 << 10;
const version = 3;
const bindId = 1;
const searchId = 2;
const unbind = message(3, berElement(tags.unbindRequest));

/**
 * ldap and ldaps: bind, with `login` and `passwd` if both are set, else anonymously; read the entry that the request
 * names without its first character. Up if there is one, and `receive` matches its name (ldirectord 4.12). No attributes
 * are asked for.
 */
export function prepareLdap(spec: CheckSpec, { native, tls }: CheckSurroundings): Check {
  const { service, address, port, virtualHost, login, password, request } = spec;
  if (port === 0) return constantCheck({ up: false, detail: "no port to connect to" });
  const bind = login === "" || password === "" ? bindRequest("", "") : bindRequest(login, password);
  const search = searchRequest(request.slice(1));
  return withReceive(spec, { native }, (receive) => ({
    timeoutMs: spec.checkTimeoutMs,
    attempt(signal) {
      const secure = service === "ldaps";
      const target = { host: address, port };
      const socket = secure ? connectTls({ ...target, ...tlsOptions(tls, virtualHost) }) : connect(target);
      return withSocket(socket, signal, (waitFor) => {
        if (secure) socket.once("connect", () => waitFor("TLS session"));
        socket.once(secure ? "secureConnect" : "connect", () => waitFor("answer to bind"));
        return readEntry(socket, bind, search, receive, waitFor);
      });
    },
  }));
}

/** Binds, searches, and says goodbye. */
function readEntry(
  socket: Socket,
  bind: Buffer,
  search: Buffer,
  receive: Receive,
  waitFor: (what: string) => void,
): Promise<CheckOutcome> {
  return new Promise((resolve) => {
    const names: Buffer[] = [];
    const finish = (outcome: CheckOutcome): void => {
      socket.write(unbind);
      resolve(outcome);
    };
    const onMessage = (id: number, tag: number, operation: Buffer): void => {
      if (tag === tags.extendedResponse) {
        finish({ up: false, detail: `the server ends the session: ${describeResult(resultOf(operation))}` });
      } else if (id === bindId && tag === tags.bindResponse) {
        const result = resultOf(operation);
        if (result.code === 0) {
          waitFor("answer to search");
          socket.write(search);
        } else finish({ up: false, detail: `bind: ${describeResult(result)}` });
      } else if (id === searchId && tag === tags.searchResultEntry) {
        names.push(Buffer.from(elementOf(operation, 0, tags.octetString).content));
      } else if (id === searchId && tag === tags.searchResultDone) {
        const result = resultOf(operation);
        if (result.code === 0) finish(judge(names, receive));
        else finish({ up: false, detail: `search: ${describeResult(result)}` });
      }
    };
    let rest: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      try {
        for (;;) {
          if (rest.length > 0 && rest[0] !== tags.sequence) throw new BerError("no message");
          const element = readBerElement(rest, 0, maxMessageBytes);
          if (element === undefined) return;
          const [id, operation] = readBerElements(element.content);
          if (id?.tag !== tags.integer || operation === undefined) throw new BerError("a message without operation");
          onMessage(readBerInteger(id), operation.tag, operation.content);
          rest = rest.subarray(element.end);
        }
      } catch (error) {
        if (!(error instanceof BerError)) throw error;
        resolve({ up: false, detail: `the answer is not LDAP: ${error.message} in ${excerpt(rest)}` });
      }
    });
    socket.write(bind);
  });
}

function judge(names: readonly Buffer[], receive: Receive): CheckOutcome {
  const [name] = names;
  if (name === undefined || names.length > 1) return { up: false, detail: `${names.length} entries` };
  const objection = receive(name);
  return objection === undefined ? { up: true, detail: "1 entry" } : { up: false, detail: `1 entry, ${objection}` };
}

interface LdapResult {
  readonly code: number;
  /** For people; usually empty. */
  readonly diagnostic: string;
}

function resultOf(operation: Buffer): LdapResult {
  return {
    code: readBerInteger(elementOf(operation, 0, tags.enumerated)),
    diagnostic: elementOf(operation, 2, tags.octetString).content.toString("latin1").slice(0, 200),
  };
}

function describeResult({ code, diagnostic }: LdapResult): string {
  const name = resultNames[code] ?? "result";
  const said = diagnostic.replaceAll(/[^\x20-\x7e]+/g, " ").trim();
  return `${name} (${code})${said === "" ? "" : `: ${said}`}`;
}

function elementOf(content: Buffer, index: number, tag: number): BerElement {
  const element = readBerElements(content)[index];
  if (element?.tag !== tag) throw new BerError(`no element of type ${tag} at place ${index + 1}`);
  return element;
}

function bindRequest(login: string, password: string): Buffer {
  const parts = [integer(version), octets(login), berElement(tags.simplePassword, Buffer.from(password))];
  return message(bindId, berElement(tags.bindRequest, ...parts));
}

/** The entry itself, whatever it is, without its attributes. */
function searchRequest(base: string): Buffer {
  const baseObject = berElement(tags.enumerated, Buffer.from([0]));
  const neverDereference = berElement(tags.enumerated, Buffer.from([0]));
  const noLimit = integer(0);
  const withValues = berElement(tags.boolean, Buffer.from([0]));
  const anyClass = berElement(tags.presentFilter, Buffer.from("objectClass"));
  const noAttributes = berElement(tags.sequence, octets("1.1"));
  const parts = [baseObject, neverDereference, noLimit, noLimit, withValues, anyClass, noAttributes];
  return message(searchId, berElement(tags.searchRequest, octets(base), ...parts));
}

function message(id: number, operation: Buffer): Buffer {
  return berElement(tags.sequence, integer(id), operation);
}

/** Of 0 to 127. */
function integer(value: number): Buffer {
  return berElement(tags.integer, Buffer.from([value]));
}

function octets(text: string): Buffer {
  return berElement(tags.octetString, Buffer.from(text));
}
