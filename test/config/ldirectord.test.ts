/**
 * Files read by ldirectord's own code and by ours: the same are refused, and what is read from the others is the same.
 * Each deliberate difference must be named by a diagnostic of the file.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { Address6 } from "ip-address";
import { printDiagnostic } from "../../src/config/diagnostics.ts";
import { printConfig } from "../../src/config/print.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { ParseResult } from "../../src/config/parse.ts";
import { createSystemResolver } from "../../src/config/resolve.ts";
import type { Resolver } from "../../src/config/resolve.ts";
import type { Config, ConfiguredService } from "../../src/model/config.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import { ldirectordMissing, ldirectordProgram } from "../support/ldirectord.ts";
import { configurationFile } from "./grammar.ts";
import { quirks } from "./quirks.ts";

const reader = fileURLToPath(new URL("../../../test/config/ldirectord.pl", import.meta.url));

interface ReadReal {
  readonly server: string;
  readonly port: number | string;
  readonly forward: string;
  readonly weight: number | string;
  readonly "l-threshold"?: number | string;
  readonly "u-threshold"?: number | string;
  readonly request: string;
  readonly receive: string;
}

interface ReadFallback {
  readonly server: string;
  readonly port: number | string | null;
  readonly forward: string;
}

/** A service as ldirectord has it; numbers are what they are, or text. */
interface ReadVirtual {
  readonly addressfamily: number;
  readonly protocol: "tcp" | "udp" | "fwm";
  readonly server?: string;
  readonly port: number | string;
  readonly fwm?: string;
  readonly real: readonly ReadReal[];
  readonly fallback?: ReadFallback;
  readonly [directive: string]: unknown;
}

interface Reading {
  readonly file: string;
  readonly accepted: boolean;
  readonly said: string;
  readonly virtuals: readonly ReadVirtual[];
  readonly execute: readonly string[];
  readonly globals: Readonly<Record<string, unknown>> & {
    readonly fallback: Record<string, ReadFallback> | null;
    readonly fallback6: Record<string, ReadFallback> | null;
  };
}

/** Reads all texts with ldirectord's code. */
function readAll(folder: string, texts: readonly string[]): Reading[] {
  const names = texts.map((text, index) => {
    const name = join(folder, `${index}.cf`);
    writeFileSync(name, text);
    return name;
  });
  const { status, stdout, stderr } = spawnSync("perl", [reader, ldirectordProgram], {
    input: names.join("\n"),
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  assert.equal(status, 0, stderr);
  const readings = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Reading);
  assert.equal(readings.length, texts.length, stderr);
  return readings;
}

// --- both sides in one form

const largest = Number.MAX_SAFE_INTEGER;
const number = (value: unknown): number => Math.min(Number(value ?? 0), largest);
const text = (value: unknown): string => (value === null || value === undefined ? "" : String(value as string));
const trimmed = (value: unknown): string => text(value).replace(/[ \t\r\n\f\v]+$/, "");
const unquoted = (value: unknown): string => trimmed(value).replace(/^"([^"]*)"$/, "$1");
const bare = (address: string): string => {
  const plain = address.replace(/^\[|\]$/g, "");
  return plain.includes(":") && !plain.includes("%") ? new Address6(plain).correctForm() : plain;
};
const longestSeconds = Math.floor((2 ** 31 - 1) / 1000);

function keyOf(virtual: ReadVirtual): string {
  if (virtual.protocol === "fwm") return `fwm${virtual.addressfamily === 2 ? "" : "6"}:${number(virtual.fwm)}`;
  return `${virtual.protocol}:${text(virtual.server)}:${number(virtual.port)}`;
}

/** The port of an entry of the table: ipvsadm puts the service's in place of one that cannot be served. */
function tablePort(port: unknown, forward: string, virtual: ReadVirtual): number {
  if (virtual.protocol === "fwm") return number(port);
  return forward === "masq" ? number(port) : number(virtual.port);
}

function seconds(value: unknown): number {
  return Math.min(number(value) === 0 ? longestSeconds : number(value), longestSeconds);
}

