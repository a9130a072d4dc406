/** The answering side of the control socket: one request, one reply, each a line of JSON. */
import { chmodSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { parseHandChange, parseIdentity, parseOwner, parseTimeouts } from "./hand-request.ts";
import type { Reply, Request } from "./protocol.ts";

/** Longer requests are refused; the longest valid ones, changes by hand, have a few hundred bytes. */
const maxRequestBytes = 4096;

/** Answers a request. A rejection is told to the asker as an error reply. */
export type RequestHandler = (request: Request) => Promise<Reply>;

/** Checks what came over the socket; returns what is wrong with it as text. */
export function parseRequest(line: string): Request | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "the request is not JSON"; // Whatever the parser says of it, the asker is not one of ours.
  }
  if (typeof value !== "object" || value === null || !("kind" in value)) return "the request has no kind";
  switch (value.kind) {
    case "status":
    case "health":
    case "reload":
    case "overrides":
      return { kind: value.kind };
    case "drain":
    case "undrain":
      return parseDrain(value.kind, value);
    case "by-hand":
    case "clear-overrides":
    case "zero":
    case "set-timeouts":
      return parseByHand(value.kind, { ...value }) ?? `a ${value.kind} request of another shape`;
    case "change-plane":
      return "to" in value && (value.to === "xdp" || value.to === "ipvs")
        ? { kind: "change-plane", to: value.to }
        : "a change-plane request names the plane: xdp or ipvs";
    case "stop":
      return "keep" in value && typeof value.keep === "boolean"
        ? { kind: "stop", keep: value.keep }
        : "a stop request says whether to keep forwarding";
    default:
      return `unknown request ${JSON.stringify(value.kind)}`;
  }
}

function parseDrain(kind: "drain" | "undrain", value: object): Request | string {
  if (!("realServer" in value) || typeof value.realServer !== "string") return `a ${kind} request names a real server`;
  const { realServer } = value;
  if (kind === "undrain" || !("deadlineSeconds" in value)) return { kind, realServer };
  const { deadlineSeconds } = value;
  return typeof deadlineSeconds === "number" && deadlineSeconds >= 0
    ? { kind, realServer, deadlineSeconds }
    : "a deadline is a number of seconds";
}

function parseByHand(
  kind: "by-hand" | "clear-overrides" | "zero" | "set-timeouts",
  value: Readonly<Record<string, unknown>>,
): Request | undefined {
  switch (kind) {
    case "by-hand": {
      const change = parseHandChange(value["change"]);
      const owner = parseOwner(value["owner"]);
      return change && owner && { kind, change, owner };
    }
    case "clear-overrides": {
      const { targets } = value;
      if (targets === undefined) return { kind };
      return Array.isArray(targets) && targets.every((each) => typeof each === "string")
        ? { kind, targets }
        : undefined;
    }
    case "zero": {
      if (value["identity"] === undefined) return { kind };
      const identity = parseIdentity(value["identity"]);
      return identity && { kind, identity };
    }
    case "set-timeouts": {
      const timeouts = parseTimeouts(value["timeouts"]);
      return timeouts && { kind, timeouts };
    }
  }
}

/** The listening control socket. Only its owner (root) may connect. */
export class ControlServer {
  readonly #server: Server;
  readonly #handler: RequestHandler;
  readonly #sockets = new Set<Socket>();
  readonly #pending = new Set<Promise<void>>();

  constructor(handler: RequestHandler) {
    this.#handler = handler;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** Takes the path over; the caller holds the lock of the state directory, so a socket found there is stale. */
  async listen(path: string): Promise<void> {
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause: Error) => {
        reject(new Error(`cannot listen on ${path}: ${cause.message}`, { cause }));
      });
      this.#server.listen({ path }, resolve);
    });
    chmodSync(path, 0o600);
  }

  /** Sends the replies that are still being made, then closes and removes the socket. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await Promise.all(this.#pending);
    for (const socket of this.#sockets) socket.destroySoon();
    await closed;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy()); // The asker went away; nobody is left to be told.
    socket.setEncoding("utf8");
    let received = "";
    socket.on("data", (chunk: string) => {
      received += chunk;
      const end = received.indexOf("\n");
      if (end < 0 && received.length <= maxRequestBytes) return;
      socket.removeAllListeners("data");
      socket.resume();
      const request = end < 0 ? "the request is too long" : parseRequest(received.slice(0, end));
      const pending = this.#reply(socket, request).finally(() => this.#pending.delete(pending));
      this.#pending.add(pending);
    });
  }

  async #reply(socket: Socket, request: Request | string): Promise<void> {
    const reply: Reply =
      typeof request === "string" ? { kind: "error", message: request } : await this.#answer(request);
    if (!socket.destroyed) await new Promise<void>((resolve) => socket.end(`${JSON.stringify(reply)}\n`, resolve));
  }

  async #answer(request: Request): Promise<Reply> {
    try {
      return await this.#handler(request);
    } catch (cause) {
      return { kind: "error", message: (cause as Error).message };
    }
  }
}
