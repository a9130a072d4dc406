/** All that is told to people and programs outside: mails, commands, monitor files. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../model/config.ts";
import type { Phase } from "../notify/alert.ts";
import { Callbacks } from "../notify/callback.ts";
import { EmailAlerts } from "../notify/email-alerts.ts";
import { FallbackCommands } from "../notify/fallback-commands.ts";
import { defaultMailerTimes, Mailer } from "../notify/mailer.ts";
import type { MailerTimes, SendMail } from "../notify/mailer.ts";
import { MonitorFiles } from "../notify/monitor-files.ts";
import type { CheckRecord } from "../notify/monitor-files.ts";
import type { NotifyLog } from "../notify/notify-log.ts";
import type { RoundReport } from "../reconcile/reconciler.ts";
import type { Messenger, Task } from "./daemon.ts";

/** What is not told by then is lost: a mail server that hangs must not keep a director from ending, milliseconds. */
const finishMs = 5_000;

export interface OutsideMessengerDeps {
  readonly log: NotifyLog;
  readonly send: SendMail;
  /** The name of this machine, for mails. */
  readonly host: string;
  /** Whether fallback commands that were told `start` are told `stop` at the end. */
  readonly stopFallbackCommands: boolean;
  readonly mailerTimes?: MailerTimes;
}

export class OutsideMessenger implements Messenger {
  readonly #deps: OutsideMessengerDeps;
  readonly #mailer: Mailer;
  readonly #alerts: EmailAlerts;
  readonly #fallbackCommands: FallbackCommands;
  readonly #callbacks: Callbacks;
  readonly #monitorFiles: MonitorFiles;

  constructor(deps: OutsideMessengerDeps) {
    const { log } = deps;
    this.#deps = deps;
    this.#mailer = new Mailer(deps, deps.mailerTimes ?? defaultMailerTimes);
    this.#alerts = new EmailAlerts({ log, post: (alert) => this.#mailer.post(alert) });
    this.#fallbackCommands = new FallbackCommands(log);
    this.#callbacks = new Callbacks(log);
    this.#monitorFiles = new MonitorFiles(log);
  }

  /** To be run beside the daemon's own tasks. */
  readonly tasks: readonly Task[] = [
    { name: "sender of mails", run: (signal) => this.#mailer.run(signal) },
    { name: "repeater of alerts", run: (signal) => this.#alerts.run(signal) },
  ];

  round(report: RoundReport, phase: Phase): void {
    this.#alerts.round(report, phase);
    // A service that goes with the daemon has not changed to its fallback, or from it.
    if (phase !== "stopping") this.#fallbackCommands.round(report.config, report.onFallback);
  }

  record(check: CheckRecord): void {
    this.#monitorFiles.record(check);
  }

  fileChanged(config: Config): void {
    this.#callbacks.request(config.callback, config.file);
  }

  async finish(): Promise<void> {
    const late = new AbortController();
    const last = sleep(finishMs, undefined, { signal: late.signal });
    const work = Promise.all([
      this.#mailer.drain(AbortSignal.timeout(finishMs)),
      this.#monitorFiles.flush(),
      this.#deps.stopFallbackCommands ? this.#fallbackCommands.stopAll() : undefined,
    ]);
    // Ended early by the work, whose end is then no longer waited for.
    await Promise.race([work.finally(() => late.abort()), last.catch(() => undefined)]);
  }
}
