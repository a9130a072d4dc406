/** ipvsadm 1.31's command line as Debian builds it: words in, one command out, or what ipvsadm says of them. */
import { isIPv4, isIPv6 } from "node:net";
import { decodeSchedulerFlags, encodeSchedulerFlags } from "../../dataplane/ipvs/translate.ts";
import { parseAddress } from "../../dataplane/netlink/address.ts";
import { tunnelTypes } from "../../model/service.ts";
import type { Family, ForwardingMethod, Protocol, ServiceIdentity, Tunnel, TunnelType } from "../../model/service.ts";
import type { Timeouts } from "../../model/state.ts";
import { printTryHelp } from "./help.ts";
import type { Names } from "./names.ts";
import { parseDecimal, parseLeadingDecimal, parseLooseIpv4 } from "./numbers.ts";
import { faultOfCommand, faultOfTunnel } from "./option-rules.ts";
import type { CommandName, OptionName } from "./option-rules.ts";
import { readOptionWords } from "./option-words.ts";
import type { OptionDefinition } from "./option-words.ts";
import type { SyncDaemon, TableServer, TableService } from "./table.ts";

/** What a list shows. Of those that choose columns the first one given here wins. */
export interface ListFormat {
  readonly numeric: boolean;
  readonly stats: boolean;
  readonly rate: boolean;
  readonly thresholds: boolean;
  readonly persistentConnections: boolean;
  readonly tunnelInfo: boolean;
  /** Large numbers in full. */
  readonly exact: boolean;
  readonly unsorted: boolean;
}

export type IpvsadmCommand =
  | { readonly kind: "help" | "version" | "restore" | "clear" | "listTimeouts" | "listDaemons" }
  | { readonly kind: "list"; readonly service: ServiceIdentity | undefined; readonly format: ListFormat }
  | { readonly kind: "listConnections" | "save"; readonly format: ListFormat }
  | { readonly kind: "addService" | "editService"; readonly service: TableService }
  | { readonly kind: "deleteService"; readonly identity: ServiceIdentity }
  /** Without an identity: all. */
  | { readonly kind: "zero"; readonly identity: ServiceIdentity | undefined }
  | {
      readonly kind: "addServer" | "editServer" | "deleteServer";
      readonly identity: ServiceIdentity;
      readonly server: TableServer;
    }
  | { readonly kind: "setTimeouts"; readonly timeouts: Timeouts }
  | { readonly kind: "startDaemon"; readonly daemon: SyncDaemon }
  | { readonly kind: "stopDaemon"; readonly role: SyncDaemon["role"] };

export type Parsed =
  | { readonly kind: "command"; readonly command: IpvsadmCommand }
  /** `ends`: no line after it is read, where the words are a line of `-R`. */
  | { readonly kind: "wrong"; readonly message: string; readonly status: 2 | 255; readonly ends: boolean };

export interface ParseSettings {
  /** How the program was called; messages name it so. */
  readonly program: string;
  readonly names: Pick<Names, "addressOf" | "portOf">;
  /** POSIXLY_CORRECT is in the environment. */
  readonly strict: boolean;
}

/** Names of hosts are looked up as they are met. */
export async function parseCommandLine(words: readonly string[], settings: ParseSettings): Promise<Parsed> {
  try {
    return { kind: "command", command: await new CommandLine(settings).parse(words) };
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return { kind: "wrong", message: error.message, status: error.status, ends: error.ends };
  }
}

/** Leaves the parser from wherever it stands; never leaves this file. */
class Wrong extends Error {
  readonly status: 2 | 255;
  readonly ends: boolean;
  constructor(message: string, status: 2 | 255 = 2, ends = true) {
    super(message);
    this.status = status;
    this.ends = ends;
  }
}

interface Definition extends OptionDefinition {
  /** The command it is, if it comes first. */
  readonly command?: CommandName | "help" | "version";
  /** What messages call it, and what may be there once only. */
  readonly name?: OptionName;
}

