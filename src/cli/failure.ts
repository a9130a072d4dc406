/** What a command's exit status says; the same for every command. */
export const exitCodes = {
  ok: 0,
  /** It was tried and did not work. */
  failure: 1,
  /** The command line or the configuration file is wrong. */
  usage: 2,
  /** No daemon answers, or nothing is pinned. */
  notRunning: 3,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** An outcome that a command reports to its user in one message, without a stack trace. Caught in main.ts. */
export class Failure extends Error {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "Failure";
    this.exitCode = exitCode;
  }
}
