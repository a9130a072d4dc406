/** Reads a configuration file, and watches one for autoreload. */
import { createHash } from "node:crypto";
import { constants, watch } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseConfig } from "./parse.ts";
import type { ConfigDeps, ParseResult } from "./parse.ts";

export interface LoadResult extends ParseResult {
  /** Of the bytes that were read, for {@link watchConfig}; undefined if the file could not be read. */
  readonly digest?: string;
}

/** Thousands of services with thousands of real servers take less. */
const largestFile = 64 * 2 ** 20;

/**
 * Reads and parses a file; `-` is standard input. One that cannot be read is an error among the diagnostics, and so is
 * what never ends.
 */
export async function loadConfig(file: string, deps: ConfigDeps): Promise<LoadResult> {
  let bytes: Buffer;
  try {
    bytes = file === "-" ? await readStandardInput() : await readRegularFile(file);
  } catch (cause) {
    const message = `cannot read the file: ${reasonOf(cause)}`;
    return { diagnostics: [{ file, line: 1, column: 1, severity: "error", message }], globals: new Map() };
  }
  return { ...(await parseConfig(bytes, file, deps)), digest: digestOf(bytes) };
}

const tooLarge = (): Error => new Error(`it has more than ${largestFile / 2 ** 20} MiB`);

/** Opening does not wait, as it would for the other end of a named pipe. */
async function readRegularFile(file: string): Promise<Buffer> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw new Error(status.isDirectory() ? "it is a directory" : "it is not a regular file");
    if (status.size > largestFile) throw tooLarge();
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

async function readStandardInput(): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > largestFile) throw tooLarge();
    parts.push(part);
  }
  return Buffer.concat(parts);
}

export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export type ConfigFileEvent =
  /** The content is another one than before. */
  | { readonly kind: "changed"; readonly digest: string }
  /** Said once, until the file can be read again. */
  | { readonly kind: "unreadable"; readonly reason: string }
  /** It can be read again, and nothing has changed. */
  | { readonly kind: "readable" };

export interface WatchOptions {
  /** The longest time a change stays unseen, milliseconds. */
  readonly intervalMs: number;
  /** The digest of what is in use. Default: of the file at the first look. */
  readonly digest?: string;
}

/** How long a file must have kept still before it is read, milliseconds: an editor may still be writing. */
const settleMs = 50;
/** A file that never keeps still is read all the same after so many looks. */
const settleLooks = 20;

/**
 * Reports changes of a file's content until the signal aborts, then ends. Survives editors that put a new file in
 * the old one's place, and a file that is missing for a while. A look compares status first, content only if that
 * differs. The directory's notifications only make looks come earlier.
 */
export async function* watchConfig(
  file: string,
  { intervalMs, digest }: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<ConfigFileEvent, void, undefined> {
  let current = digest;
  let status = "";
  let first = true;
  let readable = true;
  const notifications = new Notifications(file, signal);
  try {
    while (!signal.aborted) {
      const look = await lookAt(file, status, first, signal);
      if (signal.aborted) return;
      first = false;
      if (look.kind === "unreadable") {
        status = "";
        if (readable) yield look;
        readable = false;
      } else {
        if (look.kind === "read") {
          status = look.status;
          const changed = current !== undefined && current !== look.digest;
          current = look.digest;
          if (changed) yield { kind: "changed", digest: look.digest };
          else if (!readable) yield { kind: "readable" };
        }
        readable = true;
      }
      await notifications.wait(intervalMs);
    }
  } finally {
    notifications.close();
  }
}

type Look =
  | { readonly kind: "same" }
  | { readonly kind: "read"; readonly status: string; readonly digest: string }
  | { readonly kind: "unreadable"; readonly reason: string };

async function lookAt(file: string, before: string, first: boolean, signal: AbortSignal): Promise<Look> {
  try {
    let status = await statusOf(file);
    if (status === before) return { kind: "same" };
    // At the very first look nobody is known to be writing. A file that was missing may be half written.
    for (let looks = 0; !first && looks < settleLooks; looks += 1) {
      await delay(settleMs, undefined, { signal });
      const later = await statusOf(file);
      if (later === status) break;
      status = later;
    }
    return { kind: "read", status, digest: digestOf(await readFile(file)) };
  } catch (cause) {
    // A missing file is an outcome; so is an abort, which the caller sees on its signal.
    return { kind: "unreadable", reason: reasonOf(cause) };
  }
}

async function statusOf(file: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Waits that end early when the directory says that the file was touched. */
class Notifications {
  readonly #file: string;
  readonly #signal: AbortSignal;
  #watcher: ReturnType<typeof watch> | undefined;
  #touched = false;
  #wake: (() => void) | undefined;

  constructor(file: string, signal: AbortSignal) {
    this.#file = file;
    this.#signal = signal;
  }

  async wait(intervalMs: number): Promise<void> {
    this.#open();
    if (this.#touched) {
      this.#touched = false;
      await delay(Math.min(settleMs, intervalMs), undefined, { signal: this.#signal }).catch(() => undefined);
      return;
    }
    const own = new AbortController();
    this.#wake = () => own.abort();
    // Both ways to end early are no failure.
    await delay(intervalMs, undefined, { signal: AbortSignal.any([this.#signal, own.signal]) }).catch(() => undefined);
    this.#wake = undefined;
    this.#touched = false;
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #open(): void {
    if (this.#watcher !== undefined || this.#signal.aborted) return;
    try {
      const name = basename(this.#file);
      this.#watcher = watch(dirname(this.#file), { persistent: false }, (_event, changed) => {
        if (changed !== null && changed !== name) return;
        this.#touched = true;
        this.#wake?.();
      });
      // The directory is gone: the next wait tries again, and the interval goes on.
      this.#watcher.on("error", () => this.close());
    } catch {
      // No directory, or no inotify left: the interval alone must do.
      this.#watcher = undefined;
    }
  }
}
