/** Text for a terminal, in the forms that users of ipvsadm know. */
import type { Health, RealServerHealth } from "../model/health.ts";
import { describeOverride } from "../model/override.ts";
import { familyOfService, printEndpoint, printIdentity, realServerKey } from "../model/service.ts";
import type { ForwardingMethod, ServiceIdentity, VirtualService } from "../model/service.ts";
import type {
  Connection,
  Counters,
  PlaneMove,
  PlaneStatistics,
  RealServerStatistics,
  ServiceStatistics,
} from "../model/statistics.ts";
import { sumPackets } from "./rates.ts";
import type { Rate, Rates } from "./rates.ts";
import type { DaemonStatus } from "../control/protocol.ts";
import type { Snapshot } from "./snapshot.ts";

export interface StatisticsTableOptions {
  /** Numbers in full; otherwise shortened as ipvsadm does. */
  readonly exact: boolean;
  /** Adds the next hop of each real server; that one is not resolved is told without asking. */
  readonly nextHops: boolean;
  /** Shows these in place of totals. */
  readonly rates?: Rates;
}

/** The forwarding methods as `ipvsadm -L` names them. */
const forwardNames = { gate: "Route", masq: "Masq", ipip: "Tunnel" } as const satisfies Record<
  ForwardingMethod,
  string
>;

/**
 * `i` shortened with the thresholds of ipvsadm 1.31: whole up to 100 million, then K, M, G and T for thousands to
 * trillions, cut off and never rounded up.
 */
export function shortenNumber(i: bigint): string {
  if (i < 100_000_000n) return `${i}`;
  if (i < 1_000_000_000n) return `${i / 1_000n}K`;
  if (i < 100_000_000_000n) return `${i / 1_000_000n}M`;
  if (i < 100_000_000_000_000n) return `${i / 1_000_000_000n}G`;
  return `${i / 1_000_000_000_000n}T`;
}

/** `1d 02:03:04`, `02:03:04`; whole seconds. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const time = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60].map(twoDigits).join(":");
  return days > 0 ? `${days}d ${time}` : time;
}

/** What forwards, how full the connection table is, then services and real servers with their totals or rates. */
export function renderStatistics(snapshot: Snapshot, options: StatisticsTableOptions): string {
  return [
    ...daemonLines(snapshot),
    ...snapshot.planes.flatMap(planeLines),
    ...packetLines(snapshot, options),
    "",
    ...serviceLines(snapshot, options),
    "",
  ].join("\n");
}

function daemonLines(snapshot: Snapshot): string[] {
  const daemon = snapshot.daemon;
  if (daemon === undefined) return ["daemon: not running; what is pinned goes on forwarding, without health checks"];
  const age = formatDuration((snapshot.at.getTime() - daemon.startedAt.getTime()) / 1000);
  const lines = [`daemon: running for ${age}, pid ${daemon.pid}, ${daemon.configFile}`];
  if (!daemon.lastReload.ok) {
    lines.push(`last reload failed, ${formatTime(daemon.lastReload.at)}: ${daemon.lastReload.message}`);
  }
  for (const { plane, state, reason } of daemon.planes ?? []) {
    if (state === "failed") lines.push(`plane ${plane}: not in use: ${reason}`);
  }
  lines.push(...placementLines(daemon), ...moveLines(daemon));
  for (const override of daemon.overrides ?? []) lines.push(`by hand: ${describeOverride(override)}`);
  for (const { service, reason } of daemon.notActive) lines.push(`not active: ${service}: ${reason}`);
  for (const change of daemon.failedChanges) lines.push(`not applied: ${change}`);
  return lines;
}

