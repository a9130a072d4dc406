/** Who runs in a state directory: a lock that dies with its holder, and a record of the process that outlives it. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { Server } from "node:net";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { replaceFile } from "./replace-file.ts";

/** A process as it was recorded. */
export interface RecordedProcess {
  readonly pid: number;
  readonly alive: boolean;
}

/** A command that changes something without a daemon has the lock for a moment; nobody waits for it longer, milliseconds. */
const briefMs = 10_000;
const briefPauseMs = 20;

/** Another daemon has the state directory or the bpf directory. */
export class AlreadyRunningError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "AlreadyRunningError";
  }
}

/** Holds the pid and nothing else, as tools that read pid files expect. */
export function pidFilePath(stateDir: string): string {
  return join(stateDir, "xlb.pid");
}

/** Holds the pid and the start time of its process, so that another one with the same pid is not taken for it. */
export function recordPath(stateDir: string): string {
  return join(stateDir, "xlb.started");
}

/** The daemon that was recorded, dead or alive; undefined if there is no record. */
export function readPidFile(stateDir: string): RecordedProcess | undefined {
  let text: string;
  try {
    text = readFileSync(recordPath(stateDir), "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Error(`cannot read ${recordPath(stateDir)}: ${(cause as Error).message}`, { cause });
  }
  const [pid = "", startTime = ""] = text.trim().split(" ");
  if (!/^[1-9]\d*$/.test(pid)) return { pid: 0, alive: false };
  return { pid: Number(pid), alive: startTime !== "" && startTime === processStartTime(Number(pid)) };
}

/** Field 22 of /proc/PID/stat: clock ticks after boot; undefined if there is no such process or only its remains. */
export function processStartTime(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined; // No such process is what is asked for here.
  }
  // The second field is the name in parentheses, in which anything may stand.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
}

/**
 * The right to be the one daemon of a state directory and of a bpf directory. It consists of two names in the
 * abstract socket namespace, which the kernel gives to one process at a time and takes back when that dies, and of
 * the record, which also tells apart daemons in different network namespaces.
 */
export class DaemonLock {
  readonly #stateDir: string;
  readonly #names: readonly Server[];

  private constructor(stateDir: string, names: readonly Server[]) {
    this.#stateDir = stateDir;
    this.#names = names;
  }

  /**
   * Throws {@link AlreadyRunningError} when another daemon has one of the two directories; waits for a command that has
   * borrowed them. Makes the state directory. `pidFile`: whether there is to be one; a supervisor knows the pid anyway.
   */
  static async acquire(stateDir: string, bpffs: string, pidFile = true): Promise<DaemonLock> {
    const names: Server[] = [];
    try {
      makeStateDir(stateDir);
      const recorded = readPidFile(stateDir);
      const who = recorded?.alive === true ? ` with pid ${recorded.pid}` : "";
      const refusal = `a daemon is already running${who} in ${stateDir}`;
      const isDaemon = () => readPidFile(stateDir)?.alive === true;
      names.push(await claimSoon(stateName(stateDir), refusal, isDaemon));
      if (recorded?.alive === true && recorded.pid !== process.pid) {
        throw new AlreadyRunningError(`a daemon is already running${who} in ${stateDir}`);
      }
      names.push(await claim(pinsName(bpffs), `another daemon uses ${bpffs}; give this one its own --bpffs`));
      replaceFile(recordPath(stateDir), `${process.pid} ${processStartTime(process.pid) ?? ""}\n`);
      if (pidFile) replaceFile(pidFilePath(stateDir), `${process.pid}\n`);
      else rmSync(pidFilePath(stateDir), { force: true });
    } catch (cause) {
      for (const name of names) name.close();
      removeIfEmpty(stateDir);
      throw cause;
    }
    return new DaemonLock(stateDir, names);
  }

