/** What a server has answered. */
export interface HttpResponse {
  readonly status: number;
  /** It has no status line, and everything that came is the body: HTTP/0.9. */
  readonly bare: boolean;
  /** The header `Location`; empty without one. */
  readonly location: string;
  /** The beginning, of so many bytes as are kept at most. */
  readonly body: Buffer;
}

/** The bytes are no HTTP, or not any more. */
export class HttpError extends Error {}

/** What a head may be at most, bytes. */
const maxHeadBytes = 64 << 10;

export interface HttpResponseOptions {
  readonly hasBody?: boolean;
  readonly maxBodyBytes?: number;
  readonly mayBeBare?: boolean;
}

/** How the end of the body is known; lengths in bytes. */
type Framing =
  | { readonly kind: "head" }
  | { readonly kind: "length"; left: number }
  | { readonly kind: "connection" }
  | { readonly kind: "chunks"; left: number; part: "size" | "data" | "data end" | "trailer" };

/**
 * Reads one HTTP/1 response from the bytes of a connection, as they come. Lenient where clients are: a line may end in LF
 * alone, and lines of a head that are no header are skipped.
 */
export class HttpResponseReader {
  readonly #hasBody: boolean;
  readonly #maxBodyBytes: number;
  readonly #mayBeBare: boolean;
  #bare = false;
  /** Read, and not yet understood. */
  #rest: Buffer = Buffer.alloc(0);
  #framing: Framing = { kind: "head" };
  #status = 0;
  #location = "";
  #body: Buffer[] = [];
  #bodyBytes = 0;
  #complete = false;

  /**
   * `hasBody` is false for the answer to HEAD. What the body has beyond `maxBodyBytes` is not waited for. `mayBeBare`:
   * what does not begin as HTTP is a body up to the end of the connection, with the status 200, as for libwww-perl.
   */
  constructor({ hasBody = true, maxBodyBytes = Infinity, mayBeBare = false }: HttpResponseOptions) {
    this.#hasBody = hasBody;
    this.#maxBodyBytes = maxBodyBytes;
    this.#mayBeBare = mayBeBare;
  }

  /** Whether the head has been read. */
  get hasHead(): boolean {
    return this.#framing.kind !== "head";
  }

