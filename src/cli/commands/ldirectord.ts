/** ldirectord 4.12's command line, exit statuses, pid file and signals, for the scripts that were written for it. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { isRegularFile } from "../../config/files.ts";
import { ask, NotRunningError } from "../../control/client.ts";
import { readDaemonOptions } from "../../control/daemon-options.ts";
import type { DaemonOptions } from "../../control/daemon-options.ts";
import { readPidFile } from "../../control/pidfile.ts";
import type { Config, Diagnostic } from "../../model/config.ts";
import { readVersion } from "../../version.ts";
import { addDaemonOptions, daemonOptions } from "../daemon-options.ts";
import { exitCodes, Failure } from "../failure.ts";
import { addGlobalOptions } from "../options.ts";
import { write } from "../output.ts";
import { requirePrivileges } from "../privileges.ts";
import { runHere } from "./run.ts";
import { startDaemon } from "./start.ts";
import { stopToReplace } from "./stop.ts";

const actions = ["start", "stop", "restart", "try-restart", "reload", "force-reload", "status"] as const;
type Action = (typeof actions)[number];

/** What ldirectord exits with where xlb's other commands differ. */
const exitOfUsage = 255;
const exitOfStopped = 3;
const exitOfStale = 1;

/** Of the process in the background: a word that ldirectord would not look at, so that scripts still find theirs. */
const backgroundMark = "--background";

/** The resource agents give a start or stop 15 seconds; an end that takes longer than this is told about. */
const stopTimeoutMs = 30_000;
const reloadTimeoutMs = 60_000;
const pollMs = 20;

/** Registers the help of `xlb ldirectord`; what comes after the name is not commander's, see main.ts. */
export function registerLdirectord(program: Command): void {
  program
    .command("ldirectord")
    .usage("[-d] [--] [CONFIG] start|stop|restart|try-restart|reload|force-reload|status")
    .description(
      "ldirectord's command line, for init scripts and cluster agents; a link named ldirectord does the same",
    )
    .argument("[arguments...]", "as ldirectord takes them")
    .option("-d, --debug", "stay in the foreground, log to standard error, no pid file")
    .option("-v, --version", "print the version")
    .addHelpText(
      "after",
      `
CONFIG is looked for in /etc/ha.d, in /etc/ha.d/conf, and then as a path; it is
ldirectord.cf by default. The pid file is /var/run/ldirectord.CONFIG.pid
(/var/run/ldirectord.ldirectord.pid by default). What xlb needs beyond that comes
from the environment or from /etc/default/xlb, by the names above.

Signals to the daemon: SIGHUP reads the configuration again, SIGUSR1 opens the
logfile again, SIGTERM stops.

Exit status: 0 success, 1 failure (of status: dead, a pid file is left; of reload:
not running), 2 an error in the configuration, 3 status: stopped, 255 wrong command
line. While a daemon runs, status and stop do their work whatever is in the file.`,
    )
    .action(() => {
      throw new Failure(
        exitCodes.usage,
        "write `xlb ldirectord` first: options of xlb come from the environment here, see xlb ldirectord --help",
      );
    });
}

/** One run of the program under the name `invokedAs`. Returns the exit status. */
export async function runLdirectord(invokedAs: string, args: readonly string[]): Promise<number> {
  const parsed = parseArguments(args);
  switch (parsed.kind) {
    case "usage":
      process.stderr.write(`${parsed.message}\n${helpOf()}`);
      return exitOfUsage;
    case "help":
      await write(helpOf());
      return exitCodes.ok;
    case "version":
      await write(`Linux Director v1.186-ha, as xlb ${readVersion()} has it\n`);
      return exitCodes.ok;
    case "run": {
      const file = findConfig(parsed.config ?? "ldirectord.cf");
      if (file === undefined) {
        process.stderr.write(`Config file ${parsed.config ?? "ldirectord.cf"} not found\n`);
        return exitCodes.failure;
      }
      const name = parsed.config === undefined ? "ldirectord" : basename(parsed.config);
      const instance: Instance = {
        invokedAs,
        file,
        pidFile: join("/var/run", `ldirectord.${name}.pid`),
        options: { ...optionsFromEnvironment(), config: resolve(file) },
        given: args,
      };
      return await perform(instance, parsed);
    }
  }
}

type Parsed =
  | { readonly kind: "help" | "version" }
  | { readonly kind: "usage"; readonly message: string }
  | {
      readonly kind: "run";
      readonly debug: boolean;
      readonly config: string | undefined;
      readonly action: Action;
      /** This is the process that `start` has put into the background. */
      readonly background: boolean;
    };

