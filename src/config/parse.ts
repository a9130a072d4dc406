/** Text to a `Config` with every default filled in, or to diagnostics: all of them, never the first only. */
import { hostname } from "node:os";
import { Address6 } from "ip-address";
import type {
  CheckSpec,
  Config,
  ConfiguredRealServer,
  ConfiguredService,
  Diagnostic,
  Fallback,
  Position,
} from "../model/config.ts";
import { printIdentity, realServerKey, schedulers } from "../model/service.ts";
import type { Family, ForwardingMethod, Protocol, ServiceIdentity } from "../model/service.ts";
import { createReport, quote, sortDiagnostics } from "./diagnostics.ts";
import type { Messages } from "./diagnostics.ts";
import { lastOf } from "./directives.ts";
import type { DirectiveName, Located, Settings } from "./directives.ts";
import type { FallbackLine, Name, RealLine } from "./endpoints.ts";
import { portsOfServices, servicesOfPorts } from "./check-ports.ts";
import { systemFiles } from "./files.ts";
import type { Files } from "./files.ts";
import { readLines } from "./lex.ts";
import { addressRange, ipv4Value, isScoped, largestRange, readAddress } from "./resolve.ts";
import type { Resolver } from "./resolve.ts";
import { fileRules, ipvsRefusal, ipvsRefusalOfRealServer, serviceRules } from "./rules.ts";
import { readSections } from "./sections.ts";
import type { Section, Sections } from "./sections.ts";
import { emailStatuses } from "./values.ts";

/** What parsing needs from its surroundings. */
export interface ConfigDeps {
  readonly resolver: Resolver;
  /** Tries a Perl regular expression; the text of the error if it is not one. */
  readonly compileRegex: (pattern: string) => string | undefined;
  /** Default: the file system. */
  readonly files?: Files;
  /** Stands in the default login of ftp and sip checks. Default: `$HOSTNAME`, else the system's. */
  readonly hostName?: string;
}

export interface ParseResult {
  /** Undefined if and only if a diagnostic is an error. */
  readonly config?: Config;
  /** In the order of the file. */
  readonly diagnostics: readonly Diagnostic[];
  /** Where the global directives that count stand. */
  readonly globals: ReadonlyMap<DirectiveName, Position>;
}

/** The longest wait a timer of Node can hold, in seconds. */
const longestSeconds = Math.floor((2 ** 31 - 1) / 1000);

/** Reads a whole `ldirectord.cf`. `file` is its name in messages. Never rejects because of the text. */
export async function parseConfig(text: string | Uint8Array, file: string, deps: ConfigDeps): Promise<ParseResult> {
  const report = createReport(file);
  const sections = readSections(readLines(text), report);
  const names = await resolveNames(sections, deps.resolver);
  const builder: Builder = {
    globals: sections.globals,
    deps,
    files: deps.files ?? systemFiles,
    names,
    report,
    regexErrors: new Map(),
  };
  const services = buildServices(sections.sections, builder);
  const config = buildConfig(file, services, builder);
  for (const rule of fileRules) rule(sections, config, report);
  return {
    ...(report.errors === 0 && { config }),
    diagnostics: sortDiagnostics(report.diagnostics),
    globals: globalPositions(sections.globals),
  };
}

function globalPositions(globals: Settings): Map<DirectiveName, Position> {
  const positions = new Map<DirectiveName, Position>();
  for (const name of Object.keys(globals) as DirectiveName[]) {
    const located = lastOf(globals, name);
    if (located !== undefined) positions.set(name, { line: located.position.line, column: 1 });
  }
  return positions;
}

interface Builder {
  readonly globals: Settings;
  readonly deps: ConfigDeps;
  readonly files: Files;
  readonly names: Names;
  readonly report: Messages;
  readonly regexErrors: Map<string, string | undefined>;
}

// --- names

/** The addresses of all host names of one file, looked up once. */
type Names = ReadonlyMap<string, string | undefined>;

