import { execFileSync, spawnSync } from "node:child_process";
import { chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  loopbackOfThisProcess,
  missingPrograms,
  selfSigned,
  serverDirectory,
  startDaemon,
  unprivileged,
} from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

/** The newest installed version; Debian keeps each in a folder of its own. */
function programs(): string {
  const all = "/usr/lib/postgresql";
  const versions = existsSync(all)
    ? readdirSync(all).filter((version) => existsSync(`${all}/${version}/bin/initdb`))
    : [];
  return `${all}/${versions.sort((a, b) => Number(b) - Number(a))[0] ?? "15"}/bin`;
}

export const postgresqlIsMissing = missingPrograms(`${programs()}/postgres`, "/usr/bin/openssl");

export interface Postgresql extends Daemon {
  readonly address: string;
  readonly port: number;
  /** The certificate, PEM, for the name `database.example`. */
  readonly certificate: string;
}

/**
 * PostgreSQL with a database `shop`, whose table `item` has two rows. `monitor` logs in by SCRAM, `legacy` by MD5,
 * `plain` by the password as it is, all with `it's "me"`; `secure` only over TLS, `trusted` only without, both without a
 * password.
 */
export async function startPostgresql({ tls }: { readonly tls: boolean }): Promise<Postgresql> {
  const user = unprivileged();
  const directory = serverDirectory("postgresql", user);
  const address = loopbackOfThisProcess();
  const port = tls ? 15432 : 15433;
  const data = join(directory, "data");
  const environment = { LC_ALL: "C" };
  const run = (program: string, parameters: readonly string[], input = ""): void => {
    const stdio: ["pipe", "ignore", "pipe"] = ["pipe", "ignore", "pipe"];
    execFileSync(join(programs(), program), parameters, { input, stdio, cwd: directory, env: environment, ...user });
  };
  run("initdb", ["-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"]);
  const password = `PASSWORD 'it''s "me"'`;
  run("postgres", ["--single", "-D", data, "postgres"], "CREATE DATABASE shop\n");
  run(
    "postgres",
    ["--single", "-D", data, "shop"],
    `CREATE TABLE item AS SELECT * FROM (VALUES ('apple'), ('pear')) AS value (name)
CREATE ROLE monitor LOGIN ${password}
CREATE ROLE plain LOGIN ${password}
SET password_encryption = 'md5'
CREATE ROLE legacy LOGIN ${password}
CREATE ROLE secure LOGIN
CREATE ROLE trusted LOGIN
GRANT SELECT, DELETE ON item TO PUBLIC
`,
  );
  writeFileSync(
    join(data, "pg_hba.conf"),
    `host all monitor all scram-sha-256
host all legacy all md5
host all plain all password
hostssl all secure all trust
hostnossl all trusted all trust
`,
  );
  const { certificate, key } = selfSigned(directory, "database.example");
  if (user !== undefined) chownSync(key, user.uid, user.gid);
  const settings = {
    listen_addresses: address,
    port: `${port}`,
    unix_socket_directories: "",
    fsync: "off",
    shared_buffers: "4MB",
    ssl: tls ? "on" : "off",
    ssl_cert_file: certificate,
    ssl_key_file: key,
  };
  const daemon = await startDaemon({
    command: join(programs(), "postgres"),
    parameters: ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    directory,
    environment,
    ...(user === undefined ? {} : { user }),
    // It accepts connections before it serves them.
    isReady: () => spawnSync(join(programs(), "pg_isready"), ["-h", address, "-p", `${port}`]).status === 0,
    // Does not wait for clients.
    stopSignal: "SIGINT",
  });
  return { ...daemon, address, port, certificate: readFileSync(certificate, "utf8") };
}
