/** For tests whose program asks the kernel for routes: a network namespace of their own, with nothing but what they make. */
import { execFile, execFileSync } from "node:child_process";
import { it } from "node:test";
import { promisify } from "node:util";

const variable = "XLB_TEST_NAMESPACE";

/**
 * Returns true inside the namespace. Outside it registers one test, which runs the same file inside and fails with its
 * output, and returns false. `setup`: arguments of `ip`, one command each, run inside first.
 */
export function inOwnNamespace(file: string, skip: string | false, setup: readonly string[]): boolean {
  if (process.env[variable] !== undefined) {
    for (const path of ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"]) {
      execFileSync("sh", ["-c", `echo 1 >/proc/sys/net/${path}`]);
    }
    for (const command of setup) execFileSync("ip", command.split(" "), { stdio: "pipe" });
    return true;
  }
  it("in a network namespace of its own", { skip }, async () => {
    const env: NodeJS.ProcessEnv = { ...process.env, [variable]: "1" };
    // A child that found these would report to the runner of this process.
    delete env["NODE_TEST_CONTEXT"];
    try {
      const command = ["--net", process.execPath, "--enable-source-maps", "--test-reporter=spec", file];
      await promisify(execFile)("unshare", command, { env, maxBuffer: 16 << 20 });
    } catch (cause) {
      const { stdout = "", stderr = "" } = cause as { stdout?: string; stderr?: string };
      throw new Error(`${stdout}${stderr}`, { cause });
    }
  });
  return false;
}
