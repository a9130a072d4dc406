/** Which options ipvsadm takes with which command and tunnel type, and in which order it finds fault. */
import type { TunnelType } from "../../model/service.ts";

/** By the names that ipvsadm's messages have for them, in the order in which it looks at them. */
export const optionNames = [
  "numeric",
  "connection",
  "service-address",
  "scheduler",
  "persistent",
  "netmask",
  "real-server",
  "forwarding-method",
  "weight",
  "u-threshold",
  "l-threshold",
  "mcast-interface",
  "timeout",
  "daemon",
  "stats",
  "rate",
  "thresholds",
  "persistent-conn",
  "nosort",
  "syncid",
  "exact",
  "ops",
  "pe",
  "sched-flags",
  "mcast-group",
  "mcast-port",
  "mcast-ttl",
  "sync-maxlen",
  "tun-info",
  "tun-type",
  "tun-port",
  "tun-nocsum",
  "tun-csum",
  "tun-remcsum",
] as const;
export type OptionName = (typeof optionNames)[number];

interface Rule {
  readonly required?: readonly OptionName[];
  readonly optional?: readonly OptionName[];
  /** Of these one at most. */
  readonly alternatives?: readonly OptionName[];
}

const serviceSettings = ["scheduler", "persistent", "netmask", "ops", "pe", "sched-flags"] as const;
const tunnelSettings = ["tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"] as const;
const serverSettings = ["forwarding-method", "weight", "u-threshold", "l-threshold", ...tunnelSettings] as const;

/** Keys are the names that messages have for the commands. */
const commandRules = {
  "add-service": { required: ["service-address"], optional: serviceSettings },
  "edit-service": { required: ["service-address"], optional: serviceSettings },
  "delete-service": { required: ["service-address"] },
  flush: {},
  list: {
    optional: ["numeric", "stats", "rate", "thresholds", "persistent-conn", "nosort", "syncid", "exact", "tun-info"],
    alternatives: ["connection", "service-address", "timeout", "daemon"],
  },
  "add-server": { required: ["service-address", "real-server"], optional: serverSettings },
  "delete-server": { required: ["service-address", "real-server"] },
  "edit-server": { required: ["service-address", "real-server"], optional: serverSettings },
  set: {},
  "start-daemon": {
    optional: ["mcast-interface", "syncid", "mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen"],
  },
  "stop-daemon": { optional: ["syncid"] },
  restore: {},
  save: { optional: ["numeric"] },
  zero: { optional: ["service-address"] },
} as const satisfies Record<string, Rule>;
export type CommandName = keyof typeof commandRules;

const checksumAlternatives = ["tun-nocsum", "tun-csum"] as const;
const tunnelRules = {
  ipip: {},
  gue: { required: ["tun-port"], alternatives: [...checksumAlternatives, "tun-remcsum"] },
  gre: { alternatives: checksumAlternatives },
} as const satisfies Record<TunnelType, Rule>;

/** What is wrong with the options of a command, or undefined. */
export function faultOfCommand(command: CommandName, given: ReadonlySet<OptionName>): string | undefined {
  return findFault(commandRules[command], optionNames, given, `'${command}' command`);
}

/** What is wrong with the options of a tunnel, or undefined. */
export function faultOfTunnel(type: TunnelType, given: ReadonlySet<OptionName>): string | undefined {
  const looksAt = tunnelSettings.filter((name) => name !== "tun-type");
  return findFault(tunnelRules[type], looksAt, given, `'${type}' tunnel type`);
}

function findFault(
  rule: Rule,
  order: readonly OptionName[],
  given: ReadonlySet<OptionName>,
  of: string,
): string | undefined {
  let alternative: OptionName | undefined;
  for (const name of order) {
    if (!given.has(name)) {
      if (rule.required?.includes(name)) return `You need to supply the '${name}' option for the ${of}`;
    } else if (rule.alternatives?.includes(name)) {
      if (alternative !== undefined) {
        return `The option '${name}' conflicts with the '${alternative}' option in the ${of}`;
      }
      alternative = name;
    } else if (!rule.required?.includes(name) && !rule.optional?.includes(name)) {
      return `Illegal '${name}' option with the ${of}`;
    }
  }
  return undefined;
}
