import { Option } from "commander";
import type { Command } from "commander";
import type { Config, Diagnostic } from "../../model/config.ts";
import { exitCodes } from "../failure.ts";

interface CheckOptions {
  readonly json?: true;
  readonly print?: true;
}

/** Registers `xlb check`. */
export function registerCheck(program: Command): void {
  program
    .command("check")
    .description("say all that is wrong with a configuration, and where ldirectord's code differs from its manual")
    .argument("<file>", "an ldirectord.cf, or - for standard input")
    .addOption(new Option("--json", "for programs: one object on standard output").conflicts("print"))
    .option("--print", "print the configuration as it is understood, names resolved and every default written out")
    .action(async (file: string, { json, print }: CheckOptions) => {
      const [{ loadNative }, { readConfiguration }, { write }] = await Promise.all([
        import("../../native.ts"),
        import("../../config/read.ts"),
        import("../output.ts"),
      ]);
      const { config, diagnostics } = await readConfiguration(file, loadNative());
      if (print) await printFile(config, diagnostics, write);
      else if (json) await write(printJson(file, config, diagnostics));
      else await printText(file, config, diagnostics, write);
      if (config === undefined) process.exitCode = exitCodes.usage;
    });
}

/** The configuration in place of the summary, so that the output is a file again. */
async function printFile(
  config: Config | undefined,
  diagnostics: readonly Diagnostic[],
  write: (text: string) => Promise<void>,
): Promise<void> {
  await printDiagnostics(diagnostics);
  if (config === undefined) return;
  const { printConfig } = await import("../../config/print.ts");
  await write(printConfig(config));
}

async function printDiagnostics(diagnostics: readonly Diagnostic[]): Promise<void> {
  const { printDiagnostic } = await import("../../config/diagnostics.ts");
  process.stderr.write(diagnostics.map((diagnostic) => `${printDiagnostic(diagnostic)}\n`).join(""));
}

async function printText(
  file: string,
  config: Config | undefined,
  diagnostics: readonly Diagnostic[],
  write: (text: string) => Promise<void>,
): Promise<void> {
  await printDiagnostics(diagnostics);
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
