/** What the operator has taken out of service, in a file of the state directory that outlives the daemon. */
import { readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { replaceFile } from "../control/replace-file.ts";
import { drainStage } from "../model/drain.ts";
import type { Drain, DrainStage } from "../model/drain.ts";

/** A timer cannot be set for longer, milliseconds. */
const longestSleepMs = 2 ** 31 - 1;

export class Drains {
  readonly #path: string;
  #drains: readonly Drain[];
  #changed = new AbortController();

  /** A file that cannot be read is a warning, and nothing is drained. */
  constructor(path: string, warn: (message: string) => void) {
    this.#path = path;
    this.#drains = read(path, warn);
  }

  list(): readonly Drain[] {
    return this.#drains;
  }

  stageOf(address: string, port: number): DrainStage {
    return drainStage(this.#drains, address, port, new Date());
  }

  /** Takes the place of an earlier drain of the same name. Throws if the file cannot be written; nothing has changed then. */
  put(drain: Drain): void {
    this.#replace([...this.#drains.filter(({ realServer }) => realServer !== drain.realServer), drain]);
  }

  /** False if there is none of this name. Throws as {@link put}. */
  remove(realServer: string): boolean {
    const left = this.#drains.filter((drain) => drain.realServer !== realServer);
    if (left.length === this.#drains.length) return false;
    this.#replace(left);
    return true;
  }

  #replace(drains: readonly Drain[]): void {
    if (drains.length === 0) rmSync(this.#path, { force: true });
    else replaceFile(this.#path, `${JSON.stringify(drains)}\n`);
    this.#drains = drains;
    this.#changed.abort();
  }

  /** Calls back whenever a deadline is over. */
  async run(signal: AbortSignal, onDue: () => void): Promise<void> {
    let told = Date.now();
    while (!signal.aborted) {
      this.#changed = new AbortController();
      const due = this.#drains.flatMap(({ deadline }) => (deadline === undefined ? [] : deadline.getTime()));
      const next = Math.min(...due.filter((time) => time > told));
      const rest = Math.min(Math.max(next - Date.now(), 0), longestSleepMs);
      try {
        await sleep(rest, undefined, { signal: AbortSignal.any([signal, this.#changed.signal]) });
      } catch {
        continue; // Another drain was added or taken back, or the end.
      }
      // A timer may be early.
      if (Date.now() < next) continue;
      told = next;
      onDue();
    }
  }
}

function read(path: string, warn: (message: string) => void): readonly Drain[] {
  try {
    const stored = JSON.parse(readFileSync(path, "utf8")) as readonly (Omit<Drain, "since" | "deadline"> & {
      readonly since: string;
      readonly deadline?: string;
    })[]; // Written by replace() above.
    return stored.map(({ realServer, since, deadline }) => ({
      realServer,
      since: new Date(since),
      ...(deadline !== undefined && { deadline: new Date(deadline) }),
    }));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") {
      warn(`cannot read ${path}, nothing is drained: ${(cause as Error).message}`);
    }
    return [];
  }
}
