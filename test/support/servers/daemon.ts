import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Daemon {
  readonly stop: () => Promise<void>;
  /** What it has written by now; the last 20,000 characters. */
  readonly output: () => string;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

export interface DaemonPlan {
  readonly command: string;
  readonly parameters: readonly string[];
  /** Where it runs; removed when it stops. */
  readonly directory: string;
  /** Absent: the user that runs the test. */
  readonly user?: User | undefined;
  readonly environment?: Readonly<Record<string, string>>;
  /** Asks it to end at once; absent: SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  readonly isReady: () => boolean | Promise<boolean>;
}

/** Databases want a moment on a busy machine. */
const readyWithinMs = 60_000;
const killAfterMs = 10_000;

/** False if all programs are there, else what is missing: for `skip`. */
export function missingPrograms(...paths: readonly string[]): string | false {
  const missing = paths.filter((path) => !existsSync(path));
  return missing.length === 0 ? false : `missing: ${missing.join(", ")} (make server-packages)`;
}

/**
 * An address on loopback that belongs to this process, so that servers of tests that run at the same time may have the
 * same ports.
 */
export function loopbackOfThisProcess(): string {
  return `127.${64 + ((process.pid >> 16) & 0x3f)}.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;
}

/** A new directory for a server's files, which belongs to the user that it runs as. */
export function serverDirectory(name: string, user?: User): string {
  const directory = mkdtempSync(join(tmpdir(), `xlb-${name}-`));
  if (user !== undefined) chownSync(directory, user.uid, user.gid);
  return directory;
}

/** The user to run as for a server that refuses to be root; undefined if the test is not root. */
export function unprivileged(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string): number => Number(execFileSync("id", [flag, "nobody"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}

/** Starts a server in the foreground and waits until it is ready; throws with its output if it ends before that. */
export async function startDaemon(plan: DaemonPlan): Promise<Daemon> {
  const { command, parameters, directory, user, environment } = plan;
  const daemon = spawn(command, parameters, {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
    // The leader of a process group: what it has started ends with it.
    detached: true,
    ...user,
  });
  let output = "";
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-20_000);
  };
  daemon.stdout.on("data", keep);
  daemon.stderr.on("data", keep);
  const ended = new Promise<void>((resolve) => {
    daemon.once("exit", () => resolve());
    daemon.once("error", (error) => {
      output += error.message;
      resolve();
    });
  });
  let running = true;
  void ended.then(() => (running = false));
  const stop = async (): Promise<void> => {
    await end(daemon, ended, plan.stopSignal ?? "SIGTERM");
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  const lateMs = performance.now() + readyWithinMs;
  while (!(await plan.isReady())) {
    if (!running || performance.now() > lateMs) {
      await stop();
      throw new Error(`${command} ${running ? "is not ready in time" : "has ended"}:\n${output}`);
    }
    await sleep(20);
  }
  return { stop, output: () => output };
}

async function end(daemon: ChildProcess, ended: Promise<void>, signal: NodeJS.Signals): Promise<void> {
  daemon.kill(signal);
  const timer = setTimeout(() => daemon.kill("SIGKILL"), killAfterMs);
  await ended;
  clearTimeout(timer);
  if (daemon.pid === undefined) return;
  try {
    process.kill(-daemon.pid, "SIGKILL");
  } catch {
    // Nothing of the group is left.
  }
}

/** Whether a TCP connection is accepted. */
export function accepts(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** A certificate for the name, signed by itself, and its key, as files in the directory. */
export function selfSigned(
  directory: string,
  name = "self-signed",
): { readonly certificate: string; readonly key: string } {
  const files = { certificate: join(directory, "cert.pem"), key: join(directory, "key.pem") };
  const kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
  execFileSync("openssl", [...kind, ...subject, "-keyout", files.key, "-out", files.certificate], { stdio: "ignore" });
  return files;
}