function realsOf(virtual: ReadVirtual): Map<string, object> {
  const reals = new Map<string, object>();
  for (const real of virtual.real) {
    // ipvsadm takes no such weight or thresholds: what an earlier line of the same server has made stays.
    if (number(real.weight) > 65_535 || number(real["l-threshold"]) > number(real["u-threshold"])) continue;
    const address = bare(real.server);
    const port = tablePort(real.port, real.forward, virtual);
    reals.set(realServerKey({ address, port }), {
      method: real.forward,
      weight: number(real.weight),
      lowerThreshold: number(real["l-threshold"]),
      upperThreshold: number(real["u-threshold"]),
      request: real.request,
      receive: real.receive,
      realPort: number(real.port),
      ...(virtual["checkport"] !== undefined && { checkPort: number(virtual["checkport"]) }),
      type: virtual["checktype"] === "combined" ? `combined ${number(virtual["num_connects"])}` : virtual["checktype"],
      service: virtual["service"],
      checkTimeout: seconds(virtual["checktimeout"]),
      negotiateTimeout: seconds(virtual["negotiatetimeout"]),
      login: virtual["login"],
      password: virtual["passwd"],
      database: virtual["database"],
      secret: virtual["secret"],
      command: trimmed(virtual["checkcommand"]),
      virtualHost: trimmed(virtual["virtualhost"]),
      httpMethod: virtual["httpmethod"],
      checkCount: Math.max(number(virtual["checkcount"]), 1),
    });
  }
  return reals;
}

function ourRealsOf(service: ConfiguredService, virtual: ReadVirtual): Map<string, object> {
  return new Map(
    service.realServers.map((real) => {
      const { check } = real;
      return [
        realServerKey(real),
        {
          method: real.method,
          weight: real.weight,
          lowerThreshold: real.lowerThreshold,
          upperThreshold: real.upperThreshold,
          request: check.request,
          receive: check.receive,
          realPort: check.realPort,
          ...(virtual["checkport"] !== undefined && { checkPort: check.port }),
          type: check.type.kind === "combined" ? `combined ${check.type.connects}` : check.type.kind,
          service: check.service,
          checkTimeout: check.checkTimeoutMs / 1000,
          negotiateTimeout: check.negotiateTimeoutMs / 1000,
          login: check.login,
          password: check.password,
          database: check.database,
          secret: check.secret,
          command: check.command,
          virtualHost: check.virtualHost,
          httpMethod: check.httpMethod,
          checkCount: check.checkCount,
        },
      ];
    }),
  );
}

const statusBits = { starting: 1, running: 2, stopping: 4, reloading: 8 } as const;

function prefixOf(netmask: unknown, virtual: ReadVirtual): number {
  if (virtual.addressfamily !== 2) return netmask === undefined ? 128 : number(netmask);
  const mask = text(netmask ?? "255.255.255.255").split(".");
  return mask.reduce((sum, octet) => sum + Number(octet).toString(2).replaceAll("0", "").length, 0);
}

function settingsOf(virtual: ReadVirtual, { globals }: Reading): object {
  const own = (name: string): unknown => virtual[name] ?? globals[name];
  const shared = virtual.addressfamily === 2 ? globals.fallback : globals.fallback6;
  const fallback = virtual.fallback ?? shared?.[virtual.protocol] ?? undefined;
  const interval = globals["fork"] === "yes" ? own("checkinterval") : globals["checkinterval"];
  return {
    scheduler: virtual["scheduler"],
    flags: text(virtual["schedflags"]),
    persistence:
      virtual["persistent"] === undefined
        ? undefined
        : { timeout: number(virtual["persistent"]), prefix: prefixOf(virtual["netmask"], virtual) },
    onePacket: virtual.protocol === "udp" && virtual["ops"] === "yes",
    quiescent: own("quiescent") === "yes",
    cleanStop: own("cleanstop") === "yes",
    failureCount: Math.max(number(virtual["failurecount"]), 1),
    interval: Math.min(Math.max(number(interval), 1), longestSeconds),
    // ipvsadm takes no address with a zone.
    fallback: fallback !== undefined &&
      !fallback.server.includes("%") && {
        address: bare(fallback.server),
        port: tablePort(fallback.port ?? virtual.port, fallback.forward, virtual),
        method: fallback.forward,
      },
    fallbackCommand: trimmed(own("fallbackcommand")),
    monitorFile: unquoted(virtual["monitorfile"]),
    serviceName: trimmed(virtual["servicename"]),
    comment: trimmed(virtual["comment"]),
    mailTo: unquoted(own("emailalert"))
      .split(",")
      .map((each) => each.trim())
      .filter((each) => each !== ""),
    mailFrequency: number(own("emailalertfreq")),
    mailStatus: number(own("emailalertstatus")),
    mailServer: text(own("smtp")),
  };
}

