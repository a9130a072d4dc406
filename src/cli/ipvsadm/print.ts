/** What ipvsadm 1.31 prints, byte for byte, trailing blanks included. Pure: entries and names in, text out. */
import type { Protocol, ServiceIdentity, Tunnel } from "../../model/service.ts";
import type { Timeouts } from "../../model/state.ts";
import type { Traffic } from "../../model/statistics.ts";
import type { ListFormat } from "./parse.ts";
import type { ListedServer, ListedService, SyncDaemon, TableConnection, TableInfo, TableServer } from "./table.ts";

/** Prints an address and port, by name or number; the protocol is none under a firewall mark. */
export type PrintEndpoint = (address: string, port: number, protocol: Protocol | undefined) => string;

/** Characters that ipvsadm leaves to an endpoint, to a service and to a real server's endpoint; the latter two in IPv4. */
const endpointLength = 59;
const serviceLength = 33;
const serverLength = 28;

/** With names that are known; an address without one stands for itself. */
export function endpointPrinter(
  hostOf: (address: string) => string | undefined,
  serviceOf: (port: number, protocol: Protocol) => string | undefined,
): PrintEndpoint {
  return (address, port, protocol) => {
    const host = hostOf(address) ?? printAddress(address);
    const service = (protocol === undefined ? undefined : serviceOf(port, protocol)) ?? String(port);
    return (address.includes(":") ? `[${host}]:${service}` : `${host}:${service}`).slice(0, endpointLength);
  };
}

export const printNumericEndpoint: PrintEndpoint = endpointPrinter(
  () => undefined,
  () => undefined,
);

