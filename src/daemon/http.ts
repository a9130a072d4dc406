/** The metrics endpoint: GET /metrics for Prometheus, GET /healthz for supervisors, nothing else. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Content type of the Prometheus text format. */
const prometheusText = "text/plain; version=0.0.4; charset=utf-8";

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:9820`, `[::1]:9820`, `:9820` (every address); undefined if it is none of these. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) return undefined;
  const host = match[1] ?? match[2] ?? "";
  return { host: host === "" ? "::" : host, port };
}

export class MetricsServer {
  readonly #server;

  /** `render` makes the page of this moment; what it throws becomes a 500. */
  constructor(render: () => Promise<string>) {
    this.#server = createServer((request, response) => {
      void answer(render, request, response);
    });
    this.#server.headersTimeout = 10_000;
    this.#server.requestTimeout = 10_000;
  }

  /** Resolves to the port, which the kernel chooses when 0 was asked for. */
  async listen({ host, port }: ListenAddress): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause: Error) => {
        reject(new Error(`cannot serve metrics on ${host} port ${port}: ${cause.message}`, { cause }));
      });
      this.#server.listen({ host, port }, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

async function answer(
  render: () => Promise<string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? "/").split("?", 1)[0];
  const readOnly = request.method === "GET" || request.method === "HEAD";
  if (path !== "/metrics" && path !== "/healthz") return send(response, 404, "not found; see /metrics\n");
  if (!readOnly) return send(response, 405, "only GET and HEAD\n");
  if (path === "/healthz") return send(response, 200, "ok\n");
  try {
    send(response, 200, await render(), prometheusText);
  } catch (cause) {
    // The scraper is told; a page that fails must not end the daemon.
    send(response, 500, `cannot make the metrics: ${(cause as Error).message}\n`);
  }
}

function send(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) }).end(body);
}