/** Options come first and may be bundled; words after the action are not looked at. */
export function parseArguments(args: readonly string[]): Parsed {
  const letters: Readonly<Record<string, string>> = { d: "debug", h: "help", "?": "help", v: "version" };
  const words = [...args];
  const options = new Set<string>();
  for (let word = words[0]; word !== undefined && /^-./.test(word); word = words[0]) {
    words.shift();
    if (word === "--") break;
    const names = word.startsWith("--") ? [word.slice(2)] : [...word.slice(1)].map((letter) => letters[letter] ?? "");
    if (!names.every((name) => Object.values(letters).includes(name))) {
      return { kind: "usage", message: `ldirectord: unknown option: ${word}` };
    }
    names.forEach((name) => options.add(name));
  }
  if (options.has("help")) return { kind: "help" };
  if (options.has("version")) return { kind: "version" };
  const [config, last] = words.length > 1 ? words : [undefined, words[0]];
  const action = actions.find((each) => each === last);
  if (action === undefined) {
    const message = last === undefined ? "a command is missing" : `unknown command: ${last}`;
    return { kind: "usage", message: `ldirectord: ${message}` };
  }
  return { kind: "run", debug: options.has("debug"), config, action, background: words[2] === backgroundMark };
}

/** Where ldirectord looks for a configuration, in its order; the first regular file is it. */
function findConfig(name: string): string | undefined {
  return [`/etc/ha.d/${name}`, `/etc/ha.d/conf/${name}`, name].find(isRegularFile);
}

function helpOf(): string {
  const program = addGlobalOptions(new Command("xlb"))
    .configureHelp({ showGlobalOptions: true })
    .helpOption("-h, --help", "print this help");
  registerLdirectord(program);
  let text = "";
  const command = program.commands[0]!;
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

/** The options of `xlb run`, all from `XLB_*` variables, checked by their own definitions. */
function optionsFromEnvironment(): DaemonOptions {
  const command = addDaemonOptions(addGlobalOptions(new Command("ldirectord"))).exitOverride();
  command.configureOutput({ outputError: (text, print) => print(text.replace(/^error: /, "ldirectord: ")) });
  command.parse([], { from: "user" });
  return daemonOptions(command);
}

/** One configuration and the daemon that serves it. */
interface Instance {
  readonly invokedAs: string;
  /** As it was found; messages name it so. */
  readonly file: string;
  readonly pidFile: string;
  readonly options: DaemonOptions;
  readonly given: readonly string[];
}

async function perform(instance: Instance, { action, debug, background }: Parsed & { kind: "run" }): Promise<number> {
  const { file, pidFile, options } = instance;
  if (background) return await direct(instance, undefined, true);
  const { config, diagnostics } = await read(options.config);
  const running = findRunning(instance);
  // What must work whatever is in the file: an administrator who has broken it still gets at the daemon.
  if (action === "stop" || (action === "status" && running !== undefined)) {
    if (config === undefined) await print(diagnostics, "error");
    if (action === "stop") return await stop(instance, running);
    process.stderr.write(`ldirectord for ${file} is running with pid: ${running}\n`);
    return exitCodes.ok;
  }
  if (config === undefined) {
    await print(diagnostics, "error");
    return exitCodes.usage;
  }
  switch (action) {
    case "status": {
      const stale = recordedPid(pidFile) !== undefined;
      if (stale) process.stderr.write(`ldirectord stale pid file ${pidFile} for ${file}\n`);
      await write(`ldirectord is stopped for ${file}\n`);
      return stale ? exitOfStale : exitOfStopped;
    }
    case "reload":
    case "force-reload":
      return running === undefined ? exitCodes.failure : await reload(instance, running);
    case "try-restart":
      if (running === undefined) return exitCodes.ok;
      return await restart(instance, running, config, diagnostics, debug);
    case "restart":
      return await restart(instance, running, config, diagnostics, debug);
    case "start":
      if (running !== undefined) return exitCodes.ok;
      return await start(instance, config, diagnostics, debug);
  }
}

async function read(file: string): Promise<{ config: Config | undefined; diagnostics: readonly Diagnostic[] }> {
  const [{ loadNative }, { readConfiguration }] = await Promise.all([
    import("../../native.ts"),
    import("../../config/read.ts"),
  ]);
  return await readConfiguration(file, loadNative());
}

async function print(diagnostics: readonly Diagnostic[], least: Diagnostic["severity"]): Promise<void> {
  const { printDiagnostic } = await import("../../config/diagnostics.ts");
  const shown = diagnostics.filter(({ severity }) => severity === "error" || least === "warning");
  process.stderr.write(shown.map((diagnostic) => `${printDiagnostic(diagnostic)}\n`).join(""));
}

// --- who runs

function recordedPid(pidFile: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile, "utf8").split("\n")[0]);
    return Number.isInteger(pid) && pid > 0 ? pid : 0;
  } catch {
    return undefined; // No pid file is an answer.
  }
}

/** ldirectord's test of a pid: a process whose command line has the name in it. */
function isLdirectord(pid: number): boolean {
  if (pid === process.pid || pid === process.ppid || pid === 0) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("ldirectord");
  } catch {
    return false; // No such process.
  }
}

