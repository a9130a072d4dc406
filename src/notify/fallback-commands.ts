/** `fallbackcommand`: run with `start` when no real server of a service is up, with `stop` when one is. */
import type { Config, ConfiguredService } from "../model/config.ts";
import { printEndpoint, printIdentity } from "../model/service.ts";
import { runShell } from "./command.ts";
import type { NotifyLog } from "./notify-log.ts";

/** A command that runs longer is killed, so that the next one can be run, milliseconds. */
const timeoutMs = 300_000;

type Occasion = "start" | "stop";

interface Entry {
  service: ConfiguredService;
  /** What the command should have been told, and what it was told last. */
  wanted: Occasion;
  told: Occasion | undefined;
  running: Promise<void> | undefined;
}

/**
 * As ldirectord 4.12: the first time a service is seen, and then at each change, whether or not it has a fallback
 * server; but a reload alone is no occasion. Of one service never two commands run at a time; what changes meanwhile
 * is told by one more.
 */
export class FallbackCommands {
  readonly #log: NotifyLog;
  readonly #entries = new Map<string, Entry>();

  constructor(log: NotifyLog) {
    this.#log = log;
  }

  /** `onFallback`: of each served service, as `printIdentity` prints it, whether no real server is up. */
  round(config: Config, onFallback: ReadonlyMap<string, boolean>): void {
    const present = new Set<string>();
    for (const service of config.services) {
      const key = printIdentity(service.identity);
      const isDown = onFallback.get(key);
      if (service.fallbackCommand === "" || isDown === undefined) continue;
      present.add(key);
      const wanted = isDown ? "start" : "stop";
      const entry = this.#entries.get(key);
      if (entry === undefined) {
        const fresh = { service, wanted, told: undefined, running: undefined } satisfies Entry;
        this.#entries.set(key, fresh);
        this.#tell(fresh);
        continue;
      }
      if (entry.service.fallbackCommand !== service.fallbackCommand) entry.told = undefined;
      entry.service = service;
      entry.wanted = wanted;
      this.#tell(entry);
    }
    for (const [key, entry] of this.#entries) {
      if (!present.has(key) && entry.running === undefined) this.#entries.delete(key);
    }
  }

  /** Tells `stop` to what was told `start`, as the director itself ends. Resolves when all have done so. */
  async stopAll(): Promise<void> {
    const started = [...this.#entries.values()].filter(({ told }) => told === "start");
    for (const entry of started) {
      entry.wanted = "stop";
      this.#tell(entry);
    }
    await Promise.all(started.map(async ({ running }) => await running));
  }

  #tell(entry: Entry): void {
    if (entry.running !== undefined || entry.told === entry.wanted) return;
    entry.running = this.#run(entry).finally(() => {
      entry.running = undefined;
    });
  }

  async #run(entry: Entry): Promise<void> {
    while (entry.told !== entry.wanted) {
      entry.told = entry.wanted;
      const line = commandLine(entry.service, entry.wanted);
      const trouble = await runShell(line, [], { timeoutMs });
      if (trouble !== undefined) this.#log.error(`system(${line}) failed: ${trouble}`);
    }
  }
}

/** `COMMAND start 10.0.0.1:80 tcp`; of a firewall mark ldirectord knows neither address nor port: `:0 fwm`. */
export function commandLine({ identity, fallbackCommand }: ConfiguredService, occasion: Occasion): string {
  if (identity.kind === "mark") return `${fallbackCommand} ${occasion} :0 fwm`;
  return `${fallbackCommand} ${occasion} ${printEndpoint(identity.address, identity.port)} ${identity.protocol}`;
}
