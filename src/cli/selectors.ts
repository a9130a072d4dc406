/** What commands take to choose services and connections. Each parser throws commander's error, which names the option. */
import { InvalidArgumentError } from "commander";
import { isIP, SocketAddress } from "node:net";
import { familyOf, printEndpoint, printIdentity } from "../model/service.ts";
import type { ServiceIdentity } from "../model/service.ts";

/** The states that a connection is listed with, as in `ipvsadm -L -c`; `NONE` is that of persistence templates. */
export const connectionStates = [
  ...["NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK"],
  ...["LISTEN", "SYNACK", "UDP"],
  ...["INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED", "S-SENT", "S-RECEIVED", "S-ACK-SENT"],
  ...["REJECTED", "CLOSED"],
] as const; // prettier-ignore

/** An address in canonical text, and a port if one was given. */
interface Endpoint {
  readonly address: string;
  readonly port?: number;
}

/** Chooses virtual services: by address, by address and port, or exactly one. */
export type ServiceSelector = (identity: ServiceIdentity) => boolean;

/** `tcp:10.0.0.1:80`, `10.0.0.1:80`, `10.0.0.1`, `udp:[fd00::1]:53`, `fwm:7`, `fwm6:7`. */
export function serviceSelector(text: string): ServiceSelector {
  if (/^fwm6?:\d+$/.test(text)) return (identity) => printIdentity(identity) === text;
  const [, protocol, rest = ""] = /^(?:(tcp|udp|sctp):)?(.+)$/.exec(text) ?? [];
  const wanted = parseEndpoint(rest);
  if (wanted === undefined) {
    throw new InvalidArgumentError(
      "It must be like tcp:192.0.2.1:80, 192.0.2.1:80, 192.0.2.1, [2001:db8::1]:80 or fwm:1.",
    );
  }
  return (identity) =>
    identity.kind === "address" &&
    (protocol === undefined || identity.protocol === protocol) &&
    identity.address === wanted.address &&
    (wanted.port === undefined || identity.port === wanted.port);
}

/** Collects the values of an option that may be repeated; any of them is enough. */
export function anyService(text: string, previous: ServiceSelector | undefined): ServiceSelector {
  const selector = serviceSelector(text);
  return previous === undefined ? selector : (identity) => previous(identity) || selector(identity);
}

/** `ADDRESS` or `ADDRESS/PREFIX`, returned in canonical text with its prefix length. */
export function network(text: string): string {
  const [, address = "", prefix] = /^(.*?)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const bits = isIP(address) === 6 ? 128 : 32;
  const length = prefix === undefined ? bits : Number(prefix);
  if (isIP(address) === 0 || address.includes("%") || length > bits) {
    throw new InvalidArgumentError("It must be an address or a network like 192.0.2.0/24 or 2001:db8::/32.");
  }
  return `${canonical(address)}/${length}`;
}

/** `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`, returned in canonical text. */
export function endpoint(text: string): string {
  const parsed = parseEndpoint(text);
  if (parsed === undefined) {
    throw new InvalidArgumentError("It must be like 192.0.2.1, 192.0.2.1:80 or [2001:db8::1]:80.");
  }
  return parsed.port === undefined ? parsed.address : printEndpoint(parsed.address, parsed.port);
}

export function connectionState(text: string): string {
  const state = connectionStates.find((name) => name === text.toUpperCase());
  if (state === undefined) throw new InvalidArgumentError(`It must be one of ${connectionStates.join(", ")}.`);
  return state;
}

function parseEndpoint(text: string): Endpoint | undefined {
  if (isIP(text) !== 0 && !text.includes("%")) return { address: canonical(text) };
  const [, bracketed, plain, portText] = /^(?:\[(.*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = bracketed ?? plain ?? "";
  if (isIP(address) !== (bracketed === undefined ? 4 : 6) || address.includes("%")) return undefined;
  if (portText === undefined) return { address: canonical(address) };
  const port = Number(portText);
  return port > 65535 ? undefined : { address: canonical(address), port };
}

/** The text that the tables use: dotted quads, or RFC 5952 lower-case IPv6. */
function canonical(address: string): string {
  return new SocketAddress({ address, family: familyOf(address) }).address;
}
