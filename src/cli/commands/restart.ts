import type { Command } from "commander";
import { readDaemonOptions } from "../../control/daemon-options.ts";
import { addDaemonOptions, daemonOptions, givenTunings } from "../daemon-options.ts";
import { exitCodes, Failure } from "../failure.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";
import { requirePrivileges } from "../privileges.ts";
import { startDaemon } from "./start.ts";
import { stopToReplace } from "./stop.ts";
import { tuneIfPinned } from "./tune.ts";

/** Registers `xlb restart`. */
export function registerRestart(program: Command): void {
  addDaemonOptions(program.command("restart"))
    .description("replace the daemon while packets flow; what is not given stays as it was")
    .addHelpText(
      "after",
      `
The new daemon takes over the pinned maps and the program is replaced in place, so
that an upgrade loses no connection. If none runs, one is started.`,
    )
    .action(async (_given: unknown, command: Command) => {
      requirePrivileges();
      const { stateDir } = globalOptions(command);
      const options = daemonOptions(command, readDaemonOptions(stateDir));
      await requireGoodFile(options.config);
      await tuneIfPinned(options.bpffs, givenTunings(command));
      await stopToReplace(stateDir, options);
      await write(await startDaemon(options));
    });
}

/** A file with an error must not cost the daemon that runs. */
async function requireGoodFile(file: string): Promise<void> {
  const [{ loadNative }, { readConfiguration }, { printDiagnostic }] = await Promise.all([
    import("../../native.ts"),
    import("../../config/read.ts"),
    import("../../config/diagnostics.ts"),
  ]);
  const { config, diagnostics } = await readConfiguration(file, loadNative());
  if (config === undefined) throw new Failure(exitCodes.usage, diagnostics.map(printDiagnostic).join("\n"));
}
