import type {
  ConnectionLimits,
  ForwardingMethod,
  Persistence,
  RealServer,
  Scheduler,
  ServiceIdentity,
  VirtualService,
} from "./service.ts";

/** A place in a configuration file; line and column count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface Diagnostic extends Position {
  readonly file: string;
  readonly severity: "error" | "warning";
  readonly message: string;
}

export const checkServices = [
  "dns",
  "ftp",
  "http",
  "https",
  "http_proxy",
  "imap",
  "imaps",
  "ldap",
  "ldaps",
  "mysql",
  "nntp",
  "none",
  "oracle",
  "pgsql",
  "pop",
  "pops",
  "radius",
  "simpletcp",
  "sip",
  "smtp",
  "submission",
] as const;
export type CheckService = (typeof checkServices)[number];

/** How a real server is checked. `combined`: one negotiate check, then `connects` connect checks, and again. */
export type CheckType =
  | { readonly kind: "negotiate" | "connect" | "ping" | "external" | "external-perl" | "off" | "on" }
  | { readonly kind: "combined"; readonly connects: number };

/** Everything that decides what is sent to a real server and what answer is good. Equal values share one check. */
export interface CheckSpec {
  readonly type: CheckType;
  readonly service: CheckService;
  readonly protocol: "tcp" | "udp" | "fwm";
  /** Of the real server. */
  readonly address: string;
  /** The port checks go to; 0 if there is none. */
  readonly port: number;
  /** The real server's configured port (0 if left out), and the virtual service: arguments of external checks. */
  readonly realPort: number;
  readonly virtualAddress: string;
  readonly virtualPort: number;
  /** As written, with the leading `/` that ldirectord puts in front. */
  readonly request: string;
  /** Perl regular expression; empty: any answer will do. */
  readonly receive: string;
  readonly httpMethod: "GET" | "HEAD";
  readonly virtualHost: string;
  readonly login: string;
  readonly password: string;
  readonly database: string;
  readonly secret: string;
  readonly command: string;
  /** Whole check, milliseconds: connect, ping (a try), external, ldap, radius. */
  readonly checkTimeoutMs: number;
  /** Whole check, milliseconds: negotiate checks. */
  readonly negotiateTimeoutMs: number;
  /** Tries of a ping check. */
  readonly checkCount: number;
}

export interface ConfiguredRealServer {
  readonly position: Position;
  readonly address: string;
  /** As in the table: with gate and ipip the virtual service's, under a firewall mark as configured. */
  readonly port: number;
  readonly method: ForwardingMethod;
  readonly weight: number;
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  readonly check: CheckSpec;
}

export interface Fallback {
  readonly address: string;
  readonly port: number;
  readonly method: ForwardingMethod;
}

export interface EmailAlert {
  readonly to: readonly string[];
  /** Seconds between repetitions; 0: none. */
  readonly frequency: number;
  readonly status: readonly ("starting" | "running" | "stopping" | "reloading")[];
  readonly smtp: string;
}

/** One `virtual=` section with every default filled in. */
export interface ConfiguredService {
  readonly position: Position;
  readonly identity: ServiceIdentity;
  readonly scheduler: Scheduler;
  readonly schedulerFlags: readonly string[];
  readonly persistence?: Persistence;
  readonly onePacket: boolean;
  /** Not of the file but of the command line, `--set`. */
  readonly idleTimeout?: number;
  readonly limits?: ConnectionLimits;
  readonly realServers: readonly ConfiguredRealServer[];
  /** The section's own, else the global one of its family. */
  readonly fallback?: Fallback;
  readonly fallbackCommand: string;
  readonly quiescent: boolean;
  readonly cleanStop: boolean;
  /** Pause between two checks of a real server, milliseconds. */
  readonly checkIntervalMs: number;
  /** Consecutive failures that take a real server down. */
  readonly failureCount: number;
  readonly monitorFile: string;
  readonly serviceName: string;
  readonly comment: string;
  readonly emailAlert: EmailAlert;
}

/** What of a service decides which data plane can serve it: one of the file, or one that was made by hand. */
export interface PlannedService extends Omit<VirtualService, "realServers"> {
  readonly realServers: readonly Pick<RealServer, "address" | "port" | "method">[];
  readonly fallback?: Fallback;
}

/** A whole ldirectord.cf, every default filled in. */
export interface Config {
  readonly file: string;
  readonly services: readonly ConfiguredService[];
  readonly autoreload: boolean;
  /** `/path` of a file, else a syslog facility. */
  readonly logFile: string;
  readonly supervised: boolean;
  readonly fork: boolean;
  readonly readdQuiescent: boolean;
  readonly maintenanceDir: string;
  readonly callback: string;
  readonly execute: readonly string[];
  readonly emailAlertFrom: string;
}
