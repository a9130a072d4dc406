import type { Command } from "commander";
import type { Config, Diagnostic } from "../../model/config.ts";
import { exitCodes } from "../failure.ts";

interface CheckOptions {
  readonly json?: true;
}

/** Registers `xlb check`. */
export function registerCheck(program: Command): void {
  program
    .command("check")
    .description("say all that is wrong with a configuration, and where ldirectord's code differs from its manual")
    .argument("<file>", "an ldirectord.cf")
    .option("--json", "for programs: one object on standard output")
    .action(async (file: string, { json }: CheckOptions) => {
      const { config, diagnostics } = await readConfiguration(file);
      const { write } = await import("../output.ts");
      if (json) await write(printJson(file, config, diagnostics));
      else await printText(file, config, diagnostics, write);
      if (config === undefined) process.exitCode = exitCodes.usage;
    });
}

interface Checked {
  /** Undefined if there is an error. */
  readonly config?: Config;
  /** In the order of the file, with a warning for each thing that has no effect yet. */
  readonly diagnostics: readonly Diagnostic[];
}

/** Reads a configuration as the daemon does. */
async function readConfiguration(file: string): Promise<Checked> {
  const [{ loadNative }, { loadConfig }, { notYetActive }, { createSystemResolver }, { sortDiagnostics }] =
    await Promise.all([
      import("../../native.ts"),
      import("../../config/load.ts"),
      import("../../config/not-yet-active.ts"),
      import("../../config/resolve.ts"),
      import("../../config/diagnostics.ts"),
    ]);
  const native = loadNative();
  const compileRegex = (pattern: string): string | undefined => {
    try {
      native.regexCompile(pattern);
      return undefined;
    } catch (error) {
      // That the expression is wrong is the answer.
      return (error as Error).message;
    }
  };
  const { config, globals, diagnostics } = await loadConfig(file, { resolver: createSystemResolver(), compileRegex });
  if (config === undefined) return { diagnostics };
  const warnings = notYetActive(config, globals).map(({ position, what }): Diagnostic => ({
    ...position,
    file,
    severity: "warning",
    message: `${what}: not yet active`,
  }));
  return { config, diagnostics: sortDiagnostics([...diagnostics, ...warnings]) };
}

async function printText(
  file: string,
  config: Config | undefined,
  diagnostics: readonly Diagnostic[],
  write: (text: string) => Promise<void>,
): Promise<void> {
  const { printDiagnostic } = await import("../../config/diagnostics.ts");
  process.stderr.write(diagnostics.map((diagnostic) => `${printDiagnostic(diagnostic)}\n`).join(""));
  const found = [
    ...(config === undefined
      ? []
      : [count(config.services.length, "virtual service"), count(realServersOf(config), "real server")]),
    count(errorsOf(diagnostics), "error"),
    count(diagnostics.length - errorsOf(diagnostics), "warning"),
  ];
  await write(`${file}: ${found.join(", ")}\n`);
}

function printJson(file: string, config: Config | undefined, diagnostics: readonly Diagnostic[]): string {
  const value = {
    file,
    ok: config !== undefined,
    ...(config && { services: config.services.length, realServers: realServersOf(config) }),
    errors: errorsOf(diagnostics),
    warnings: diagnostics.length - errorsOf(diagnostics),
    diagnostics,
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function errorsOf(diagnostics: readonly Diagnostic[]): number {
  return diagnostics.filter(({ severity }) => severity === "error").length;
}

function realServersOf(config: Config): number {
  return config.services.reduce((sum, service) => sum + service.realServers.length, 0);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
