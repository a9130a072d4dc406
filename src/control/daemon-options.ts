/** What a daemon was started with, kept in its state directory for `xlb restart` and for cleaning up after its death. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseSetting } from "../model/tuning.ts";

export const planeChoices = ["auto", "native", "generic", "ipvs"] as const;
export type PlaneChoice = (typeof planeChoices)[number];

export interface DaemonOptions {
  /** Absolute path of the ldirectord.cf. */
  readonly config: string;
  readonly stateDir: string;
  readonly bpffs: string;
  /** `ADDRESS:PORT`, or `off`. */
  readonly metrics: string;
  readonly plane: PlaneChoice;
  /** Names of the interfaces to attach to; empty: derived from addresses and routes. */
  readonly interfaces: readonly string[];
  /** Slots of the connection table; undefined: the plane's default, or what is pinned. */
  readonly tableSize?: number | undefined;
  /** A real server that flaps must pass its checks for so many seconds before it is up again; 0 or undefined: it need not. */
  readonly dampFlapping?: number | undefined;
  /** At the end, fallback commands that were told `start` are told `stop`. */
  readonly stopFallbackCommands?: boolean | undefined;
  /** Whose certificates checks over TLS accept: the absolute path of a PEM file, `system`, or `off` (undefined): any. */
  readonly verifyTls?: string | undefined;
  /** `NAME=VALUE` and `SERVICE/NAME=VALUE`, as `parseSetting` of src/model/tuning.ts reads them. */
  readonly settings?: readonly string[] | undefined;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:9820`, `[::1]:9820`, `:9820` (every address); undefined if it is none of these. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65535) return undefined;
  const host = match[1] ?? match[2] ?? "";
  return { host: host === "" ? "::" : host, port };
}

function optionsPath(stateDir: string): string {
  return join(stateDir, "options.json");
}

export function writeDaemonOptions(options: DaemonOptions): void {
  writeFileSync(optionsPath(options.stateDir), `${JSON.stringify(options, undefined, 2)}\n`);
}

/** Undefined when no daemon has left its options, or nothing that can be read as such. */
export function readDaemonOptions(stateDir: string): DaemonOptions | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(optionsPath(stateDir), "utf8"));
  } catch {
    return undefined; // Missing or damaged: the caller has defaults.
  }
  return isDaemonOptions(value) ? value : undefined;
}

export function removeDaemonOptions(stateDir: string): void {
  rmSync(optionsPath(stateDir), { force: true });
}

function isSettings(value: unknown): boolean {
  if (value === undefined) return true;
  return (
    Array.isArray(value) && value.every((text) => typeof text === "string" && !(parseSetting(text) instanceof Error))
  );
}

function isDaemonOptions(value: unknown): value is DaemonOptions {
  if (typeof value !== "object" || value === null) return false;
  const options = value as Readonly<Record<string, unknown>>;
  return (
    ["config", "stateDir", "bpffs", "metrics"].every((name) => typeof options[name] === "string") &&
    planeChoices.some((choice) => choice === options["plane"]) &&
    Array.isArray(options["interfaces"]) &&
    options["interfaces"].every((name) => typeof name === "string") &&
    ["tableSize", "dampFlapping"].every((name) => ["undefined", "number"].includes(typeof options[name])) &&
    ["undefined", "boolean"].includes(typeof options["stopFallbackCommands"]) &&
    ["undefined", "string"].includes(typeof options["verifyTls"]) &&
    isSettings(options["settings"])
  );
}
