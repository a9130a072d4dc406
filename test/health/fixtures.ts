import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { startAttempt } from "../../src/health/attempt.ts";
import type { CheckSurroundings } from "../../src/health/check.ts";
import { prepareCheck } from "../../src/health/checks.ts";
import { EchoSockets } from "../../src/health/echo-sockets.ts";
import { HostNames } from "../../src/health/host-names.ts";
import { anyCertificate } from "../../src/health/tls.ts";
import type { TlsPolicy } from "../../src/health/tls.ts";
import type { CheckSpec, ConfiguredRealServer, ConfiguredService } from "../../src/model/config.ts";
import type { CheckResult } from "../../src/model/health.ts";
import { loadNative } from "../../src/native.ts";

/** A negotiate http check of 127.0.0.1 that may take 20 seconds, with everything else as by default. */
export function specOf(changes: Partial<CheckSpec>): CheckSpec {
  return {
    type: { kind: "negotiate" },
    service: "http",
    protocol: "tcp",
    address: "127.0.0.1",
    port: 80,
    realPort: changes.port ?? 80,
    virtualAddress: "10.0.0.1",
    virtualPort: 80,
    request: "/",
    receive: "",
    httpMethod: "GET",
    virtualHost: "",
    login: "",
    password: "",
    database: "",
    secret: "",
    command: "",
    checkTimeoutMs: 20_000,
    negotiateTimeoutMs: 20_000,
    checkCount: 1,
    ...changes,
  };
}

/** One real server with the check, under a port of its own in the table. */
export function realServerOf(check: CheckSpec, port = check.port): ConfiguredRealServer {
  return {
    position: { line: 1, column: 1 },
    address: check.address,
    port,
    method: "masq",
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    check,
  };
}

export function serviceOf(
  realServers: readonly ConfiguredRealServer[],
  changes: Partial<ConfiguredService> = {},
): ConfiguredService {
  return {
    position: { line: 1, column: 1 },
    identity: { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 80 },
    scheduler: "rr",
    schedulerFlags: [],
    onePacket: false,
    realServers,
    fallbackCommand: "",
    quiescent: false,
    cleanStop: true,
    checkIntervalMs: 100,
    failureCount: 1,
    monitorFile: "",
    serviceName: "",
    comment: "",
    emailAlert: { to: [], frequency: 0, status: [], smtp: "" },
    ...changes,
  };
}

export const echo = new EchoSockets(loadNative());

export const surroundings: CheckSurroundings = {
  native: loadNative(),
  echo,
  names: new HostNames(),
  userAgent: "xlb/test",
  tls: anyCertificate,
};

/** One attempt under the check's own deadline. */
export async function attemptOnce(spec: CheckSpec, tls: TlsPolicy = anyCertificate): Promise<CheckResult> {
  return await startAttempt(prepareCheck(spec, { ...surroundings, tls })).result;
}

/**
 * Tests what comes of an attempt that lasts until its deadline, a few hundred milliseconds. A busy machine may not let it
 * get as far by then as it should: then it is given four times as long, and again, up to half a minute.
 */
export async function atDeadline<T>(
  deadlineMs: number,
  attempt: (deadlineMs: number) => Promise<T>,
  expected: T,
): Promise<void> {
  const outcome = await attempt(deadlineMs);
  if (isDeepStrictEqual(outcome, expected)) return;
  if (deadlineMs > 8000) assert.deepEqual(outcome, expected);
  else await atDeadline(4 * deadlineMs, attempt, expected);
}

/** Waits until the condition holds; fails after a minute. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 60_000;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within a minute: ${what}`);
    await sleep(5);
  }
}

export interface TestServer {
  readonly port: number;
  /** Connections accepted so far. */
  readonly accepted: () => number;
  /** Connections open now. */
  readonly open: () => number;
  readonly close: () => Promise<void>;
}

/** A TCP server on loopback that does with each connection what the test wants; `allowHalfOpen` as of node:net. */
export async function serve(
  onConnection: (socket: Socket) => void,
  host = "127.0.0.1",
  allowHalfOpen = false,
): Promise<TestServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer({ allowHalfOpen }, (socket) => {
    accepted += 1;
    sockets.add(socket);
    // The client closes as it likes, in the middle of whatever is sent.
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
    // Read, or the client's closing is never seen.
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, host, 1024, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    open: () => sockets.size,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers every request with the same bytes, and closes. */
export function respond(answer: string): (socket: Socket) => void {
  return (socket) => socket.once("data", () => socket.end(answer, "latin1"));
}

/** Says the same to everybody who connects, and waits. */
export function respondAtOnce(greeting: string): (socket: Socket) => void {
  return (socket) => socket.write(greeting, "latin1");
}

/** A port nobody listens on. */
export async function freePort(): Promise<number> {
  const server = await serve(() => undefined);
  await server.close();
  return server.port;
}

export interface Nginx {
  readonly port: number;
  readonly securePort: number;
  /** PEM, for the name `self-signed`. */
  readonly certificate: string;
  readonly stop: () => Promise<void>;
}

export const nginxIsMissing = ["/usr/sbin/nginx", "/usr/bin/openssl"].every((path) => existsSync(path))
  ? false
  : "nginx and openssl are needed";

/** A real nginx on loopback with its own files, a plain and a TLS port, and `locations` in both. */
export async function startNginx(locations: string, listenAddress = "127.0.0.1"): Promise<Nginx> {
  const directory = mkdtempSync(join(tmpdir(), "xlb-health-nginx-"));
  const [port, securePort] = [await freePort(), await freePort()];
  const file = (name: string): string => join(directory, name);
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"].concat([
      "-subj",
      "/CN=self-signed",
      "-keyout",
      file("key.pem"),
      "-out",
      file("cert.pem"),
    ]),
    { stdio: "ignore" },
  );
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${file(kind)};`)
    .join(" ");
  writeFileSync(
    file("nginx.conf"),
    `worker_processes 1; daemon off; pid ${file("nginx.pid")}; error_log ${file("error.log")};
    ${process.getuid?.() === 0 ? "user root;" : ""}
    events { worker_connections 4096; }
    http {
      access_log off; ${temporary}
      server {
        listen ${listenAddress}:${port} backlog=4096;
        listen ${listenAddress}:${securePort} ssl backlog=4096;
        ssl_certificate ${file("cert.pem")}; ssl_certificate_key ${file("key.pem")};
        server_name _;
        ${locations}
      }
    }`,
  );
  const nginx = spawn("/usr/sbin/nginx", ["-p", directory, "-c", file("nginx.conf")], { stdio: "ignore" });
  const ended = new Promise<void>((resolve) => nginx.once("exit", () => resolve()));
  const stop = async (): Promise<void> => {
    nginx.kill("SIGTERM");
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await eventually("nginx accepts connections", () => accepts(securePort));
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, securePort, certificate: readFileSync(file("cert.pem"), "utf8"), stop };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => resolve(true));
    socket.on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}
