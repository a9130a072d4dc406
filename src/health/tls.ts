import { isIP } from "node:net";
import { createSecureContext } from "node:tls";
import type { ConnectionOptions, SecureContext } from "node:tls";

/** What checks ask of a server's certificate. */
export interface TlsPolicy {
  /** Whether the certificate must be trusted, in date, and made for the name (or address) that is checked. */
  readonly verify: boolean;
  /** The trusted authorities, PEM; absent: those that Node.js trusts. */
  readonly ca?: string;
}

/** As ldirectord's files are written: any certificate will do. */
export const anyCertificate: TlsPolicy = { verify: false };

const contexts = new WeakMap<TlsPolicy, SecureContext>();

/**
 * The options of a TLS session with a real server. `virtualHost`, if it is a name, is what SNI asks for and what the
 * certificate must be made for; else the certificate must be made for the address.
 */
export function tlsOptions(policy: TlsPolicy, virtualHost: string): ConnectionOptions {
  const servername = serverNameOf(virtualHost);
  return {
    secureContext: contextOf(policy),
    rejectUnauthorized: policy.verify,
    ...(servername === "" ? {} : { servername }),
  };
}

/** `virtualhost` without a port, if it is a name; else empty: TLS knows no addresses as server names. */
export function serverNameOf(virtualHost: string): string {
  const name = virtualHost.replace(/:\d+$/, "");
  return isIP(name) !== 0 || name.startsWith("[") ? "" : name;
}

/** One context for all sessions: making one costs milliseconds. */
function contextOf(policy: TlsPolicy): SecureContext {
  let context = contexts.get(policy);
  if (context === undefined) {
    context = createSecureContext(policy.ca === undefined ? {} : { ca: policy.ca });
    contexts.set(policy, context);
  }
  return context;
}
