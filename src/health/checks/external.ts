import { spawn } from "node:child_process";
import type { CheckSpec } from "../../model/config.ts";
import type { Check, CheckOutcome } from "../check.ts";
import { describeError, errorCode, isOwnTrouble } from "../check.ts";

/** From the polite signal to the one that cannot be ignored, milliseconds. */
const killAfterMs = 500;

/** `COMMAND VIP VPORT RIP RPORT`, up on exit status 0; killed by a signal is down, unlike in ldirectord 4.12. */
export function prepareExternal(spec: CheckSpec): Check {
  return {
    timeoutMs: spec.checkTimeoutMs,
    attempt: (signal) => runCommand(spec.command, commandArguments(spec), signal),
  };
}

/**
 * ldirectord makes a function of the file, inside itself, and `exit` ends that: so a `return` is no error, and whatever
 * does not exit or die is a success. Here it is a process, of which nothing stays for the next time.
 */
const perlFunction = `
BEGIN { *CORE::GLOBAL::exit = sub { CORE::exit(($_[0] // 0) == 0 ? 0 : 1) } }
my ($file, @parameters) = @ARGV;
open(my $handle, "<", $file) or CORE::exit(2);
my $check = eval("sub { \\@ARGV = \\@_; " . join("", <$handle>) . "\\n}") or die $@;
$check->(@parameters);
CORE::exit(0);
`;

/** The same with a Perl program, whose `exit` is the result. */
export function prepareExternalPerl(spec: CheckSpec): Check {
  const parameters = ["-e", perlFunction, spec.command, ...commandArguments(spec)];
  return { timeoutMs: spec.checkTimeoutMs, attempt: (signal) => runCommand("perl", parameters, signal) };
}

/**
 * The daemon's environment, with what ldirectord adds to its own, and without what is for the daemon alone: a command
 * must not speak to its supervisor.
 */
function environment(): NodeJS.ProcessEnv {
  const { NOTIFY_SOCKET: _socket, WATCHDOG_PID: _pid, WATCHDOG_USEC: _interval, ...rest } = process.env;
  return { PERLIO: "perlio", ...rest };
}

/** A firewall mark stands in the place of the virtual address; IPv6 addresses are in brackets. */
function commandArguments(spec: CheckSpec): string[] {
  return [bracketed(spec.virtualAddress), `${spec.virtualPort}`, bracketed(spec.address), `${spec.realPort}`];
}

function bracketed(address: string): string {
  return address.includes(":") && !address.startsWith("[") ? `[${address}]` : address;
}

/** Settles when the command has ended, or was killed because the signal aborted. */
function runCommand(command: string, parameters: readonly string[], signal: AbortSignal): Promise<CheckOutcome> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      resolve({ up: false, detail: "not started" });
      return;
    }
    // Detached: the command leads a process group of its own, so what it has started is killed with it.
    const child = spawn(command, parameters, { cwd: "/", env: environment(), stdio: "ignore", detached: true });
    let killTimer: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      killGroup(child.pid, "SIGTERM");
      killTimer = setTimeout(() => killGroup(child.pid, "SIGKILL"), killAfterMs);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    child.on("error", (error) => {
      signal.removeEventListener("abort", onAbort);
      if (isOwnTrouble(error)) reject(error);
      else resolve({ up: false, detail: `cannot run ${command}: ${describeError(error)}` });
    });
    child.on("exit", (status, killedBy) => {
      clearTimeout(killTimer);
      signal.removeEventListener("abort", onAbort);
      if (signal.aborted) {
        // What the command left behind in its group does not outlive it.
        killGroup(child.pid, "SIGKILL");
        resolve({ up: false, detail: "not finished in time" });
      } else if (killedBy !== null) resolve({ up: false, detail: `killed by ${killedBy}` });
      else resolve({ up: status === 0, detail: `exit status ${status}` });
    });
  });
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // The whole group has ended already.
    if (errorCode(error) !== "ESRCH") throw error;
  }
}
