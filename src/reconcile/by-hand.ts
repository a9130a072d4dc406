/** What a change by hand does to the overrides, and when an override has had its time. Pure. */
import type { Change } from "../model/change.ts";
import type { Config, ConfiguredService } from "../model/config.ts";
import { overrideTarget } from "../model/override.ts";
import type {
  HandChange,
  Override,
  OverrideSetting,
  Owner,
  RealServerChange,
  ServiceSettings,
} from "../model/override.ts";
import { familyOf, familyOfService, printIdentity, realServerKey } from "../model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";
import { fallbackInTable, inTable } from "./desire.ts";
import { sameRealServer, sameSettings } from "./plan.ts";

/** What the daemon knows, and nobody else. */
export interface FileView {
  readonly config: Config;
  /** What file and checks ask for, without any override. */
  readonly wanted: DirectorState;
  /** Whether the checks of a real server of the file say that it is up. */
  isUp(identity: ServiceIdentity, key: string): boolean;
}

export interface HandSurroundings {
  readonly overrides: readonly Override[];
  /** What packets meet. */
  readonly actual: DirectorState;
  /** Services, as `printIdentity` prints them, that a director has put there, or has in its file. */
  readonly ofDirector: ReadonlySet<string>;
  /** Absent: no daemon runs. */
  readonly file?: FileView;
  readonly owner: Owner;
  readonly now: Date;
}

/** `code`: an errno's name, as the kernel's IPVS would answer. */
export type HandOutcome =
  | { readonly refused: { readonly code: string; readonly message: string } }
  | { readonly overrides: readonly Override[] };

/**
 * The overrides after a change by hand, or why the kernel's IPVS would refuse it (net/netfilter/ipvs/ip_vs_ctl.c). A
 * change that restores what the file says leaves no override behind, nor does one of a service that is nobody's: in no
 * file, and not added by hand.
 */
export function byHand(change: HandChange, surroundings: HandSurroundings): HandOutcome {
  const { actual, ofDirector } = surroundings;
  if (change.kind === "remove-all-services") {
    return { overrides: removedServices(surroundings) };
  }
  const { identity } = change;
  const key = printIdentity(identity);
  const present = actual.services.find((service) => printIdentity(service.identity) === key);
  if (change.kind === "add-service") {
    if (present !== undefined) return refused("EEXIST", `the service ${key} is there already`);
    return { overrides: [...othersOf(key, surroundings), ...addedService(identity, change.settings, surroundings)] };
  }
  if (present === undefined) return refused("ESRCH", `there is no service ${key}`);
  if (change.kind === "remove-service") {
    return { overrides: [...othersOf(key, surroundings), ...removedService(identity, surroundings)] };
  }
  const isOurs = ofDirector.has(key) || surroundings.overrides.some((each) => overrideTarget(each) === key);
  const { overrides } = surroundings;
  if (change.kind === "edit-service") {
    if (!isOurs) return { overrides };
    const setting = serviceSetting(identity, change.settings, surroundings);
    return { overrides: put(overrides, { identity }, setting, surroundings) };
  }
  const endpoint = change.kind === "remove-real-server" ? change : change.realServer;
  const before = present.realServers.find((each) => realServerKey(each) === realServerKey(endpoint));
  const refusal = realServerRefusal(change, before !== undefined);
  if (refusal !== undefined) return refusal;
  if (!isOurs) return { overrides };
  const target = { identity, realServer: { address: endpoint.address, port: endpoint.port } };
  const setting =
    change.kind === "remove-real-server"
      ? removedRealServer(target, surroundings)
      : realServerSetting(change.kind, target, change.realServer, surroundings);
  return { overrides: put(overrides, target, setting, surroundings) };
}

type RealServerTarget = Required<Pick<Override, "identity" | "realServer">>;

function realServerRefusal(change: RealServerChange, present: boolean): HandOutcome | undefined {
  const service = printIdentity(change.identity);
  if (change.kind !== "remove-real-server") {
    const { address, method, upperThreshold, lowerThreshold } = change.realServer;
    if (familyOf(address) !== familyOfService(change.identity) && method !== "ipip") {
      return refused("EINVAL", `real server ${address} is of another address family than the service ${service}`);
    }
    if (lowerThreshold > upperThreshold) return refused("ERANGE", "the lower threshold is above the upper one");
  }
  const key = realServerKey(change.kind === "remove-real-server" ? change : change.realServer);
  if (change.kind === "add-real-server") {
    return present ? refused("EEXIST", `the service ${service} has the real server ${key} already`) : undefined;
  }
  return present ? undefined : refused("ENOENT", `the service ${service} has no real server ${key}`);
}

function refused(code: string, message: string): HandOutcome {
  return { refused: { code, message } };
}

function othersOf(key: string, { overrides }: HandSurroundings): Override[] {
  return overrides.filter(({ identity }) => printIdentity(identity) !== key);
}

