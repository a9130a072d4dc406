import type { Config, ConfiguredRealServer, ConfiguredService, Position } from "../model/config.ts";
import { activeSchedulers } from "../model/service.ts";
import type { DirectiveName } from "./directives.ts";

/** Something that the file asks for, that is understood, and that is not done. */
export interface NotYetActive {
  readonly position: Position;
  readonly what: string;
}

/**
 * What of a configuration has no effect yet; each kind once per virtual service.
 * `globals` (of the parse result) tells where global directives stand; without it they are at the file's start.
 */
export function notYetActive(
  config: Config,
  globals: ReadonlyMap<DirectiveName, Position> = new Map(),
): NotYetActive[] {
  const start = { line: 1, column: 1 };
  const found: NotYetActive[] = [];
  if (config.callback !== "") found.push({ position: globals.get("callback") ?? start, what: "callback" });
  for (const name of config.execute) found.push({ position: globals.get("execute") ?? start, what: `execute=${name}` });
  const reported = new Set<DirectiveName>();
  for (const service of config.services) {
    const seen = new Set<string>();
    for (const each of ofService(service)) {
      if (seen.has(each.what)) continue;
      seen.add(each.what);
      // A global directive is said once, where it stands.
      const global = each.directive === undefined ? undefined : globals.get(each.directive);
      if (each.directive !== undefined && global !== undefined) {
        if (!reported.has(each.directive)) found.push({ position: global, what: each.what });
        reported.add(each.directive);
      } else {
        found.push({ position: each.position, what: each.what });
      }
    }
  }
  return found.sort((a, b) => a.position.line - b.position.line || a.position.column - b.position.column);
}

interface Found extends NotYetActive {
  /** Set if the value may come from a global directive. */
  readonly directive?: DirectiveName;
}

function* ofService(service: ConfiguredService): Generator<Found> {
  const { position } = service;
  if (service.identity.kind === "mark") yield { position, what: `firewall mark ${service.identity.mark}` };
  if (!activeSchedulers.includes(service.scheduler)) yield { position, what: `scheduler=${service.scheduler}` };
  if (service.monitorFile !== "") yield { position, what: "monitorfile" };
  if (service.fallbackCommand !== "") yield { position, what: "fallbackcommand", directive: "fallbackcommand" };
  if (service.emailAlert.to.length > 0) yield { position, what: "emailalert", directive: "emailalert" };
  if (service.fallback !== undefined && service.fallback.method !== "gate") {
    yield { position, what: `forwarding method ${service.fallback.method}` };
  }
  for (const server of service.realServers) yield* ofRealServer(server);
}

function* ofRealServer({ position, method, upperThreshold }: ConfiguredRealServer): Generator<Found> {
  if (method !== "gate") yield { position, what: `forwarding method ${method}` };
  if (upperThreshold > 0) yield { position, what: "connection thresholds" };
}
