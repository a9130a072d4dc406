/**
 * A configuration as an `ldirectord.cf`, with every default written out. Read again it is the same configuration, here and,
 * but for values with a `#`, in ldirectord 4.12: nothing is written that only one of the two takes.
 */
import type { CheckSpec, Config, ConfiguredRealServer, ConfiguredService, Fallback } from "../model/config.ts";
import { familyOfService, printEndpoint } from "../model/service.ts";
import type { ServiceIdentity } from "../model/service.ts";
import { portsOfServices, servicesOfPorts } from "./check-ports.ts";
import { createReport } from "./diagnostics.ts";
import { real as realReader } from "./endpoints.ts";
import { printIpv4 } from "./resolve.ts";

type Lines = (string | undefined)[];

const yesNo = (value: boolean): string => (value ? "yes" : "no");
const quoted = (name: string, value: string): string | undefined => (value === "" ? undefined : `${name}="${value}"`);
const bare = (name: string, value: string): string | undefined => (value === "" ? undefined : `${name}=${value}`);

/** The text of a whole file. */
export function printConfig(config: Config): string {
  const shared: Shared = {
    fallbackCommand: withHash(config, ({ fallbackCommand }) => fallbackCommand),
    mailTo: withHash(config, ({ emailAlert }) => emailAlert.to.join(", ")),
  };
  const interval = config.services[0]?.checkIntervalMs;
  const globals: Lines = [
    ...(interval === undefined ? [] : [`checkinterval=${interval / 1000}`]),
    `autoreload=${yesNo(config.autoreload)}`,
    `fork=${yesNo(config.fork)}`,
    `supervised=${yesNo(config.supervised)}`,
    `readdquiescent=${yesNo(config.readdQuiescent)}`,
    `logfile="${config.logFile}"`,
    bare("maintenancedir", config.maintenanceDir),
    quoted("callback", config.callback),
    ...config.execute.map((name) => `execute=${name}`),
    bare("emailalertfrom", config.emailAlertFrom),
    bare("fallbackcommand", shared.fallbackCommand),
    bare("emailalert", shared.mailTo),
  ];
  const sections = config.services.map((service) => printSection(service, config, shared));
  return [globals, ...sections].map((lines) => lines.filter((line) => line !== undefined).join("\n") + "\n").join("\n");
}

/** Values that hold a `#` can only come from a global line, since a section's line ends at it; empty: there is none. */
interface Shared {
  readonly fallbackCommand: string;
  readonly mailTo: string;
}

function withHash({ services }: Config, valueOf: (service: ConfiguredService) => string): string {
  return services.map(valueOf).find((value) => value.includes("#")) ?? "";
}

/** Under an address port 0 is written out: without a port a fallback has the virtual service's. */
function fallbackEndpoint({ address, port }: Fallback, { kind }: ServiceIdentity): string {
  return kind === "mark" ? endpointOf(address, port) : printEndpoint(address, port);
}

function printSection(service: ConfiguredService, config: Config, shared: Shared): Lines {
  const { identity, persistence, fallback, emailAlert } = service;
  const family6 = familyOfService(identity) === "ipv6";
  const suffix = family6 ? "6" : "";
  const name = identity.kind === "mark" ? String(identity.mark) : printEndpoint(identity.address, identity.port);
  const port = identity.kind === "mark" ? "0" : String(identity.port);
  const check = service.realServers[0]?.check;
  const common = commonPair(service.realServers);
  const mailTo = emailAlert.to.join(", ");
  const lines: Lines = [
    identity.kind === "mark" ? undefined : `protocol=${identity.protocol}`,
    `scheduler=${service.scheduler}`,
    bare("schedflags", service.schedulerFlags.join(",")),
    ...(persistence === undefined
      ? []
      : [`persistent=${persistence.timeout}`, `netmask=${printNetmask(persistence.prefix, family6)}`]),
    `ops=${yesNo(service.onePacket)}`,
    ...service.realServers.map((server) => `real${suffix}=${printRealServer(server, common)}`),
    fallback && `fallback${suffix}=${fallbackEndpoint(fallback, identity)} ${fallback.method}`,
    service.fallbackCommand === shared.fallbackCommand ? undefined : quoted("fallbackcommand", service.fallbackCommand),
    ...(check === undefined ? [] : printCheck(check, service, port, common)),
    config.fork ? `checkinterval=${service.checkIntervalMs / 1000}` : undefined,
    `failurecount=${service.failureCount}`,
    `quiescent=${yesNo(service.quiescent)}`,
    `cleanstop=${yesNo(service.cleanStop)}`,
    quoted("monitorfile", service.monitorFile),
    bare("servicename", service.serviceName),
    bare("comment", service.comment),
    mailTo === shared.mailTo ? undefined : `emailalert=${mailTo === "" ? "," : mailTo}`,
    `emailalertfreq=${emailAlert.frequency}`,
    `emailalertstatus=${emailAlert.status.length === 0 ? "none" : emailAlert.status.join(",")}`,
    bare("smtp", emailAlert.smtp),
  ];
  return [`virtual${suffix}=${name}`, ...lines.map((line) => line && `\t${line}`)];
}

