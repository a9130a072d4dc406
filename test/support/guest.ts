/** Commands run on another kernel than this machine's, by scripts/run-on-kernel: for IPVS, and for what differs between kernels. */
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

/** `uml` is quick to start and has IPVS but little BPF; the others are emulated. */
export type GuestKernel = "uml" | "6.1" | "6.12";

export interface GuestOptions {
  readonly kernel?: GuestKernel;
  /** Folders of this machine that the command may write to; all else that it writes is lost. */
  readonly rw?: readonly string[];
  /** Boot included. */
  readonly timeoutMs?: number;
  /** Of an emulated machine; unless told, as many as this one has. */
  readonly cpus?: number;
  /** Of an emulated machine: its clock leaps over the time in which it has nothing to do. */
  readonly leap?: boolean;
}

export interface GuestResult {
  /** The command's, or 77, 124, 125: run-on-kernel's. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const script = join(import.meta.dirname, "..", "..", "..", "scripts", "run-on-kernel");
const found = new Map<GuestKernel, string | undefined>();

function examine(kernel: GuestKernel): string | undefined {
  if (process.getuid?.() !== 0) return "running another kernel needs root";
  // User-mode Linux boots within a second, so it is tried; of an emulated kernel it is enough that it is there.
  const { status, stderr, error } = spawnSync(script, kernel === "uml" ? ["uml", "true"] : ["--fetch", kernel], {
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    timeout: 300_000,
  });
  if (status === 0) return undefined;
  const reason = error?.message ?? stderr.trim().split("\n").at(-1);
  return `a guest with the kernel ${kernel} cannot be run: ${reason ?? `status ${status}`}`;
}

export const guest = {
  /** What keeps that kernel from being run here; the first call may download it, later ones know. */
  unavailable(kernel: GuestKernel = "uml"): string | undefined {
    if (!found.has(kernel)) found.set(kernel, examine(kernel));
    return found.get(kernel);
  },

  /** Runs a command there in this process's folder. A command that fails is a result; a guest that fails is one, too. */
  async run(command: readonly string[], options: GuestOptions = {}): Promise<GuestResult> {
    const timeoutMs = options.timeoutMs ?? 120_000;
    const folders = (options.rw ?? []).flatMap((folder) => ["--rw", folder]);
    const cpus = options.cpus === undefined ? [] : ["--cpus", String(options.cpus)];
    const seconds = String(Math.ceil(timeoutMs / 1000));
    try {
      const { stdout, stderr } = await promisify(execFile)(
        script,
        [
          ...folders,
          ...cpus,
          ...(options.leap === true ? ["--leap"] : []),
          "--timeout",
          seconds,
          options.kernel ?? "uml",
          ...command,
        ],
        { maxBuffer: 2 ** 28 },
      );
      return { status: 0, stdout, stderr };
    } catch (error) {
      // execFile's error for a command that ended with a status carries both streams.
      const { code, stdout, stderr } = error as { code?: unknown; stdout?: string; stderr?: string };
      if (typeof code !== "number") throw error;
      return { status: code, stdout: stdout ?? "", stderr: stderr ?? "" };
    }
  },
} as const;