/** With the override in place of one of the same target, or without any if there is no setting. */
function put(
  overrides: readonly Override[],
  target: Pick<Override, "identity" | "realServer">,
  setting: OverrideSetting | undefined,
  { owner, now }: HandSurroundings,
): Override[] {
  const name = overrideTarget(target);
  const before = overrides.find((each) => overrideTarget(each) === name);
  if (setting === undefined) return overrides.filter((each) => each !== before);
  // Said once more it is still the first one's word.
  if (before !== undefined && sameSetting(before.setting, setting)) return [...overrides];
  const override: Override = { ...target, setting, owner, since: now };
  return before === undefined ? [...overrides, override] : overrides.map((each) => (each === before ? override : each));
}

function sameSetting(a: OverrideSetting, b: OverrideSetting): boolean {
  if (a.kind === "real-server" && b.kind === "real-server") {
    return a.added === b.added && a.despiteChecks === b.despiteChecks && sameRealServer(a.realServer, b.realServer);
  }
  if (a.kind === "service" && b.kind === "service") {
    const identity: ServiceIdentity = { kind: "mark", mark: 0, family: "ipv4" }; // Equal ones are no difference.
    return a.added === b.added && sameSettings({ identity, ...a.settings }, { identity, ...b.settings });
  }
  return a.kind === b.kind;
}

/** What it does to the tables where they stand alone. */
export function changesByHand(change: HandChange, actual: DirectorState): Change[] {
  switch (change.kind) {
    case "remove-all-services":
      return actual.services.map(({ identity }) => ({ kind: "remove-service", identity }));
    case "add-service":
    case "edit-service": {
      const { kind, identity, settings } = change;
      const before = actual.services.find((each) => printIdentity(each.identity) === printIdentity(identity));
      const { idleTimeout, limits, realServers = [] } = before ?? {};
      const service: VirtualService = {
        identity,
        ...settings,
        ...(idleTimeout !== undefined && { idleTimeout }),
        ...(limits !== undefined && { limits }),
        realServers,
      };
      return [{ kind, service }];
    }
    default:
      return [change];
  }
}

/** What ipvsadm can say of it. */
export function settingsOf(service: ServiceSettings): ServiceSettings {
  const { scheduler, schedulerFlags, persistence, onePacket, persistenceEngine } = service;
  return {
    scheduler,
    schedulerFlags,
    onePacket,
    ...(persistence !== undefined && { persistence }),
    ...(persistenceEngine !== undefined && { persistenceEngine }),
  };
}

function configuredService(key: string, file: FileView | undefined): ConfiguredService | undefined {
  return file?.config.services.find(({ identity }) => printIdentity(identity) === key);
}

function serviceSetting(
  identity: ServiceIdentity,
  settings: ServiceSettings,
  { ofDirector, file }: HandSurroundings,
): OverrideSetting | undefined {
  const key = printIdentity(identity);
  const configured = configuredService(key, file);
  return configured !== undefined && saysFile(settings, configured)
    ? undefined
    : { kind: "service", settings, added: !ofDirector.has(key) };
}

function saysFile(settings: ServiceSettings, configured: ConfiguredService): boolean {
  const { identity } = configured;
  return sameSettings({ identity, ...settings }, { identity, ...settingsOf(configured) });
}

/**
 * An added service is empty, as ipvsadm's user expects: of one of the file, which was removed before, each real server
 * that would be there is removed until it is added, too.
 */
function addedService(
  identity: ServiceIdentity,
  settings: ServiceSettings,
  surroundings: HandSurroundings,
): readonly Override[] {
  const { file, owner, now } = surroundings;
  const setting = serviceSetting(identity, settings, surroundings);
  const key = printIdentity(identity);
  const wanted = file?.wanted.services.find((service) => printIdentity(service.identity) === key);
  return [
    ...(setting === undefined ? [] : [{ identity, setting, owner, since: now }]),
    ...(wanted?.realServers ?? []).map(({ address, port }): Override => ({
      identity,
      realServer: { address, port },
      setting: { kind: "removed" },
      owner,
      since: now,
    })),
  ];
}

/** Also those that are not in the tables now, so that none comes back. */
function removedServices(surroundings: HandSurroundings): readonly Override[] {
  const { overrides, actual, file } = surroundings;
  const before = overrides.filter(({ realServer, setting }) => realServer === undefined && setting.kind === "removed");
  const known = new Set(before.map(overrideTarget));
  const identities = new Map(
    [...actual.services, ...(file?.config.services ?? [])].map(({ identity }) => [printIdentity(identity), identity]),
  );
  const now = [...identities].filter(([key]) => !known.has(key));
  return [...before, ...now.flatMap(([, identity]) => removedService(identity, surroundings))];
}

/** What was never the director's is simply gone. */
function removedService(identity: ServiceIdentity, surroundings: HandSurroundings): readonly Override[] {
  const { ofDirector, owner, now } = surroundings;
  if (!ofDirector.has(printIdentity(identity))) return [];
  return [{ identity, setting: { kind: "removed" }, owner, since: now }];
}