async function resolveNames({ globals, sections }: Sections, resolver: Resolver): Promise<Names> {
  const wanted = new Map<string, { text: string; family: Family }>();
  const want = (name: Name | undefined, family: Family): void => {
    if (name !== undefined && readAddress(name.text, family).kind === "name") {
      wanted.set(`${family} ${name.text}`, { text: name.text, family });
    }
  };
  for (const each of globals.fallback ?? []) want(each.value.host, "ipv4");
  for (const each of globals.fallback6 ?? []) want(each.value.host, "ipv6");
  for (const { family, virtual, settings } of sections) {
    if (virtual?.kind === "address") want(virtual.host, family);
    for (const { value } of realsOf(settings)) {
      want(value.host, family);
      want(value.end, family);
    }
    want(fallbackOf(settings, family)?.value.host, family);
  }
  const entries = [...wanted].map(async ([key, { text, family }]): Promise<[string, string | undefined]> => {
    const address = await resolver.host(text, family);
    return [key, address !== undefined && family === "ipv6" ? new Address6(address).correctForm() : address];
  });
  return new Map(await Promise.all(entries));
}

function addressOf(name: Name, family: Family, names: Names): string | undefined {
  const read = readAddress(name.text, family);
  if (read.kind === "address") return read.address;
  return read.kind === "name" ? names.get(`${family} ${name.text}`) : undefined;
}

/** The address, or undefined after an error was reported. */
function requireAddress(name: Name, family: Family, what: string, { names, report }: Builder): string | undefined {
  const address = addressOf(name, family, names);
  if (address === undefined) {
    const kind = family === "ipv4" ? "IPv4" : "IPv6";
    report.error(name.position, `${what}: no ${kind} address for ${quote(name.text)}${hostHint(name.text, family)}`);
  }
  return address;
}

function hostHint(text: string, family: Family): string {
  if (/^(gate|masq|ipip)$/.test(text)) return "; the host is missing";
  if (family === "ipv6" && /^[0-9a-f:]*$/i.test(text)) return "; an IPv6 address stands in brackets: [2001:db8::1]:80";
  if (family === "ipv4" && text.includes(":")) return '; an IPv6 address belongs in a section of "virtual6"';
  return "";
}

function requirePort(
  name: Name,
  protocol: "tcp" | "udp" | undefined,
  what: string,
  { deps, report }: Builder,
): number | undefined {
  const digits = /^\d+$/.test(name.text);
  const port = digits ? Number(name.text) : deps.resolver.service(name.text, protocol);
  if (port !== undefined && port <= 65535) return port;
  const suffix = protocol === undefined ? "" : ` with protocol ${protocol}`;
  report.error(
    name.position,
    digits
      ? `${what}: expected a port from 0 to 65535, found ${quote(name.text)}`
      : `${what}: no service ${quote(name.text)}${suffix} in /etc/services`,
  );
  return undefined;
}

// --- services

function realsOf(settings: Settings): readonly Located<RealLine>[] {
  return settings.real ?? settings.real6 ?? [];
}

function fallbackOf(settings: Settings, family: Family): Located<FallbackLine> | undefined {
  return family === "ipv4" ? lastOf(settings, "fallback") : lastOf(settings, "fallback6");
}

function buildServices(sections: readonly Section[], builder: Builder): ConfiguredService[] {
  const services: ConfiguredService[] = [];
  const lineOfIdentity = new Map<string, number>();
  const globalFallbacks = {
    ipv4: resolveGlobalFallback("ipv4", builder),
    ipv6: resolveGlobalFallback("ipv6", builder),
  };
  for (const section of sections) {
    const service = buildService(section, globalFallbacks[section.family], builder);
    if (service === undefined) continue;
    const key = printIdentity(service.identity);
    const earlier = lineOfIdentity.get(key);
    if (earlier !== undefined) {
      builder.report.error(section.position, `the virtual service ${key} is on line ${earlier} already`);
      continue;
    }
    lineOfIdentity.set(key, section.position.line);
    for (const rule of serviceRules) rule({ section, globals: builder.globals, service, report: builder.report });
    const refusal = ipvsRefusal(section, service);
    if (refusal === undefined) services.push(service);
    else {
      const message = `${refusal.reason}: there is no service ${key}, as with ldirectord, whose ipvsadm fails`;
      builder.report.warn(refusal.position, message);
    }
  }
  return services;
}

