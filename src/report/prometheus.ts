/**
 * The snapshot in Prometheus' text format, made by prom-client in a registry of its own for each rendering. Samples are
 * doubles, as Prometheus keeps them: a counter is exact up to 2^53 and the nearest double beyond. Label values are
 * configured services and real servers, interfaces, and members of enums and of `struct packet_counters`: bounded.
 */
import { Registry } from "prom-client";
import type { Metric } from "prom-client";
import type { CheckDurations, RealServerHealth } from "../model/health.ts";
import type { Override } from "../model/override.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { PlaneMoveTotals, RealServerStatistics, ServiceStatistics } from "../model/statistics.ts";
import { sumPackets } from "./rates.ts";
import type { Snapshot } from "./snapshot.ts";

type Labels = Readonly<Record<string, string>>;

/** What prom-client's registry asks of a metric's value. Shared labels are formatted once however often they are used. */
interface Sample {
  readonly value: number;
  readonly labels: Labels;
  readonly sharedLabels?: Labels;
  readonly metricName?: string;
}

/** The page for a scraper, `# HELP` and `# TYPE` with each metric; metrics without samples are left out. */
export async function renderPrometheus(snapshot: Snapshot): Promise<{ contentType: string; body: string }> {
  const registry = new Registry();
  addServices(registry, snapshot);
  addRealServers(registry, snapshot);
  addConnectionTable(registry, snapshot);
  addPackets(registry, snapshot);
  addChecks(registry, snapshot);
  addDaemon(registry, snapshot);
  return { contentType: registry.contentType, body: await registry.metrics() };
}

function addServices(registry: Registry, snapshot: Snapshot): void {
  const entries = snapshot.planes.flatMap((plane) => plane.services);
  const rows = entries.map((entry) => ({ entry, sharedLabels: { service: printIdentity(entry.service.identity) } }));
  const each = (value: (entry: ServiceStatistics) => number): Sample[] =>
    rows.map(({ entry, sharedLabels }) => ({ value: value(entry), labels: {}, sharedLabels }));

  add(
    registry,
    "gauge",
    "xlb_service_info",
    "What a virtual service is; always 1.",
    rows.map(({ entry, sharedLabels }) => ({
      value: 1,
      labels: { scheduler: entry.service.scheduler, plane: entry.plane },
      sharedLabels,
    })),
  );
  const up = new Map<string, number>();
  for (const entry of snapshot.health) {
    if (entry.health.state === "unknown") continue;
    const service = printIdentity(entry.identity);
    up.set(service, Math.max(up.get(service) ?? 0, entry.health.state === "up" ? 1 : 0));
  }
  add(
    registry,
    "gauge",
    "xlb_service_up",
    "Whether at least one real server of the virtual service passes its check.",
    [...up].map(([service, value]) => ({ value, labels: { service } })),
  );
  add(
    registry,
    "gauge",
    "xlb_service_weight",
    "Sum of the weights of the real servers in the table; 0: no new connections.",
    each((entry) => total(entry, (realServer) => realServer.realServer.weight)),
  );
  add(
    registry,
    "gauge",
    "xlb_service_active_connections",
    "Established and half-open connections of a virtual service.",
    each((entry) => total(entry, (realServer) => realServer.active)),
  );
  add(
    registry,
    "gauge",
    "xlb_service_inactive_connections",
    "Closing and UDP connections of a virtual service.",
    each((entry) => total(entry, (realServer) => realServer.inactive)),
  );
  add(
    registry,
    "counter",
    "xlb_service_connections_total",
    "Connections scheduled by a virtual service.",
    each((entry) => Number(entry.connections)),
  );
  add(
    registry,
    "counter",
    "xlb_service_packets_total",
    "Packets from clients to a virtual service.",
    each((entry) => Number(entry.packets)),
  );
  add(
    registry,
    "counter",
    "xlb_service_bytes_total",
    "IP bytes from clients to a virtual service.",
    each((entry) => Number(entry.bytes)),
  );
  add(
    registry,
    "counter",
    "xlb_service_reply_packets_total",
    "Packets to clients that came through the director, by masq.",
    each((entry) => Number(entry.packetsOut)),
  );
  add(
    registry,
    "counter",
    "xlb_service_reply_bytes_total",
    "IP bytes to clients that came through the director, by masq.",
    each((entry) => Number(entry.bytesOut)),
  );
}

