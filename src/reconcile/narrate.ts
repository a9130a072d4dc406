import type { Change } from "../model/change.ts";
import type { Config, ConfiguredService } from "../model/config.ts";
import type { Health } from "../model/health.ts";
import { printEndpoint, printIdentity, realServerKey } from "../model/service.ts";
import type { RealServer, ServiceIdentity } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";
import type { HealthLookup } from "./desire.ts";

/** What became of one entry of the tables, in a line that ldirectord would write. */
export interface Narration {
  readonly text: string;
  /** Of the file; undefined if the file no longer has it. */
  readonly service?: ConfiguredService;
  /** The real server or fallback that it is about, as `realServerKey` prints it; undefined: the service itself. */
  readonly entry?: string;
  /** ldirectord mails it: all that is about an entry, but not that one is there until its first check. */
  readonly mailed: boolean;
}

/** What the narrator knows of the surroundings. */
export interface Plot {
  readonly config: Config;
  readonly healthOf: HealthLookup;
  /** Before the changes. */
  readonly actual: DirectorState;
  /** What purges: a start (and a reload, which ldirectord calls one, too), or the stop. */
  readonly during: "start" | "stop";
}

/** Of one service: keys are real servers as `realServerKey` prints them. */
interface Cast {
  readonly service: ConfiguredService | undefined;
  readonly before: readonly string[];
  readonly health: ReadonlyMap<string, Health>;
  /** Real servers whose weight in the file is above 0. */
  readonly weighted: ReadonlySet<string>;
  /** Real servers whose port is another one in the file than in the table, as they stand in the file. */
  readonly mappedFrom: ReadonlyMap<string, string>;
  readonly fallback: string | undefined;
}

/**
 * The log lines for a change, in the words of ldirectord 4.12, which people and their scripts search logs for:
 * `Added real server: 192.168.200.102:80 (10.10.10.53:80) (Weight set to 1)`. An entry that the file does not know
 * is `Purged`.
 */
export function narrator(plot: Plot): (change: Change) => readonly Narration[] {
  const configured = new Map(plot.config.services.map((service) => [printIdentity(service.identity), service]));
  const present = new Map(plot.actual.services.map((service) => [printIdentity(service.identity), service]));
  const casts = new Map<string, Cast>();

  function castOf(identity: ServiceIdentity): Cast {
    const key = printIdentity(identity);
    let cast = casts.get(key);
    if (cast === undefined) {
      cast = makeCast(configured.get(key), present.get(key)?.realServers ?? [], plot.healthOf);
      casts.set(key, cast);
    }
    return cast;
  }

  return (change) => {
    switch (change.kind) {
      case "add-service":
        return [aboutService("Added virtual server", change.service.identity, castOf(change.service.identity))];
      case "edit-service":
        return [aboutService("Changed virtual server", change.service.identity, castOf(change.service.identity))];
      case "remove-service": {
        const cast = castOf(change.identity);
        const purged = aboutService(`Purged virtual server (${plot.during})`, change.identity, cast);
        return plot.during === "stop" ? [...purgedWithService(change.identity, cast), purged] : [purged];
      }
      case "add-real-server":
      case "edit-real-server": {
        const cast = castOf(change.identity);
        const key = realServerKey(change.realServer);
        const { weight } = change.realServer;
        const health = cast.health.get(key);
        const isQuiescent = weight === 0 && health !== undefined && (health.state !== "up" || cast.weighted.has(key));
        const unchecked = isQuiescent && change.kind === "add-real-server" && health.state === "unknown";
        const added = change.kind === "add-real-server" ? "Added" : "Restored";
        const what =
          isQuiescent && !unchecked
            ? `Quiescent real server: ${nameWithPort(key, cast)}`
            : `${added} ${isQuiescent ? "real server" : roleOf(cast, key)}: ${key}`;
        const text = `${what} (${printVirtual(change.identity)}) (Weight set to ${weight})`;
        return [aboutEntry(text, key, cast, !unchecked)];
      }
      case "remove-real-server": {
        const cast = castOf(change.identity);
        const key = realServerKey(change);
        const isKnown = cast.health.has(key) || cast.fallback === key;
        const verb = isKnown ? `Deleted ${roleOf(cast, key)}` : `Purged real server (${plot.during})`;
        return [aboutEntry(`${verb}: ${nameWithPort(key, cast)} (${printVirtual(change.identity)})`, key, cast, true)];
      }
    }
  };
}

function makeCast(service: ConfiguredService | undefined, before: readonly RealServer[], healthOf: HealthLookup): Cast {
  const realServers = service?.realServers ?? [];
  const identity = service?.identity;
  return {
    service,
    before: before.map(realServerKey),
    health: new Map(
      identity === undefined ? [] : realServers.map((each) => [realServerKey(each), healthOf(identity, each)]),
    ),
    weighted: new Set(realServers.filter(({ weight }) => weight > 0).map(realServerKey)),
    mappedFrom: new Map(
      realServers
        .filter(
          ({ method, port, check }) => method !== "masq" && identity?.kind === "address" && check.realPort !== port,
        )
        .map((each) => [realServerKey(each), printEndpoint(each.address, each.check.realPort)]),
    ),
    fallback: service?.fallback === undefined ? undefined : realServerKey(service.fallback),
  };
}

/** At the end ldirectord names each real server that is up before it deletes the service. */
function purgedWithService(identity: ServiceIdentity, cast: Cast): Narration[] {
  return cast.before
    .filter((key) => cast.health.get(key)?.state === "up")
    .map((key) => aboutEntry(`Purged real server (stop): ${key} (${printVirtual(identity)})`, key, cast, true));
}

function aboutService(what: string, identity: ServiceIdentity, { service }: Cast): Narration {
  return { text: `${what}: ${printVirtual(identity)}`, mailed: false, ...(service === undefined ? {} : { service }) };
}

function aboutEntry(text: string, entry: string, { service }: Cast, mailed: boolean): Narration {
  return { text, entry, mailed, ...(service === undefined ? {} : { service }) };
}

/** `10.0.0.2:80 mapped from 10.0.0.2:8080`: direct routing and tunnels keep the virtual service's port. */
function nameWithPort(key: string, { mappedFrom }: Cast): string {
  const inFile = mappedFrom.get(key);
  return inFile === undefined ? key : `${key} mapped from ${inFile}`;
}

/** The fallback may be a real server, too: then it is what it is there for. */
function roleOf(cast: Cast, key: string): string {
  return cast.fallback === key && cast.health.get(key)?.state !== "up" ? "fallback server" : "real server";
}

/** Address and port, or the firewall mark. */
export function printVirtual(identity: ServiceIdentity): string {
  return identity.kind === "mark" ? String(identity.mark) : printEndpoint(identity.address, identity.port);
}
