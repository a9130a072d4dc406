import { mkdirSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { accepts, loopbackOfThisProcess, missingPrograms, serverDirectory, startDaemon } from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const proftpdIsMissing = missingPrograms("/usr/sbin/proftpd", "/usr/bin/openssl");

export interface Proftpd extends Daemon {
  readonly address: string;
  readonly port: number;
  /** The same, but its answer to PASV names an address where nothing listens, as behind a balancer. */
  readonly masqueradedPort: number;
}

/** ProFTPD for `alice`, whose password is `open sesame`, with the files `status.txt` (`all is well`) and `empty`. */
export async function startProftpd(): Promise<Proftpd> {
  const directory = serverDirectory("proftpd");
  const address = loopbackOfThisProcess();
  const [port, masqueradedPort] = [10_021, 10_022];
  const files = join(directory, "files");
  mkdirSync(files);
  writeFileSync(join(files, "status.txt"), "all\nis well\n");
  writeFileSync(join(files, "empty"), "");
  writeFileSync(join(files, "large"), Buffer.alloc(3 << 20, "0123456789abcde\n"));
  const hash = execFileSync("openssl", ["passwd", "-5", "open sesame"], { encoding: "utf8" }).trim();
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  writeFileSync(join(directory, "passwd"), `alice:${hash}:${uid}:${gid}::${files}:/bin/sh\n`, { mode: 0o600 });
  const user = execFileSync("id", ["-un"], { encoding: "utf8" }).trim();
  const configuration = join(directory, "proftpd.conf");
  writeFileSync(
    configuration,
    `ServerType standalone
ServerName "test"
UseIPv6 off
UseReverseDNS off
DefaultAddress ${address}
SocketBindTight on
Port ${port}
User ${user}
Group ${execFileSync("id", ["-gn"], { encoding: "utf8" }).trim()}
PidFile ${directory}/pid
ScoreboardFile ${directory}/scoreboard
DelayTable none
SystemLog ${directory}/log
WtmpLog off
TransferLog none
RequireValidShell off
RootLogin on
AuthOrder mod_auth_file.c
AuthUserFile ${directory}/passwd
AuthPAM off
DefaultRoot ${files}
WtmpLog off
<VirtualHost ${address}>
  Port ${masqueradedPort}
  MasqueradeAddress 127.0.0.99
  AuthUserFile ${directory}/passwd
  DefaultRoot ${files}
  RequireValidShell off
  RootLogin on
</VirtualHost>
`,
  );
  const daemon = await startDaemon({
    command: "/usr/sbin/proftpd",
    parameters: ["--nodaemon", "--config", configuration],
    directory,
    isReady: async () => (await accepts(address, port)) && (await accepts(address, masqueradedPort)),
  });
  return { ...daemon, address, port, masqueradedPort };
}
