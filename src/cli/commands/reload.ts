import type { Command } from "commander";
import { ask, NotRunningError } from "../../control/client.ts";
import { exitCodes, Failure } from "../failure.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";

/** Names are resolved and thousands of services applied within this time. */
const timeoutMs = 60_000;

/** Registers `xlb reload`. */
export function registerReload(program: Command): void {
  program
    .command("reload")
    .description("have the daemon read its configuration again; returns once it is in force")
    .addHelpText(
      "after",
      `
A file with an error changes nothing: its diagnostics are printed and the exit
status is 2.`,
    )
    .action(async (_given: unknown, command: Command) => {
      const { stateDir } = globalOptions(command);
      const timeout = AbortSignal.timeout(timeoutMs);
      const reply = await ask(stateDir, { kind: "reload" }, timeout).catch((cause: unknown) => {
        if (cause instanceof NotRunningError) throw new Failure(exitCodes.notRunning, cause.message, { cause });
        if (timeout.aborted) throw new Failure(exitCodes.failure, "the daemon does not answer", { cause });
        throw cause;
      });
      if (reply.kind === "done") return write(`${reply.message}\n`);
      if (reply.kind === "error" && reply.reason === "configuration") {
        throw new Failure(exitCodes.usage, `nothing is changed:\n${reply.message}`);
      }
      const reason = reply.kind === "error" ? reply.message : `it answered with ${reply.kind}`;
      throw new Failure(exitCodes.failure, `the daemon did not reload: ${reason}`);
    });
}