function addRealServers(registry: Registry, snapshot: Snapshot): void {
  interface Row {
    readonly sharedLabels: Labels;
    entry?: RealServerStatistics;
    health?: RealServerHealth;
  }
  // A real server that failed may be out of the table, and a fallback has no check: either half may be missing.
  const rows = new Map<string, Row>();
  const rowOf = (service: string, realServer: string): Row => {
    const key = `${service} ${realServer}`;
    let row = rows.get(key);
    if (row === undefined) rows.set(key, (row = { sharedLabels: { service, real_server: realServer } }));
    return row;
  };
  for (const service of snapshot.planes.flatMap((plane) => plane.services)) {
    const key = printIdentity(service.service.identity);
    for (const entry of service.realServers) rowOf(key, realServerKey(entry.realServer)).entry = entry;
  }
  for (const health of snapshot.health) {
    rowOf(printIdentity(health.identity), realServerKey(health)).health = health;
  }
  const each = (value: (row: Row) => number | undefined): Sample[] => {
    const samples: Sample[] = [];
    for (const row of rows.values()) {
      const number = value(row);
      if (number !== undefined) samples.push({ value: number, labels: {}, sharedLabels: row.sharedLabels });
    }
    return samples;
  };

  add(
    registry,
    "gauge",
    "xlb_real_server_up",
    "Whether the real server passes its check; absent until the first result, and for a fallback.",
    each(({ health }) =>
      health === undefined || health.health.state === "unknown" ? undefined : health.health.state === "up" ? 1 : 0,
    ),
  );
  add(
    registry,
    "gauge",
    "xlb_real_server_weight",
    "Weight in the table; 0: quiescent, or taken out.",
    each(({ entry }) => entry?.realServer.weight ?? 0),
  );
  add(
    registry,
    "gauge",
    "xlb_real_server_active_connections",
    "Established and half-open connections of a real server.",
    each(({ entry }) => entry?.active),
  );
  add(
    registry,
    "gauge",
    "xlb_real_server_inactive_connections",
    "Closing and UDP connections of a real server.",
    each(({ entry }) => entry?.inactive),
  );
  add(
    registry,
    "counter",
    "xlb_real_server_connections_total",
    "Connections scheduled to a real server.",
    each(({ entry }) => entry && Number(entry.connections)),
  );
  add(
    registry,
    "counter",
    "xlb_real_server_packets_total",
    "Packets forwarded to a real server.",
    each(({ entry }) => entry && Number(entry.packets)),
  );
  add(
    registry,
    "counter",
    "xlb_real_server_bytes_total",
    "IP bytes forwarded to a real server.",
    each(({ entry }) => entry && Number(entry.bytes)),
  );
  add(
    registry,
    "counter",
    "xlb_real_server_reply_packets_total",
    "Packets of a real server to clients that came through the director, by masq.",
    each(({ entry }) => entry && Number(entry.packetsOut)),
  );
  add(
    registry,
    "counter",
    "xlb_real_server_reply_bytes_total",
    "IP bytes of a real server to clients that came through the director, by masq.",
    each(({ entry }) => entry && Number(entry.bytesOut)),
  );
  add(
    registry,
    "gauge",
    "xlb_real_server_check_failures",
    "Failed checks since the real server last passed one.",
    each(({ health }) => health?.failuresSinceUp),
  );
}

function addConnectionTable(registry: Registry, snapshot: Snapshot): void {
  const planes = snapshot.planes;
  // The kernel's IPVS has no limit, and expires by itself.
  const sweeping = planes.filter(({ table }) => table.size > 0);
  add(
    registry,
    "gauge",
    "xlb_interface_info",
    "The plane that serves an interface and its mode; always 1.",
    planes.flatMap(({ plane, interfaces }) =>
      interfaces.map(({ name, mode }) => ({ value: 1, labels: { interface: name, plane, mode } })),
    ),
  );
  add(
    registry,
    "gauge",
    "xlb_connection_table_size",
    "Slots of the connection table.",
    sweeping.map(({ plane, table }) => ({ value: table.size, labels: { plane } })),
  );
  add(
    registry,
    "gauge",
    "xlb_connection_table_used",
    "Slots in use at the last whole sweep.",
    planes.map(({ plane, table }) => ({ value: table.live, labels: { plane } })),
  );
  add(
    registry,
    "gauge",
    "xlb_connections",
    "Connections and persistence templates by state at the last whole sweep.",
    planes.flatMap(({ plane, table }) =>
      Object.entries(table.liveByState).map(([state, value]) => ({ value, labels: { plane, state } })),
    ),
  );
  add(
    registry,
    "counter",
    "xlb_connection_table_sweeps_total",
    "Whole passes of the expiry over the connection table.",
    sweeping.map(({ plane, table }) => ({ value: Number(table.sweepPasses), labels: { plane } })),
  );
  add(
    registry,
    "counter",
    "xlb_connection_table_sweep_seconds_total",
    "Time that the expiry has taken.",
    sweeping.map(({ plane, table }) => ({ value: Number(table.sweepNanoseconds) / 1e9, labels: { plane } })),
  );
}