/** Services that are not on the fastest plane, those with one reason together. */
function placementLines({ placements = [] }: DaemonStatus): string[] {
  const groups = new Map<string, { plane: string; reason: string; services: string[] }>();
  for (const { service, plane, reason } of placements) {
    const key = `${plane} ${reason}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { plane, reason, services: [service] });
    else group.services.push(service);
  }
  return [...groups.values()].map(({ plane, reason, services }) => {
    return `on plane ${plane}: ${nameServices(services)}: ${reason}`;
  });
}

function nameServices(services: readonly string[]): string {
  const more = services.length > namedServices ? ` and ${services.length - namedServices} more` : "";
  return `${services.slice(0, namedServices).join(", ")}${more}`;
}

/** What is on its way from plane to plane, and what came last. */
function moveLines({ moving, moves = [] }: DaemonStatus): string[] {
  const last = moves.at(-1);
  return [
    ...(last === undefined ? [] : [`moved ${describeMove(last)}`]),
    ...(moving === undefined ? [] : [`moving ${describeMoving(moving)}`]),
  ];
}

/** `from plane ipvs to plane xdp, 2025-01-31 12:00:00: tcp:192.0.2.1:80, connections: 200 in 0.1 s`. */
export function describeMove({ at, from, to, services, connections, left, seconds }: PlaneMove): string {
  const leftOut = left > 0 ? `, left out: ${left}` : "";
  const what = `${nameServices(services)}, connections: ${connections}${leftOut} in ${seconds.toFixed(1)} s`;
  return `from plane ${from} to plane ${to}, ${formatTime(at)}: ${what}`;
}

/** What is on its way: how far it is. */
export function describeMoving({ from, to, connections }: NonNullable<DaemonStatus["moving"]>): string {
  return `from plane ${from} to plane ${to}: ${connections} connections so far`;
}

function planeLines(plane: PlaneStatistics): string[] {
  const interfaces = plane.interfaces.map(
    ({ name, mode, reason }) => `${name} ${mode}${reason === "" ? "" : ` (${reason})`}`,
  );
  const { size, live, liveByState } = plane.table;
  const states = Object.entries(liveByState)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${state} ${count}`);
  const use = size > 0 ? ` of ${size} in use (${((100 * live) / size).toFixed(1)} %)` : " in use";
  const nowhere = plane.plane === "ipvs" ? "on every interface" : "on no interface";
  return [
    `plane ${plane.plane}: ${interfaces.length > 0 ? interfaces.join(", ") : nowhere}`,
    `connection table: ${live}${use}${states.length > 0 ? `: ${states.join(", ")}` : ""}`,
  ];
}

/** Packets that went nowhere or to nobody's surprise, each with its reasons. */
function packetLines(snapshot: Snapshot, options: StatisticsTableOptions): string[] {
  const totals = sumPackets(snapshot.planes);
  const lines: string[] = [];
  for (const [prefix, label] of [
    ["drop_", "dropped"],
    ["icmp_", "answered with ICMP"],
    ["reset_", "answered with a TCP reset"],
    ["hold_", "held back"],
    ["victim_", "displaced connections"],
  ] as const) {
    const reasons = Object.entries(totals)
      .filter(([name, total]) => name.startsWith(prefix) && total > 0n)
      .map(([name, total]) => {
        const value = options.rates === undefined ? total : roundRate(options.rates.packets[name] ?? 0);
        return `${name.slice(prefix.length)} ${formatNumber(value, options.exact)}`;
      });
    if (reasons.length > 0) lines.push(`${label}${options.rates ? " per second" : ""}: ${reasons.join(", ")}`);
  }
  const untracked = totals["forward_untracked"] ?? 0n;
  if (untracked > 0n) lines.push(`forwarded without a connection entry: ${formatNumber(untracked, options.exact)}`);
  return lines;
}

/** One line of the table: text over the columns name, forward and weight, then numbers, then free text. */
interface Row {
  readonly name: string;
  readonly forward: string;
  readonly weight: string;
  readonly numbers: readonly string[];
  readonly nextHop: string;
}

/** So many services are named where one reason is told of many. */
const namedServices = 5;
const forwardWidth = 7;
const weightWidth = 6;

function serviceLines(snapshot: Snapshot, options: StatisticsTableOptions): string[] {
  const services = snapshot.planes.flatMap((plane) => plane.services);
  if (services.length === 0) return ["no virtual services"];
  // Replies pass the director with masq only.
  const replies = services.some(({ realServers }) =>
    realServers.some(({ realServer }) => realServer.method === "masq"),
  );
  const titles = [
    ...(options.rates ? ["CPS", "PPS", "BPS"] : ["Conns", "Packets", "Bytes"]),
    ...(replies ? (options.rates ? ["OutPPS", "OutBPS"] : ["OutPkts", "OutBytes"]) : []),
  ];
  const head: Row = {
    name: "  -> RemoteAddress:Port",
    forward: "Forward",
    weight: "Weight",
    numbers: ["ActiveConn", "InActConn", ...titles],
    nextHop: options.nextHops ? "NextHop" : "",
  };
  const rows = [head, ...services.flatMap((service) => rowsOfService(service, options, replies))];
  // A virtual service's line may run over the columns forward and weight, which it does not have.
  const nameWidth = rows.reduce((width, row) => {
    const free = row.forward === "" ? forwardWidth + weightWidth + 2 : 0;
    return Math.max(width, row.name.length - free);
  }, 30);
  const widths = head.numbers.map((_, column) =>
    rows.reduce((width, row) => Math.max(width, row.numbers[column]?.length ?? 0), column < 2 ? 0 : 8),
  );
  return ["Prot LocalAddress:Port Scheduler Flags", ...rows.map((row) => printRow(row, nameWidth, widths))];
}

