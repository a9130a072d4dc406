import { InvalidArgumentError } from "commander";
import type { Command } from "commander";
import { ask, NotRunningError } from "../../control/client.ts";
import type { Request } from "../../control/protocol.ts";
import { exitCodes, Failure } from "../failure.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";
import { endpoint } from "../selectors.ts";

interface DrainOptions {
  readonly deadline?: number;
}

const timeoutMs = 10_000;
const longestDeadline = 31 * 24 * 3600;

/** Registers `xlb drain` and `xlb undrain`. */
export function registerDrain(program: Command): void {
  program
    .command("drain")
    .description("take a real server out of service: no new connections, the live ones go on")
    .argument("<real-server>", "address, for all its ports, or address and port", endpoint)
    .option("--deadline <seconds>", "end what is left of its connections then, with a reset to the client", deadline)
    .addHelpText(
      "after",
      `
It lasts over reloads and restarts, until \`xlb undrain\`; \`xlb status\` shows it. Drained
again, it has the new deadline.`,
    )
    .action(async (realServer: string, { deadline: seconds }: DrainOptions, command: Command) => {
      const request: Request = {
        kind: "drain",
        realServer,
        ...(seconds !== undefined && { deadlineSeconds: seconds }),
      };
      await change(command, request);
    });
}

export function registerUndrain(program: Command): void {
  program
    .command("undrain")
    .description("put a drained real server back into service")
    .argument("<real-server>", "as it was drained", endpoint)
    .action(async (realServer: string, _given: unknown, command: Command) => {
      await change(command, { kind: "undrain", realServer });
    });
}

async function change(command: Command, request: Request): Promise<void> {
  const { stateDir } = globalOptions(command);
  const timeout = AbortSignal.timeout(timeoutMs);
  const reply = await ask(stateDir, request, timeout).catch((cause: unknown) => {
    if (cause instanceof NotRunningError) throw new Failure(exitCodes.notRunning, cause.message, { cause });
    if (timeout.aborted) throw new Failure(exitCodes.failure, "the daemon does not answer", { cause });
    throw cause;
  });
  if (reply.kind === "done") return write(`${reply.message}\n`);
  throw new Failure(exitCodes.failure, reply.kind === "error" ? reply.message : `it answered with ${reply.kind}`);
}

function deadline(text: string): number {
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds > longestDeadline) {
    throw new InvalidArgumentError(`It must be a number of seconds up to ${longestDeadline}.`);
  }
  return seconds;
}
