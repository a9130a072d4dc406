import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { accepts, loopbackOfThisProcess, missingPrograms, selfSigned, serverDirectory, startDaemon } from "./daemon.ts";
import type { Daemon } from "./daemon.ts";

export const slapdIsMissing = missingPrograms("/usr/sbin/slapd", "/usr/bin/openssl");

export interface Slapd extends Daemon {
  readonly address: string;
  readonly port: number;
  readonly securePort: number;
  /** The certificate, PEM, for the name `directory.example`. */
  readonly certificate: string;
}

/** OpenLDAP with `dc=example,dc=org` and `cn=admin,dc=example,dc=org`, whose password is `open sesame`. */
export async function startSlapd(): Promise<Slapd> {
  const directory = serverDirectory("slapd");
  const address = loopbackOfThisProcess();
  const [port, securePort] = [10389, 10636];
  const { certificate, key } = selfSigned(directory, "directory.example");
  const configuration = join(directory, "slapd.conf");
  writeFileSync(
    configuration,
    `include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile ${directory}/slapd.pid
argsfile ${directory}/slapd.args
TLSCertificateFile ${certificate}
TLSCertificateKeyFile ${key}
database mdb
maxsize 1048576
directory ${directory}
suffix "dc=example,dc=org"
rootdn "cn=admin,dc=example,dc=org"
rootpw "open sesame"
`,
  );
  const entries = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n";
  execFileSync("/usr/sbin/slapadd", ["-f", configuration], { input: entries, stdio: ["pipe", "ignore", "pipe"] });
  const urls = `ldap://${address}:${port} ldaps://${address}:${securePort}`;
  const daemon = await startDaemon({
    command: "/usr/sbin/slapd",
    parameters: ["-d", "0", "-f", configuration, "-h", urls],
    directory,
    isReady: async () => (await accepts(address, port)) && (await accepts(address, securePort)),
  });
  return { ...daemon, address, port, securePort, certificate: readFileSync(certificate, "utf8") };
}
