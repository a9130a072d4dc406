import type { Config, ConfiguredService, Position } from "../model/config.ts";

/** Something that the file asks for, that is understood, and that is not done. */
export interface NotYetActive {
  readonly position: Position;
  readonly what: string;
}

/** What of a configuration has no effect yet; each kind once per virtual service. */
export function notYetActive(config: Config): NotYetActive[] {
  const found: NotYetActive[] = [];
  for (const service of config.services) {
    const seen = new Set<string>();
    for (const each of ofService(service)) {
      if (!seen.has(each.what)) found.push(each);
      seen.add(each.what);
    }
  }
  return found.sort((a, b) => a.position.line - b.position.line || a.position.column - b.position.column);
}

function* ofService(service: ConfiguredService): Generator<NotYetActive> {
  const { position } = service;
  if (service.identity.kind === "mark") yield { position, what: `firewall mark ${service.identity.mark}` };
}
