import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
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

export const mariadbIsMissing = missingPrograms("/usr/sbin/mariadbd", "/usr/share/mysql/mysql_system_tables.sql");

export interface Mariadb extends Daemon {
  readonly address: string;
  readonly port: number;
}

/** MariaDB with a database `shop`, whose table `item` has two rows; `monitor` may read it, with the password `it's "me"`. */
export async function startMariadb(): Promise<Mariadb> {
  const user = unprivileged();
  const directory = serverDirectory("mariadb", user);
  const address = loopbackOfThisProcess();
  const port = 13306;
  const small = ["--innodb=OFF", "--default-storage-engine=Aria", "--aria-log-file-size=8M"];
  const system = ["mysql_system_tables.sql", "mysql_system_tables_data.sql"].map((file) =>
    readFileSync(`/usr/share/mysql/${file}`, "utf8"),
  );
  execFileSync("/usr/sbin/mariadbd", ["--no-defaults", "--bootstrap", `--datadir=${directory}`, ...small], {
    input: ["CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n", ...system].join("\n"),
    stdio: ["pipe", "ignore", "pipe"],
    ...user,
  });
  const start = join(directory, "start.sql");
  writeFileSync(
    start,
    `CREATE DATABASE shop;
CREATE TABLE shop.item (name VARCHAR(20)) ENGINE=MEMORY;
INSERT INTO shop.item VALUES ('apple'), ('pear');
CREATE USER monitor IDENTIFIED BY 'it\\'s "me"';
GRANT SELECT, DELETE ON shop.* TO monitor;
CREATE USER anybody IDENTIFIED BY '';
`,
  );
  const daemon = await startDaemon({
    command: "/usr/sbin/mariadbd",
    parameters: ["--no-defaults", `--datadir=${directory}`, `--socket=${join(directory, "socket")}`].concat([
      `--bind-address=${address}`,
      `--port=${port}`,
      `--init-file=${start}`,
      `--pid-file=${join(directory, "pid")}`,
      `--tmpdir=${directory}`,
      "--skip-name-resolve",
      "--log-warnings=2",
      ...small,
    ]),
    directory,
    ...(user === undefined ? {} : { user }),
    isReady: () => accepts(address, port),
  });
  return { ...daemon, address, port };
}
