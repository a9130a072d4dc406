import { Option } from "commander";
import type { Command } from "commander";
import type { DaemonOptions } from "../../control/daemon-options.ts";
import { addDaemonOptions, daemonOptions } from "../daemon-options.ts";
import { exitCodes, Failure } from "../failure.ts";
import { requirePrivileges } from "../privileges.ts";

interface RunOptions {
  readonly log: "stdout" | "stderr" | "none";
}

const descriptors = { stdout: 1, stderr: 2, none: undefined } as const;

/** Registers `xlb run`. */
export function registerRun(program: Command): void {
  addDaemonOptions(program.command("run"))
    .description("direct packets, in the foreground, until SIGTERM or SIGINT")
    .addOption(
      new Option("--log <where>", "where log lines go beside the logfile of the configuration")
        .choices(["stdout", "stderr", "none"])
        .default("stdout"),
    )
    .addHelpText(
      "after",
      `
Signals: SIGHUP reads the configuration again, SIGUSR1 opens the logfile again,
SIGTERM and SIGINT stop as \`xlb stop\` does. After a SIGKILL packets are
forwarded as before; the next daemon takes over what it finds.`,
    )
    .action(async (given: RunOptions, command: Command) => {
      const options = daemonOptions(command);
      requirePrivileges();
      await runHere(options, descriptors[given.log]);
    });
}

/** Runs a daemon in this process until it is stopped. `terminal` is a descriptor that gets every log line. */
export async function runHere(options: DaemonOptions, terminal: number | undefined): Promise<void> {
  const { runDaemon, isConfigurationError } = await import("../../daemon/main.ts");
  try {
    await runDaemon(options, terminal);
  } catch (cause) {
    if (isConfigurationError(cause)) throw new Failure(exitCodes.usage, (cause as Error).message, { cause });
    throw cause;
  }
}
