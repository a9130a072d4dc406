import type { Change } from "../model/change.ts";
import { printIdentity, realServerKey } from "../model/service.ts";
import type { VirtualService } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";
import { plan } from "./plan.ts";

/** What decides which differences of the tables are ours to remove. */
export interface Scope {
  /** What was brought about before. */
  readonly asserted: DirectorState;
  /** Targets, as {@link targetOf} prints them, of changes that could not be applied. */
  readonly failed: ReadonlySet<string>;
  /** Services, as `printIdentity` prints them, that this director or one before it has put there. */
  readonly own: ReadonlySet<string>;
  /** Targets that somebody has just changed by hand: what is desired of them now is due. Absent: none. */
  readonly touched?: ReadonlySet<string>;
  /** At start and reload: the services of the file are made what it says, whatever was done to them by hand. */
  readonly thorough: boolean;
  /** `readdquiescent`: an entry that was removed by hand comes back with weight 0 when its real server goes down. */
  readonly readdQuiescent: boolean;
}

/** What a change is about: `SERVICE`, or `SERVICE REAL-SERVER`. */
export function targetOf(change: Change): string {
  switch (change.kind) {
    case "add-service":
    case "edit-service":
      return printIdentity(change.service.identity);
    case "remove-service":
      return printIdentity(change.identity);
    case "add-real-server":
    case "edit-real-server":
      return `${printIdentity(change.identity)} ${realServerKey(change.realServer)}`;
    case "remove-real-server":
      return `${printIdentity(change.identity)} ${realServerKey(change)}`;
  }
}

/**
 * The changes from `actual` to `desired` that are due, as ldirectord 4.12 has it: what was changed by hand stays as it
 * is until the director wants something else there, or until a start or reload; and services of others are left alone.
 * One thing is better: a service of the file that has vanished is made again, with all its real servers.
 */
export function planWithin(desired: DirectorState, actual: DirectorState, scope: Scope): Change[] {
  const news = new Set(plan(desired, scope.asserted).map(targetOf));
  const asserted = new Set(scope.asserted.services.flatMap(entriesOf));
  const present = new Set(actual.services.map(({ identity }) => printIdentity(identity)));
  return plan(desired, actual).filter((change) => {
    const target = targetOf(change);
    if (scope.touched?.has(target) === true || scope.failed.has(target)) return true;
    if (change.kind === "remove-service") return scope.own.has(target);
    if (scope.thorough) return true;
    if (news.has(target)) return scope.readdQuiescent || !isReaddedQuiescent(change, asserted);
    return !present.has(printIdentity("service" in change ? change.service.identity : change.identity));
  });
}

function entriesOf({ identity, realServers }: VirtualService): string[] {
  return realServers.map((realServer) => `${printIdentity(identity)} ${realServerKey(realServer)}`);
}

/** An entry that was there and is to be made again only to say that its real server is down. */
function isReaddedQuiescent(change: Change, asserted: ReadonlySet<string>): boolean {
  return change.kind === "add-real-server" && change.realServer.weight === 0 && asserted.has(targetOf(change));
}