function ourSettingsOf(service: ConfiguredService): object {
  const { fallback, emailAlert } = service;
  return {
    scheduler: service.scheduler,
    flags: service.schedulerFlags.join(","),
    persistence: service.persistence && { ...service.persistence },
    onePacket: service.onePacket,
    quiescent: service.quiescent,
    cleanStop: service.cleanStop,
    failureCount: service.failureCount,
    interval: service.checkIntervalMs / 1000,
    fallback: fallback !== undefined && { address: fallback.address, port: fallback.port, method: fallback.method },
    fallbackCommand: service.fallbackCommand,
    monitorFile: service.monitorFile,
    serviceName: service.serviceName,
    comment: service.comment,
    mailTo: [...emailAlert.to],
    mailFrequency: emailAlert.frequency,
    mailStatus: emailAlert.status.reduce((sum, status) => sum + statusBits[status], 0),
    mailServer: emailAlert.smtp,
  };
}

// --- the comparison

/** What only xlb accepts, each with words of its warning. */
const accepted = [
  /ldirectord refuses/,
  /for ldirectord the blank line \d+ ends that section and this line is an error/,
  /ldirectord takes a file that ends in this line for a duplicate/,
];
/** What only xlb refuses. */
const refused = [
  /expected a Perl regular expression/,
  /expected a range of at most/,
  /expected the address of a fallback server/,
  /netmask whose ones stand before its zeros/,
  // The same port or mark in two spellings, which ipvsadm takes for one.
  /the virtual service \S+ is on line \d+ already/,
];

/** Throws with what differs in the reading of one file. */
function compare(reading: Reading, { config, diagnostics }: ParseResult): void {
  const says = (patterns: readonly RegExp[], severity: string): boolean =>
    diagnostics.some((each) => each.severity === severity && patterns.some((pattern) => pattern.test(each.message)));
  if (config === undefined) {
    const errors = diagnostics.filter(({ severity }) => severity === "error");
    const ours = errors.every(({ message }) => refused.some((pattern) => pattern.test(message)));
    assert.ok(!reading.accepted || ours, "ldirectord accepts it");
    return;
  }
  if (!reading.accepted) {
    assert.ok(says(accepted, "warning"), `ldirectord refuses it: ${reading.said}`);
    return;
  }
  assert.ok(!says(accepted, "warning"), "ldirectord accepts it, though a warning says that it does not");
  compareValues(reading, config, (pattern) => says([pattern], "warning"));
}

