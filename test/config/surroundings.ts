import { printDiagnostic } from "../../src/config/diagnostics.ts";
import type { Files } from "../../src/config/files.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { ConfigDeps, ParseResult } from "../../src/config/parse.ts";
import { parseServices } from "../../src/config/resolve.ts";
import type { Resolver } from "../../src/config/resolve.ts";
import type { Config, ConfiguredService } from "../../src/model/config.ts";

const services = parseServices(`
ftp 21/tcp
domain 53/tcp
domain 53/udp
http 80/tcp www
https 443/tcp
syslog 514/udp
`);

const hosts: Readonly<Record<string, string>> = {
  "ipv4 web1": "10.0.0.11",
  "ipv4 web3.example.com": "10.0.0.13",
  "ipv6 web1": "2001:DB8:0::11",
};

/** Knows a few names and asks nobody. */
export const resolver: Resolver = {
  host: async (name, family) => Promise.resolve(hosts[`${family} ${name}`]),
  service: (name, protocol) => services.get(protocol === undefined ? name : `${name}/${protocol}`),
};

/** `/var` and `/tmp` are there, and all in them can be written. */
export const files: Files = {
  isDirectory: (path) => path === "/var" || path === "/tmp",
  appendError: (path) => (/^\/(var|tmp)\//.test(path) ? undefined : "no such directory"),
};

export const deps: ConfigDeps = {
  resolver,
  files,
  hostName: "director",
  compileRegex: (pattern) =>
    pattern.includes("(") && !pattern.includes(")") ? "missing closing parenthesis" : undefined,
};

export function parse(text: string | Uint8Array): Promise<ParseResult> {
  return parseConfig(text, "f", deps);
}

/** The diagnostics as printed, without `f:`, and without two hints that are about most files of the tests. */
export async function diagnose(text: string | Uint8Array): Promise<string[]> {
  const { diagnostics } = await parse(text);
  return diagnostics
    .map((each) => printDiagnostic(each).slice(2))
    .filter((each) => !/quiescent is not|a file that ends in this line/.test(each));
}

/** The configuration of a text that must be good. */
export async function configOf(text: string): Promise<Config> {
  const { config, diagnostics } = await parse(text);
  if (config === undefined) throw new Error(diagnostics.map(printDiagnostic).join("\n"));
  return config;
}

/** The only service of a text that must be good. */
export async function serviceOf(text: string): Promise<ConfiguredService> {
  const [service, ...others] = (await configOf(text)).services;
  if (service === undefined || others.length > 0) throw new Error("expected one service");
  return service;
}
