import type { Config, ConfiguredService } from "../model/config.ts";
import { printIdentity } from "../model/service.ts";
import type { ServiceTuningName, Setting } from "../model/tuning.ts";

/** The configuration with what the command line sets of its services; a later setting wins over an earlier one. */
export function withServiceSettings(config: Config, settings: readonly Setting[]): Config {
  if (!settings.some(({ kind }) => kind === "service")) return config;
  return { ...config, services: config.services.map((service) => withSettings(service, settings)) };
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