function compareValues(reading: Reading, config: Config, warned: (pattern: RegExp) => boolean): void {
  const { globals } = reading;
  assert.deepEqual(
    {
      autoreload: config.autoreload,
      fork: config.fork,
      supervised: config.supervised,
      readdQuiescent: config.readdQuiescent,
      callback: config.callback,
      logFile: config.logFile,
      maintenanceDir: config.maintenanceDir,
      execute: [...config.execute].sort(),
      from: config.emailAlertFrom,
    },
    {
      autoreload: globals["autoreload"] === "yes",
      fork: globals["fork"] === "yes",
      supervised: globals["supervised"] === "yes",
      readdQuiescent: globals["readdquiescent"] === "yes",
      callback: text(globals["callback"]),
      logFile: globals["logfile"],
      maintenanceDir: trimmed(globals["maintenancedir"]),
      execute: reading.execute.map((name) => trimmed(name) || "ldirectord.cf").sort(),
      from: trimmed(globals["emailalertfrom"]),
    },
  );
  const ours = new Map(config.services.map((service) => [printIdentity(service.identity), service]));
  for (const virtual of reading.virtuals) {
    const key = keyOf(virtual);
    const service = ours.get(key);
    if (service === undefined) {
      const refusedByIpvs = new RegExp(`there is no service ${key.replaceAll(/[.[\]]/g, "\\$&")}, as with`);
      assert.ok(warned(refusedByIpvs), `no service ${key}`);
      continue;
    }
    ours.delete(key);
    const settings: Record<string, unknown> = { ...settingsOf(virtual, reading) };
    const ourSettings: Record<string, unknown> = { ...ourSettingsOf(service) };
    if (virtual.protocol === "fwm" && warned(/the global fallback serves this firewall mark/)) {
      for (const each of [settings, ourSettings]) delete each["fallback"];
    }
    assert.deepEqual(ourSettings, settings, key);
    const reals = realsOf(virtual);
    const ourReals = ourRealsOf(service, virtual);
    // Of these ldirectord has not read all, and of an address that IPVS refuses ours have none.
    if (warned(/ldirectord ignores them when the request is written with a leading/)) continue;
    for (const [name, real] of reals) {
      if (!ourReals.has(name) && warned(/it gets no connections, as with ldirectord/)) continue;
      assert.deepEqual(ourReals.get(name), real, `${key} ${name}`);
    }
    for (const name of ourReals.keys()) {
      assert.ok(
        reals.has(name) || warned(/ldirectord makes no real servers of this range/),
        `${key}: ${name} is ours only`,
      );
    }
  }
  assert.deepEqual([...ours.keys()], [], "services that ldirectord does not have");
}

describe("ldirectord's own code as the judge", { skip: ldirectordMissing() }, () => {
  const folder = mkdtempSync(join(tmpdir(), "xlb-ldirectord-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const system = createSystemResolver();
  const resolver: Resolver = {
    ...system,
    host: (name, family) =>
      name.toLowerCase() === "localhost" ? system.host(name, family) : Promise.resolve(undefined),
  };
  const deps = { resolver, compileRegex: () => undefined, hostName: "director.example" };

  async function judge(texts: readonly string[]): Promise<{ accepted: number; failures: string[] }> {
    const failures: string[] = [];
    const readings = readAll(folder, texts);
    for (const [index, reading] of readings.entries()) {
      const ours = await parseConfig(texts[index]!, "f", deps);
      try {
        compare(reading, ours);
      } catch (cause) {
        const said = ours.diagnostics.map(printDiagnostic).join("\n");
        failures.push(
          `${(cause as Error).message}\n--- ${JSON.stringify(texts[index])}\n${texts[index]}\n--- ours\n${said}\n`,
        );
      }
    }
    return { accepted: readings.filter((reading) => reading.accepted).length, failures };
  }

  test("files for each rule and quirk are read the same", async () => {
    const { failures } = await judge(Object.values(quirks(folder)).flat());
    assert.equal(failures.length, 0, `${failures.length} files\n${failures.join("\n")}`);
  });

  const seed = Number(process.env["XLB_SEED"] ?? 20_261_123);
  const numRuns = Number(process.env["XLB_FILES"] ?? 350);
  for (const oddity of [0, 3, 20]) {
    test(`random files, ${oddity} of 100 values odd, are read the same`, async () => {
      const texts = fc.sample(configurationFile({ folder, oddity }), { seed, numRuns });
      const { accepted: good, failures } = await judge(texts);
      assert.equal(failures.length, 0, `seed ${seed}, ${failures.length} files\n${failures.slice(0, 5).join("\n")}`);
      // What we print of them is a file for ldirectord, too.
      const printed: string[] = [];
      for (const text of texts) {
        const { config } = await parseConfig(text, "f", deps);
        if (config !== undefined && !text.includes("#")) printed.push(printConfig(config));
      }
      const again = await judge(printed);
      assert.equal(again.failures.length, 0, `seed ${seed}, printed\n${again.failures.slice(0, 5).join("\n")}`);
      assert.equal(again.accepted, printed.length);
      // Not a comparison of refusals only.
      assert.ok(good > numRuns / 10, `${good} of ${numRuns} are good`);
    });
  }
});
