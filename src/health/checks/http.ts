import { connect as tcpConnect, isIP } from "node:net";
import type { Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck, describeError, isOwnTrouble } from "../check.ts";
import type { HostNames } from "../host-names.ts";
import { HttpResponseReader } from "../http-response.ts";
import type { HttpResponse } from "../http-response.ts";
import { compileReceive } from "../receive.ts";
import type { Receive } from "../receive.ts";
import { serverNameOf, tlsOptions } from "../tls.ts";
import type { TlsPolicy } from "../tls.ts";

/** As libwww-perl, which ldirectord uses. */
const maxRedirects = 7;
/** What of an answer is read and matched. */
const maxBodyBytes = 1 << 20;
const redirectStatus: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

interface Proxy {
  readonly address: string;
  readonly port: number;
}

/** Where one request goes and what it says. */
interface Destination {
  readonly secure: boolean;
  /** Absent: it goes directly. */
  readonly proxy?: Proxy | undefined;
  /** An address, or a name to be looked up. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly hostHeader: string;
  /** The name for TLS SNI; empty for an address. */
  readonly serverName: string;
}

type Answer = ({ readonly kind: "answer" } & HttpResponse) | { readonly kind: "failure"; readonly detail: string };

/**
 * http and https: up if the status is 2xx after at most 7 redirects, wherever they lead, and the body matches `receive`.
 * `receive` never matches with HEAD. As ldirectord 4.12, but with SNI if `virtualhost` is a name, and certificates are
 * verified only if asked. An answer without a head, as some scripts give it, is matched as a body; without `receive` it
 * is down.
 *
 * http_proxy: the same with the request, an absolute address, and every redirect fetched through the real server as a
 * proxy; https never is, as in ldirectord.
 */
export function prepareHttp(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  const first = firstDestination(spec);
  if (first === undefined) return constantCheck({ up: false, detail: `cannot fetch ${spec.request}` });
  let receive: Receive;
  try {
    receive = compileReceive(spec.receive, surroundings.native);
  } catch (error) {
    return constantCheck({ up: false, detail: `receive: ${describeError(error)}` });
  }
  return {
    timeoutMs: spec.negotiateTimeoutMs,
    async attempt(signal) {
      const answer = await fetchFollowing(first, spec, surroundings, signal);
      if (answer.kind === "failure") return { up: false, detail: answer.detail };
      return judge(answer, spec, receive);
    },
  };
}

function judge({ status, bare, body }: HttpResponse, spec: CheckSpec, receive: Receive): CheckOutcome {
  const said = bare ? "no HTTP" : `HTTP status ${status}`;
  if (status < 200 || status > 299) return { up: false, detail: said };
  if (spec.receive === "") return { up: true, detail: said };
  if (spec.httpMethod === "HEAD") return { up: false, detail: "HEAD brings no body that receive could match" };
  const objection = receive(body);
  if (objection !== undefined) return { up: false, detail: `${said}, ${objection}` };
  return { up: true, detail: `${said}, receive matches` };
}

/** The real server, if it is checked as a proxy. */
function proxyOf({ service, address, port }: CheckSpec): Proxy | undefined {
  return service === "http_proxy" ? { address, port } : undefined;
}

/** The real server itself, or the `http://HOST:PORT/path` that stands as its request. */
function firstDestination(spec: CheckSpec): Destination | undefined {
  const secure = spec.service === "https";
  const hostHeader = spec.virtualHost === "" ? bracketed(spec.address) : spec.virtualHost;
  const whole = /^\/?(https?:\/\/.*)$/is.exec(spec.request)?.[1];
  if (whole !== undefined) {
    const url = URL.canParse(whole) ? new URL(whole) : undefined;
    if (url === undefined) return undefined;
    const proxy = proxyOf(spec);
    if (proxy !== undefined) return proxy.port === 0 ? undefined : urlDestination(url, proxy);
    return { ...urlDestination(url), hostHeader };
  }
  if (spec.port === 0 || spec.service === "http_proxy") return undefined;
  const serverName = secure ? serverNameOf(spec.virtualHost) : "";
  return { secure, host: spec.address, port: spec.port, path: escapePath(spec.request), hostHeader, serverName };
}

function urlDestination(url: URL, proxy?: Proxy): Destination {
  const secure = url.protocol === "https:";
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return {
    secure,
    proxy: secure ? undefined : proxy,
    host,
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    path: escapePath(url.pathname + url.search),
    hostHeader: url.host,
    serverName: secure ? serverNameOf(host) : "",
  };
}