const definitions: readonly Definition[] = [
  { long: "add-service", short: "A", command: "add-service" },
  { long: "edit-service", short: "E", command: "edit-service" },
  { long: "delete-service", short: "D", command: "delete-service" },
  { long: "clear", short: "C", command: "flush" },
  { long: "list", short: "L", command: "list" },
  { long: "list", short: "l", command: "list" },
  { long: "zero", short: "Z", command: "zero" },
  { long: "add-server", short: "a", command: "add-server" },
  { long: "edit-server", short: "e", command: "edit-server" },
  { long: "delete-server", short: "d", command: "delete-server" },
  { long: "set", command: "set" },
  { long: "help", short: "h", command: "help" },
  { long: "version", short: "v", command: "version" },
  { long: "restore", short: "R", command: "restore" },
  { long: "save", short: "S", command: "save" },
  { long: "start-daemon", argument: "required", command: "start-daemon" },
  { long: "stop-daemon", argument: "required", command: "stop-daemon" },
  { long: "tcp-service", short: "t", argument: "required", name: "service-address" },
  { long: "udp-service", short: "u", argument: "required", name: "service-address" },
  { long: "sctp-service", argument: "required", name: "service-address" },
  { long: "fwmark-service", short: "f", argument: "required", name: "service-address" },
  { long: "scheduler", short: "s", argument: "required", name: "scheduler" },
  { long: "persistent", short: "p", argument: "optional", name: "persistent" },
  { long: "netmask", short: "M", argument: "required", name: "netmask" },
  { long: "real-server", short: "r", argument: "required", name: "real-server" },
  { long: "masquerading", short: "m", name: "forwarding-method" },
  { long: "ipip", short: "i", name: "forwarding-method" },
  { long: "gatewaying", short: "g", name: "forwarding-method" },
  { long: "weight", short: "w", argument: "required", name: "weight" },
  { long: "u-threshold", short: "x", argument: "required", name: "u-threshold" },
  { long: "l-threshold", short: "y", argument: "required", name: "l-threshold" },
  { long: "numeric", short: "n", name: "numeric" },
  { long: "connection", short: "c", name: "connection" },
  { long: "mcast-interface", argument: "required", name: "mcast-interface" },
  { long: "syncid", argument: "required", name: "syncid" },
  { long: "timeout", name: "timeout" },
  { long: "daemon", name: "daemon" },
  { long: "stats", name: "stats" },
  { long: "rate", name: "rate" },
  { long: "thresholds", name: "thresholds" },
  { long: "persistent-conn", name: "persistent-conn" },
  { long: "nosort", name: "nosort" },
  { long: "sort" },
  { long: "exact", short: "X", name: "exact" },
  { long: "ipv6", short: "6" },
  { long: "ops", short: "o", name: "ops" },
  { long: "pe", argument: "required", name: "pe" },
  { long: "sched-flags", short: "b", argument: "required", name: "sched-flags" },
  { long: "mcast-group", argument: "required", name: "mcast-group" },
  { long: "mcast-port", argument: "required", name: "mcast-port" },
  { long: "mcast-ttl", argument: "required", name: "mcast-ttl" },
  { long: "sync-maxlen", argument: "required", name: "sync-maxlen" },
  { long: "tun-info", name: "tun-info" },
  { long: "tun-type", argument: "required", name: "tun-type" },
  { long: "tun-port", argument: "required", name: "tun-port" },
  { long: "tun-nocsum", name: "tun-nocsum" },
  { long: "tun-csum", name: "tun-csum" },
  { long: "tun-remcsum", name: "tun-remcsum" },
];

const mostInteger = 2 ** 31 - 1;
const mostTimeout = 86_400 * 31;
const defaultPersistenceTimeout = 360;
const defaultScheduler = "wlc";
const defaultInterface = "eth0";
/** IPv4 and UDP headers leave this much. */
const mostSyncLength = 65_535 - 20 - 8;
/** Longest names that the kernel's structures take, bytes. */
const schedulerLength = 15;
const engineLength = 16;
const interfaceLength = 15;
const schedulerFlagsLength = 127;

/** An address with what was given beside it. */
interface Endpoint {
  readonly family: Family;
  readonly address: string;
  readonly port: number | undefined;
}

/** What one command line has said so far: options are judged by those before them. */
class CommandLine {
  readonly #settings: ParseSettings;
  readonly #given = new Set<OptionName>();

