import { readFileSync } from "node:fs";
import { anyCertificate } from "../health/tls.ts";
import type { TlsPolicy } from "../health/tls.ts";

/** Debian's. */
const systemAuthorities = "/etc/ssl/certs/ca-certificates.crt";

/** What `--verify-tls` means: a PEM file of authorities, `system`, or `off`. Throws if there are none in the file. */
export function readTlsPolicy(option: string | undefined): TlsPolicy {
  if (option === undefined || option === "off") return anyCertificate;
  const file = option === "system" ? systemAuthorities : option;
  let ca: string;
  try {
    ca = readFileSync(file, "latin1");
  } catch (error) {
    throw new Error(`cannot read the authorities for checks over TLS: ${(error as Error).message}`, { cause: error });
  }
  if (!ca.includes("-----BEGIN CERTIFICATE-----")) throw new Error(`${file} has no certificate in PEM`);
  return { verify: true, ca };
}
