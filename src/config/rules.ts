/**
 * Rules across directives: where a file means something else than it seems to. None of them refuses a file, since
 * ldirectord accepts all of this. Each rule is one function; each list is the order in which they are asked.
 */
import { schedulers } from "../model/service.ts";
import type { Config, ConfiguredService, Position } from "../model/config.ts";
import type { Messages } from "./diagnostics.ts";
import { quote } from "./diagnostics.ts";
import { lastOf } from "./directives.ts";
import type { DirectiveName, Settings } from "./directives.ts";
import type { RealLine } from "./endpoints.ts";
import type { Section, Sections } from "./sections.ts";
import { ipv4Value } from "./resolve.ts";

export interface RuleContext {
  readonly section: Section;
  readonly globals: Settings;
  readonly service: ConfiguredService;
  readonly report: Messages;
}

export type ServiceRule = (context: RuleContext) => void;
export type FileRule = (sections: Sections, config: Config, report: Messages) => void;

/** What IPVS does not take, where ldirectord goes on without the service or the real server. */
export interface Refusal {
  readonly position: Position;
  readonly reason: string;
}

/** ipvsadm's longest persistence, 31 days, in seconds. */
const longestPersistence = 31 * 24 * 3600;
const largestMark = 2 ** 32 - 1;
const largestWeight = 65_535;

const negotiates = ({ check }: { check: { type: { kind: string } } }): boolean =>
  check.type.kind === "negotiate" || check.type.kind === "combined";

const positionOf = (section: Section, name: DirectiveName): Position =>
  lastOf(section.settings, name)?.position ?? section.position;

const checkOffUsesFallback: ServiceRule = ({ section, service, report }) => {
  const type = lastOf(section.settings, "checktype");
  if (type?.value.kind !== "off" || service.fallback === undefined) return;
  report.warn(
    type.position,
    "with checktype=off no real server ever comes up and the fallback is used, other than ldirectord's manual says",
  );
};

const dnsWithoutReceive: ServiceRule = ({ section, service, report }) => {
  const first = service.realServers.find(
    (each) => negotiates(each) && each.check.service === "dns" && each.check.receive === "",
  );
  if (first !== undefined) {
    report.warn(positionOf(section, "service"), "a dns check without receive never succeeds: no real server comes up");
  }
};

const popWithoutLogin: ServiceRule = ({ section, service, report }) => {
  const first = service.realServers.find(
    (each) => negotiates(each) && ["pop", "pops"].includes(each.check.service) && each.check.login === "",
  );
  if (first === undefined) return;
  report.warn(
    positionOf(section, "service"),
    "a pop check without login succeeds in ldirectord even if no server is there; here the server must answer",
  );
};

const ftpWithoutReceive: ServiceRule = ({ section, service, report }) => {
  const first = service.realServers.find(
    (each) => negotiates(each) && each.check.service === "ftp" && each.check.receive === "",
  );
  if (first === undefined) return;
  report.warn(
    positionOf(section, "service"),
    "an ftp check without receive succeeds in ldirectord even if no server is there; here the server must greet, and " +
      "grant the login and the request if they are set",
  );
};

const simpleTcpWithoutReceive: ServiceRule = ({ section, service, report }) => {
  const first = service.realServers.find(
    (each) => negotiates(each) && each.check.service === "simpletcp" && each.check.receive === "",
  );
  if (first === undefined) return;
  report.warn(
    positionOf(section, "service"),
    "a simpletcp check without receive depends on chance in ldirectord; here any line of an answer will do",
  );
};

