import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  accepts,
  loopbackOfThisProcess,
  missingPrograms,
  selfSigned,
  serverDirectory,
  startDaemon,
  unprivileged,
} from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const dovecotIsMissing =
  process.getuid?.() === 0
    ? missingPrograms("/usr/sbin/dovecot", "/usr/lib/dovecot/imap", "/usr/lib/dovecot/pop3", "/usr/bin/openssl")
    : "needs root";

export interface Dovecot extends Daemon {
  readonly address: string;
  readonly ports: { readonly imap: number; readonly imaps: number; readonly pop: number; readonly pops: number };
  /** PEM, for the name `mail.example`. */
  readonly certificate: string;
}

/** Of `alice`. */
export const dovecotPassword = 'pass "word" \\ €';

export interface DovecotPlan {
  /** Absent: plain. */
  readonly mechanisms?: string;
  /** Whether plain passwords are taken without TLS. */
  readonly refusePlain?: boolean;
}

/** Dovecot with IMAP and POP3, plain and over TLS, for `alice`. */
export async function startDovecot({ mechanisms = "plain", refusePlain = false }: DovecotPlan = {}): Promise<Dovecot> {
  const directory = serverDirectory("dovecot");
  const address = loopbackOfThisProcess();
  const base = mechanisms === "plain" ? 10_000 : 20_000;
  const ports = { imap: base + 143, imaps: base + 993, pop: base + 110, pops: base + 995 };
  const { certificate, key } = selfSigned(directory, "mail.example");
  const { uid, gid } = unprivileged() ?? { uid: 0, gid: 0 };
  chmodSync(directory, 0o755);
  const mail = join(directory, "mail");
  mkdirSync(mail);
  chownSync(mail, uid, gid);
  const configuration = join(directory, "dovecot.conf");
  writeFileSync(join(directory, "users"), `alice:{PLAIN}${dovecotPassword}\n`);
  const listener = (name: string, port: number, secure: boolean): string =>
    `inet_listener ${name} {\n address = ${address}\n port = ${port}\n ssl = ${secure ? "yes" : "no"}\n }`;
  writeFileSync(
    configuration,
    `base_dir = ${directory}/run
state_dir = ${directory}/state
log_path = ${directory}/log
protocols = imap pop3
listen = ${address}
# Whoever connects from elsewhere than 127.0.0.1 would need TLS.
disable_plaintext_auth = ${refusePlain ? "yes" : "no"}
auth_mechanisms = ${mechanisms}
auth_failure_delay = 0
ssl = yes
ssl_cert = <${certificate}
ssl_key = <${key}
ssl_dh =
default_internal_user = root
default_internal_group = root
default_login_user = nobody
mail_location = maildir:${mail}/%u
passdb {
  driver = passwd-file
  args = ${directory}/users
}
userdb {
  driver = static
  args = uid=${uid} gid=${gid} home=${mail}/%u
}
service imap-login {
  chroot =
  ${listener("imap", ports.imap, false)}
  ${listener("imaps", ports.imaps, true)}
}
service pop3-login {
  chroot =
  ${listener("pop3", ports.pop, false)}
  ${listener("pop3s", ports.pops, true)}
}
# A failed login must not make the next one wait.
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
`,
  );
  const daemon = await startDaemon({
    command: "/usr/sbin/dovecot",
    parameters: ["-F", "-c", configuration],
    directory,
    isReady: async () => (await Promise.all(Object.values(ports).map((port) => accepts(address, port)))).every(Boolean),
  });
  const output = (): string => daemon.output() + readFileSync(join(directory, "log"), "utf8");
  return { ...daemon, output, address, ports, certificate: readFileSync(certificate, "utf8") };
}
