/** Commands of the operator's, run beside the director: nobody waits for them, and none runs for ever. */
import { spawn } from "node:child_process";

export interface CommandLimits {
  /** Its whole process group is killed after this time, milliseconds. */
  readonly timeoutMs: number;
}

/**
 * Runs a line by `/bin/sh -c`, with `$0`, `$1`, ... set to `args`. Resolves to what went wrong, in words; to
 * undefined after exit status 0. The command has no input, and its output goes nowhere: what it leaves in the
 * background must not depend on us.
 */
export async function runShell(
  line: string,
  args: readonly string[],
  { timeoutMs }: CommandLimits,
): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const child = spawn("/bin/sh", ["-c", line, ...args], { detached: true, stdio: "ignore" });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child.pid);
    }, timeoutMs).unref();
    const end = (trouble: string | undefined): void => {
      clearTimeout(timer);
      resolve(trouble);
    };
    child.once("error", (cause) => end(cause.message));
    child.once("exit", (code, signal) => {
      if (late) end(`it did not end within ${Math.round(timeoutMs / 1000)} s and was killed`);
      else if (code === 0) end(undefined);
      else end(code === null ? `killed by ${signal}` : `exit status ${code}`);
    });
    child.unref();
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended in the same moment.
  }
}
