/** `callback`: a program that is run after the configuration file has changed on disk. */
import { access, constants } from "node:fs/promises";
import { runShell } from "./command.ts";
import type { NotifyLog } from "./notify-log.ts";

/** It may copy the file to another director; milliseconds. */
const timeoutMs = 300_000;

/** Runs the callbacks one after the other; what is asked for during one is served by one more, of the newest kind. */
export class Callbacks {
  readonly #log: NotifyLog;
  #next: { readonly program: string; readonly file: string } | undefined;
  #running = false;

  constructor(log: NotifyLog) {
    this.#log = log;
  }

  /** `program` has no arguments but the configuration file's path; empty: nothing is to be done. */
  request(program: string, file: string): void {
    if (program === "") return;
    this.#next = { program, file };
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let each = this.#next; each !== undefined; each = this.#next) {
      this.#next = undefined;
      const trouble = (await notExecutable(each.program)) ?? (await this.#call(each));
      if (trouble !== undefined) this.#log.error(`system(${each.program} ${each.file}) failed: ${trouble}`);
    }
    this.#running = false;
  }

  async #call({ program, file }: { readonly program: string; readonly file: string }): Promise<string | undefined> {
    // By the shell, which also runs a script without a first line that names its interpreter.
    return await runShell('exec "$0" "$1"', [program, file], { timeoutMs });
  }
}

async function notExecutable(program: string): Promise<string | undefined> {
  try {
    await access(program, constants.X_OK);
    return undefined;
  } catch (cause) {
    return (cause as Error).message;
  }
}
