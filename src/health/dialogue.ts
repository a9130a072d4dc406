/** A dialogue by lines over one connection: what the checks of text protocols share. */
import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions } from "node:tls";
import type { CheckSpec } from "../model/config.ts";
import type { Check, CheckOutcome } from "./check.ts";
import { constantCheck, describeError, isOwnTrouble } from "./check.ts";
import { excerpt } from "./receive.ts";

/** The longest line that a server may send, bytes. */
const maxLineBytes = 64 << 10;
/** What a server may send in one dialogue, bytes. */
const maxBytes = 1 << 20;
/** How long a server may take to close after it was told goodbye, milliseconds. */
const farewellMs = 300;

export interface DialogueTarget {
  /** An address. */
  readonly host: string;
  readonly port: number;
  /** Undefined: the dialogue is not over TLS. */
  readonly tls?: ConnectionOptions | undefined;
}

export type Talk = (dialogue: Dialogue) => Promise<CheckOutcome>;

/** Ends a dialogue: the server does not go on as it has to. The message is the outcome's detail. */
export class DialogueError extends Error {}

/** A negotiate check that is a dialogue with the real server on the check's port. */
export function dialogueCheck(spec: CheckSpec, tls: ConnectionOptions | undefined, talk: Talk): Check {
  if (spec.port === 0) return constantCheck({ up: false, detail: "no port to connect to" });
  const target = { host: spec.address, port: spec.port, tls };
  return { timeoutMs: spec.negotiateTimeoutMs, attempt: (signal) => holdDialogue(target, signal, talk) };
}

/**
 * Connects, talks, and closes. Whatever ends the dialogue early, be it the server, the network or the signal, is an
 * outcome; only what is the director's own trouble rejects. Nothing is open when it settles.
 */
export async function holdDialogue(target: DialogueTarget, signal: AbortSignal, talk: Talk): Promise<CheckOutcome> {
  try {
    return await withDialogue(target, signal, talk);
  } catch (error) {
    if (error instanceof DialogueError) return { up: false, detail: error.message };
    throw error;
  }
}

async function withDialogue<T>(
  target: DialogueTarget,
  signal: AbortSignal,
  talk: (dialogue: Dialogue) => Promise<T>,
): Promise<T> {
  const dialogue = new Dialogue(target, signal);
  try {
    await dialogue.open();
    return await talk(dialogue);
  } finally {
    dialogue.close();
  }
}

/** Why nothing more comes. */
type End =
  | { readonly kind: "closed" }
  | { readonly kind: "late" }
  | { readonly kind: "flood" }
  | { readonly kind: "error"; readonly error: Error };

/** A numbered reply of SMTP, FTP or NNTP. */
export interface DialogueReply {
  readonly code: number;
  /** The last line, without the code. */
  readonly text: string;
}

/**
 * One end of a dialogue. Every wait ends with the connection or the signal, and then throws a
 * {@link DialogueError} that tells what was waited for. What comes is read as latin1, what is
 * sent is UTF-8, as configuration files are.
 */
export class Dialogue {
  readonly #socket: Socket;
  readonly #signal: AbortSignal;
  readonly #secure: boolean;
  readonly #onAbort = (): void => this.#finish({ kind: "late" });
  #connected = false;
  #established = false;
  #text = "";
  #bytes = 0;
  #end: End | undefined;
  #wake: (() => void) | undefined;

