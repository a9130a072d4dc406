/** Standard output that is never filled faster than it is read. */

/** Writes and waits until it is on its way. A reader that went away ends the process in main.ts. */
export async function write(text: string, to: NodeJS.WritableStream = process.stdout): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    to.write(text, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Joins small pieces to writes of at least 64 KiB. */
export class BatchedOutput {
  #pending: string[] = [];
  #length = 0;

  /** Returns a promise only when something was written, which the caller awaits. */
  add(text: string): Promise<void> | undefined {
    this.#pending.push(text);
    this.#length += text.length;
    return this.#length >= 65536 ? this.flush() : undefined;
  }

  async flush(): Promise<void> {
    if (this.#length === 0) return;
    const text = this.#pending.join("");
    this.#pending = [];
    this.#length = 0;
    await write(text);
  }
}