const proxyRequest: ServiceRule = ({ section, service, report }) => {
  const requests = service.realServers
    .filter((each) => negotiates(each) && each.check.service === "http_proxy")
    .map(({ check }) => check.request.replace(/^\//, ""));
  if (requests.some((request) => !/^https?:\/\//i.test(request))) {
    const what = "a check through a proxy asks for a whole address, such as http://www.example/";
    report.warn(positionOf(section, "request"), `${what}: with another request no real server comes up`);
  } else if (requests.some((request) => /^https:/i.test(request))) {
    const what = "https is fetched directly, as with ldirectord";
    report.warn(positionOf(section, "request"), `${what}: the real servers are not asked`);
  }
};

const sqlWithoutLoginOrRequest: ServiceRule = ({ section, service, report }) => {
  const first = service.realServers.find(
    (each) =>
      negotiates(each) &&
      ["mysql", "pgsql", "oracle"].includes(each.check.service) &&
      (each.check.login === "" || each.check.request === "/"),
  );
  if (first !== undefined) {
    const what = `${first.check.service} check without login and request`;
    report.warn(positionOf(section, "service"), `a ${what} never succeeds: no real server comes up`);
  }
};

const headWithReceive: ServiceRule = ({ section, service, report }) => {
  const first = service.realServers.find(
    (each) =>
      negotiates(each) &&
      ["http", "https", "http_proxy"].includes(each.check.service) &&
      each.check.httpMethod === "HEAD" &&
      each.check.receive !== "",
  );
  if (first !== undefined) {
    report.warn(positionOf(section, "httpmethod"), "an answer to HEAD has no body that receive could match");
  }
};

const connectWithoutPort: ServiceRule = ({ section, service, report }) => {
  const first = service.realServers.find(
    ({ check }) => check.type.kind === "connect" && check.protocol !== "udp" && check.port === 0,
  );
  if (first !== undefined) {
    report.warn(positionOf(section, "checktype"), "a connect check needs a port: give checkport or the real server's");
  }
};

const onePacketWithoutUdp: ServiceRule = ({ section, service, report }) => {
  const ops = lastOf(section.settings, "ops");
  if (ops?.value === true && !service.onePacket) report.warn(ops.position, "ops has no effect unless protocol is udp");
};

const onePacketWithMasq: ServiceRule = ({ service, report }) => {
  const first = service.realServers.find(({ method }) => service.onePacket && method === "masq");
  if (first === undefined) return;
  report.warn(
    first.position,
    "with ops=yes nothing remembers whose packet this masq server got, here as with IPVS: " +
      "its answer leaves with its own address, which clients do not take",
  );
};

const netmaskWithoutPersistent: ServiceRule = ({ section, service, report }) => {
  const netmask = lastOf(section.settings, "netmask");
  if (netmask !== undefined && service.persistence === undefined) {
    report.warn(netmask.position, "netmask has no effect without persistent");
  }
};

const intervalWithoutFork: ServiceRule = ({ section, globals, report }) => {
  const interval = lastOf(section.settings, "checkinterval");
  if (interval !== undefined && lastOf(globals, "fork")?.value !== true) {
    report.warn(interval.position, "checkinterval in a section has no effect without fork=yes");
  }
};

const portWithLeadingZero: ServiceRule = ({ section, report }) => {
  if (section.virtual?.kind !== "address" || !/^0\d+$/.test(section.virtual.port.text)) return;
  report.warn(section.virtual.port.position, "a port with a leading zero has neither default service nor default udp");
};

const globalFallbackOfMark: ServiceRule = ({ section, service, report }) => {
  const own = lastOf(section.settings, section.family === "ipv4" ? "fallback" : "fallback6");
  if (service.identity.kind !== "mark" || service.fallback === undefined || own !== undefined) return;
  report.warn(section.position, "the global fallback serves this firewall mark too; with ldirectord it does not");
};

const quiescentWithAnotherPort: ServiceRule = ({ service, report }) => {
  const { identity } = service;
  if (identity.kind !== "address" || !service.quiescent) return;
  const lines = new Set<number>();
  for (const { method, check, position } of service.realServers) {
    if (method === "masq" || check.realPort === identity.port || lines.has(position.line)) continue;
    lines.add(position.line);
    report.warn(
      position,
      `under quiescent=yes ldirectord never gives a real server its weight back whose port is not ${identity.port}; xlb does`,
    );
  }
};

export const serviceRules: readonly ServiceRule[] = [
  quiescentWithAnotherPort,
  checkOffUsesFallback,
  dnsWithoutReceive,
  popWithoutLogin,
  ftpWithoutReceive,
  simpleTcpWithoutReceive,
  proxyRequest,
  sqlWithoutLoginOrRequest,
  headWithReceive,
  connectWithoutPort,
  onePacketWithoutUdp,
  onePacketWithMasq,
  netmaskWithoutPersistent,
  intervalWithoutFork,
  portWithLeadingZero,
  globalFallbackOfMark,
];

const quiescentLeftOut: FileRule = ({ globals, sections }, _config, report) => {
  if (lastOf(globals, "quiescent") !== undefined) return;
  const section = sections.find((each) => lastOf(each.settings, "quiescent") === undefined);
  if (section === undefined) return;
  report.warn(
    section.position,
    "quiescent is not set and is no, as in ldirectord's program; ldirectord's manual says yes",
  );
};

export const fileRules: readonly FileRule[] = [quiescentLeftOut];

/** Flags by scheduler, as ipvsadm knows them. */
const flagsOfSchedulers: Readonly<Record<string, readonly string[]>> = {
  sh: ["sh-fallback", "sh-port"],
  mh: ["mh-fallback", "mh-port"],
};

/** Why IPVS has no such service; undefined if it takes it. */
export function ipvsRefusal(section: Section, service: ConfiguredService): Refusal | undefined {
  const { settings } = section;
  const { identity } = service;
  if (identity.kind === "mark" && (identity.mark < 1 || identity.mark > largestMark)) {
    return { position: section.position, reason: `a firewall mark is a number from 1 to ${largestMark}` };
  }
  const scheduler = lastOf(settings, "scheduler");
  if (scheduler !== undefined && !schedulers.some((each) => each === scheduler.value)) {
    return { position: scheduler.position, reason: `IPVS has no scheduler ${quote(scheduler.value)}` };
  }
  const persistent = lastOf(settings, "persistent");
  if (persistent !== undefined && (persistent.value < 1 || persistent.value > longestPersistence)) {
    return { position: persistent.position, reason: `persistent is a number from 1 to ${longestPersistence}` };
  }
  const netmask = lastOf(settings, "netmask");
  if (persistent !== undefined && netmask !== undefined && "refused" in netmask.value) {
    return { position: netmask.position, reason: netmask.value.refused };
  }
  if (identity.kind === "address" && identity.port === 0 && persistent === undefined) {
    return { position: section.position, reason: "port 0, all ports, needs persistent" };
  }
  const flags = lastOf(settings, "schedflags");
  const known = ["flag-1", "flag-2", "flag-3", ...(flagsOfSchedulers[service.scheduler] ?? [])];
  const unknown = flags?.value.find((each) => !known.includes(each));
  if (flags !== undefined && unknown !== undefined) {
    return { position: flags.position, reason: `the scheduler ${service.scheduler} has no flag ${quote(unknown)}` };
  }
  return undefined;
}

/** Why IPVS has no such real server; undefined if it takes it. */
export function ipvsRefusalOfRealServer(line: RealLine, addresses: readonly string[]): Refusal | undefined {
  if (line.weight > largestWeight) {
    return { position: line.weightPosition, reason: `a weight is a number from 0 to ${largestWeight}` };
  }
  if (line.lowerThreshold > line.upperThreshold) {
    return { position: line.host.position, reason: "the lower threshold l:N must not be above the upper one u:N" };
  }
  const unusable = addresses.find((each) => !isUnicast(each));
  if (unusable !== undefined) {
    return { position: line.host.position, reason: `${unusable} (${quote(line.host.text)}) is no server's address` };
  }
  return undefined;
}

function isUnicast(address: string): boolean {
  if (address.includes(":")) return address !== "::" && !/^ff/.test(address);
  const first = Math.floor(ipv4Value(address) / 2 ** 24);
  return first > 0 && (first < 224 || (first >= 240 && address !== "255.255.255.255"));
}
