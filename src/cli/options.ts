import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { defaultPlaces, homePlaces } from "./places.ts";

/** Options that every command takes, before or after its name. They let several directors live on one machine. */
export interface GlobalOptions {
  /** Holds the daemon's control socket and pid file. */
  readonly stateDir: string;
  /** Where the program, its links and its maps are pinned. */
  readonly bpffs: string;
}

/** Each also comes from the environment, as all options of a daemon do. */
export function addGlobalOptions(program: Command): Command {
  const { stateDir, bpffs } = defaultPlaces();
  return program
    .addOption(
      new Option("--state-dir <dir>", "directory of the daemon's control socket and pid file")
        .default(stateDir, homePlaces.stateDir)
        .env("XLB_STATE_DIR"),
    )
    .addOption(
      new Option("--bpffs <dir>", "directory in a bpf filesystem that holds the pinned maps")
        .default(bpffs, homePlaces.bpffs)
        .env("XLB_BPFFS"),
    );
}

/** The global options as given with `command`, defaults filled in. */
export function globalOptions(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>();
}

/** Argument parser: a whole number from `minimum` on. */
export function wholeNumber(minimum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < minimum || !Number.isSafeInteger(value)) {
      throw new InvalidArgumentError(`It must be a whole number from ${minimum} on.`);
    }
    return value;
  };
}

/** Argument parser: a time in seconds from 0.1 to a day, fractions allowed. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$|^\.\d+$/.test(text) || value < 0.1 || value > 86400) {
    throw new InvalidArgumentError("It must be a number of seconds from 0.1 to 86400.");
  }
  return value;
}
