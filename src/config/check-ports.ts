/** What a negotiate check speaks by default, and where. */
import type { CheckService } from "../model/config.ts";

/** ldirectord 4.12, the usual ports; `simpletcp` and `none` have none. */
export const portsOfServices: Readonly<Partial<Record<CheckService, number>>> = {
  ftp: 21,
  smtp: 25,
  dns: 53,
  http: 80,
  pop: 110,
  nntp: 119,
  imap: 143,
  ldap: 389,
  https: 443,
  submission: 587,
  ldaps: 636,
  imaps: 993,
  pops: 995,
  oracle: 1521,
  radius: 1812,
  http_proxy: 3128,
  mysql: 3306,
  sip: 5060,
  pgsql: 5432,
};
/** By the port as it is written. */
export const servicesOfPorts: ReadonlyMap<string, CheckService> = new Map(
  Object.entries(portsOfServices).map(([service, port]) => [String(port), service as CheckService]),
);