  /**
   * For a command that changes something where no daemon runs: the same names, without a record of the process. Waits for
   * another such command; throws {@link AlreadyRunningError} when a daemon has them. Makes the state directory.
   */
  static async borrow(stateDir: string, bpffs: string): Promise<DaemonLock> {
    makeStateDir(stateDir);
    const refusal = `a daemon runs in ${stateDir}`;
    const isDaemon = () => readPidFile(stateDir)?.alive === true;
    const state = await claimSoon(stateName(stateDir), refusal, isDaemon);
    try {
      // In another network namespace.
      if (isDaemon()) throw new AlreadyRunningError(refusal);
      return new DaemonLock(stateDir, [state, await claim(pinsName(bpffs), `another daemon uses ${bpffs}`)]);
    } catch (cause) {
      state.close();
      throw cause;
    }
  }

  /** Gives the names back and removes the record and the pid file. */
  release(): void {
    if (readPidFile(this.#stateDir)?.pid === process.pid) {
      for (const path of [pidFilePath(this.#stateDir), recordPath(this.#stateDir)]) rmSync(path, { force: true });
    }
    for (const name of this.#names) name.close();
    removeIfEmpty(this.#stateDir);
  }
}

function stateName(stateDir: string): string {
  return `state:${resolve(stateDir)}`;
}

function pinsName(bpffs: string): string {
  return `bpffs:${resolve(bpffs)}`;
}

/** As {@link claim}, but waits a while as long as no daemon is known to have the name. */
async function claimSoon(name: string, refusal: string, isDaemon: () => boolean): Promise<Server> {
  for (const deadline = Date.now() + briefMs; ; await sleep(briefPauseMs)) {
    try {
      return await claim(name, refusal);
    } catch (cause) {
      if (!(cause instanceof AlreadyRunningError) || isDaemon() || Date.now() > deadline) throw cause;
    }
  }
}

/** Takes a name in the abstract socket namespace; nobody ever connects to it. */
function claim(name: string, refusal: string): Promise<Server> {
  return new Promise((fulfil, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", (cause: NodeJS.ErrnoException) => {
      reject(cause.code === "EADDRINUSE" ? new AlreadyRunningError(refusal) : cause);
    });
    server.listen({ path: `\0xlb:${abstractName(name)}` }, () => fulfil(server));
  });
}

/** At most 107 bytes go into an abstract name: of a long one the end, which tells directories apart, and a sum. */
function abstractName(name: string): string {
  const bytes = Buffer.from(name);
  if (bytes.length <= 90) return name;
  const sum = bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
  return `${sum.toString(16)}:${bytes.subarray(-80).toString("latin1")}`;
}

/**
 * Makes the state directory and what it lies in. Node's own recursive mkdir never returns where a filesystem refuses new
 * directories with ENOENT, as /proc does.
 */
export function makeStateDir(stateDir: string): void {
  if (existsSync(stateDir)) return;
  const parent = dirname(stateDir);
  if (parent !== stateDir) makeStateDir(parent);
  try {
    mkdirSync(stateDir, { mode: 0o755 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return; // Another process was faster.
    throw new Error(`cannot make the directory ${stateDir}: ${(cause as Error).message}`, { cause });
  }
}

/** What a daemon says before it has a log. */
export function startOutputPath(stateDir: string): string {
  return join(stateDir, "daemon.err");
}

/** Where a director notes which services in the tables are its own, one a line, as `printIdentity` prints them. */
export function ownServicesPath(stateDir: string): string {
  return join(stateDir, "services");
}

/** Empty if no director has noted any. */
export function readOwnServices(stateDir: string): ReadonlySet<string> {
  try {
    return new Set(readFileSync(ownServicesPath(stateDir), "utf8").split("\n").filter(Boolean));
  } catch {
    return new Set(); // Missing, or not ours to read: nothing is known to be ours.
  }
}

/** Leaves nothing of a daemon that has ended: its files, and the state directory if nothing else is in it. */
export function removeStateFiles(stateDir: string): void {
  for (const file of ["xlb.sock", "xlb.pid", "xlb.started", "services", "options.json", "daemon.err"]) {
    rmSync(join(stateDir, file), { force: true });
  }
  removeIfEmpty(stateDir);
}

export function removeIfEmpty(stateDir: string): void {
  try {
    rmdirSync(stateDir);
  } catch {
    // Something is in it, or it was gone already.
  }
}