function identityOf(section: Section, builder: Builder): { identity: ServiceIdentity; portText: string } | undefined {
  const { virtual, family, settings } = section;
  if (virtual === undefined) return undefined;
  if (virtual.kind === "mark") {
    return { identity: { kind: "mark", mark: Number(virtual.digits), family }, portText: "0" };
  }
  const usual = virtual.port.text === "53" || virtual.port.text === "domain" ? "udp" : "tcp";
  const set = lastOf(settings, "protocol")?.value;
  const protocol = set === "tcp" || set === "udp" ? set : usual;
  const address = requireAddress(virtual.host, family, "virtual service", builder);
  const port = requirePort(virtual.port, protocol, "virtual service", builder);
  if (address === undefined || port === undefined) return undefined;
  const portText = /^\d+$/.test(virtual.port.text) ? virtual.port.text : String(port);
  return { identity: { kind: "address", protocol, address, port }, portText };
}

function buildService(
  section: Section,
  globalFallback: ResolvedFallback | undefined,
  builder: Builder,
): ConfiguredService | undefined {
  const { settings, family } = section;
  const { globals, report } = builder;
  const resolved = identityOf(section, builder);
  const ownFallback = fallbackOf(settings, family);
  const protocol = resolved?.identity.kind === "address" ? resolved.identity.protocol : undefined;
  const fallback =
    ownFallback === undefined
      ? globalFallback
      : resolveFallback(ownFallback, family, fallbackProtocols(section, protocol), builder);
  checkReceive(lastOf(settings, "receive")?.value, lastOf(settings, "receive")?.position, 1, builder);
  checkMonitorFile(settings, builder);
  const identity = resolved?.identity;
  const realServers = buildRealServers(section, identity, resolved?.portText ?? "0", builder);
  if (identity === undefined) return undefined;

  const own = settings;
  const scheduler = lastOf(own, "scheduler")?.value;
  const persistent = lastOf(own, "persistent")?.value;
  const mask = lastOf(own, "netmask")?.value;
  const prefix = mask !== undefined && "prefix" in mask ? mask.prefix : family === "ipv4" ? 32 : 128;
  const forked = lastOf(globals, "fork")?.value ?? false;
  const interval = (forked ? lastOf(own, "checkinterval") : undefined) ?? lastOf(globals, "checkinterval");
  const failureCount = lastOf(own, "failurecount") ?? lastOf(globals, "failurecount");
  const configuredFallback = fallback === undefined ? undefined : placeFallback(fallback, identity);
  return {
    position: section.position,
    identity,
    scheduler: schedulers.find((each) => each === scheduler) ?? "wrr",
    schedulerFlags: lastOf(own, "schedflags")?.value ?? [],
    ...(persistent !== undefined && { persistence: { timeout: persistent, prefix } }),
    onePacket: protocol === "udp" && (lastOf(own, "ops")?.value ?? false),
    realServers,
    ...(configuredFallback !== undefined && { fallback: configuredFallback }),
    fallbackCommand: (lastOf(own, "fallbackcommand") ?? lastOf(globals, "fallbackcommand"))?.value ?? "",
    quiescent: (lastOf(own, "quiescent") ?? lastOf(globals, "quiescent"))?.value ?? false,
    cleanStop: (lastOf(own, "cleanstop") ?? lastOf(globals, "cleanstop"))?.value ?? true,
    checkIntervalMs: milliseconds(interval, 10, 1, "1 second", report),
    failureCount: Math.max(failureCount?.value ?? 1, 1),
    monitorFile: lastOf(own, "monitorfile")?.value ?? "",
    serviceName: lastOf(own, "servicename")?.value ?? "",
    comment: lastOf(own, "comment")?.value ?? "",
    emailAlert: {
      to: (lastOf(own, "emailalert") ?? lastOf(globals, "emailalert"))?.value ?? [],
      frequency: (lastOf(own, "emailalertfreq") ?? lastOf(globals, "emailalertfreq"))?.value ?? 0,
      status: (lastOf(own, "emailalertstatus") ?? lastOf(globals, "emailalertstatus"))?.value ?? emailStatuses,
      smtp: (lastOf(own, "smtp") ?? lastOf(globals, "smtp"))?.value ?? "",
    },
  };
}

