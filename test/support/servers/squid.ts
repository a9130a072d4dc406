import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  accepts,
  loopbackOfThisProcess,
  missingPrograms,
  serverDirectory,
  startDaemon,
  unprivileged,
} from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const squidIsMissing = missingPrograms("/usr/sbin/squid");

export interface Squid extends Daemon {
  readonly address: string;
  readonly port: number;
}

/** Squid, which fetches from 127.0.0.0/8 and nowhere else, keeps nothing, and denies what has `forbidden` in its path. */
export async function startSquid(): Promise<Squid> {
  const user = unprivileged();
  const directory = serverDirectory("squid", user);
  const [address, port] = [loopbackOfThisProcess(), 13_128];
  const configuration = join(directory, "squid.conf");
  mkdirSync(join(directory, "core"));
  writeFileSync(
    configuration,
    `http_port ${address}:${port}
acl loopback dst 127.0.0.0/8
acl forbidden urlpath_regex forbidden
http_access deny forbidden
http_access allow loopback
http_access deny all
cache deny all
cache_mem 1 MB
access_log none
cache_log ${directory}/log
cache_store_log none
pid_filename ${directory}/pid
coredump_dir ${directory}/core
netdb_filename none
pinger_enable off
visible_hostname proxy.example
shutdown_lifetime 0 seconds
dns_nameservers 127.0.0.1
connect_timeout 2 seconds
`,
  );
  const daemon = await startDaemon({
    command: "/usr/sbin/squid",
    parameters: ["-N", "-f", configuration, "-n", `xlb${process.pid}`],
    directory,
    user,
    isReady: () => accepts(address, port),
  });
  return { ...daemon, address, port };
}
