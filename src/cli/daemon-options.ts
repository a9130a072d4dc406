/** The options of the commands that start a daemon: run, start, restart. */
import { resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { parseListenAddress, planeChoices } from "../control/daemon-options.ts";
import type { DaemonOptions, PlaneChoice } from "../control/daemon-options.ts";
import { directorSettings, mergeSettings, parseSetting, parseSettings } from "../model/tuning.ts";
import type { Tunings } from "../model/tuning.ts";
import { globalOptions, wholeNumber } from "./options.ts";

interface GivenOptions {
  readonly config?: string;
  readonly metrics?: string;
  readonly plane?: PlaneChoice;
  readonly interface?: readonly string[];
  readonly tableSize?: number;
  readonly dampFlapping?: number;
  readonly stopFallbackCommands?: true;
  readonly verifyTls?: string;
  readonly set?: readonly string[];
}

const defaults = { config: "/etc/ha.d/ldirectord.cf", metrics: "127.0.0.1:9820", plane: "auto" } as const;

export function addDaemonOptions(command: Command): Command {
  return command
    .option("-c, --config <file>", `configuration, an ldirectord.cf (default: "${defaults.config}")`)
    .addOption(
      new Option("--metrics <address:port>", `where Prometheus reads, or off (default: "${defaults.metrics}")`)
        .argParser(metrics)
        .env("XLB_METRICS"),
    )
    .addOption(
      new Option(
        "--plane <plane>",
        "what forwards: XDP in native or generic mode, the kernel's IPVS, or for each service the first that works " +
          '(default: "auto")',
      )
        .choices(planeChoices)
        .env("XLB_PLANE"),
    )
    .addOption(
      new Option(
        "--interface <name>",
        "attach here; repeatable (default: where the configured addresses are and are routed)",
      )
        .argParser((names: string, before: readonly string[] = []) => [...before, ...names.trim().split(/\s+/)])
        .env("XLB_INTERFACES"),
    )
    .addOption(
      new Option("--table-size <slots>", "slots of a new connection table, a power of two (default: 4194304)")
        .argParser(tableSlots)
        .env("XLB_TABLE_SIZE"),
    )
    .addOption(
      new Option(
        "--damp-flapping <seconds>",
        "a real server that fails again within so many seconds after it came up must pass its checks for as long " +
          "before it comes up once more (default: 0, off)",
      )
        .argParser(wholeNumber(0))
        .env("XLB_DAMP_FLAPPING"),
    )
    .addOption(
      new Option(
        "--stop-fallback-commands",
        "at the end, tell stop to each fallback command that was told start last",
      ).env("XLB_STOP_FALLBACK_COMMANDS"),
    )
    .addOption(
      new Option(
        "--verify-tls <authorities>",
        "checks over TLS want a certificate that is good for virtualhost, or the address: by the authorities of a PEM " +
          'file, or of the system; or off (default: "off")',
      )
        .argParser(authorities)
        .env("XLB_VERIFY_TLS"),
    )
    .addOption(
      new Option(
        "--set <setting>",
        "NAME=VALUE of what `xlb tune` lists, or idle_timeout, new_per_second or new_per_source of every service, or " +
          "with SERVICE/ in front of one, like tcp:192.0.2.1:80/new_per_source=100; repeatable",
      )
        .argParser(settings)
        .env("XLB_SETTINGS"),
    );
}

/** Of the command line one, of the environment several with blanks between. */
function settings(text: string, before: readonly string[] = []): readonly string[] {
  const given = text.trim().split(/\s+/);
  for (const each of given) {
    const setting = parseSetting(each);
    if (setting instanceof Error) throw new InvalidArgumentError(`${each}: ${setting.message}.`);
  }
  return [...before, ...given];
}

/** What was given with `command`; for the rest `before`, what a daemon was started with; else the defaults. */
export function daemonOptions(command: Command, before?: DaemonOptions): DaemonOptions {
  const given = command.opts<GivenOptions>();
  const { stateDir, bpffs } = globalOptions(command);
  const bpffsGiven = command.getOptionValueSourceWithGlobals("bpffs") !== "default";
  return {
    config: resolve(given.config ?? before?.config ?? defaults.config),
    stateDir: resolve(stateDir),
    bpffs: resolve(bpffsGiven ? bpffs : (before?.bpffs ?? bpffs)),
    metrics: given.metrics ?? before?.metrics ?? defaults.metrics,
    plane: given.plane ?? before?.plane ?? defaults.plane,
    interfaces: given.interface ?? before?.interfaces ?? [],
    tableSize: given.tableSize ?? before?.tableSize,
    dampFlapping: given.dampFlapping ?? before?.dampFlapping,
    stopFallbackCommands: given.stopFallbackCommands ?? before?.stopFallbackCommands,
    verifyTls: given.verifyTls ?? before?.verifyTls,
    settings: given.set === undefined ? before?.settings : mergeSettings(before?.settings ?? [], given.set),
  };
}

/** What was given with `command` of the settings that `xlb tune` knows. */
export function givenTunings(command: Command): Partial<Tunings> {
  return directorSettings(parseSettings(command.opts<GivenOptions>().set ?? []));
}

/** The command line of `xlb run` that means these options. */
export function runArguments(options: DaemonOptions): string[] {
  return [
    "run",
    ...["--state-dir", options.stateDir, "--bpffs", options.bpffs, "--config", options.config],
    ...["--metrics", options.metrics, "--plane", options.plane],
    ...options.interfaces.flatMap((name) => ["--interface", name]),
    ...(options.tableSize === undefined ? [] : ["--table-size", String(options.tableSize)]),
    ...(options.dampFlapping === undefined ? [] : ["--damp-flapping", String(options.dampFlapping)]),
    ...(options.stopFallbackCommands === true ? ["--stop-fallback-commands"] : []),
    ...(options.verifyTls === undefined ? [] : ["--verify-tls", options.verifyTls]),
    ...(options.settings ?? []).flatMap((setting) => ["--set", setting]),
  ];
}

/** The largest takes 10 GiB. */
const maxTableSlots = 2 ** 28;

function tableSlots(text: string): number {
  const slots = Number(text);
  if (!/^\d+$/.test(text) || slots < 16 || slots > maxTableSlots || !Number.isInteger(Math.log2(slots))) {
    throw new InvalidArgumentError(`It must be a power of two from 16 to ${maxTableSlots}.`);
  }
  return slots;
}

function metrics(text: string): string {
  if (text !== "off" && parseListenAddress(text) === undefined) {
    throw new InvalidArgumentError('It must be ADDRESS:PORT, like 127.0.0.1:9820 or [::1]:9820, or "off".');
  }
  return text;
}

/** `off`, `system`, or an absolute path. */
function authorities(text: string): string {
  return text === "off" || text === "system" ? text : resolve(text);
}
