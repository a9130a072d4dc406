import type { Change } from "../model/change.ts";
import type { Config } from "../model/config.ts";
import { printEndpoint, printIdentity, realServerKey } from "../model/service.ts";
import type { ServiceIdentity } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";

/** What the log needs to know of one service: keys are real servers as `realServerKey` prints them. */
interface Cast {
  readonly weights: ReadonlyMap<string, number>;
  readonly realServers: ReadonlySet<string>;
  readonly fallback: string | undefined;
}

/**
 * One log line for a change, in the words of ldirectord 4.12, which people and their scripts search logs for:
 * `Added real server: 192.168.200.102:80 (10.10.10.53:80) (Weight set to 1)`.
 * `actual` is the state before the changes. An entry that the file does not know is `Purged`.
 */
export function narrator(config: Config, actual: DirectorState): (change: Change) => string {
  const configured = new Map(config.services.map((service) => [printIdentity(service.identity), service]));
  const present = new Map(actual.services.map((service) => [printIdentity(service.identity), service]));
  const casts = new Map<string, Cast>();

  function castOf(identity: ServiceIdentity): Cast {
    const key = printIdentity(identity);
    const known = casts.get(key);
    if (known !== undefined) return known;
    const service = configured.get(key);
    const before = present.get(key)?.realServers ?? [];
    const cast: Cast = {
      weights: new Map(before.map((realServer) => [realServerKey(realServer), realServer.weight])),
      realServers: new Set(service?.realServers.map(realServerKey)),
      fallback: service?.fallback === undefined ? undefined : realServerKey(service.fallback),
    };
    casts.set(key, cast);
    return cast;
  }

  return (change) => {
    switch (change.kind) {
      case "add-service":
        return `Added virtual server: ${printVirtual(change.service.identity)}`;
      case "edit-service":
        return `Changed virtual server: ${printVirtual(change.service.identity)}`;
      case "remove-service":
        return `Purged virtual server: ${printVirtual(change.identity)}`;
      case "add-real-server":
      case "edit-real-server": {
        const cast = castOf(change.identity);
        const key = realServerKey(change.realServer);
        const { weight } = change.realServer;
        const before = cast.weights.get(key) ?? 0;
        const verb = change.kind === "add-real-server" ? "Added" : verbOfEdit(before, weight);
        return `${verb} ${roleOf(cast, key)}: ${key} (${printVirtual(change.identity)}) (Weight set to ${weight})`;
      }
      case "remove-real-server": {
        const cast = castOf(change.identity);
        const key = realServerKey(change);
        const verb = cast.realServers.has(key) || cast.fallback === key ? "Deleted" : "Purged";
        return `${verb} ${roleOf(cast, key)}: ${key} (${printVirtual(change.identity)})`;
      }
    }
  };
}

function verbOfEdit(before: number, after: number): string {
  if (after === 0) return "Quiescent";
  return before === 0 ? "Restored" : "Changed";
}

function roleOf(cast: Cast, key: string): string {
  return cast.fallback === key && !cast.realServers.has(key) ? "fallback server" : "real server";
}

/** Address and port, or the firewall mark. */
function printVirtual(identity: ServiceIdentity): string {
  return identity.kind === "mark" ? String(identity.mark) : printEndpoint(identity.address, identity.port);
}
