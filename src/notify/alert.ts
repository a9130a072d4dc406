import type { EmailAlert } from "../model/config.ts";

/** What the daemon is doing, in the words of `emailalertstatus`. */
export type Phase = EmailAlert["status"][number];

/** Where mails go, and by which way. Equal destinations share mails. */
export interface Destination {
  readonly to: readonly string[];
  /** `emailalertfrom`, a whole From header; empty: the system's. */
  readonly from: string;
  /** Name or address of a mail server; empty: the local mail program. */
  readonly smtp: string;
}

/** Something that whoever is behind a destination wants to know. */
export interface Alert {
  readonly destination: Destination;
  /** The log line. */
  readonly text: string;
  readonly phase: Phase;
  readonly serviceName: string;
  readonly comment: string;
}

export interface Mail {
  readonly destination: Destination;
  readonly subject: string;
  readonly body: string;
}

/**
 * One mail for some alerts of one destination, of which there is at least one. A single one looks as ldirectord 4.12
 * sends it. `omitted`: how many more there were.
 */
export function composeMail(alerts: readonly Alert[], omitted: number, host: string): Mail {
  const first = alerts[0]!;
  const more = alerts.length - 1 + omitted;
  const subject = more === 0 ? subjectOf(first) : `${subjectOf(first)} (and ${more} more)`;
  const body = [
    `ldirectord host: ${host}\n${alerts.map(describe).join("\n")}`,
    ...(omitted > 0 ? [`${omitted} more before these are left out; the log has them.\n`] : []),
  ].join("\n");
  return { destination: first.destination, subject, body };
}

function subjectOf({ serviceName, text }: Alert): string {
  return serviceName === "" ? text : `[${serviceName}] ${text}`;
}

function describe(alert: Alert): string {
  const { phase, serviceName, comment } = alert;
  const details = [
    ...(serviceName === "" ? [] : [`Service name: ${serviceName}\n`]),
    ...(comment === "" ? [] : [`Comment: ${comment}\n`]),
  ];
  return [
    `Log-Message: ${subjectOf(alert)}\nDaemon-Status: ${phase}\n`,
    ...(details.length === 0 ? [] : ["\n", ...details]),
  ].join("");
}
