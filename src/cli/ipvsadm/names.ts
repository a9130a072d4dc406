/** Names of hosts and services, by the system's own means. */
import { lookup, lookupService } from "node:dns/promises";
import { readFileSync } from "node:fs";
import type { Protocol } from "../../model/service.ts";

/** What ipvsadm looks up; undefined: there is no such name, or none for it. */
export interface Names {
  hostOf(address: string): Promise<string | undefined>;
  /** An IPv4 address. */
  addressOf(host: string): Promise<string | undefined>;
  serviceOf(port: number, protocol: Protocol): string | undefined;
  portOf(service: string, protocol: Protocol): number | undefined;
}

interface NamedService {
  /** And its other names. */
  readonly names: readonly string[];
  readonly port: number;
  readonly protocol: string;
}

/** By /etc/hosts, DNS and whatever nsswitch.conf has for hosts, and by `servicesFile`. */
export function systemNames(servicesFile = "/etc/services"): Names {
  let services: readonly NamedService[] | undefined;
  const known = (): readonly NamedService[] => (services ??= readServices(servicesFile));
  return {
    async hostOf(address) {
      try {
        // The port is not of interest, and any has a name or its number.
        return (await lookupService(address, 0)).hostname;
      } catch {
        return undefined; // Neither a name nor somebody to ask: the address stands for itself.
      }
    },
    async addressOf(host) {
      // To Node.js no name at all is one that has no address.
      if (host === "") return undefined;
      try {
        return (await lookup(host, { family: 4 })).address;
      } catch {
        return undefined; // Unknown, whatever the reason: ipvsadm makes no difference.
      }
    },
    serviceOf: (port, protocol) => known().find((each) => each.port === port && each.protocol === protocol)?.names[0],
    portOf: (service, protocol) =>
      known().find((each) => each.protocol === protocol && each.names.includes(service))?.port,
  };
}

function readServices(file: string): readonly NamedService[] {
  try {
    return parseServices(readFileSync(file, "utf8"));
  } catch {
    return []; // A system without the file has no names for ports.
  }
}

/** Lines `name port/protocol [other names]`, as services(5) has them. */
export function parseServices(text: string): NamedService[] {
  return text.split("\n").flatMap((line) => {
    const [name, number, ...others] = line.replace(/#.*/, "").trim().split(/\s+/);
    const [, port, protocol] = /^(\d+)\/(\w+)$/.exec(number ?? "") ?? [];
    if (name === undefined || port === undefined || protocol === undefined) return [];
    return [{ names: [name, ...others], port: Number(port), protocol }];
  });
}
