/** What can be tuned while packets flow: names, ranges and meanings, for the command line, the maps and the docs. */
import { isIP } from "node:net";

interface Tuning {
  readonly name: string;
  readonly max: number;
  /** One line of help. */
  readonly help: string;
}

/** Of the whole director; most are named as the kernel's sysctls net.ipv4.vs.*. */
export const tunings = [
  { name: "timeout_tcp", max: 0x7fffffff, help: "seconds that an established TCP connection may rest" },
  { name: "timeout_tcpfin", max: 0x7fffffff, help: "seconds that a TCP connection lives on after a FIN" },
  { name: "timeout_udp", max: 0x7fffffff, help: "seconds that a UDP flow may rest" },
  { name: "timeout_sctp", max: 0x7fffffff, help: "seconds that an established SCTP association may rest" },
  {
    name: "conn_reuse_mode",
    max: 3,
    help: "a SYN opens a new connection in place of a closed one: 0 never, 1 as in IPVS, 2 or 3 in FIN_WAIT, too",
  },
  {
    name: "expire_nodest_conn",
    max: 2,
    help: "connections of a real server that was taken away: 0 dropped, 1 ended, 2 those of weight 0 as well",
  },
  { name: "expire_quiescent_template", max: 1, help: "persistence ends when the weight becomes 0" },
  { name: "sloppy_tcp", max: 1, help: "any TCP segment but a RST opens a connection" },
  { name: "sloppy_sctp", max: 1, help: "any SCTP packet opens a connection" },
  { name: "lblc_expiration", max: 0x7fffffff, help: "seconds after which lblc forgets an unused virtual address" },
  {
    name: "lblcr_expiration",
    max: 0x7fffffff,
    help: "the same of lblcr, and after which it takes the most loaded server out of an unchanged set",
  },
  {
    name: "icmp_per_second",
    max: 1_000_000,
    help: "ICMP errors sent by each CPU in a second, and as many that tell an MTU; 0: none",
  },
  {
    name: "resets_per_second",
    max: 1_000_000,
    help: "RSTs sent by each CPU in a second for connections whose real server was taken away; 0: none",
  },
] as const satisfies readonly Tuning[];

export type TuningName = (typeof tunings)[number]["name"];
export type Tunings = Readonly<Record<TuningName, number>>;

/** Of one virtual service, or of all. 0: none. */
export const serviceTunings = [
  { name: "idle_timeout", max: 0x7fffffff, help: "seconds that a connection of the service may rest" },
  { name: "new_per_second", max: 0xffffffff, help: "new connections of the service in a second" },
  { name: "new_per_source", max: 0xffffffff, help: "new connections of one IPv4 address or IPv6 /64 in a second" },
] as const satisfies readonly Tuning[];

export type ServiceTuningName = (typeof serviceTunings)[number]["name"];

export type Setting =
  | { readonly kind: "director"; readonly name: TuningName; readonly value: number }
  /** `service` as `printIdentity` prints it; undefined: all services. */
  | {
      readonly kind: "service";
      readonly service: string | undefined;
      readonly name: ServiceTuningName;
      readonly value: number;
    };

/** `NAME=VALUE`, or `tcp:10.0.0.1:80/NAME=VALUE` of one service. An Error says what is wrong with it. */
export function parseSetting(text: string): Setting | Error {
  const [, service, name = "", digits = ""] = /^(?:(.+)\/)?([a-z_]+)=(\d+)$/.exec(text) ?? [];
  if (name === "") return new Error("it must be NAME=NUMBER, or SERVICE/NAME=NUMBER for one virtual service");
  const value = Number(digits);
  const ofService = serviceTunings.find((each) => each.name === name);
  if (ofService !== undefined) {
    if (service !== undefined && !isService(service)) {
      return new Error(`${service} is no virtual service: it must be like tcp:192.0.2.1:80 or udp:[2001:db8::1]:53`);
    }
    return value > ofService.max
      ? new Error(`${name} is at most ${ofService.max}`)
      : { kind: "service", service, name: ofService.name, value };
  }
  const ofDirector = tunings.find((each) => each.name === name);
  if (ofDirector === undefined) {
    const names = [...tunings, ...serviceTunings].map((each) => each.name);
    return new Error(`there is no setting ${name}; there are ${names.join(", ")}`);
  }
  if (service !== undefined) return new Error(`${name} is a setting of the whole director, not of a service`);
  if (value > ofDirector.max) return new Error(`${name} is at most ${ofDirector.max}`);
  if (value === 0 && name.startsWith("timeout_")) return new Error(`${name} is at least 1`);
  return { kind: "director", name: ofDirector.name, value };
}

function isService(text: string): boolean {
  const [, bracketed, plain = "", port = ""] = /^(?:tcp|udp|sctp):(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text) ?? [];
  return Number(port) <= 65535 && (bracketed === undefined ? isIP(plain) === 4 : isIP(bracketed) === 6);
}

/** As {@link parseSetting} reads it. */
export function printSetting(setting: Setting): string {
  const service = setting.kind === "service" && setting.service !== undefined ? `${setting.service}/` : "";
  return `${service}${setting.name}=${setting.value}`;
}

/** The settings with others given later, each in place of an earlier one of the same name and service. */
export function mergeSettings(before: readonly string[], given: readonly string[]): readonly string[] {
  const nameOf = (text: string): string => text.slice(0, text.indexOf("="));
  const names = new Set(given.map(nameOf));
  return [...before.filter((text) => !names.has(nameOf(text))), ...given];
}

/** Those of the whole director. Of two with one name the later one counts. */
export function directorSettings(settings: readonly Setting[]): Partial<Tunings> {
  return Object.fromEntries(settings.flatMap((each) => (each.kind === "director" ? [[each.name, each.value]] : [])));
}

/** Throws what is wrong with the first bad one. */
export function parseSettings(texts: readonly string[]): readonly Setting[] {
  return texts.map((text) => {
    const setting = parseSetting(text);
    if (setting instanceof Error) throw setting;
    return setting;
  });
}
