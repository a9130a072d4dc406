/** `monitorfile`: the result of every check of a service, a line each. */
import { appendFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { ConfiguredRealServer, ConfiguredService } from "../model/config.ts";
import { printCtime } from "../model/ctime.ts";
import { printEndpoint } from "../model/service.ts";
import type { NotifyLog } from "./notify-log.ts";

/** Lines gather for this time before they are written, milliseconds. */
const gatherMs = 100;
/** Lines of one file that wait for a disk; the oldest make room. */
const maxWaiting = 10_000;

export interface CheckRecord {
  readonly at: Date;
  readonly service: ConfiguredService;
  readonly realServer: ConfiguredRealServer;
  readonly up: boolean;
  /** What the check found, one line for people. */
  readonly detail: string;
}

/** Writes by O_APPEND and opens a file anew for each batch, so that rotation in either way needs no signal. */
export class MonitorFiles {
  readonly #log: NotifyLog;
  readonly #waiting = new Map<string, string[]>();
  /** Files that could not be written: each is told of once. */
  readonly #troubled = new Set<string>();
  #writing: Promise<void> | undefined;

  constructor(log: NotifyLog) {
    this.#log = log;
  }

  record(check: CheckRecord): void {
    const { monitorFile } = check.service;
    if (monitorFile === "") return;
    const lines = this.#waiting.get(monitorFile) ?? [];
    if (lines.length === 0) this.#waiting.set(monitorFile, lines);
    if (lines.length >= maxWaiting) lines.shift();
    lines.push(monitorLine(check));
    this.#writing ??= this.#write(gatherMs);
  }

  /** Resolves when all lines are written, or could not be. */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.#waiting.size > 0) await this.#write(0);
  }

  async #write(afterMs: number): Promise<void> {
    if (afterMs > 0) await sleep(afterMs);
    while (this.#waiting.size > 0) {
      const batches = [...this.#waiting];
      this.#waiting.clear();
      await Promise.all(batches.map(([path, lines]) => this.#append(path, lines.join(""))));
    }
    this.#writing = undefined;
  }

  async #append(path: string, text: string): Promise<void> {
    try {
      await appendFile(path, text);
      this.#troubled.delete(path);
    } catch (cause) {
      if (!this.#troubled.has(path)) {
        this.#log.error(`Error writing to monitorfile '${path}': ${(cause as Error).message}`);
      }
      this.#troubled.add(path);
    }
  }
}

/**
 * As ldirectord 4.12 writes it: `[DATE] [PID] ID [up] MESSAGE`. ID is its name of the check, with a blank for each
 * run of colons and without backslashes: type, protocol, address, port, virtualhost, checkport, weight, forwarding
 * method, request, receive.
 */
export function monitorLine({ at, service, realServer, up, detail }: CheckRecord): string {
  const message = detail.replaceAll(/[%|\r\n]/g, (each) => `%${each.charCodeAt(0).toString(16).padStart(2, "0")}`);
  const id = checkId(service, realServer).replaceAll(/:+/g, " ").replaceAll("\\", "");
  return `[${printCtime(at)}] [${process.pid}] ${id} [${up ? "up" : "down"}] ${message === "" ? "-" : message}\n`;
}

function checkId({ identity }: ConfiguredService, { check, weight, method }: ConfiguredRealServer): string {
  const { kind } = check.type;
  const type =
    kind === "negotiate" || kind === "combined"
      ? `${kind}:${check.service}`
      : kind === "external" || kind === "external-perl"
        ? `${kind}:${check.command}`
        : kind;
  return [
    type,
    identity.kind === "mark" ? "fwm" : identity.protocol,
    printEndpoint(check.address, check.realPort),
    check.virtualHost,
    check.realPort === 0 || check.port === check.realPort ? "" : check.port,
    weight,
    method,
    check.request,
    check.receive,
  ].join(":");
}
