import { basename } from "node:path";
import type { Command } from "commander";
import { exitCodes, Failure } from "../failure.ts";
import { write } from "../output.ts";

/** Registers the help of `xlb ipvsadm`; what comes after the name is not commander's, see main.ts. */
export function registerIpvsadm(program: Command): void {
  program
    .command("ipvsadm")
    .usage("[COMMAND [OPTION]...]")
    .description("ipvsadm's command line, for scripts and monitoring; a link named ipvsadm does the same")
    .argument("[arguments...]", "as ipvsadm 1.31 takes them; none: list the table")
    .addHelpText(
      "after",
      `
Commands: -A -E -D add, edit, delete a virtual service; -a -e -d a real server;
-L list, also --stats, --rate, -c, --timeout, --daemon; -C clear; -Z zero counters;
-S save and -R restore rules; --set timeouts; --start-daemon and --stop-daemon
connection synchronisation; -h all options. Output, messages and exit status are
ipvsadm's.

Exit status: 0 success, 1 a list cannot be had, 2 wrong command line or no table,
255 refused, and some wrong command lines.`,
    )
    .action(() => {
      throw new Failure(
        exitCodes.usage,
        "write `xlb ipvsadm` first: options of xlb come from the environment here, see xlb help ipvsadm",
      );
    });
}

/** One run of the program under the name `invokedAs`. Returns the exit status. */
export async function runIpvsadmHere(invokedAs: string, args: readonly string[]): Promise<number> {
  const [{ runIpvsadm }, { systemNames }] = await Promise.all([
    import("../ipvsadm/run.ts"),
    import("../ipvsadm/names.ts"),
  ]);
  return await runIpvsadm(
    {
      openTable: async () => {
        const [{ openTable }, { ownerOf }, { loadNative }] = await Promise.all([
          import("../ipvsadm/open-table.ts"),
          import("../owner.ts"),
          import("../../native.ts"),
        ]);
        return await openTable(loadNative(), {
          environment: process.env,
          owner: ownerOf(basename(invokedAs)),
          rates: args.includes("--rate"),
        });
      },
      names: systemNames(),
      stdin: readStandardInput(),
      stdout: write,
      stderr: async (text) => await write(text, process.stderr),
      strict: process.env["POSIXLY_CORRECT"] !== undefined || process.env["POSIX_ME_HARDER"] !== undefined,
    },
    invokedAs,
    args,
  );
}

/** Standard input is not touched unless somebody reads. */
async function* readStandardInput(): AsyncGenerator<string> {
  // With an encoding set, pieces are texts.
  for await (const piece of process.stdin.setEncoding("utf8")) yield piece as string;
}