  /** The response, once it is complete. */
  get response(): HttpResponse | undefined {
    if (!this.#complete) return undefined;
    const body = this.#body.length === 1 && this.#body[0] !== undefined ? this.#body[0] : Buffer.concat(this.#body);
    return { status: this.#status, bare: this.#bare, location: this.#location, body };
  }

  /** Takes the next bytes, which are the caller's again afterwards; true if the response is complete. */
  push(bytes: Buffer): boolean {
    // Kept are copies only.
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (!this.#complete) {
      const before = rest.length;
      const { kind } = this.#framing;
      rest = this.#step(rest);
      // Nothing more can be made of it.
      if (rest.length === before && this.#framing.kind === kind) break;
    }
    this.#rest = this.#complete || rest.length === 0 ? noBytes : Buffer.from(rest);
    return this.#complete;
  }

  /** The server has closed the connection; true if that completes the response. */
  end(): boolean {
    if (this.#framing.kind === "connection") this.#complete = true;
    return this.#complete;
  }

  /** Understands the beginning, and returns what it has not understood yet. */
  #step(rest: Buffer): Buffer {
    const framing = this.#framing;
    switch (framing.kind) {
      case "head":
        return this.#readHead(rest);
      case "connection":
        this.#keep(rest);
        return noBytes;
      case "length": {
        const part = rest.subarray(0, framing.left);
        framing.left -= part.length;
        this.#keep(part);
        if (framing.left === 0) this.#complete = true;
        return rest.subarray(part.length);
      }
      case "chunks":
        return this.#readChunk(rest, framing);
    }
  }

  #readHead(rest: Buffer): Buffer {
    const end = endOfHead(rest);
    if (end === undefined) {
      if (rest.length > maxHeadBytes) throw new HttpError(`the head of the answer is over ${maxHeadBytes >> 10} KiB`);
      return couldBeHttp(rest) ? rest : this.#readBare(rest);
    }
    const [statusLine = "", ...headers] = rest.toString("latin1", 0, end).split("\n");
    const status = /^HTTP\/\d+(?:\.\d+)? +(\d{3})(?!\d)/.exec(statusLine)?.[1];
    if (status === undefined) return this.#readBare(rest);
    this.#status = Number(status);
    // An interim answer: the real one follows.
    if (this.#status < 200 && this.#status !== 101) return rest.subarray(end);
    let length: number | undefined;
    let chunked = false;
    for (const line of headers) {
      const colon = line.indexOf(":");
      if (colon <= 0) continue;
      // Most headers do not matter, and their length tells.
      if (colon !== 8 && colon !== 14 && colon !== 17) continue;
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      if (name === "location") this.#location = value;
      else if (name === "transfer-encoding") chunked = /\bchunked$/i.test(value);
      else if (name === "content-length") {
        if (!/^\d+$/.test(value)) throw new HttpError(`content-length is ${JSON.stringify(value.slice(0, 40))}`);
        length = Number(value);
      }
    }
    if (!this.#hasBody || this.#status === 101 || this.#status === 204 || this.#status === 304) length = 0;
    else if (chunked) length = undefined;
    if (length !== undefined) this.#framing = { kind: "length", left: length };
    else this.#framing = chunked ? { kind: "chunks", left: 0, part: "size" } : { kind: "connection" };
    if (length === 0) this.#complete = true;
    return rest.subarray(end);
  }

  #readBare(rest: Buffer): Buffer {
    if (!this.#mayBeBare) throw new HttpError("the answer is not HTTP");
    this.#bare = true;
    this.#status = 200;
    this.#framing = { kind: "connection" };
    return rest;
  }

  /** RFC 9112, section 7.1: lines with a hexadecimal length, each followed by so many bytes and a line's end. */
  #readChunk(rest: Buffer, framing: Framing & { readonly kind: "chunks" }): Buffer {
    if (framing.part === "data") {
      const part = rest.subarray(0, framing.left);
      framing.left -= part.length;
      this.#keep(part);
      if (framing.left === 0) framing.part = "data end";
      return rest.subarray(part.length);
    }
    const newline = rest.indexOf(10);
    if (newline === -1) {
      if (rest.length > maxHeadBytes) throw new HttpError("a line between chunks has no end");
      return rest;
    }
    const line = rest.toString("latin1", 0, newline).trimEnd();
    if (framing.part === "trailer") {
      if (line === "") this.#complete = true;
    } else if (framing.part === "data end") {
      if (line !== "") throw new HttpError("a chunk is longer than it says");
      framing.part = "size";
    } else {
      const size = /^([\da-f]{1,12})\s*(?:;.*)?$/i.exec(line)?.[1];
      if (size === undefined) throw new HttpError(`a chunk's length is ${JSON.stringify(line.slice(0, 40))}`);
      framing.left = parseInt(size, 16);
      framing.part = framing.left === 0 ? "trailer" : "data";
    }
    return rest.subarray(newline + 1);
  }

  #keep(part: Buffer): void {
    const room = this.#maxBodyBytes - this.#bodyBytes;
    if (part.length > 0) this.#body.push(Buffer.from(part.subarray(0, room)));
    this.#bodyBytes += part.length;
    if (this.#bodyBytes >= this.#maxBodyBytes) this.#complete = true;
  }
}

const noBytes = Buffer.alloc(0);

/** Where the empty line after the headers ends; undefined if it is not there yet. */
function endOfHead(bytes: Buffer): number | undefined {
  for (let newline = bytes.indexOf(10); newline !== -1; newline = bytes.indexOf(10, newline + 1)) {
    if (bytes[newline + 1] === 10) return newline + 2;
    if (bytes[newline + 1] === 13 && bytes[newline + 2] === 10) return newline + 3;
  }
  return undefined;
}

/** Whether the first bytes are those of a status line, as far as they have come. */
function couldBeHttp(bytes: Buffer): boolean {
  const start = bytes.toString("latin1", 0, 5);
  return "HTTP/".startsWith(start);
}