/** Seconds as milliseconds a timer can hold. `00`, which ldirectord takes for 0, becomes `ofZero` seconds. */
function milliseconds(
  seconds: Located<number> | undefined,
  otherwise: number,
  ofZero: number,
  zeroInWords: string,
  report: Messages,
): number {
  if (seconds === undefined) return otherwise * 1000;
  if (seconds.value === 0) report.warn(seconds.position, `0 seconds are taken for ${zeroInWords}`);
  return Math.min(seconds.value === 0 ? ofZero : seconds.value, longestSeconds) * 1000;
}

function checkReceive(
  pattern: string | undefined,
  position: Position | undefined,
  quoteWidth: number,
  { deps, regexErrors, report }: Builder,
): void {
  if (pattern === undefined || pattern === "" || position === undefined) return;
  if (!regexErrors.has(pattern)) regexErrors.set(pattern, deps.compileRegex(pattern));
  const error = regexErrors.get(pattern);
  if (error === undefined) return;
  const at = { line: position.line, column: position.column + quoteWidth };
  report.error(at, `receive: expected a Perl regular expression, found ${quote(pattern)}: ${error}`);
}

function checkMonitorFile(settings: Settings, { files, report }: Builder): void {
  for (const { value, position } of settings.monitorfile ?? []) {
    const reason = files.appendError(value);
    if (reason !== undefined) report.error(position, `monitorfile: cannot write to ${quote(value)}: ${reason}`);
  }
}

// --- fallback

interface ResolvedFallback extends Fallback {
  /** Undefined if left out: the virtual service's own. */
  readonly givenPort: number | undefined;
}

/** Every line is resolved, as ldirectord does, and the last one counts. */
function resolveGlobalFallback(family: Family, builder: Builder): ResolvedFallback | undefined {
  const { globals } = builder;
  const lines = (family === "ipv4" ? globals.fallback : globals.fallback6) ?? [];
  return lines.map((line) => resolveFallback(line, family, ["tcp", "udp"], builder)).at(-1);
}

/** The protocols in which a service name of a section's fallback must be known. */
function fallbackProtocols(section: Section, protocol: Protocol | undefined): readonly ("tcp" | "udp")[] | "mark" {
  if (section.virtual?.kind === "mark") return "mark";
  return [protocol === "udp" ? "udp" : "tcp"];
}

/** A service name must be there for every protocol given, as ldirectord wants it of a global fallback. */
function resolveFallback(
  { value }: Located<FallbackLine>,
  family: Family,
  protocols: readonly ("tcp" | "udp")[] | "mark",
  builder: Builder,
): ResolvedFallback | undefined {
  const zone = family === "ipv6" && isScoped(value.host.text);
  const address = zone ? "::" : requireAddress(value.host, family, "fallback", builder);
  let port: number | undefined;
  if (protocols === "mark") {
    if (value.port !== undefined && !/^\d+$/.test(value.port.text)) {
      const message = `fallback: expected a number for the port under a firewall mark, found ${quote(value.port.text)}`;
      builder.report.error(value.port.position, message);
      return undefined;
    }
    protocols = ["tcp"];
  }
  if (value.port !== undefined) {
    for (const protocol of protocols) {
      port = requirePort(value.port, protocol, "fallback", builder);
      if (port === undefined) return undefined;
    }
  }
  if (address === undefined) return undefined;
  if (zone) {
    const message = `there is no fallback ${value.host.text}, as with ldirectord, whose ipvsadm takes no zone`;
    builder.report.warn(value.host.position, message);
    return undefined;
  }
  return { address, port: 0, method: value.method, givenPort: port };
}

function placeFallback({ address, method, givenPort }: ResolvedFallback, identity: ServiceIdentity): Fallback {
  const port = givenPort ?? (identity.kind === "mark" ? 0 : identity.port);
  return { address, port: tablePort(port, method, identity), method };
}

/**
 * The port of an entry in the table. ipvsadm leaves it alone under a firewall mark; under an address only masquerading
 * changes ports, and then packets to port 0 go to the virtual service's (net/netfilter/ipvs/ip_vs_core.c, ip_vs_schedule).
 */
