import type { CheckSpec, Config, ConfiguredRealServer, ConfiguredService, Fallback } from "../../src/model/config.ts";
import type { RealServer, ServiceIdentity } from "../../src/model/service.ts";

const position = { line: 1, column: 1 };

const check: CheckSpec = {
  type: { kind: "negotiate" },
  service: "http",
  protocol: "tcp",
  address: "192.168.200.102",
  port: 80,
  realPort: 80,
  virtualAddress: "10.10.10.53",
  virtualPort: 80,
  request: "/check.txt",
  receive: "webserverisworking",
  httpMethod: "GET",
  virtualHost: "",
  login: "",
  password: "",
  database: "",
  secret: "",
  command: "/bin/true",
  checkTimeoutMs: 30_000,
  negotiateTimeoutMs: 30_000,
  checkCount: 1,
};

export const identity: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.53", port: 80 };

export function configuredReal(address: string, changes: Partial<ConfiguredRealServer> = {}): ConfiguredRealServer {
  return { position, ...real(address), check: { ...check, address }, ...changes };
}

export function real(address: string, weight = 1, changes: Partial<RealServer> = {}): RealServer {
  return { address, port: 80, method: "gate", weight, upperThreshold: 0, lowerThreshold: 0, ...changes };
}

export const fallback: Fallback = { address: "127.0.0.1", port: 80, method: "gate" };

/** The tutorial's service. */
export function configuredService(changes: Partial<ConfiguredService> = {}): ConfiguredService {
  return {
    position,
    identity,
    scheduler: "lblc",
    schedulerFlags: [],
    persistence: { timeout: 100, prefix: 32 },
    onePacket: false,
    realServers: [configuredReal("192.168.200.102"), configuredReal("192.168.200.103")],
    fallback,
    fallbackCommand: "",
    quiescent: false,
    cleanStop: true,
    checkIntervalMs: 2_000,
    failureCount: 1,
    monitorFile: "",
    serviceName: "",
    comment: "",
    emailAlert: { to: [], frequency: 0, status: [], smtp: "" },
    ...changes,
  };
}

export function config(...services: ConfiguredService[]): Config {
  return {
    file: "/etc/ha.d/ldirectord.cf",
    services,
    autoreload: true,
    logFile: "/var/log/ldirectord.log",
    supervised: false,
    fork: false,
    readdQuiescent: false,
    maintenanceDir: "",
    callback: "",
    execute: [],
    emailAlertFrom: "",
  };
}
