/** `execute`: other configurations that are served with the main one, by the same daemon and its one data path. */
import { dirname, join, resolve } from "node:path";
import { isRegularFile } from "../config/files.ts";
import { watchConfig } from "../config/load.ts";
import type { Configuration } from "../config/read.ts";
import type { Config, ConfiguredService, Diagnostic } from "../model/config.ts";
import { printIdentity } from "../model/service.ts";

/** A change of a file is seen within this time where the directory does not tell it, milliseconds. */
const watchIntervalMs = 1_000;

/** Who is told of what happens to the executed files. */
export interface FileWatcher {
  /** A file has another content now; `config` is what was read of it before. */
  changed(config: Config): Promise<void>;
  warn(message: string): void;
}

interface Executed {
  readonly path: string;
  readonly digest: string | undefined;
  /** The last good one. */
  readonly config: Config;
}

/**
 * Each file is a transaction of its own: one with an error keeps what it had, and the others are taken. ldirectord 4.12
 * starts a process of its own for each; of two programs on one interface packets would meet one only.
 */
export class ExecutedFiles {
  readonly #read: (path: string) => Promise<Configuration>;
  #executed: ReadonlyMap<string, Executed> = new Map();
  #filesChanged = (): void => {};

  constructor(read: (path: string) => Promise<Configuration>) {
    this.#read = read;
  }

  /** Reads what `main` executes, and what that executes; returns all services in one configuration. */
  async join(main: Config): Promise<{ readonly config: Config; readonly diagnostics: readonly Diagnostic[] }> {
    const diagnostics: Diagnostic[] = [];
    const executed = new Map<string, Executed>();
    const waiting = main.execute.map((name) => ({ name, by: main }));
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const path = findExecuted(next.name, next.by.file);
      if (path === undefined) {
        diagnostics.push(warningOf(next.by.file, `execute=${next.name}: there is no such file`));
        continue;
      }
      if (path === resolve(main.file) || executed.has(path)) continue;
      const one = await this.#readOne(path, diagnostics);
      if (one === undefined) continue;
      executed.set(path, one);
      waiting.push(...one.config.execute.map((name) => ({ name, by: one.config })));
    }
    this.#executed = executed;
    this.#filesChanged();
    const services = this.#services(main, diagnostics);
    return { config: { ...main, services }, diagnostics };
  }

  /** Watches the executed files until the signal aborts. */
  async watch(watcher: FileWatcher, signal: AbortSignal): Promise<void> {
    const watched = new Map<string, { readonly own: AbortController; readonly task: Promise<void> }>();
    while (!signal.aborted) {
      const changed = new Promise<void>((resolveChanged) => {
        this.#filesChanged = resolveChanged;
        if (signal.aborted) resolveChanged();
        else signal.addEventListener("abort", () => resolveChanged(), { once: true });
      });
      for (const [path, { own }] of watched) {
        if (this.#executed.has(path)) continue;
        own.abort();
        watched.delete(path);
      }
      for (const path of this.#executed.keys()) {
        if (watched.has(path)) continue;
        const own = new AbortController();
        watched.set(path, { own, task: this.#watchOne(path, watcher, AbortSignal.any([signal, own.signal])) });
      }
      await Promise.race([changed, ...[...watched.values()].map(async ({ task }) => await task)]);
    }
    await Promise.all([...watched.values()].map(async ({ task }) => await task));
  }

  async #readOne(path: string, diagnostics: Diagnostic[]): Promise<Executed | undefined> {
    const { config, diagnostics: found, digest } = await this.#read(path);
    // The main file's services do not wait for this one to be repaired.
    diagnostics.push(...found.map((each): Diagnostic => ({ ...each, severity: "warning" })));
    if (config !== undefined) return { path, digest, config };
    const before = this.#executed.get(path);
    diagnostics.push(
      warningOf(path, before === undefined ? "not taken, as it has errors" : "has errors: what it was before goes on"),
    );
    return before === undefined ? undefined : { ...before, digest };
  }

  #services(main: Config, diagnostics: Diagnostic[]): ConfiguredService[] {
    const services = new Map(main.services.map((service) => [printIdentity(service.identity), service]));
    for (const { config } of this.#executed.values()) {
      for (const service of config.services) {
        const key = printIdentity(service.identity);
        if (services.has(key)) {
          const message = `${key} is left out: another file that is served has it, too`;
          diagnostics.push({ ...warningOf(config.file, message), ...service.position });
        } else services.set(key, service);
      }
      for (const name of ["maintenanceDir", "emailAlertFrom"] as const) {
        if (config[name] === "" || config[name] === main[name]) continue;
        const message = `${name.toLowerCase()} is that of ${main.file} for all files that it executes`;
        diagnostics.push(warningOf(config.file, message));
      }
    }
    return [...services.values()];
  }

  async #watchOne(path: string, watcher: FileWatcher, signal: AbortSignal): Promise<void> {
    const digest = this.#executed.get(path)?.digest;
    const start = digest === undefined ? {} : { digest };
    for await (const event of watchConfig(path, { intervalMs: watchIntervalMs, ...start }, signal)) {
      const known = this.#executed.get(path);
      if (event.kind === "unreadable") watcher.warn(`Configuration file '${path}': ${event.reason}`);
      // A reload that was asked for may have read it before it was seen here.
      else if (event.kind === "changed" && known !== undefined && known.digest !== event.digest) {
        await watcher.changed(known.config);
      }
    }
  }
}

/** Where ldirectord looks for a configuration by its name; and at last beside the file that names it. */
function findExecuted(name: string, by: string): string | undefined {
  return [join("/etc/ha.d", name), join("/etc/ha.d/conf", name), resolve(name), resolve(dirname(by), name)].find(
    isRegularFile,
  );
}

function warningOf(file: string, message: string): Diagnostic {
  return { file, line: 1, column: 1, severity: "warning", message };
}
