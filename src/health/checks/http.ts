import { request as httpRequest } from "node:http";
import type { ClientRequest, IncomingMessage } from "node:http";
import { connect as tcpConnect, isIP } from "node:net";
import type { Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome, CheckSurroundings } from "../check.ts";
import { constantCheck, describeError, isOwnTrouble } from "../check.ts";
import type { HostNames } from "../host-names.ts";
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

type Answer =
  | { readonly kind: "answer"; readonly status: number; readonly location: string; readonly body: Buffer }
  | { readonly kind: "failure"; readonly detail: string };

/**
 * http and https: up if the status is 2xx after at most 7 redirects, wherever they lead, and the body matches `receive`.
 * `receive` never matches with HEAD. As ldirectord 4.12, but with SNI if `virtualhost` is a name, and certificates are
 * verified only if asked.
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
      const answer = await fetchFollowing(first, proxyOf(spec), spec.httpMethod, surroundings, signal);
      if (answer.kind === "failure") return { up: false, detail: answer.detail };
      return judge(answer.status, answer.body, spec, receive);
    },
  };
}

function judge(
  status: number,
  body: Buffer,
  { httpMethod, receive: pattern }: CheckSpec,
  receive: Receive,
): CheckOutcome {
  if (status < 200 || status > 299) return { up: false, detail: `HTTP status ${status}` };
  if (pattern === "") return { up: true, detail: `HTTP status ${status}` };
  if (httpMethod === "HEAD") return { up: false, detail: "HEAD brings no body that receive could match" };
  const objection = receive(body);
  if (objection !== undefined) return { up: false, detail: `HTTP status ${status}, ${objection}` };
  return { up: true, detail: `HTTP status ${status}, receive matches` };
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
  proxy: Proxy | undefined,
  method: CheckSpec["httpMethod"],
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
    const address = destination.proxy?.address ?? (await addressOf(destination.host, names, signal));
    if (address === undefined) return failed(`cannot resolve ${destination.host}`);
    const answer = await fetchOnce(destination, address, method, surroundings, signal);
    if (answer.kind === "failure") return failed(answer.detail);
    if (!redirectStatus.has(answer.status) || answer.location === "") return answer;
    if (redirects === maxRedirects) return failed(`more than ${maxRedirects} redirects`);
    const target = redirectTarget(destination, answer.location);
    if (target === undefined) return failed(`HTTP status ${answer.status} leads nowhere`);
    destination = urlDestination(target, proxy);
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
  if (isIP(name) !== 0) return name;
  const aborted = new Promise<undefined>((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  return await Promise.race([names.address(name).catch(() => undefined), aborted]);
}

/** Makes the connection; errors after the answer find a listener that ignores them. */
function open({ secure, proxy, port, serverName }: Destination, address: string, tls: TlsPolicy): Socket {
  if (!secure) return tcpConnect({ host: address, port: proxy?.port ?? port });
  return tlsConnect({ host: address, port, ...tlsOptions(tls, serverName) });
}

/** One request on a connection of its own, which is closed when the promise settles. */
function fetchOnce(
  destination: Destination,
  address: string,
  method: CheckSpec["httpMethod"],
  { userAgent, tls }: CheckSurroundings,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      resolve({ kind: "failure", detail: "no answer in time" });
      return;
    }
    const socket = open(destination, address, tls);
    const request: ClientRequest = httpRequest({
      method,
      path: destination.proxy === undefined ? destination.path : `http://${destination.hostHeader}${destination.path}`,
      headers: ["Host", destination.hostHeader, "User-Agent", userAgent],
      setHost: false,
      // Without an agent nothing is pooled, and the request asks the server to close.
      createConnection: () => socket,
      // Answers that browsers and libwww-perl accept are no reason to take a server out.
      insecureHTTPParser: true,
    });
    let waitsFor = "no connection in time";
    const settle = (answer: Answer): void => {
      resolve(answer);
      request.destroy();
      socket.destroy();
    };
    const fail = (detail: string): void => settle({ kind: "failure", detail });
    const onError = (error: Error): void => {
      if (isOwnTrouble(error)) {
        reject(error);
        socket.destroy();
      } else fail(describeError(error));
    };
    signal.addEventListener("abort", () => fail(waitsFor), { once: true });
    // Both listeners stay for good: whatever comes after the promise has settled goes nowhere.
    socket.on("error", onError);
    request.on("error", onError);
    socket.on("connect", () => (waitsFor = destination.secure ? "no TLS session in time" : "no answer in time"));
    if (destination.secure) socket.on("secureConnect", () => (waitsFor = "no answer in time"));
    request.on("close", () => fail("connection closed without an answer"));
    request.on("response", (response) => {
      waitsFor = "answer not complete in time";
      readBody(response, settle);
    });
    request.end();
  });
}

/** Reads up to the cap, then settles; what comes after the cap is not waited for. */
function readBody(response: IncomingMessage, settle: (answer: Answer) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  const finish = (): void => {
    const body = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
    const { statusCode = 0, headers } = response;
    settle({
      kind: "answer",
      status: statusCode,
      location: headers.location ?? "",
      body: body.subarray(0, maxBodyBytes),
    });
  };
  response.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= maxBodyBytes) finish();
  });
  response.on("end", finish);
  response.on("error", () => settle({ kind: "failure", detail: "connection closed in the middle of the answer" }));
}