function printRow(row: Row, nameWidth: number, widths: readonly number[]): string {
  const left =
    row.forward === ""
      ? row.name.padEnd(nameWidth + forwardWidth + weightWidth + 2)
      : `${row.name.padEnd(nameWidth)} ${row.forward.padEnd(forwardWidth)} ${row.weight.padEnd(weightWidth)}`;
  const numbers = row.numbers.map((text, column) => text.padStart(widths[column] ?? 0)).join(" ");
  return `${left} ${numbers}${row.nextHop === "" ? "" : ` ${row.nextHop}`}`;
}

function rowsOfService(entry: ServiceStatistics, options: StatisticsTableOptions, replies: boolean): Row[] {
  const rates = options.rates?.services.get(printIdentity(entry.service.identity));
  return [
    {
      name: describeService(entry.service),
      forward: "",
      weight: "",
      numbers: [
        `${sum(entry.realServers, (realServer) => realServer.active)}`,
        `${sum(entry.realServers, (realServer) => realServer.inactive)}`,
        ...counters(options.rates === undefined ? entry : rates?.total, options.exact, replies),
      ],
      nextHop: "",
    },
    ...entry.realServers.map((realServer): Row => ({
      name: `  -> ${realServerKey(realServer.realServer)}`,
      forward: forwardName(realServer),
      weight: `${realServer.realServer.weight}`,
      numbers: [
        `${realServer.active}`,
        `${realServer.inactive}`,
        ...counters(
          options.rates === undefined ? realServer : rates?.realServers.get(realServerKey(realServer.realServer)),
          options.exact,
          replies,
        ),
      ],
      nextHop: options.nextHops || realServer.nextHop.startsWith("unresolved") ? realServer.nextHop : "",
    })),
  ];
}

/** `TCP  10.10.10.53:80 lblc persistent 100`, as in `ipvsadm -L -n`. */
export function describeService(service: VirtualService): string {
  const words = [describeIdentity(service.identity), service.scheduler];
  if (service.schedulerFlags.length > 0) words.push(`(${service.schedulerFlags.join(",")})`);
  if (service.persistence !== undefined) {
    words.push(`persistent ${service.persistence.timeout}`);
    const mask = printNetmask(service.identity, service.persistence.prefix);
    if (mask !== "") words.push(`mask ${mask}`);
  }
  if (service.onePacket) words.push("ops");
  return words.join(" ");
}

function describeIdentity(identity: ServiceIdentity): string {
  if (identity.kind === "mark") return `FWM  ${identity.mark}${identity.family === "ipv6" ? " IPv6" : ""}`;
  return `${identity.protocol.toUpperCase().padEnd(4)} ${printEndpoint(identity.address, identity.port)}`;
}

/** Dotted for IPv4, the prefix length for IPv6; empty if it is the whole address. */
function printNetmask(identity: ServiceIdentity, prefix: number): string {
  const ipv6 = familyOfService(identity) === "ipv6";
  if (prefix === (ipv6 ? 128 : 32)) return "";
  if (ipv6) return `${prefix}`;
  return [0, 8, 16, 24].map((bit) => 256 - 2 ** (8 - Math.min(8, Math.max(0, prefix - bit)))).join(".");
}

/** A server on this machine is `Local`, as in ipvsadm. */
function forwardName({ realServer, nextHop }: RealServerStatistics): string {
  return nextHop === "local" ? "Local" : forwardNames[realServer.method];
}

function counters(values: Counters | Rate | undefined, exact: boolean, replies: boolean): string[] {
  return [
    ...[values?.connections ?? 0, values?.packets ?? 0, values?.bytes ?? 0],
    ...(replies ? [values?.packetsOut ?? 0, values?.bytesOut ?? 0] : []),
  ].map((value) => formatNumber(typeof value === "bigint" ? value : roundRate(value), exact));
}

function formatNumber(value: bigint, exact: boolean): string {
  return exact ? `${value}` : shortenNumber(value);
}

