import { spawn } from "node:child_process";
import { chownSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { loopbackOfThisProcess, missingPrograms, serverDirectory } from "./daemon.ts";

const configuration = "/etc/news/leafnode/config";

export const leafnodeIsMissing =
  process.getuid?.() === 0
    ? missingPrograms("/usr/sbin/leafnode", configuration, "/usr/bin/unshare", "/usr/bin/mount")
    : "needs root";

export interface Leafnode {
  readonly address: string;
  /** Greets with 200. */
  readonly port: number;
  /** Has no name of its own, and therefore greets with 503. */
  readonly namelessPort: number;
  readonly stop: () => Promise<void>;
}

/**
 * Leafnode, started for each connection as inetd does it, in a mount namespace of its own where its configuration is the
 * test's.
 */
export async function startLeafnode(): Promise<Leafnode> {
  const directory = serverDirectory("leafnode");
  const address = loopbackOfThisProcess();
  const running = new Set<Promise<void>>();
  const serve = async (port: number, hostname: string): Promise<() => Promise<void>> => {
    const file = join(directory, hostname);
    writeFileSync(file, `server = 127.0.0.1\nexpire = 20\nhostname = ${hostname}\n`, { mode: 0o640 });
    chownSync(file, 0, statSync(configuration).gid);
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      const command = 'mount --make-rprivate / && mount --bind "$0" "$1" && exec /usr/sbin/leafnode';
      const child = spawn("/usr/bin/unshare", ["--mount", "sh", "-c", command, file, configuration], {
        stdio: [socket, socket, "ignore"],
      });
      const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
      running.add(ended);
      void ended.then(() => running.delete(ended));
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(port, address, resolve));
    return async () => {
      await new Promise((resolve) => server.close(resolve));
    };
  };
  const [port, namelessPort] = [10_119, 10_120];
  const closes = [await serve(port, "news.xlb.internal"), await serve(namelessPort, "localhost")];
  const stop = async (): Promise<void> => {
    await Promise.all(closes.map((close) => close()));
    await Promise.all(running);
    rmSync(directory, { recursive: true });
  };
  return { address, port, namelessPort, stop };
}