function tablePort(port: number, method: ForwardingMethod, identity: ServiceIdentity): number {
  return identity.kind === "mark" || method === "masq" ? port : identity.port;
}

// --- real servers

type CheckOfService = Omit<CheckSpec, "address" | "port" | "realPort" | "request" | "receive"> & {
  readonly request: string;
  readonly receive: string;
  readonly checkPort: number | undefined;
};

function buildCheck(
  { settings }: Section,
  identity: ServiceIdentity,
  portText: string,
  { globals, deps, report }: Builder,
): CheckOfService {
  const explicit = lastOf(settings, "service")?.value;
  const usual = identity.kind === "mark" ? "none" : (servicesOfPorts.get(portText) ?? "none");
  const hostName = deps.hostName ?? process.env["HOSTNAME"] ?? hostname();
  const mail = `ldirectord@${hostName}`;
  // The first service= line that has a default login sets it, whatever later ones say.
  const services = (settings.service ?? []).map((each) => each.value);
  const withLogin = services.find((each) => each === "ftp" || each === "sip");
  const defaultLogin = withLogin === "ftp" ? "anonymous" : withLogin === "sip" ? mail : "";
  const own = { check: lastOf(settings, "checktimeout"), negotiate: lastOf(settings, "negotiatetimeout") };
  const global = { check: lastOf(globals, "checktimeout"), negotiate: lastOf(globals, "negotiatetimeout") };
  const checkTimeout = own.check ?? own.negotiate ?? global.check ?? global.negotiate;
  const negotiateTimeout = own.negotiate ?? own.check ?? global.negotiate ?? global.check;
  const checkCount = lastOf(settings, "checkcount") ?? lastOf(globals, "checkcount");
  return {
    type: lastOf(settings, "checktype")?.value ?? { kind: "negotiate" },
    service: explicit ?? usual,
    protocol: identity.kind === "mark" ? "fwm" : identity.protocol === "udp" ? "udp" : "tcp",
    virtualAddress: identity.kind === "mark" ? String(identity.mark) : identity.address,
    virtualPort: identity.kind === "mark" ? 0 : identity.port,
    request: lastOf(settings, "request")?.value ?? "/",
    receive: lastOf(settings, "receive")?.value ?? "",
    httpMethod: lastOf(settings, "httpmethod")?.value ?? "GET",
    virtualHost: lastOf(settings, "virtualhost")?.value ?? "",
    login: lastOf(settings, "login")?.value ?? defaultLogin,
    password: lastOf(settings, "passwd")?.value ?? (services.includes("ftp") ? mail : ""),
    database: lastOf(settings, "database")?.value ?? "",
    secret: lastOf(settings, "secret")?.value ?? "",
    command: lastOf(settings, "checkcommand")?.value ?? "/bin/true",
    checkTimeoutMs: milliseconds(checkTimeout, 5, longestSeconds, "no limit", report),
    negotiateTimeoutMs: milliseconds(negotiateTimeout, 30, longestSeconds, "no limit", report),
    checkCount: Math.max(checkCount?.value ?? 1, 1),
    checkPort: lastOf(settings, "checkport")?.value,
  };
}