/** The daemon of the pid file, be it xlb or ldirectord, or one that serves this file without a pid file. */
function findRunning({ pidFile, options }: Instance): number | undefined {
  const recorded = recordedPid(pidFile);
  if (recorded !== undefined && isLdirectord(recorded)) return recorded;
  const own = readPidFile(options.stateDir);
  const serves = own?.alive === true && readDaemonOptions(options.stateDir)?.config === options.config;
  return serves ? own.pid : undefined;
}

/** The daemon is an xlb that listens in our state directory. */
function isOurs({ options }: Instance, pid: number): boolean {
  const own = readPidFile(options.stateDir);
  return own?.alive === true && own.pid === pid;
}

// --- what is done

/** Runs the daemon in this process until it is stopped. `terminal` is a descriptor that gets the log, too. */
async function direct(
  { pidFile, options }: Instance,
  terminal: number | undefined,
  writesPid: boolean,
): Promise<number> {
  requirePrivileges();
  if (writesPid) {
    try {
      writeFileSync(pidFile, `${process.pid}\n`);
    } catch (cause) {
      throw new Failure(exitCodes.failure, `Can not open ${pidFile}: ${(cause as Error).message}`, { cause });
    }
  }
  try {
    await runHere(options, terminal);
    return exitCodes.ok;
  } finally {
    if (writesPid && recordedPid(pidFile) === process.pid) rmSync(pidFile, { force: true });
  }
}

async function start(
  instance: Instance,
  config: Config,
  diagnostics: readonly Diagnostic[],
  debug: boolean,
): Promise<number> {
  await print(diagnostics, "warning");
  if (debug) return await direct(instance, 2, false);
  if (config.supervised) return await direct(instance, 1, false);
  requirePrivileges();
  const { invokedAs, given, options } = instance;
  // The same words again, with an absolute path: scripts look for `ldirectord CONFIG start` in the list of processes.
  const words = given.filter((word) => !/^-/.test(word));
  const file = words.length > 1 && words[0] === instance.file ? [options.config] : words.slice(0, -1);
  const configuration = words.length > 1 ? file : [];
  await startDaemon(options, [invokedAs, ...configuration, "start", backgroundMark]);
  return exitCodes.ok;
}

async function restart(
  instance: Instance,
  running: number | undefined,
  config: Config,
  diagnostics: readonly Diagnostic[],
  debug: boolean,
): Promise<number> {
  if (running !== undefined) {
    // Packets flow on until the next daemon takes over.
    if (isOurs(instance, running)) await stopToReplace(instance.options.stateDir, instance.options);
    else await terminate(instance, running);
  }
  return await start(instance, config, diagnostics, debug);
}

async function stop(instance: Instance, running: number | undefined): Promise<number> {
  if (running !== undefined) await terminate(instance, running);
  else if (recordedPid(instance.pidFile) !== undefined) rmSync(instance.pidFile, { force: true });
  return exitCodes.ok;
}

/** Ends a daemon by SIGTERM and waits until it is gone, and its pid file with it. */
async function terminate(instance: Instance, pid: number): Promise<void> {
  signal(pid, "SIGTERM");
  const deadline = performance.now() + stopTimeoutMs;
  while (isLdirectord(pid) || isOurs(instance, pid)) {
    if (performance.now() > deadline) {
      throw new Failure(exitCodes.failure, `the daemon with pid ${pid} does not end; kill it and try again`);
    }
    await sleep(pollMs);
  }
  if (recordedPid(instance.pidFile) === pid) rmSync(instance.pidFile, { force: true });
}

async function reload(instance: Instance, pid: number): Promise<number> {
  if (!isOurs(instance, pid)) {
    signal(pid, "SIGHUP");
    return exitCodes.ok;
  }
  const timeout = AbortSignal.timeout(reloadTimeoutMs);
  try {
    const reply = await ask(instance.options.stateDir, { kind: "reload" }, timeout);
    if (reply.kind === "done") return exitCodes.ok;
    const message = reply.kind === "error" ? reply.message : `the daemon answered with ${reply.kind}`;
    process.stderr.write(`${message}\n`);
    const toBlame = reply.kind === "error" && reply.reason === "configuration";
    return toBlame ? exitCodes.usage : exitCodes.failure;
  } catch (cause) {
    if (timeout.aborted) throw new Failure(exitCodes.failure, "the daemon does not answer", { cause });
    if (cause instanceof NotRunningError) return exitCodes.failure;
    throw cause;
  }
}

function signal(pid: number, name: "SIGTERM" | "SIGHUP"): void {
  try {
    process.kill(pid, name);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ESRCH") return; // It has just ended.
    throw new Failure(exitCodes.failure, `cannot signal the daemon with pid ${pid}: ${(cause as Error).message}`, {
      cause,
    });
  }
}