/** inet_ntop(3): unlike the canonical form it has IPv4 addresses inside IPv6 ones in dots. */
function printAddress(address: string): string {
  const [, prefix, high, low] = /^(::(?:ffff:)?)(?:([0-9a-f]{1,4}):)([0-9a-f]{1,4})$/.exec(address) ?? [];
  if (prefix === undefined || high === undefined || low === undefined) return address;
  const [h, l] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${prefix}${h >> 8}.${h & 0xff}.${l >> 8}.${l & 0xff}`;
}

export function printInfo({ version, size }: TableInfo): string {
  return `IP Virtual Server version ${version} (size=${size | 0})\n`;
}

export function printTitle(format: ListFormat): string {
  const row = "  -> RemoteAddress:Port";
  const title = (...columns: readonly string[]): string =>
    `${"Prot LocalAddress:Port".padEnd(33)} ${columns.join(" ")}\n${row}\n`;
  const right = (...names: readonly string[]): string[] => names.map((name) => name.padStart(8));
  const ten = (...names: readonly string[]): string[] => names.map((name) => name.padEnd(10));
  if (format.stats) return title(...right("Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"));
  if (format.rate) return title(...right("CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"));
  if (format.thresholds) return title(...ten("Uthreshold", "Lthreshold", "ActiveConn", "InActConn"));
  if (format.persistentConnections) {
    return title("Weight".padEnd(9), "PersistConn", ...ten("ActiveConn", "InActConn"));
  }
  const tunnel = format.tunnelInfo ? "TunnelInfo    " : "";
  return `Prot LocalAddress:Port Scheduler Flags\n${row}           Forward ${tunnel}Weight ActiveConn InActConn\n`;
}

/** A service and its real servers, in the order given. */
export function printService(
  service: ListedService,
  servers: readonly ListedServer[],
  format: ListFormat,
  endpoint: PrintEndpoint,
): string {
  const name = printServiceName(service.identity, endpoint);
  const shown = columnsOfTraffic(service.traffic, format);
  const head = shown === undefined ? `${name} ${printSettings(service)}` : `${name.padEnd(33)}${shown}`;
  const protocol = protocolOf(service.identity);
  return `${head}\n${servers.map((server) => printServer(server, format, endpoint, protocol)).join("")}`;
}

function protocolOf(identity: ServiceIdentity): Protocol | undefined {
  return identity.kind === "address" ? identity.protocol : undefined;
}

function printServiceName(identity: ServiceIdentity, endpoint: PrintEndpoint): string {
  if (identity.kind === "mark") return `FWM  ${identity.mark | 0}${identity.family === "ipv6" ? " IPv6" : ""}`;
  const { protocol, address, port } = identity;
  const name = `${protocol.toUpperCase().padEnd(4)} ${endpoint(address, port, protocol)}`;
  return address.includes(":") ? name : name.slice(0, serviceLength);
}

function printSettings({
  scheduler,
  schedulerFlags,
  persistence,
  persistenceEngine,
  onePacket,
}: ListedService): string {
  const flags = schedulerFlags.length === 0 ? "" : ` (${printFlags(scheduler, schedulerFlags)})`;
  const mask = persistence === undefined || isWhole(persistence.netmask) ? "" : ` mask ${persistence.netmask}`;
  const engine = persistenceEngine === undefined ? "" : ` pe ${persistenceEngine}`;
  const persistent = persistence === undefined ? "" : ` persistent ${persistence.timeout}${mask}${engine}`;
  return `${scheduler}${flags}${persistent}${onePacket ? " ops" : ""}`;
}

/** sh and mh have names for two of their flags, and the third is not told. */
function printFlags(scheduler: string, flags: readonly string[]): string {
  const named = scheduler === "sh" || scheduler === "mh";
  return flags.filter((flag) => !named || !flag.startsWith("flag-")).join(",");
}

function isWhole(netmask: string): boolean {
  return netmask === "255.255.255.255" || netmask === "128";
}

function printServer(
  server: ListedServer,
  format: ListFormat,
  endpoint: PrintEndpoint,
  protocol: Protocol | undefined,
): string {
  const { address, port, weight, activeConnections, inactiveConnections } = server;
  const whole = endpoint(address, port, protocol);
  const name = (address.includes(":") ? whole : whole.slice(0, serverLength)).padEnd(28);
  const ten = (...values: readonly number[]): string => values.map((value) => String(value).padEnd(10)).join(" ");
  const connections = ten(activeConnections, inactiveConnections);
  return `  -> ${name}${columns()}\n`;

  function columns(): string {
    const traffic = columnsOfTraffic(server.traffic, format, true);
    if (traffic !== undefined) return traffic;
    if (format.thresholds) return ` ${ten(server.upperThreshold, server.lowerThreshold)} ${connections}`;
    if (format.persistentConnections) {
      const persistent = String(server.persistentConnections).padEnd(11);
      return ` ${String(weight >>> 0).padEnd(9)} ${persistent} ${connections}`;
    }
    const tunnel = format.tunnelInfo ? `${printTunnel(server).padEnd(13)} ` : "";
    return ` ${methodNames[server.method].padEnd(7)} ${tunnel}${String(weight).padEnd(6)} ${connections}`;
  }
}

/** ipvsadm has no word for what nothing sets. */
const methodNames = {
  gate: "Route",
  masq: "Masq",
  ipip: "Tunnel",
  local: "Local",
  bypass: "(null)",
} as const satisfies Record<TableServer["method"], string>;

const checksumSigns = { none: "-c", full: "+c", remote: "r+c" } as const satisfies Record<Tunnel["checksum"], string>;

function printTunnel({ method, tunnel }: TableServer): string {
  if (method !== "ipip") return "n/a";
  switch (tunnel?.type) {
    case undefined:
    case "ipip":
      return "ipip";
    case "gue":
      return `gue:${tunnel.port}:${checksumSigns[tunnel.checksum]}`;
    case "gre":
      return `gre:${checksumSigns[tunnel.checksum]}`;
  }
}

/** Undefined if the format asks for neither totals nor rates. Rates of real servers are only in part shortened. */
function columnsOfTraffic(traffic: Traffic, format: ListFormat, ofServer = false): string | undefined {
  const number = (value: bigint): string => printNumber(value, format.exact);
  if (format.stats) {
    const { connections, packetsIn, packetsOut, bytesIn, bytesOut } = traffic;
    return [connections, packetsIn, packetsOut, bytesIn, bytesOut].map(number).join("");
  }
  if (!format.rate) return undefined;
  const { connectionRate, packetRateIn, packetRateOut, byteRateIn, byteRateOut } = traffic;
  const packets = [connectionRate, packetRateIn, packetRateOut];
  const plain = (value: bigint): string => ` ${String(value).padStart(8)}`;
  return [...packets.map(ofServer ? plain : number), ...[byteRateIn, byteRateOut].map(number)].join("");
}

/** Least value, divisor and letter of what is shortened. */
const magnitudes = [
  [100_000_000_000_000n, 1_000_000_000_000n, "T"],
  [100_000_000_000n, 1_000_000_000n, "G"],
  [1_000_000_000n, 1_000_000n, "M"],
  [100_000_000n, 1_000n, "K"],
] as const;

function printNumber(value: bigint, exact: boolean): string {
  if (exact) return ` ${value}`.padStart(9);
  for (const [least, divisor, letter] of magnitudes) {
    if (value >= least) return `${String(value / divisor).padStart(8)}${letter}`;
  }
  return String(value).padStart(9);
}

// --- rules

/** A service and its real servers as `-R` reads them. Thresholds are not among what ipvsadm saves. */
export function printRules(service: ListedService, servers: readonly ListedServer[], endpoint: PrintEndpoint): string {
  const name = printRuleName(service.identity, endpoint);
  const protocol = protocolOf(service.identity);
  const lines = servers.map((server) => {
    const method = server.method === "masq" ? "-m" : server.method === "ipip" ? "-i" : "-g";
    const tunnel = server.method === "ipip" ? ` --tun-type ${printTunnelOptions(server.tunnel)}` : "";
    const address = endpoint(server.address, server.port, protocol);
    return `-a ${name} -r ${address} ${method} -w ${server.weight}${tunnel}\n`;
  });
  return `-A ${name} -s ${service.scheduler}${printRuleSettings(service)}\n${lines.join("")}`;
}

function printRuleName(identity: ServiceIdentity, endpoint: PrintEndpoint): string {
  if (identity.kind === "mark") return `-f ${identity.mark | 0}${identity.family === "ipv6" ? " -6" : ""}`;
  const { protocol, address, port } = identity;
  const option = protocol === "tcp" ? "-t" : protocol === "udp" ? "-u" : "--sctp-service";
  return `${option} ${endpoint(address, port, protocol)}`;
}

function printRuleSettings(service: ListedService): string {
  const { scheduler, schedulerFlags, persistence, persistenceEngine, onePacket } = service;
  const mask = persistence === undefined || isWhole(persistence.netmask) ? "" : ` -M ${persistence.netmask}`;
  return [
    persistence === undefined ? "" : ` -p ${persistence.timeout}${mask}`,
    persistenceEngine === undefined ? "" : ` --pe ${persistenceEngine}`,
    onePacket ? " -o" : "",
    schedulerFlags.length === 0 ? "" : ` -b ${printFlags(scheduler, schedulerFlags)}`,
  ].join("");
}

const checksumOptions = {
  none: "--tun-nocsum",
  full: "--tun-csum",
  remote: "--tun-remcsum",
} as const satisfies Record<Tunnel["checksum"], string>;

function printTunnelOptions(tunnel: Tunnel | undefined): string {
  if (tunnel === undefined || tunnel.type === "ipip") return "ipip";
  const port = tunnel.type === "gue" ? ` --tun-port ${tunnel.port}` : "";
  return `${tunnel.type}${port} ${checksumOptions[tunnel.checksum]}`;
}

// --- connections, timeouts, daemons

export function printConnectionsTitle({ persistentConnections }: ListFormat): string {
  const columns = ["state".padEnd(11), "source".padEnd(18), "virtual".padEnd(18)].join(" ");
  const last = persistentConnections ? `${"destination".padEnd(18)} ${"pe name".padEnd(16)} pe_data` : "destination";
  return `IPVS connection entries\npro expire ${columns} ${last}\n`;
}

export function printConnection(
  connection: TableConnection,
  { persistentConnections }: ListFormat,
  endpoint: PrintEndpoint,
): string {
  const protocol = protocolOfConnection(connection.protocol);
  const seconds = connection.expiresIn;
  const expire = [Math.floor(seconds / 60), seconds % 60].map((part) => String(part).padStart(2, "0")).join(":");
  const columns = [
    connection.protocol.padEnd(3),
    expire.padEnd(6),
    connection.state.padEnd(11),
    endpoint(connection.client, connection.clientPort, protocol).padEnd(18),
    endpoint(connection.virtualAddress, connection.virtualPort, protocol).padEnd(18),
  ].join(" ");
  const server = endpoint(connection.realServer, connection.realPort, protocol);
  const engine = connection.persistenceEngine;
  if (!persistentConnections || engine === undefined) return `${columns} ${server}\n`;
  return `${columns} ${server.padEnd(16)} ${engine.name.padEnd(18)} ${engine.data}\n`;
}

/** Undefined for the template of a firewall mark. */
export function protocolOfConnection(name: string): Protocol | undefined {
  return (["tcp", "udp", "sctp"] as const).find((protocol) => protocol.toUpperCase() === name);
}

export function printTimeouts({ tcp, tcpFin, udp }: Timeouts): string {
  return `Timeout (tcp tcpfin udp): ${tcp} ${tcpFin} ${udp}\n`;
}

export function printSyncDaemon({ role, interfaceName, syncId, maxLength, group, port, ttl }: SyncDaemon): string {
  const parts = [
    `mcast=${interfaceName}, syncid=${syncId}`,
    maxLength ? `maxlen=${maxLength}` : "",
    group ? `group=${group}` : "",
    port ? `port=${port}` : "",
    ttl ? `ttl=${ttl}` : "",
  ];
  return `${role} sync daemon (${parts.filter((part) => part !== "").join(", ")})\n`;
}
