import type { CheckService, CheckSpec, CheckType } from "../model/config.ts";
import type { Check, CheckSurroundings, PrepareCheck } from "./check.ts";
import { constantCheck } from "./check.ts";
import { combine } from "./checks/combined.ts";
import { prepareConnect } from "./checks/connect.ts";
import { prepareDns } from "./checks/dns.ts";
import { prepareExternal, prepareExternalPerl } from "./checks/external.ts";
import { prepareFtp } from "./checks/ftp.ts";
import { prepareHttp } from "./checks/http.ts";
import { prepareImap } from "./checks/imap.ts";
import { prepareNntp } from "./checks/nntp.ts";
import { prepareLdap } from "./checks/ldap.ts";
import { prepareMysql } from "./checks/mysql.ts";
import { prepareOracle } from "./checks/oracle.ts";
import { preparePgsql } from "./checks/pgsql.ts";
import { preparePing } from "./checks/ping.ts";
import { preparePop } from "./checks/pop.ts";
import { prepareRadius } from "./checks/radius.ts";
import { prepareSimpleTcp } from "./checks/simpletcp.ts";
import { prepareSip } from "./checks/sip.ts";
import { prepareSmtp } from "./checks/smtp.ts";

/** What a negotiate check speaks. */
const negotiateChecks = {
  dns: prepareDns,
  ftp: prepareFtp,
  http: prepareHttp,
  http_proxy: prepareHttp,
  https: prepareHttp,
  imap: prepareImap,
  imaps: prepareImap,
  ldap: prepareLdap,
  ldaps: prepareLdap,
  mysql: prepareMysql,
  nntp: prepareNntp,
  none: alwaysUp,
  oracle: prepareOracle,
  pgsql: preparePgsql,
  pop: preparePop,
  pops: preparePop,
  radius: prepareRadius,
  simpletcp: prepareSimpleTcp,
  sip: prepareSip,
  smtp: prepareSmtp,
  submission: prepareSmtp,
} satisfies Record<CheckService, PrepareCheck>;

const checkTypes = {
  combined: prepareCombined,
  connect: prepareConnect,
  external: prepareExternal,
  "external-perl": prepareExternalPerl,
  negotiate: prepareNegotiate,
  off: () => constantCheck({ up: false, detail: "never checked" }),
  on: alwaysUp,
  ping: preparePing,
} satisfies Record<CheckType["kind"], PrepareCheck>;

export function prepareCheck(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  return checkTypes[spec.type.kind](spec, surroundings);
}

/** `negotiate http`, `combined http`, `connect`, ...: few enough for a metric's label. */
export function describeCheck({ type, service }: CheckSpec): string {
  return type.kind === "negotiate" || type.kind === "combined" ? `${type.kind} ${service}` : type.kind;
}

/**
 * Equal keys, one check: what it asks and what answer is good, without the time it may take. `intervalMs` belongs to
 * it, so that nobody's failures are counted faster than configured.
 */
export function checkKey(spec: CheckSpec, intervalMs: number): string {
  const { type, service, protocol, address, port, realPort, virtualAddress, virtualPort, command } = spec;
  const { request, receive, httpMethod, virtualHost, login, password, database, secret } = spec;
  // The configured port names the files that ask for maintenance, whatever is checked.
  const everywhere = [type.kind, address, realPort, intervalMs];
  switch (type.kind) {
    case "off":
    case "on":
    case "ping":
      return JSON.stringify(everywhere);
    case "connect":
      return JSON.stringify([...everywhere, port, protocol]);
    case "external":
    case "external-perl":
      return JSON.stringify([...everywhere, command, virtualAddress, virtualPort]);
    case "negotiate":
    case "combined": {
      const connects = type.kind === "combined" ? type.connects : 0;
      const asked = [connects, service, protocol, port, request, receive, httpMethod, virtualHost];
      return JSON.stringify([...everywhere, ...asked, login, password, database, secret]);
    }
  }
}

function prepareNegotiate(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  return negotiateChecks[spec.service](spec, surroundings);
}

function prepareCombined(spec: CheckSpec, surroundings: CheckSurroundings): Check {
  const connects = spec.type.kind === "combined" ? spec.type.connects : 0;
  // Connecting a UDP socket sends nothing and asks nobody, in ldirectord, too; a ping could fail where the service is well.
  const connect = spec.protocol === "udp" ? alwaysUp() : prepareConnect(spec, surroundings);
  return combine(prepareNegotiate(spec, surroundings), connect, connects);
}

function alwaysUp(): Check {
  return constantCheck({ up: true, detail: "not asked" });
}