  #protocol: Protocol | undefined;
  #mark = 0;
  #family: Family | undefined;
  #address = "";
  #port = 0;

  #scheduler = "";
  #schedulerFlags = "";
  #persistenceTimeout: number | undefined;
  #netmask = "255.255.255.255";
  #onePacket = false;
  #engine = "";

  #server: Endpoint | undefined;
  #serverPort = 0;
  #method: ForwardingMethod = "gate";
  #weight = 1;
  #upperThreshold = 0;
  #lowerThreshold = 0;
  #tunnelType: TunnelType = "ipip";
  #tunnelPort = 0;
  #checksum: Tunnel["checksum"] = "none";

  #role: SyncDaemon["role"] = "master";
  #interface = "";
  #syncId = 0;
  #sync: Pick<SyncDaemon, "maxLength" | "group" | "port" | "ttl"> = {};

  constructor(settings: ParseSettings) {
    this.#settings = settings;
  }

  async parse(words: readonly string[]): Promise<IpvsadmCommand> {
    let command: CommandName | undefined;
    for (const found of readOptionWords(words, definitions, this.#settings.strict)) {
      if (command === undefined) {
        const first = found.kind === "option" ? found.option.command : undefined;
        if (found.kind !== "option" || first === undefined) throw this.#tryHelp();
        if (first === "help" || first === "version") return { kind: first };
        command = first;
        if (found.argument !== undefined) this.#role = readRole(first, found.argument);
        continue;
      }
      switch (found.kind) {
        case "option":
          await this.#take(found.option, found.argument ?? "", found.argument === undefined, found.word);
          break;
        case "error":
          throw new Wrong(`${found.word}: ${found.message}`, 255, false);
        case "end":
          return this.#finish(command, found.rest);
      }
    }
    throw this.#tryHelp();
  }

  #tryHelp(): Wrong {
    return new Wrong(printTryHelp(this.#settings.program), 255);
  }

  async #take(option: Definition, argument: string, absent: boolean, word: string): Promise<void> {
    if (option.command !== undefined) throw new Wrong(`invalid option \`${word}'`);
    const { name } = option;
    if (name !== undefined) {
      if (this.#given.has(name)) throw new Wrong(`multiple '${name}' options specified`);
      this.#given.add(name);
    }
    switch (option.long) {
      case "tcp-service":
        return await this.#takeService("tcp", argument);
      case "udp-service":
        return await this.#takeService("udp", argument);
      case "sctp-service":
        return await this.#takeService("sctp", argument);
      case "fwmark-service":
        this.#family = "ipv4";
        this.#protocol = "tcp";
        this.#mark = parseDecimal(argument, 1, 2 ** 32 - 1) ?? wrong(`invalid fwmark value \`${argument}' specified`);
        return;
      case "ipv6":
        if (this.#mark === 0) throw new Wrong("-6 used before -f\n");
        this.#family = "ipv6";
        this.#netmask = "128";
        return;
      case "scheduler":
        this.#scheduler = shorten(argument, schedulerLength);
        return;
      case "persistent":
        this.#persistenceTimeout = absent ? defaultPersistenceTimeout : readTimeout(argument, 1);
        return;
      case "netmask":
        this.#netmask = await this.#readNetmask(argument);
        return;
      case "ops":
        this.#onePacket = true;
        return;
      case "pe":
        this.#engine = shorten(argument, engineLength);
        return;
      case "sched-flags":
        this.#schedulerFlags = shorten(argument, schedulerFlagsLength);
        return;
      case "real-server":
        this.#server = await this.#readEndpoint(argument);
        if (this.#server === undefined) throw new Wrong("illegal real server address[:port] specified");
        this.#serverPort = this.#server.port ?? this.#port;
        return;
      case "gatewaying":
        this.#method = "gate";
        return;
      case "ipip":
        this.#method = "ipip";
        return;
      case "masquerading":
        this.#method = "masq";
        return;
      case "weight":
        this.#weight = parseDecimal(argument, 0, mostInteger) ?? wrong("illegal weight specified");
        return;
      case "u-threshold":
        this.#upperThreshold = parseDecimal(argument, 0, mostInteger) ?? wrong("illegal u_threshold specified");
        return;
      case "l-threshold":
        this.#lowerThreshold = parseDecimal(argument, 0, mostInteger) ?? wrong("illegal l_threshold specified");
        return;
      case "tun-type":
        this.#tunnelType = tunnelTypes.find((type) => type === argument) ?? wrong("illegal tunnel type specified");
        return;
      case "tun-port":
        this.#tunnelPort = parseDecimal(argument, 1, 65_535) ?? wrong("illegal tunnel port specified");
        return;
      case "tun-csum":
        this.#checksum = "full";
        return;
      case "tun-remcsum":
        this.#checksum = "remote";
        return;
      case "mcast-interface":
        this.#interface = shorten(argument, interfaceLength);
        return;
      case "syncid":
        this.#syncId = parseDecimal(argument, 0, 255) ?? wrong("illegal syncid specified");
        return;
      case "mcast-group":
        this.#sync = { ...this.#sync, group: readGroup(argument) };
        return;
      case "mcast-port":
        this.#sync = {
          ...this.#sync,
          port: parseDecimal(argument, 1, 65_535) ?? wrong("illegal mcast-port specified"),
        };
        return;
      case "mcast-ttl":
        this.#sync = { ...this.#sync, ttl: parseDecimal(argument, 1, 255) ?? wrong("illegal mcast-ttl specified") };
        return;
      case "sync-maxlen":
        this.#sync = {
          ...this.#sync,
          maxLength: parseDecimal(argument, 1, mostSyncLength) ?? wrong("illegal sync-maxlen specified"),
        };
        return;
      default:
        return; // That it was given is all there is to it.
    }
  }

  async #takeService(protocol: Protocol, argument: string): Promise<void> {
    this.#protocol = protocol;
    const endpoint = await this.#readEndpoint(argument);
    if (endpoint === undefined) throw new Wrong("illegal virtual server address[:port] specified");
    this.#family = endpoint.family;
    this.#address = endpoint.address;
    this.#port = endpoint.port ?? 0;
    if (endpoint.family === "ipv6") this.#netmask = "128";
  }

  /** `host`, `host:port`, `address6`, `[address6]:port`; digits alone are no address, `[address6]` is none either. */
  async #readEndpoint(text: string): Promise<Endpoint | undefined> {
    if (/^\d*$/.test(text)) return undefined;
    let host = text;
    let port: string | undefined;
    if (text.startsWith("[")) {
      const bracketed = /^\[([^\]]*)\]:(.*)$/s.exec(text);
      if (bracketed === null) return undefined;
      host = bracketed[1]!;
      port = bracketed[2]!;
    }
    const address6 = canonicalIpv6(host);
    if (address6 !== undefined) return this.#withPort({ family: "ipv6", address: address6 }, port);
    // What stands in brackets and is no IPv6 address loses its port.
    const colon = host.lastIndexOf(":");
    port = colon < 0 ? undefined : host.slice(colon + 1);
    if (colon >= 0) host = host.slice(0, colon);
    const address = await this.#readIpv4(host);
    return address === undefined ? undefined : this.#withPort({ family: "ipv4", address }, port);
  }

  #withPort(address: Omit<Endpoint, "port">, port: string | undefined): Endpoint | undefined {
    if (port === undefined) return { ...address, port: undefined };
    const named = (): number | undefined =>
      this.#protocol === undefined ? undefined : this.#settings.names.portOf(port, this.#protocol);
    const number = parseDecimal(port, 0, 65_535) ?? named();
    return number === undefined ? undefined : { ...address, port: number };
  }

  async #readIpv4(text: string): Promise<string | undefined> {
    return parseLooseIpv4(text) ?? (await this.#settings.names.addressOf(text));
  }

  async #readNetmask(text: string): Promise<string> {
    if (this.#family !== "ipv6") {
      return (await this.#readIpv4(text)) ?? wrong("illegal virtual server persistent mask specified");
    }
    const length = parseLeadingDecimal(text);
    return length >= 1 && length <= 128 ? String(length) : wrong("illegal ipv6 netmask specified");
  }

  // --- when all words are read

  #finish(command: CommandName, rest: readonly string[]): IpvsadmCommand {
    const timeouts = command === "set" ? readTimeouts(rest) : undefined;
    const unexpected = timeouts === undefined ? rest[0] : rest[3];
    if (unexpected !== undefined) throw new Wrong(`unexpected argument ${unexpected}`);
    const schedulerFlags = this.#readSchedulerFlags();
    const fault = faultOfCommand(command, this.#given);
    if (fault !== undefined) throw new Wrong(fault);
    switch (command) {
      case "add-service":
        return { kind: "addService", service: this.#service(schedulerFlags) };
      case "edit-service":
        return { kind: "editService", service: this.#service(schedulerFlags) };
      case "delete-service":
        return { kind: "deleteService", identity: this.#identity() };
      case "add-server":
        return { kind: "addServer", identity: this.#identity(), server: this.#checkedServer() };
      case "edit-server":
        return { kind: "editServer", identity: this.#identity(), server: this.#checkedServer() };
      case "delete-server":
        return { kind: "deleteServer", identity: this.#identity(), server: this.#wholeServer() };
      case "flush":
        return { kind: "clear" };
      case "restore":
        return { kind: "restore" };
      case "save":
        return { kind: "save", format: this.#format() };
      case "zero":
        return { kind: "zero", identity: this.#namesNothing() ? undefined : this.#identity() };
      case "set":
        return { kind: "setTimeouts", timeouts: timeouts ?? { tcp: 0, tcpFin: 0, udp: 0 } };
      case "start-daemon": {
        const interfaceName = this.#interface === "" ? defaultInterface : this.#interface;
        return {
          kind: "startDaemon",
          daemon: { role: this.#role, interfaceName, syncId: this.#syncId, ...this.#sync },
        };
      }
      case "stop-daemon":
        return { kind: "stopDaemon", role: this.#role };
      case "list":
        return this.#list();
    }
  }

  #list(): IpvsadmCommand {
    const has = (...names: readonly OptionName[]): boolean => names.some((name) => this.#given.has(name));
    if (
      (has("connection", "timeout", "daemon") && has("stats", "rate", "thresholds")) ||
      (has("timeout", "daemon") && has("persistent-conn"))
    ) {
      throw new Wrong("options conflicts in the list command");
    }
    if (has("connection")) return { kind: "listConnections", format: this.#format() };
    if (has("timeout")) return { kind: "listTimeouts" };
    if (has("daemon")) return { kind: "listDaemons" };
    return { kind: "list", service: has("service-address") ? this.#identity() : undefined, format: this.#format() };
  }

  #format(): ListFormat {
    const has = (name: OptionName): boolean => this.#given.has(name);
    return {
      numeric: has("numeric"),
      stats: has("stats"),
      rate: has("rate"),
      thresholds: has("thresholds"),
      persistentConnections: has("persistent-conn"),
      tunnelInfo: has("tun-info"),
      exact: has("exact"),
      unsorted: has("nosort"),
    };
  }

  #identity(): ServiceIdentity {
    if (this.#mark !== 0) return { kind: "mark", mark: this.#mark, family: this.#family ?? "ipv4" };
    return { kind: "address", protocol: this.#protocol ?? "tcp", address: this.#address, port: this.#port };
  }

  /** No service at all is zeroed as all of them, and so is `0.0.0.0:0`. */
  #namesNothing(): boolean {
    return this.#mark === 0 && ["", "0.0.0.0", "::"].includes(this.#address) && this.#port === 0;
  }

  #service(schedulerFlags: readonly string[]): TableService {
    if (this.#mark === 0 && this.#port === 0 && this.#persistenceTimeout === undefined) {
      throw new Wrong("Zero port specified for non-persistent service");
    }
    if (this.#onePacket && this.#mark === 0 && this.#protocol !== "udp") {
      throw new Wrong("One-Packet Scheduling is only for UDP virtual services");
    }
    return {
      identity: this.#identity(),
      scheduler: this.#scheduler === "" ? defaultScheduler : this.#scheduler,
      schedulerFlags,
      ...(this.#persistenceTimeout === undefined
        ? {}
        : { persistence: { timeout: this.#persistenceTimeout, netmask: this.#netmask } }),
      onePacket: this.#onePacket,
      ...(this.#engine === "" ? {} : { persistenceEngine: this.#engine }),
    };
  }

  #readSchedulerFlags(): readonly string[] {
    if (this.#schedulerFlags === "") return [];
    const scheduler = this.#scheduler === "" ? defaultScheduler : this.#scheduler;
    const flags = this.#schedulerFlags.split(",").filter((flag) => flag !== "");
    // ipvsadm crashes on commas alone.
    if (flags.length === 0) throw new Wrong(`invalid scheduler flag \`${this.#schedulerFlags}'`);
    for (const flag of flags) {
      const [, owner] = /^(sh|mh)-(?:fallback|port)$/.exec(flag) ?? [];
      if (owner === undefined && !/^flag-[123]$/.test(flag)) throw new Wrong(`invalid scheduler flag \`${flag}'`);
      if (owner !== undefined && owner !== scheduler) throw new Wrong(`incompatible scheduler flag \`${flag}'`);
    }
    return decodeSchedulerFlags(scheduler, encodeSchedulerFlags(scheduler, flags));
  }

  #checkedServer(): TableServer {
    const server = this.#wholeServer();
    const family = server.address.includes(":") ? "ipv6" : "ipv4";
    if (family !== this.#family && this.#method !== "ipip") {
      throw new Wrong("Different address family is allowed only for tunneling servers");
    }
    const ofTunnel = ["tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"] as const;
    if (this.#method !== "ipip" && ofTunnel.some((name) => this.#given.has(name))) {
      throw new Wrong("Tunnel options conflict with forward method");
    }
    const fault = faultOfTunnel(this.#tunnelType, this.#given);
    if (fault !== undefined) throw new Wrong(fault);
    // Packets that are not rewritten arrive at the port they were sent to.
    return this.#mark === 0 && this.#method !== "masq" ? { ...server, port: this.#port } : server;
  }

  #wholeServer(): TableServer {
    const type = this.#tunnelType;
    return {
      address: this.#server?.address ?? "",
      port: this.#serverPort,
      method: this.#method,
      weight: this.#weight,
      upperThreshold: this.#upperThreshold,
      lowerThreshold: this.#lowerThreshold,
      ...(type === "ipip" ? {} : { tunnel: { type, port: this.#tunnelPort, checksum: this.#checksum } }),
    };
  }
}

function wrong(message: string): never {
  throw new Wrong(message);
}

function readRole(command: string, argument: string): SyncDaemon["role"] {
  if (argument === "master" || argument === "backup") return argument;
  return wrong(
    command === "start-daemon" ? "illegal start-daemon parameter specified" : "illegal start_daemon specified",
  );
}

function readTimeout(text: string, least: number): number {
  return parseDecimal(text, least, mostTimeout) ?? wrong(`invalid timeout value \`${text}' specified`);
}

function readTimeouts(words: readonly string[]): Timeouts {
  const [tcp, tcpFin, udp] = words;
  if (tcp === undefined || tcpFin === undefined || udp === undefined) {
    return wrong("--set option requires 3 timeout values");
  }
  return { tcp: readTimeout(tcp, 0), tcpFin: readTimeout(tcpFin, 0), udp: readTimeout(udp, 0) };
}

function readGroup(text: string): string {
  if (text.includes(":")) {
    const address = canonicalIpv6(text);
    return address?.startsWith("ff") && address.indexOf(":") === 4
      ? address
      : wrong(`invalid IPv6 mcast-group \`${text}'`);
  }
  const first = Number(text.split(".")[0]);
  return isIPv4(text) && first >= 224 && first < 240 ? text : wrong(`invalid IPv4 mcast-group \`${text}'`);
}

/** inet_pton(3), which knows no zones; undefined if it is no IPv6 address. */
function canonicalIpv6(text: string): string | undefined {
  return isIPv6(text) && !text.includes("%") ? parseAddress(text)?.text : undefined;
}

/** What fits into the kernel's structures. */
function shorten(text: string, bytes: number): string {
  return Buffer.from(text).subarray(0, bytes).toString();
}
