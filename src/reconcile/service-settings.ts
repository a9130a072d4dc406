import type { Config, ConfiguredService } from "../model/config.ts";
import { printIdentity } from "../model/service.ts";
import type { ServiceTuningName, Setting } from "../model/tuning.ts";

/** The configuration with what the command line sets of its services; a later setting wins over an earlier one. */
export function withServiceSettings(config: Config, settings: readonly Setting[]): Config {
  if (!settings.some(({ kind }) => kind === "service")) return config;
  return { ...config, services: config.services.map((service) => withSettings(service, settings)) };
}

/** Services that settings name and the configuration does not have; each once. */
export function idleSettings(config: Config, settings: readonly Setting[]): readonly string[] {
  const configured = new Set(config.services.map(({ identity }) => printIdentity(identity)));
  const named = settings.flatMap((each) => (each.kind === "service" ? (each.service ?? []) : []));
  return [...new Set(named)].filter((service) => !configured.has(service));
}

function withSettings(service: ConfiguredService, settings: readonly Setting[]): ConfiguredService {
  const key = printIdentity(service.identity);
  const values: Record<ServiceTuningName, number> = { idle_timeout: 0, new_per_second: 0, new_per_source: 0 };
  for (const setting of settings) {
    if (setting.kind === "service" && (setting.service ?? key) === key) values[setting.name] = setting.value;
  }
  const { idle_timeout: idleTimeout, new_per_second: perSecond, new_per_source: perSource } = values;
  return {
    ...service,
    ...(idleTimeout > 0 && { idleTimeout }),
    ...((perSecond > 0 || perSource > 0) && { limits: { perSecond, perSource } }),
  };
}
