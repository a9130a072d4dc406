/** The metrics endpoint: GET /metrics for Prometheus, GET /healthz for supervisors, nothing else. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenAddress } from "../control/daemon-options.ts";

export interface Page {
  readonly contentType: string;
  readonly body: string;
}

export class MetricsServer {
  readonly #server;

  /** `render` makes the page of this moment; what it throws becomes a 500. */
  constructor(render: () => Promise<Page>) {
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

async function answer(render: () => Promise<Page>, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "/").split("?", 1)[0];
  const readOnly = request.method === "GET" || request.method === "HEAD";
  if (path !== "/metrics" && path !== "/healthz") return send(response, 404, "not found; see /metrics\n");
  if (!readOnly) return send(response, 405, "only GET and HEAD\n");
  if (path === "/healthz") return send(response, 200, "ok\n");
  try {
    const { contentType, body } = await render();
    send(response, 200, body, contentType);
  } catch (cause) {
    // The scraper is told; a page that fails must not end the daemon.
    send(response, 500, `cannot make the metrics: ${(cause as Error).message}\n`);
  }
}

function send(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) }).end(body);
}
