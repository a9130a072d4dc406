/** Entry of the command `xlb`: runs one command, prints what went wrong, sets the exit status. */
import { basename } from "node:path";
import type { CommanderError } from "commander";
import { loadDefaults } from "./defaults.ts";
import { exitCodes, Failure } from "./failure.ts";

/**
 * A program whose place xlb takes, with that program's own command line. `invokedAs` is how it was called; returns the
 * exit status.
 */
type TakenOver = (invokedAs: string, args: readonly string[]) => Promise<number>;

/**
 * By the name that xlb is called by (`bin/NAME` is a link to `bin/xlb`, which passes it on as the first argument), or
 * that is its first argument. Commander knows them by their help only.
 */
const takenOver: Readonly<Record<string, () => Promise<TakenOver>>> = {
  ldirectord: async () => (await import("./commands/ldirectord.ts")).runLdirectord,
  ipvsadm: async () => (await import("./commands/ipvsadm.ts")).runIpvsadmHere,
};

/** Runs the command line and returns the exit status, or undefined if the command has set `process.exitCode`. */
async function run(argv: readonly string[]): Promise<number | undefined> {
  const [, , first = "", ...rest] = argv;
  const name = basename(first);
  try {
    loadDefaults(process.env);
    if (Object.hasOwn(takenOver, name)) return await (await takenOver[name]!())(first, rest);
    // Monitoring calls the others every few seconds: they do not wait for what only this needs.
    const { createProgram } = await import("./program.ts");
    await createProgram().parseAsync(argv);
    return undefined;
  } catch (error) {
    if (isCommanderError(error)) {
      // Help and version end here too; commander has printed everything already.
      return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    }
    if (isBrokenPipe(error)) return exitCodes.ok;
    if (error instanceof Failure) {
      process.stderr.write(`xlb: ${error.message}\n`);
      return error.exitCode;
    }
    const { NotRunningError } = await import("../control/client.ts");
    if (error instanceof NotRunningError) {
      process.stderr.write(`xlb: ${error.message}\n`);
      return exitCodes.notRunning;
    }
    process.stderr.write(`xlb: ${explain(error)}\n`);
    return exitCodes.failure;
  }
}

function isCommanderError(error: unknown): error is CommanderError {
  return error instanceof Error && "code" in error && String(error.code).startsWith("commander.");
}

/** An unforeseen error in one line with its causes; the stack too when `XLB_DEBUG` is set. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (process.env["XLB_DEBUG"]) return error.stack ?? error.message;
  if (error.cause === undefined) return error.message;
  // Most messages say what the cause says already.
  const cause = explain(error.cause);
  return error.message.includes(cause) ? error.message : `${error.message}: ${cause}`;
}

/** `xlb stats | head`: the reader has what it wants, which is no failure. */
function isBrokenPipe(error: unknown): boolean {
  const { code, syscall } = error as Partial<NodeJS.ErrnoException>;
  return code === "EPIPE" && syscall === "write";
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (isBrokenPipe(error)) process.exit(exitCodes.ok);
  throw error;
});
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

const exitCode = await run(process.argv);
if (exitCode !== undefined) process.exitCode = exitCode;
