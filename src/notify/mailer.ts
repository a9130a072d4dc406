/** Mails are grouped and limited, sent beside everything else, and tried again: a mail server must never slow us down. */
import { setTimeout as sleep } from "node:timers/promises";
import { composeMail } from "./alert.ts";
import type { Alert, Destination, Mail } from "./alert.ts";
import type { NotifyLog } from "./notify-log.ts";

/** Sends one mail. Resolves to the addresses that were refused, each with the reason; rejects if none got it. */
export type SendMail = (mail: Mail, signal: AbortSignal) => Promise<readonly string[]>;

export interface MailerTimes {
  /** From the first alert to its mail: what happens together is one mail. Milliseconds. */
  readonly gatherMs: number;
  /** Between two mails to one destination; what comes meanwhile is one mail. Milliseconds. */
  readonly gapMs: number;
  /** After a failure, doubled with each further one up to `longestRetryMs`. Milliseconds. */
  readonly retryMs: number;
  readonly longestRetryMs: number;
  /** One mail, from connecting to the last answer. Milliseconds. */
  readonly sendTimeoutMs: number;
}

export const defaultMailerTimes: MailerTimes = {
  gatherMs: 1_000,
  gapMs: 10_000,
  retryMs: 30_000,
  longestRetryMs: 900_000,
  sendTimeoutMs: 60_000,
};

/** Alerts that wait for one destination; of more the oldest are left out of the mail, which says how many. */
const maxWaiting = 500;
/** Alerts that can still not be sent after so many failures in a row are given up. */
const maxAttempts = 10;
/** Mails under way at a time. */
const maxSending = 4;

export interface MailerDeps {
  readonly send: SendMail;
  readonly log: NotifyLog;
  /** The name of this machine, for the body. */
  readonly host: string;
}

interface Outbox {
  readonly destination: Destination;
  alerts: Alert[];
  /** Those of the mail that is under way. */
  sent: readonly Alert[];
  omitted: number;
  /** When the next mail may be sent, on the monotonic clock, milliseconds. */
  dueMs: number;
  failures: number;
  sending: boolean;
}

export class Mailer {
  readonly #deps: MailerDeps;
  readonly #times: MailerTimes;
  readonly #outboxes = new Map<string, Outbox>();
  readonly #sending = new Set<Promise<void>>();
  #wake = new AbortController();

  constructor(deps: MailerDeps, times: MailerTimes = defaultMailerTimes) {
    this.#deps = deps;
    this.#times = times;
  }

  /** Takes an alert along with the next mail to its destination. */
  post(alert: Alert): void {
    const key = JSON.stringify(alert.destination);
    let outbox = this.#outboxes.get(key);
    if (outbox === undefined) {
      const { destination } = alert;
      outbox = { destination, alerts: [], sent: [], omitted: 0, dueMs: 0, failures: 0, sending: false };
      this.#outboxes.set(key, outbox);
    }
    if (outbox.alerts.length === 0) {
      outbox.dueMs = Math.max(outbox.dueMs, performance.now() + this.#times.gatherMs);
    } else if (outbox.alerts.length >= maxWaiting) {
      outbox.alerts.shift();
      outbox.omitted += 1;
    }
    outbox.alerts.push(alert);
    this.#wake.abort();
  }

  /** Sends until the signal aborts; what waits then waits for {@link drain}. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const waitMs = this.#startDue(performance.now());
      const ended = AbortSignal.any([signal, this.#wake.signal]);
      // Aborted is what ends a wait early.
      await sleep(Math.min(waitMs, 2 ** 31 - 1), undefined, { signal: ended, ref: false }).catch(() => undefined);
    }
  }

  /** Sends all that waits, once and at once; what has not gone when the signal aborts is lost, and that is logged. */
  async drain(signal: AbortSignal): Promise<void> {
    const abandon = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await Promise.race([Promise.all(this.#sending), abandon]);
    for (const outbox of this.#outboxes.values()) {
      if (outbox.alerts.length > 0 && !outbox.sending && !signal.aborted) this.#start(outbox, signal);
    }
    await Promise.race([Promise.all(this.#sending), abandon]);
    for (const { alerts, sent, destination } of this.#outboxes.values()) {
      for (const { text } of [...sent, ...alerts]) {
        this.#deps.log.error(`emailalert: not sent to ${destination.to.join(", ")}: ${text}`);
      }
    }
  }

  /** Returns how long nothing will be due, milliseconds. */
  #startDue(nowMs: number): number {
    let waitMs = Infinity;
    for (const [key, outbox] of this.#outboxes) {
      if (outbox.sending) continue;
      if (outbox.alerts.length === 0) {
        // Remembered only for the gap to its last mail.
        if (outbox.dueMs <= nowMs) this.#outboxes.delete(key);
        continue;
      }
      if (outbox.dueMs > nowMs) waitMs = Math.min(waitMs, outbox.dueMs - nowMs);
      else if (this.#sending.size < maxSending) this.#start(outbox, undefined);
    }
    return waitMs;
  }

  #start(outbox: Outbox, signal: AbortSignal | undefined): void {
    outbox.sending = true;
    const task = this.#send(outbox, signal).finally(() => {
      outbox.sending = false;
      outbox.sent = [];
      this.#sending.delete(task);
      this.#wake.abort();
    });
    this.#sending.add(task);
  }

  async #send(outbox: Outbox, signal: AbortSignal | undefined): Promise<void> {
    const { log, host, send } = this.#deps;
    const { gapMs, retryMs, longestRetryMs, sendTimeoutMs } = this.#times;
    const { alerts, omitted } = outbox;
    const timeout = AbortSignal.timeout(sendTimeoutMs);
    const to = outbox.destination.to.join(", ");
    outbox.sent = alerts;
    outbox.alerts = [];
    outbox.omitted = 0;
    try {
      const mail = composeMail(alerts, omitted, host);
      const refused = await send(mail, signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
      for (const reason of refused) log.error(`emailalert: ${reason}`);
      outbox.failures = 0;
      outbox.dueMs = performance.now() + gapMs;
    } catch (cause) {
      outbox.failures += 1;
      const reason = `failed to send email message to ${to}: ${(cause as Error).message}`;
      if (outbox.failures >= maxAttempts) {
        log.error(`emailalert: ${reason}; ${alerts.length + omitted} alerts are given up`);
        outbox.failures = 0;
        outbox.dueMs = performance.now() + longestRetryMs;
        return;
      }
      const waitMs = Math.min(retryMs * 2 ** (outbox.failures - 1), longestRetryMs);
      log.error(`emailalert: ${reason}; the next try is in ${Math.round(waitMs / 1000)} s`);
      const all = [...alerts, ...outbox.alerts];
      outbox.alerts = all.slice(-maxWaiting);
      outbox.omitted += omitted + all.length - outbox.alerts.length;
      outbox.dueMs = performance.now() + waitMs;
    }
  }
}