function addPackets(registry: Registry, snapshot: Snapshot): void {
  const totals = Object.entries(sumPackets(snapshot.planes));
  const withPrefix = (prefix: string): [string, number][] =>
    totals
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), Number(value)]);
  const single = (name: string): Sample[] =>
    totals.filter(([member]) => member === name).map(([, value]) => ({ value: Number(value), labels: {} }));

  add(
    registry,
    "counter",
    "xlb_packets_total",
    "Packets that were not forwarded by verdict and reason, of which each has exactly one.",
    ["pass", "drop", "icmp", "reset"].flatMap((verdict) =>
      withPrefix(`${verdict}_`).map(([reason, value]) => ({ value, labels: { verdict, reason } })),
    ),
  );
  add(
    registry,
    "counter",
    "xlb_untracked_packets_total",
    "Packets forwarded by consistent hash because the connection table had no slot for them.",
    single("forward_untracked"),
  );
  add(
    registry,
    "counter",
    "xlb_fragments_total",
    "Fragments that were forwarded, each after the first to where the first one went.",
    single("forward_fragment"),
  );
  add(
    registry,
    "counter",
    "xlb_fragments_held_total",
    "Fragments that came before the first one of their packet and were held back for it.",
    single("hold_fragment"),
  );
  add(
    registry,
    "counter",
    "xlb_icmp_errors_forwarded_total",
    "ICMP errors that were forwarded to whom they concern.",
    single("forward_icmp"),
  );
  add(
    registry,
    "counter",
    "xlb_connection_table_expired_total",
    "Connections that the expiry has freed.",
    single("expired"),
  );
  add(
    registry,
    "counter",
    "xlb_connection_table_victims_total",
    "Connections displaced by new ones, by kind; a live established one never is.",
    withPrefix("victim_").map(([kind, value]) => ({ value, labels: { kind } })),
  );
}

function addChecks(registry: Registry, snapshot: Snapshot): void {
  add(
    registry,
    "histogram",
    "xlb_check_duration_seconds",
    "Duration of health checks by kind.",
    snapshot.checks.flatMap(histogramSamples),
  );
  add(
    registry,
    "counter",
    "xlb_check_results_total",
    "Results of health checks by kind.",
    snapshot.checks.flatMap(({ check, good, bad }) => [
      { value: good, labels: { check, result: "good" } },
      { value: bad, labels: { check, result: "bad" } },
    ]),
  );
}

function histogramSamples(durations: CheckDurations): Sample[] {
  const { check, count, sum } = durations;
  const name = "xlb_check_duration_seconds";
  const finite = durations.buckets.filter(({ le }) => Number.isFinite(le));
  return [
    ...finite.map((bucket) => ({
      metricName: `${name}_bucket`,
      labels: { check, le: `${bucket.le}` },
      value: bucket.count,
    })),
    { metricName: `${name}_bucket`, labels: { check, le: "+Inf" }, value: count },
    { metricName: `${name}_sum`, labels: { check }, value: sum },
    { metricName: `${name}_count`, labels: { check }, value: count },
  ];
}