/** Blanks and whatever else may not stand in a request line as %XX, as Perl's URI module writes it. */
function escapePath(path: string): string {
  return path.replaceAll(/[^!#-;=?-[\]_a-z~]/gu, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

async function fetchFollowing(
  first: Destination,
  spec: CheckSpec,
  surroundings: CheckSurroundings,
  signal: AbortSignal,
): Promise<Answer> {
  const { names } = surroundings;
  let destination = first;
  for (let redirects = 0; ; redirects++) {
    const failed = (detail: string): Answer => ({
      kind: "failure",
      detail: redirects === 0 ? detail : `redirected to ${destination.hostHeader}: ${detail}`,
    });
    const known = destination.proxy?.address ?? (isIP(destination.host) === 0 ? undefined : destination.host);
    const address = known ?? (await addressOf(destination.host, names, signal));
    if (address === undefined) return failed(`cannot resolve ${destination.host}`);
    const answer = await fetchOnce(destination, address, spec, surroundings, signal);
    if (answer.kind === "failure") return failed(answer.detail);
    if (!redirectStatus.has(answer.status) || answer.location === "") return answer;
    if (redirects === maxRedirects) return failed(`more than ${maxRedirects} redirects`);
    const target = redirectTarget(destination, answer.location);
    if (target === undefined) return failed(`HTTP status ${answer.status} leads nowhere`);
    destination = urlDestination(target, proxyOf(spec));
  }
}

function redirectTarget(from: Destination, location: string): URL | undefined {
  const base = `${from.secure ? "https" : "http"}://${bracketed(from.host)}:${from.port}${from.path}`;
  if (!URL.canParse(location, base)) return undefined;
  const target = new URL(location, base);
  return target.protocol === "http:" || target.protocol === "https:" ? target : undefined;
}

/** Undefined if the name is unknown, or was not found in time. */
async function addressOf(name: string, names: HostNames, signal: AbortSignal): Promise<string | undefined> {
  const aborted = new Promise<undefined>((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  return await Promise.race([names.address(name).catch(() => undefined), aborted]);
}

/** Bytes on their way from the kernel to a reader, which takes them before the next ones come: one place for all. */
const readBuffer = Buffer.allocUnsafeSlow(64 << 10);

/** Makes the connection, whose bytes go to `onBytes`. */
function open(
  { secure, proxy, port, serverName }: Destination,
  address: string,
  tls: TlsPolicy,
  onBytes: (bytes: Buffer) => void,
): Socket {
  if (secure) return tlsConnect({ host: address, port, ...tlsOptions(tls, serverName) }).on("data", onBytes);
  return tcpConnect({
    host: address,
    port: proxy?.port ?? port,
    // Half the cost of a stream.
    onread: {
      buffer: readBuffer,
      callback: (length) => {
        onBytes(readBuffer.subarray(0, length));
        return true;
      },
    },
  });
}

function requestText({ proxy, hostHeader, path }: Destination, method: string, userAgent: string): string {
  const target = proxy === undefined ? path : `http://${hostHeader}${path}`;
  return `${method} ${target} HTTP/1.1\r\nHost: ${hostHeader}\r\nUser-Agent: ${userAgent}\r\nConnection: close\r\n\r\n`;
}

/** One request on a connection of its own, which is closed when the promise settles. */
function fetchOnce(
  destination: Destination,
  address: string,
  { httpMethod: method, receive }: CheckSpec,
  { userAgent, tls }: CheckSurroundings,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      resolve({ kind: "failure", detail: "no answer in time" });
      return;
    }
    const hasBody = method !== "HEAD";
    const reader = new HttpResponseReader({ hasBody, maxBodyBytes, mayBeBare: hasBody && receive !== "" });
    let waitsFor = "no connection in time";
    let settled = false;
    const settle = (answer: Answer): void => {
      settled = true;
      resolve(answer);
      socket.destroy();
    };
    const fail = (detail: string): void => settle({ kind: "failure", detail });
    const finish = (): void => {
      const { response } = reader;
      if (response !== undefined) settle({ kind: "answer", ...response });
      else fail(`connection closed ${reader.hasHead ? "in the middle of the" : "without an"} answer`);
    };
    const onBytes = (bytes: Buffer): void => {
      if (settled) return;
      try {
        if (reader.push(bytes)) finish();
        else if (reader.hasHead) waitsFor = "answer not complete in time";
      } catch (error) {
        fail(describeError(error));
      }
    };
    const socket = open(destination, address, tls, onBytes);
    signal.addEventListener("abort", () => fail(waitsFor), { once: true });
    // Stays for good: whatever comes after the promise has settled goes nowhere.
    socket.on("error", (error) => {
      if (isOwnTrouble(error)) {
        reject(error);
        socket.destroy();
      } else fail(describeError(error));
    });
    socket.on("connect", () => (waitsFor = destination.secure ? "no TLS session in time" : "no answer in time"));
    if (destination.secure) socket.on("secureConnect", () => (waitsFor = "no answer in time"));
    const onEnd = (): void => {
      if (settled) return;
      reader.end();
      finish();
    };
    socket.on("end", onEnd);
    socket.on("close", onEnd);
    socket.write(requestText(destination, method, userAgent), "latin1");
  });
}