/** The real servers of a section. Without an identity only errors are reported. */
function buildRealServers(
  section: Section,
  identity: ServiceIdentity | undefined,
  portText: string,
  builder: Builder,
): ConfiguredRealServer[] {
  const { report } = builder;
  const shared = identity === undefined ? undefined : buildCheck(section, identity, portText, builder);
  const servers = new Map<string, ConfiguredRealServer>();
  for (const { value: line } of realsOf(section.settings)) {
    checkReceive(line.pair?.receive, line.pair?.receivePosition, 0, builder);
    const addresses = addressesOf(line, section.family, builder);
    const realPort = line.port === undefined ? 0 : requirePort(line.port, undefined, "real server", builder);
    if (addresses === undefined || realPort === undefined) continue;
    if (identity === undefined || shared === undefined) continue;
    const refusal = ipvsRefusalOfRealServer(line, addresses);
    if (refusal !== undefined) {
      const message = `${refusal.reason}: it gets no connections, as with ldirectord, whose ipvsadm fails`;
      report.warn(refusal.position, message);
      continue;
    }
    const { checkPort, ...check } = shared;
    const port = tablePort(realPort, line.method, identity);
    if (line.method !== "masq" && realPort > 0 && identity.kind === "address" && realPort !== port) {
      const to = checkPort ?? realPort;
      report.warn(
        line.port?.position ?? line.host.position,
        `${line.method} does not change ports: packets go to port ${port}, checks to port ${to}`,
      );
    }
    let repeated: ConfiguredRealServer | undefined;
    for (const address of addresses) {
      const server: ConfiguredRealServer = {
        position: line.host.position,
        address,
        port,
        method: line.method,
        weight: line.weight,
        upperThreshold: line.upperThreshold,
        lowerThreshold: line.lowerThreshold,
        check: {
          ...check,
          address,
          port: checkPort ?? (realPort > 0 ? realPort : (portsOfServices[check.service] ?? 0)),
          realPort,
          request: line.pair?.request ?? check.request,
          receive: line.pair?.receive ?? check.receive,
        },
      };
      const key = realServerKey(server);
      repeated ??= servers.get(key);
      servers.set(key, server);
    }
    if (repeated !== undefined) {
      const what = `the real server ${realServerKey(repeated)} is on line ${repeated.position.line} already`;
      report.warn(line.host.position, `${what}; the last one counts`);
    }
  }
  return [...servers.values()];
}

function addressesOf(line: RealLine, family: Family, builder: Builder): readonly string[] | undefined {
  const first = requireAddress(line.host, family, "real server", builder);
  if (line.end === undefined) return first === undefined ? undefined : [first];
  const last = requireAddress(line.end, family, "real server", builder);
  if (first === undefined || last === undefined) return undefined;
  if (family === "ipv6") {
    builder.report.error(line.end.position, "real server: a range of addresses can only be IPv4");
    return undefined;
  }
  const range = addressRange(first, last);
  if (range === undefined) {
    const message = `real server: expected an address from ${first} on, found ${last}; write the whole address`;
    builder.report.error(line.end.position, message);
    return undefined;
  }
  if (range.size > largestRange) {
    const message = `real server: expected a range of at most ${largestRange} addresses, found ${range.size}`;
    builder.report.error(line.end.position, message);
    return undefined;
  }
  if (String(ipv4Value(first)).length !== String(ipv4Value(last)).length) {
    const message = "ldirectord makes no real servers of this range, whose ends it compares as text; xlb makes them";
    builder.report.warn(line.end.position, message);
  }
  return range.addresses();
}

// --- the whole file

function buildConfig(file: string, services: readonly ConfiguredService[], builder: Builder): Config {
  const { globals, files, report } = builder;
  const supervised = lastOf(globals, "supervised")?.value ?? false;
  for (const { value, position } of globals.logfile ?? []) {
    const reason = value.startsWith("/") ? files.appendError(value) : undefined;
    if (reason === undefined) continue;
    const message = `logfile: cannot write to ${quote(value)}: ${reason}`;
    // ldirectord 4.12, ld_openlog(): a supervised one logs to standard output, and does not try the file.
    const before = globals.supervised?.filter((each) => each.position.line < position.line).at(-1);
    if (supervised && before?.value === true) report.warn(position, `${message}; supervised, none is written`);
    else report.error(position, message);
  }
  for (const { value, position } of globals.maintenancedir ?? []) {
    if (!files.isDirectory(value)) report.warn(position, `maintenancedir: there is no directory ${quote(value)}`);
  }
  return {
    file,
    services,
    autoreload: lastOf(globals, "autoreload")?.value ?? false,
    logFile: lastOf(globals, "logfile")?.value ?? "/var/log/ldirectord.log",
    supervised,
    fork: lastOf(globals, "fork")?.value ?? false,
    readdQuiescent: lastOf(globals, "readdquiescent")?.value ?? false,
    maintenanceDir: lastOf(globals, "maintenancedir")?.value ?? "",
    callback: lastOf(globals, "callback")?.value ?? "",
    execute: [...new Set((globals.execute ?? []).map((each) => each.value))],
    emailAlertFrom: lastOf(globals, "emailalertfrom")?.value ?? "",
  };
}
