import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { accepts, loopbackOfThisProcess, missingPrograms, serverDirectory, startDaemon } from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const postfixIsMissing =
  process.getuid?.() === 0 ? missingPrograms("/usr/lib/postfix/sbin/master", "/usr/sbin/postfix") : "needs root";

export interface Postfix extends Daemon {
  readonly address: string;
  readonly port: number;
  /** Refuses this client with 554 as its greeting. */
  readonly refusingPort: number;
  /** What it has written to its log by now. */
  readonly log: () => string;
  /** Its main.cf and master.cf, for the `MAIL_CONFIG` of its sendmail. */
  readonly configuration: string;
  /** All mails that were delivered, the oldest first, each of them whole. */
  readonly mails: () => readonly string[];
}

/** Of the addresses that {@link startPostfix} takes mail for. */
export const mailDomain = "alerts.example";

/** Postfix, serving mail for these users of {@link mailDomain} alone. */
export async function startPostfix(...users: readonly string[]): Promise<Postfix> {
  const directory = serverDirectory("postfix");
  // Its processes run as another user.
  chmodSync(directory, 0o755);
  const address = loopbackOfThisProcess();
  const [port, refusingPort] = [10_025, 10_026];
  for (const name of ["configuration", "data", "queue", "mail"]) mkdirSync(join(directory, name), { mode: 0o755 });
  execFileSync("chown", ["postfix", join(directory, "data")]);
  execFileSync("chown", ["nobody", join(directory, "mail")]);
  const id = (flag: string): string => execFileSync("id", [flag, "nobody"], { encoding: "utf8" }).trim();
  const file = (name: string): string => join(directory, "configuration", name);
  writeFileSync(
    file("main.cf"),
    `compatibility_level = 3.6
queue_directory = ${directory}/queue
data_directory = ${directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
maillog_file = ${directory}/log
maillog_file_prefixes = ${directory}
myhostname = mail.example
mydestination =
mynetworks = ${address}
alias_maps =
alias_database =
local_recipient_maps =
inet_interfaces = 127.0.0.1
smtpd_tls_security_level = none
virtual_mailbox_domains = ${users.length === 0 ? "" : mailDomain}
virtual_mailbox_base = ${directory}/mail
virtual_mailbox_maps = ${users.length === 0 ? "" : `inline:{${users.map((user) => `${user}@${mailDomain}=box/`).join(", ")}}`}
virtual_uid_maps = static:${id("-u")}
virtual_gid_maps = static:${id("-g")}
`,
  );
  const smtpd = (at: number, ...options: readonly string[]): string =>
    `${address}:${at} inet n - n - - smtpd${options.map((option) => `\n  -o ${option}`).join("")}`;
  const internal = (name: string, type: string, privacy: string, limit: string, command = name): string =>
    `${name} ${type} ${privacy} - n - ${limit} ${command}`;
  const lines = [
    smtpd(port),
    smtpd(refusingPort, "smtpd_client_restrictions=reject", "smtpd_delay_reject=no"),
    internal("postlog", "unix-dgram", "n", "1", "postlogd"),
    internal("pickup", "unix", "n", "1"),
    internal("cleanup", "unix", "n", "0"),
    internal("qmgr", "unix", "n", "1"),
    internal("rewrite", "unix", "-", "-", "trivial-rewrite"),
    internal("bounce", "unix", "-", "0"),
    internal("defer", "unix", "-", "0", "bounce"),
    internal("error", "unix", "-", "-"),
    internal("retry", "unix", "-", "-", "error"),
    internal("anvil", "unix", "-", "1"),
    internal("proxymap", "unix", "-", "-"),
    internal("scache", "unix", "-", "1"),
    "virtual unix - n n - - virtual",
  ];
  writeFileSync(file("master.cf"), `${lines.join("\n")}\n`);
  execFileSync("/usr/sbin/postfix", ["-c", join(directory, "configuration"), "check"], { stdio: "ignore" });
  const daemon = await startDaemon({
    command: "/usr/lib/postfix/sbin/master",
    parameters: ["-c", join(directory, "configuration"), "-s"],
    directory,
    isReady: async () => (await accepts(address, port)) && (await accepts(address, refusingPort)),
  });
  // A Maildir: a mail is moved into it when all of it is written.
  const box = join(directory, "mail", "box", "new");
  const mails = (): readonly string[] =>
    (existsSync(box) ? readdirSync(box) : [])
      .map((name) => join(box, name))
      .map((path) => ({ path, written: statSync(path, { bigint: true }).mtimeNs }))
      .sort((one, other) => Number(one.written - other.written))
      .map(({ path }) => readFileSync(path, "utf8"));
  const log = (): string => readFileSync(join(directory, "log"), "utf8");
  return { ...daemon, address, port, refusingPort, log, configuration: join(directory, "configuration"), mails };
}
