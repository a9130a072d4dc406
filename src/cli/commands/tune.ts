import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { parseSetting, tunings } from "../../model/tuning.ts";
import type { TuningName, Tunings } from "../../model/tuning.ts";
import { exitCodes, Failure } from "../failure.ts";
import { globalOptions } from "../options.ts";
import { write } from "../output.ts";

interface TuneOptions {
  readonly json?: true;
}

/** Registers `xlb tune`. */
export function registerTune(program: Command): void {
  program
    .command("tune")
    .description("show or change the settings of the data path, with or without a daemon")
    .argument("[settings...]", "NAME=VALUE; without any all are shown", collect)
    .option("--json", "for programs: one object on standard output")
    .addHelpText(
      "after",
      `
Settings:
${tunings.map(({ name, help }) => `  ${name.padEnd(27)}${help}`).join("\n")}

They last until the director is stopped; \`xlb run --set NAME=VALUE\` sets them at its start.`,
    )
    .action(async (settings: readonly (readonly [TuningName, number])[], { json }: TuneOptions, command: Command) => {
      const { bpffs } = globalOptions(command);
      const values = await tune(bpffs, Object.fromEntries(settings));
      const shown = settings.length === 0 ? tunings : tunings.filter(({ name }) => settings.some(([n]) => n === name));
      await write(
        json === true
          ? `${JSON.stringify(values, null, 2)}\n`
          : shown.map(({ name }) => `${name}=${values[name]}\n`).join(""),
      );
    });
}

/** Changes what is given where a director is pinned; a daemon that starts keeps what it finds in the maps. */
export async function tuneIfPinned(bpffs: string, values: Partial<Tunings>): Promise<void> {
  if (Object.keys(values).length > 0 && existsSync(join(bpffs, "director"))) await tune(bpffs, values);
}

async function tune(bpffs: string, values: Partial<Tunings>): Promise<Tunings> {
  const [{ loadNative }, { tunePinned }] = await Promise.all([
    import("../../native.ts"),
    import("../../dataplane/xdp/tuning.ts"),
  ]);
  try {
    return tunePinned(loadNative(), bpffs, values);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT") {
      const message = existsSync("/proc/net/ip_vs")
        ? `nothing is pinned in ${bpffs}; the kernel's IPVS has settings of its own: \`ipvsadm --set\`, sysctl net.ipv4.vs`
        : `nothing is pinned in ${bpffs}: no director is running there`;
      throw new Failure(exitCodes.notRunning, message, { cause });
    }
    if (code === "EACCES" || code === "EPERM") {
      throw new Failure(exitCodes.failure, `the maps in ${bpffs} cannot be changed: only root may`, { cause });
    }
    throw cause;
  }
}

function collect(text: string, before: readonly (readonly [TuningName, number])[] = []) {
  const setting = parseSetting(text);
  if (setting instanceof Error) throw new InvalidArgumentError(`${setting.message}.`);
  if (setting.kind === "service") {
    throw new InvalidArgumentError(`${setting.name} belongs to services: \`xlb restart --set ${text}\` sets it.`);
  }
  return [...before, [setting.name, setting.value] as const];
}