/** As the file has it, while its real server is up; undefined if the file knows nothing of it. */
function fileEntry(configured: ConfiguredService | undefined, key: string): RealServer | undefined {
  const found = configured?.realServers.findLast((each) => realServerKey(each) === key);
  if (found !== undefined) return inTable(found);
  const fallback = configured?.fallback;
  return fallback !== undefined && realServerKey(fallback) === key ? fallbackInTable(fallback) : undefined;
}

function isChecked(configured: ConfiguredService | undefined, key: string): boolean {
  return configured?.realServers.some((each) => realServerKey(each) === key) === true;
}

function removedRealServer(target: RealServerTarget, surroundings: HandSurroundings): OverrideSetting | undefined {
  const { overrides, ofDirector, file } = surroundings;
  const service = printIdentity(target.identity);
  if (!ofDirector.has(service)) return undefined;
  const before = overrides.find((each) => overrideTarget(each) === overrideTarget(target))?.setting;
  const inFile = fileEntry(configuredService(service, file), realServerKey(target.realServer)) !== undefined;
  const added = before?.kind === "real-server" && before.added;
  return inFile || (file === undefined && !added) ? { kind: "removed" } : undefined;
}

function realServerSetting(
  kind: "add-real-server" | "edit-real-server",
  target: RealServerTarget,
  realServer: RealServer,
  { overrides, ofDirector, file }: HandSurroundings,
): OverrideSetting | undefined {
  const service = printIdentity(target.identity);
  const key = realServerKey(realServer);
  const before = overrides.find((each) => overrideTarget(each) === overrideTarget(target))?.setting;
  const configured = configuredService(service, file);
  const fromFile = fileEntry(configured, key);
  if (file === undefined || fromFile === undefined) {
    const known = before?.kind === "real-server" ? !before.added : before !== undefined || kind === "edit-real-server";
    const added = !ofDirector.has(service) || file !== undefined || !known;
    return { kind: "real-server", realServer, added, despiteChecks: false };
  }
  const isDown = isChecked(configured, key) && !file.isUp(target.identity, key);
  const wasDespite = before?.kind === "real-server" && before.despiteChecks;
  // Weight 0 needs no defence against the checks where it is only an edit of a quiescent entry.
  const despiteChecks = isDown && (realServer.weight > 0 || kind === "add-real-server" || wasDespite);
  if (!despiteChecks && sameRealServer(realServer, fromFile)) return undefined;
  if (kind === "add-real-server") {
    const wanted = file.wanted.services.find(({ identity }) => printIdentity(identity) === service);
    const now = wanted?.realServers.find((each) => realServerKey(each) === key);
    // What `ipvsadm -S` has saved of a real server that is down is no wish to keep it down.
    if (now !== undefined && sameRealServer(realServer, now)) return undefined;
  }
  return { kind: "real-server", realServer, added: false, despiteChecks };
}

export interface Settled {
  readonly overrides: readonly Override[];
  /** For the log: what has ended, and why. */
  readonly notes: readonly string[];
}

/**
 * Overrides that have had their time are over: the file has what was added by hand, or says what was set by hand; and a
 * real server that serves against its checks follows them again once they have passed.
 * `isProven`: its last check passed.
 */
export function settleOverrides(
  overrides: readonly Override[],
  config: Config,
  isProven: (identity: ServiceIdentity, key: string) => boolean,
): Settled {
  if (overrides.length === 0) return { overrides, notes: [] };
  const services = new Map(config.services.map((service) => [printIdentity(service.identity), service]));
  const taken = new Set(
    overrides
      .filter(({ setting, identity }) => {
        return setting.kind === "service" && setting.added && services.has(printIdentity(identity));
      })
      .map(({ identity }) => printIdentity(identity)),
  );
  const notes = [...taken].map((key) => `${key}: added by hand before, is the file's now`);
  const kept = overrides.flatMap((override): Override | readonly Override[] => {
    const key = printIdentity(override.identity);
    if (taken.has(key)) return [];
    const settled = settle(override, services.get(key), isProven);
    if (settled === undefined) notes.push(`${overrideTarget(override)}: the file says what was set by hand`);
    return settled ?? [];
  });
  const same = kept.length === overrides.length && kept.every((override, index) => override === overrides[index]);
  return same ? { overrides, notes } : { overrides: kept, notes };
}

/** Undefined: it is over. */
function settle(
  override: Override,
  configured: ConfiguredService | undefined,
  isProven: (identity: ServiceIdentity, key: string) => boolean,
): Override | undefined {
  const { identity, setting } = override;
  if (configured === undefined || setting.kind === "removed") return override;
  if (setting.kind === "service") return saysFile(setting.settings, configured) ? undefined : override;
  const key = realServerKey(setting.realServer);
  const fromFile = fileEntry(configured, key);
  if (fromFile === undefined) return override;
  if (setting.added && isChecked(configured, key)) return undefined;
  const despiteChecks = setting.despiteChecks && !isProven(identity, key);
  if (!setting.added && !despiteChecks && sameRealServer(setting.realServer, fromFile)) return undefined;
  return despiteChecks === setting.despiteChecks ? override : { ...override, setting: { ...setting, despiteChecks } };
}
