/** `emailalert`: who is told about real servers, of what, and how often. */
import { setInterval } from "node:timers/promises";
import type { Config, ConfiguredRealServer, ConfiguredService } from "../model/config.ts";
import type { Health } from "../model/health.ts";
import { printEndpoint, printIdentity, realServerKey } from "../model/service.ts";
import type { ServiceIdentity } from "../model/service.ts";
import type { Alert, Phase } from "./alert.ts";
import type { NotifyLog } from "./notify-log.ts";

/** What became of one entry of the tables. */
export interface TableNews {
  readonly text: string;
  readonly service?: ConfiguredService;
  /** As `realServerKey` prints it. */
  readonly entry?: string;
  readonly mailed: boolean;
}

export interface RoundNews {
  readonly config: Config;
  readonly healthOf: (identity: ServiceIdentity, realServer: ConfiguredRealServer) => Health;
  readonly narrations: readonly TableNews[];
}

export interface EmailAlertsDeps {
  post(alert: Alert): void;
  readonly log: NotifyLog;
}

/** Repetitions are looked for this often, milliseconds. */
const lookIntervalMs = 1_000;

interface Inaccessible {
  readonly service: ConfiguredService;
  readonly text: string;
  /** On the monotonic clock, milliseconds. */
  alertedMs: number;
}

/**
 * As ldirectord 4.12: one alert for each change of a real server's or fallback's entry, in the phases of
 * `emailalertstatus`; and as long as a real server is down one more every `emailalertfreq` seconds. A real server that
 * is down without a change of the tables, as it was never up, is told of, too.
 */
export class EmailAlerts {
  readonly #deps: EmailAlertsDeps;
  #inaccessible: ReadonlyMap<string, Inaccessible> = new Map();
  #from = "";
  #phase: Phase = "starting";

  constructor(deps: EmailAlertsDeps) {
    this.#deps = deps;
  }

  round({ config, healthOf, narrations }: RoundNews, phase: Phase): void {
    this.#from = config.emailAlertFrom;
    this.#phase = phase;
    const told = new Set<string>();
    for (const { service, entry, text, mailed } of narrations) {
      if (!mailed || service === undefined || entry === undefined) continue;
      told.add(`${printIdentity(service.identity)} ${entry}`);
      this.#alert(service, text);
    }
    if (phase === "stopping") return;
    const before = this.#inaccessible;
    const inaccessible = new Map<string, Inaccessible>();
    const nowMs = performance.now();
    for (const service of config.services) {
      if (service.emailAlert.to.length === 0) continue;
      for (const realServer of service.realServers) {
        if (realServer.check.type.kind === "off") continue;
        if (healthOf(service.identity, realServer).state !== "down") continue;
        const key = `${printIdentity(service.identity)} ${realServerKey(realServer)}`;
        const text = `Inaccessible real server: ${realServerKey(realServer)} (${printVirtual(service.identity)})`;
        const known = before.get(key);
        if (known === undefined && !told.has(key)) this.#alert(service, text);
        inaccessible.set(key, { service, text, alertedMs: known?.alertedMs ?? nowMs });
      }
    }
    this.#inaccessible = inaccessible;
  }

  /** Looks for what is to be told again until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    for await (const _ of setInterval(lookIntervalMs, undefined, { signal })) this.repeat(performance.now());
  }

  /** Tells again what has not been told for so long; on the monotonic clock, milliseconds. */
  repeat(nowMs: number): void {
    for (const each of this.#inaccessible.values()) {
      const { frequency } = each.service.emailAlert;
      if (frequency === 0 || nowMs - each.alertedMs < frequency * 1000) continue;
      each.alertedMs = nowMs;
      this.#alert(each.service, each.text);
    }
  }

  #alert(service: ConfiguredService, text: string): void {
    const { emailAlert, serviceName, comment } = service;
    const { to, smtp, status } = emailAlert;
    if (to.length === 0 || !status.includes(this.#phase)) return;
    this.#deps.log.info(`emailalert: ${text}`);
    const destination = { to, from: this.#from, smtp };
    this.#deps.post({ destination, text, phase: this.#phase, serviceName, comment });
  }
}

/** Address and port, or the firewall mark. */
function printVirtual(identity: ServiceIdentity): string {
  return identity.kind === "mark" ? String(identity.mark) : printEndpoint(identity.address, identity.port);
}