/** Rounded up, so that something rare is not shown as nothing. */
function roundRate(value: number): bigint {
  return BigInt(Math.ceil(value));
}

function sum<T>(values: readonly T[], part: (value: T) => number): number {
  return values.reduce((total, value) => total + part(value), 0);
}

/** Column widths of the connection table: state, source, virtual. */
export interface ConnectionWidths {
  readonly source: number;
  readonly virtual: number;
}

/** Widths that fit these connections; later ones that are wider push their line out. */
export function measureConnections(connections: readonly Connection[]): ConnectionWidths {
  let source = 21;
  let virtual = 18;
  for (const connection of connections) {
    source = Math.max(source, printEndpoint(connection.client, connection.clientPort).length);
    virtual = Math.max(virtual, printEndpoint(connection.virtualAddress, connection.virtualPort).length);
  }
  return { source, virtual };
}

/** The two lines above the connections, as `ipvsadm -L -c` prints them. */
export function renderConnectionsHead(widths: ConnectionWidths): string {
  const columns = `${"source".padEnd(widths.source)} ${"virtual".padEnd(widths.virtual)} destination`;
  return `IPVS connection entries\npro expire state       ${columns}\n`;
}

/** One line of `ipvsadm -L -c -n`: `expire` in minutes and seconds. */
export function renderConnection(connection: Connection, widths: ConnectionWidths): string {
  const protocol = connection.identity.kind === "mark" ? "FWM" : connection.identity.protocol.toUpperCase();
  const expire = `${twoDigits(Math.floor(connection.expiresIn / 60))}:${twoDigits(connection.expiresIn % 60)}`;
  return (
    `${protocol.padEnd(3)} ${expire.padEnd(6)} ${connection.state.padEnd(11)} ` +
    `${printEndpoint(connection.client, connection.clientPort).padEnd(widths.source)} ` +
    `${printEndpoint(connection.virtualAddress, connection.virtualPort).padEnd(widths.virtual)} ` +
    `${printEndpoint(connection.realServer, connection.realPort)}\n`
  );
}

/** Checks of real servers, grouped by virtual service in the order given. */
export function renderHealth(health: readonly RealServerHealth[], at: Date): string {
  if (health.length === 0) return "no real servers\n";
  const byService = new Map<string, RealServerHealth[]>();
  for (const entry of health) {
    const key = printIdentity(entry.identity);
    const group = byService.get(key);
    if (group === undefined) byService.set(key, [entry]);
    else group.push(entry);
  }
  const lines: string[][] = [
    ["  -> RemoteAddress:Port", "Check", "State", "Since", "Failures", "Checked", "Took", "Result"],
  ];
  const heads = new Map<number, string>();
  for (const entries of byService.values()) {
    const first = entries[0];
    if (first !== undefined) heads.set(lines.length, describeIdentity(first.identity));
    for (const entry of entries) lines.push(healthColumns(entry, at));
  }
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const text = ["Prot LocalAddress:Port"];
  for (const [index, line] of lines.entries()) {
    const head = heads.get(index);
    if (head !== undefined) text.push(head);
    text.push(
      line
        .map((value, column) => value.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  }
  return `${text.join("\n")}\n`;
}

function healthColumns(entry: RealServerHealth, at: Date): string[] {
  const { health, last } = entry;
  return [
    `  -> ${realServerKey(entry)}`,
    entry.check,
    health.state,
    health.state === "unknown" ? "-" : formatTime(health.since),
    `${entry.failuresSinceUp}/${entry.failureCount}`,
    last === undefined ? "never" : `${formatDuration((at.getTime() - last.at.getTime()) / 1000)} ago`,
    last === undefined ? "-" : `${Math.round(last.result.durationMs)} ms`,
    explainHealth(health, last?.result.detail),
  ];
}

/** The last result; and why it is down when that was another one. */
function explainHealth(health: Health, detail: string | undefined): string {
  const result = oneLine(detail ?? "");
  if (health.state !== "down" || health.reason === detail) return result;
  return result === "" ? oneLine(health.reason) : `${result}; down because ${oneLine(health.reason)}`;
}

/** What a server sent must not move the terminal's cursor. */
function oneLine(text: string): string {
  return text.replace(/[^\P{C}]+/gu, " ").trim();
}

/** Local time, `2025-01-31 12:00:00`. */
function formatTime(date: Date): string {
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map(twoDigits).join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":")}`;
}

function twoDigits(value: number): string {
  return `${value}`.padStart(2, "0");
}