  constructor({ host, port, tls }: DialogueTarget, signal: AbortSignal) {
    this.#signal = signal;
    this.#secure = tls !== undefined;
    this.#socket = tls === undefined ? connect({ host, port }) : connectTls({ host, port, ...tls });
    this.#socket.on("connect", () => {
      this.#connected = true;
      if (!this.#secure) this.#establish();
    });
    this.#socket.on("secureConnect", () => this.#establish());
    this.#socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on("end", () => this.#finish({ kind: "closed" }));
    this.#socket.on("close", () => this.#finish({ kind: "closed" }));
    // Stays for the socket's whole life: an error after the dialogue goes nowhere.
    this.#socket.on("error", (error) => this.#finish({ kind: "error", error }));
    if (signal.aborted) this.#finish({ kind: "late" });
    else signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** The director's address and port. */
  get local(): { readonly address: string; readonly port: number } {
    return { address: this.#socket.localAddress ?? "", port: this.#socket.localPort ?? 0 };
  }

  /** Waits for the connection, and the TLS session on it. */
  async open(): Promise<void> {
    while (!this.#established) {
      if (this.#end === undefined) await this.#change();
      else if (!this.#connected) this.#fail("connection");
      else this.#fail("TLS session");
    }
  }

  /** Whether the server has sent more than any check reads. */
  get overflowed(): boolean {
    return this.#end?.kind === "flood";
  }

  /** Makes a second connection for as long as `talk` takes, under the same signal. */
  beside<T>(target: DialogueTarget, talk: (dialogue: Dialogue) => Promise<T>): Promise<T> {
    return withDialogue(target, this.#signal, talk);
  }

  send(text: string): void {
    if (this.#end === undefined) this.#socket.write(text);
  }

  /** Sends, and ends the sending side; the server may go on. */
  sendLast(text: string): void {
    if (this.#end === undefined) this.#socket.end(text);
  }

  /** The next line without its end, CR LF or LF. `what` names it in the detail of a failure: `greeting`. */
  async readLine(what: string): Promise<string> {
    const line = await this.readPiece(what);
    if (line?.endsWith("\n") !== true) this.#fail(what, line !== undefined);
    return line.replace(/\r?\n$/, "");
  }

  /** The next line with its end, or what came last before the server closed; undefined after that. */
  async readPiece(what: string): Promise<string | undefined> {
    let searchedTo = 0;
    for (;;) {
      const newline = this.#text.indexOf("\n", searchedTo);
      if (newline !== -1) return this.#take(newline + 1);
      searchedTo = this.#text.length;
      if (searchedTo > maxLineBytes) throw new DialogueError(`${what} is a line without end`);
      if (this.#end?.kind === "closed") return searchedTo === 0 ? undefined : this.#take(searchedTo);
      if (this.#end !== undefined) this.#fail(what);
      await this.#change();
    }
  }

  /** Everything until the server closes, or sends more than any check reads. */
  async readAll(what: string): Promise<Buffer> {
    while (this.#end === undefined) await this.#change();
    if (this.#end.kind !== "closed" && this.#end.kind !== "flood") this.#fail(what);
    return Buffer.from(this.#take(this.#text.length), "latin1");
  }

  /** A reply of one or more lines: `250-first`, ..., `250 last`. */
  async readReply(what: string): Promise<DialogueReply> {
    const first = await this.readLine(what);
    const match = /^([1-5]\d\d)(?:([ -])(.*))?$/.exec(first);
    if (match === null) throw new DialogueError(`${what} is ${excerpt(Buffer.from(first, "latin1"))}`);
    const [, code = "", separator = " ", text = ""] = match;
    if (separator === " ") return { code: Number(code), text };
    for (;;) {
      const line = await this.readLine(what);
      if (line === code || line.startsWith(`${code} `)) return { code: Number(code), text: line.slice(4) };
    }
  }

  /** Sends a command and reads its reply. */
  async ask(command: string): Promise<DialogueReply> {
    this.send(`${command}\r\n`);
    return await this.readReply(`answer to ${command.split(" ", 1)[0]}`);
  }

  /** Ends the dialogue politely; the server has a moment to close. Nothing that it still does matters. */
  async leave(command: string): Promise<void> {
    if (this.#end !== undefined) return;
    this.sendLast(`${command}\r\n`);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, farewellMs);
      this.#wake = () => {
        if (this.#end === undefined) return;
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  close(): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#end ??= { kind: "closed" };
    this.#wake = undefined;
    this.#socket.destroy();
  }

  #establish(): void {
    this.#established = true;
    this.#wake?.();
  }

  #receive(chunk: Buffer): void {
    if (this.#end !== undefined) return;
    // What is read does not depend on how the network cuts it: all up to the limit, and nothing beyond.
    const within = chunk.subarray(0, maxBytes - this.#bytes);
    this.#bytes += within.length;
    this.#text += within.toString("latin1");
    if (within.length < chunk.length) {
      this.#finish({ kind: "flood" });
      this.#socket.destroy();
      return;
    }
    this.#wake?.();
  }

  #finish(end: End): void {
    this.#end ??= end;
    this.#wake?.();
  }

  #take(length: number): string {
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return text;
  }

  async #change(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  #fail(what: string, begun = this.#text !== ""): never {
    const end = this.#end ?? { kind: "closed" };
    switch (end.kind) {
      case "late":
        throw new DialogueError(begun ? `${what} not complete in time` : `no ${what} in time`);
      case "flood":
        throw new DialogueError(`${what}: more than ${maxBytes >> 20} MiB from the server`);
      case "closed":
        throw new DialogueError(
          begun ? `connection closed in the middle of the ${what}` : `connection closed, no ${what}`,
        );
      case "error":
        if (isOwnTrouble(end.error)) throw end.error;
        throw new DialogueError(
          this.#established ? `no ${what}: ${describeError(end.error)}` : describeError(end.error),
        );
    }
  }
}