/** The check of a section, which all its real servers share but for request and receive. */
function printCheck(
  check: CheckSpec,
  { realServers }: ConfiguredService,
  virtualPort: string,
  common: Pair | undefined,
): Lines {
  const usual = servicesOfPorts.get(virtualPort) ?? "none";
  const moved = realServers.some(({ check: { port, realPort, service } }) => {
    const own = realPort > 0 ? realPort : (portsOfServices[service] ?? 0);
    return port !== own;
  });
  return [
    `checktype=${check.type.kind === "combined" ? check.type.connects : check.type.kind}`,
    // Written down it would bring in a login of its own for ftp and sip.
    check.service === usual ? undefined : `service=${check.service}`,
    moved ? `checkport=${check.port}` : undefined,
    `checktimeout=${check.checkTimeoutMs / 1000}`,
    `negotiatetimeout=${check.negotiateTimeoutMs / 1000}`,
    // Deprecated: to name it brings a warning.
    check.checkCount === 1 ? undefined : `checkcount=${check.checkCount}`,
    ...(common === undefined ? [] : [quoted("request", common.request), quoted("receive", common.receive)]),
    `httpmethod=${check.httpMethod}`,
    quoted("virtualhost", check.virtualHost),
    quoted("login", check.login),
    quoted("passwd", check.password),
    quoted("database", check.database),
    quoted("secret", check.secret),
    quoted("checkcommand", check.command),
  ];
}

type Pair = Pick<CheckSpec, "request" | "receive">;

/** What the section itself says: what no real server's own line can say, else what most of them have. */
function commonPair(servers: readonly ConfiguredRealServer[]): Pair | undefined {
  const groups = new Map<string, { pair: Pair; count: number }>();
  for (const { check } of servers) {
    const key = JSON.stringify([check.request, check.receive]);
    const group = groups.get(key) ?? { pair: check, count: 0 };
    group.count += 1;
    groups.set(key, group);
  }
  const all = [...groups.values()].sort((a, b) => b.count - a.count);
  return (all.find(({ pair }) => !isReadAs(printPair(pair), pair)) ?? all[0])?.pair;
}

/** ldirectord forgets a pair whose request is written with a leading slash, and puts one in front of any other. */
function printPair({ request, receive }: Pair): string {
  return ` "${request.startsWith("//") ? request : request.slice(1)}", "${receive}"`;
}

/** Quotes, or what looks like a pair of its own, may make a pair mean something else than was meant. */
function isReadAs(text: string, { request, receive }: Pair): boolean {
  const value = { text: `192.0.2.1 gate 1${text}`, position: () => ({ line: 1, column: 1 }) };
  const read = realReader(value, createReport(""), { family: "ipv4", mark: false });
  return !text.includes("#") && read?.pair?.request === request && read.pair.receive === receive;
}

function printRealServer(server: ConfiguredRealServer, common: Pair | undefined): string {
  const { address, method, weight, check, lowerThreshold, upperThreshold } = server;
  const own = check.request !== common?.request || check.receive !== common.receive;
  const pair = own ? printPair(check) : "";
  const lower = lowerThreshold > 0 ? ` l:${lowerThreshold}` : "";
  const upper = upperThreshold > 0 ? ` u:${upperThreshold}` : "";
  return `${endpointOf(address, check.realPort)} ${method} ${weight}${pair}${lower}${upper}`;
}

/** Without the port 0, which stands for none. */
function endpointOf(address: string, port: number): string {
  return port === 0 ? printEndpoint(address, 0).replace(/:0$/, "") : printEndpoint(address, port);
}

function printNetmask(prefix: number, family6: boolean): string {
  if (family6) return String(prefix);
  return printIpv4(prefix === 0 ? 0 : 2 ** 32 - 2 ** (32 - prefix));
}