function addDaemon(registry: Registry, snapshot: Snapshot): void {
  const daemon = snapshot.daemon;
  if (daemon === undefined) return;
  const one = (type: "gauge" | "counter", name: string, help: string, value: number): void =>
    add(registry, type, name, help, [{ value, labels: {} }]);

  add(registry, "gauge", "xlb_build_info", "The running version; always 1.", [
    { value: 1, labels: { version: daemon.version } },
  ]);
  one("gauge", "xlb_start_time_seconds", "When the daemon started, Unix time.", unixTime(daemon.startedAt));
  one(
    "gauge",
    "xlb_config_last_reload_successful",
    "Whether the last attempt to load the configuration succeeded.",
    daemon.lastReload.ok ? 1 : 0,
  );
  one(
    "gauge",
    "xlb_config_last_reload_timestamp_seconds",
    "When the last attempt to load the configuration was made, Unix time.",
    unixTime(daemon.lastReload.at),
  );
  one(
    "gauge",
    "xlb_config_loaded_timestamp_seconds",
    "When the configuration in force was loaded, Unix time.",
    unixTime(daemon.configLoadedAt),
  );
  one("counter", "xlb_config_reloads_total", "Times the configuration was loaded again.", daemon.reloads);
  one("counter", "xlb_config_reload_failures_total", "Attempts that changed nothing.", daemon.reloadFailures);
  one("counter", "xlb_reconcile_rounds_total", "Rounds of the reconciler.", daemon.rounds);
  one(
    "gauge",
    "xlb_reconcile_failed_changes",
    "Changes of the last round that could not be applied.",
    daemon.failedChanges.length,
  );
  add(
    registry,
    "gauge",
    "xlb_plane_info",
    "The planes in the order of their speed, whether in use, and why not; always 1.",
    (daemon.planes ?? []).map(({ plane, state, reason }) => ({ value: 1, labels: { plane, state, reason } })),
  );
  add(
    registry,
    "gauge",
    "xlb_service_fallen_back_info",
    "Services that are not on the first plane, and why; always 1.",
    (daemon.placements ?? []).map((placement) => ({ value: 1, labels: { ...placement } })),
  );
  addMoves(registry, daemon.moveTotals ?? []);
  add(
    registry,
    "gauge",
    "xlb_overrides",
    "Virtual services and real servers that were added, changed or removed by hand.",
    countOverrides(daemon.overrides ?? []),
  );
  one("gauge", "xlb_services_not_active", "Configured virtual services that no plane serves.", daemon.notActive.length);
  one(
    "gauge",
    "xlb_check_lag_seconds",
    "How late the checker was at the worst of the last minute.",
    daemon.checkLagMs / 1000,
  );
}

function addMoves(registry: Registry, totals: readonly PlaneMoveTotals[]): void {
  add(
    registry,
    "counter",
    "xlb_plane_moves_total",
    "Moves of services from plane to plane, and times that their connections could not go.",
    totals.flatMap(({ from, to, moves, failures }) => [
      { value: moves, labels: { from, to, result: "done" } },
      { value: failures, labels: { from, to, result: "failed" } },
    ]),
  );
  add(
    registry,
    "counter",
    "xlb_plane_moved_services_total",
    "Services that went from plane to plane.",
    totals.map(({ from, to, services }) => ({ value: services, labels: { from, to } })),
  );
  add(
    registry,
    "counter",
    "xlb_plane_moved_connections_total",
    "Connections and templates that went along, and those that the new plane had no place for.",
    totals.flatMap(({ from, to, connections, left }) => [
      { value: connections, labels: { from, to, result: "taken" } },
      { value: left, labels: { from, to, result: "left" } },
    ]),
  );
  add(
    registry,
    "counter",
    "xlb_plane_move_seconds_total",
    "Time that moves from plane to plane took.",
    totals.map(({ from, to, seconds }) => ({ value: seconds, labels: { from, to } })),
  );
}

function unixTime(date: Date): number {
  return date.getTime() / 1000;
}

function total(entry: ServiceStatistics, part: (realServer: RealServerStatistics) => number): number {
  return entry.realServers.reduce((sum, realServer) => sum + part(realServer), 0);
}

/**
 * Registers a metric whose samples are known already. prom-client's own Counter, Gauge and Histogram count events and
 * hash the labels of every value; here the data path has counted.
 */
function add(
  registry: Registry,
  type: "counter" | "gauge" | "histogram",
  name: string,
  help: string,
  samples: readonly Sample[],
): void {
  if (samples.length === 0) return;
  const metric = { name, help, type, get: () => Promise.resolve({ name, help, type, values: samples }) };
  // The registry only ever uses `name` and `get`; its type asks for one of prom-client's own classes.
  registry.registerMetric(metric as unknown as Metric);
}

/** Each kind has its line, also with 0. */
function countOverrides(overrides: readonly Override[]): { value: number; labels: Labels }[] {
  const kinds = overrides.map(({ realServer, setting }) => ({
    target: realServer === undefined ? "service" : "real_server",
    change: setting.kind === "removed" ? "removed" : setting.added ? "added" : "set",
  }));
  return ["service", "real_server"].flatMap((target) =>
    ["added", "set", "removed"].map((change) => ({
      value: kinds.filter((each) => each.target === target && each.change === change).length,
      labels: { target, change },
    })),
  );
}
