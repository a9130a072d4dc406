import { setTimeout as sleep } from "node:timers/promises";
import type { ApplyResult, DataPlane } from "../dataplane/data-plane.ts";
import { printChange } from "../model/change.ts";
import type { Change } from "../model/change.ts";
import type { Config, PlannedService } from "../model/config.ts";
import type { Override } from "../model/override.ts";
import { printIdentity } from "../model/service.ts";
import type { ServiceIdentity } from "../model/service.ts";
import type { DirectorState } from "../model/state.ts";
import { desire } from "./desire.ts";
import type { Desired, DrainLookup, HealthLookup, NotActive } from "./desire.ts";
import { narrator } from "./narrate.ts";
import type { Narration, Plot } from "./narrate.ts";
import { plan } from "./plan.ts";
import { planWithin, targetOf } from "./plan-scope.ts";

/** Pause before a failed change is tried again, milliseconds; doubled up to the drift interval. */
const firstRetryMs = 500;
/** A shorter round is followed by the next at once. */
const longRoundMs = 20;
const longestRestMs = 500;

export interface ReconcilerLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export interface RoundInputs {
  readonly config: Config;
  readonly healthOf: HealthLookup;
  readonly drainOf?: DrainLookup;
  readonly overrides?: readonly Override[];
}

/** What a round is asked to do beside its own work. */
export interface RoundRequest {
  /** Everything in the tables becomes what is desired. */
  readonly thorough?: boolean;
  /** Targets, as `targetOf` prints them, that become what is desired. */
  readonly touched?: Iterable<string>;
  /** Of services that are nobody's. */
  readonly changes?: readonly Change[];
  /** Something else that may only be done by the writer; if it throws the request is rejected. */
  readonly also?: () => void;
}

/** What came out of a round, for whoever tells the world of it. */
export interface RoundReport extends RoundInputs, Pick<Desired, "onFallback"> {
  /** The changes that were made, as they are logged. */
  readonly narrations: readonly Narration[];
}

/** Which services are this director's: kept somewhere that outlives the daemon. Keys are as `printIdentity` prints. */
export interface OwnServices {
  read(): Iterable<string>;
  write(keys: readonly string[]): void;
}

export interface ReconcilerDeps {
  readonly plane: Pick<DataPlane, "read" | "apply" | "refusal">;
  readonly log: ReconcilerLog;
  /** What a round starts from, asked for when it begins. */
  inputs(): RoundInputs;
  /** Pause after which the tables are compared though nobody asked, milliseconds. */
  readonly driftIntervalMs: number;
  /** Services that are in the tables and were never ours are left alone. */
  readonly own: OwnServices;
  /** Called after each round. Must not throw, and not take long. */
  report?(report: RoundReport): void;
}

/** Who awaits a round. */
interface Waiting {
  readonly request: RoundRequest;
  resolve(outcome: RoundOutcome): void;
  reject(cause: unknown): void;
}

type FailedChange = ApplyResult & { readonly error: Error };

/** What the last round left behind. */
export interface RoundOutcome {
  /** Rounds since start, this one included. */
  readonly rounds: number;
  readonly changes: number;
  readonly notActive: readonly NotActive[];
  /** `CHANGE: ERROR`, one for each change that the plane could not apply. */
  readonly failedChanges: readonly string[];
  /** The same by what the change is about, as `targetOf` prints it. */
  readonly failures: ReadonlyMap<string, Error>;
}

/**
 * The only writer of the data plane. A round compares what is desired with what packets meet and applies what is due
 * of the difference: all of it at the start and at a reload, else what the director itself wants anew, so that what
 * was done by hand lasts. Rounds never overlap; requests that come during one are served by the next, together. A round
 * also runs when nobody asked, to find services that have vanished, and sooner while changes fail.
 */
export class Reconciler {
  readonly #deps: ReconcilerDeps;
  #outcome: RoundOutcome = { rounds: 0, changes: 0, notActive: [], failedChanges: [], failures: new Map() };
  #wake = new AbortController();
  #hurry = new AbortController();
  #waiting: Waiting[] = [];
  #consecutiveFailures = 0;
  /** What was brought about, but for what is among the failed targets. */
  #asserted: DirectorState = { services: [] };
  #failedTargets: ReadonlySet<string> = new Set();
  readonly #own: Set<string>;
  /** The next round is thorough. */
  #thorough = true;
  #ended = false;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
    this.#own = new Set(deps.own.read());
  }

  get outcome(): RoundOutcome {
    return this.#outcome;
  }

  /** Asks for a round as soon as the present one is over. */
  request(): void {
    this.#wake.abort();
  }

  /** The outcome of a round that begins after this call. Rejects if the reconciler ends before. */
  round(request: RoundRequest = {}): Promise<RoundOutcome> {
    if (this.#ended) return Promise.reject(new Error("the daemon is stopping"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject });
      this.request();
      this.#hurry.abort();
    });
  }

  /** Runs rounds until the signal aborts; a round that has begun is finished. */
  async run(signal: AbortSignal): Promise<void> {
    let waiting: Waiting[] = [];
    try {
      while (!signal.aborted) {
        this.#wake = new AbortController();
        [waiting, this.#waiting] = [this.#waiting, []];
        const began = performance.now();
        waiting = waiting.filter(doAlso);
        await this.#doRound(waiting.map(({ request }) => request));
        const took = performance.now() - began;
        for (const { resolve } of waiting) resolve(this.#outcome);
        waiting = [];
        await this.#rest(took, signal);
        await this.#pause(AbortSignal.any([signal, this.#wake.signal]));
      }
    } finally {
      this.#ended = true;
      for (const { reject } of [...waiting, ...this.#waiting]) reject(new Error("the daemon is stopping"));
    }
  }

  /**
   * Takes services of this director out of the data plane, after `run` has ended: what `cleanstop=yes` asks for.
   * Returns the services that are left there, ours and others'.
   */
  async removeServices(chosen: (identity: ServiceIdentity) => boolean): Promise<readonly ServiceIdentity[]> {
    const actual = this.#deps.plane.read();
    const inputs = this.#deps.inputs();
    const kept = actual.services.filter(({ identity }) => !this.#own.has(printIdentity(identity)) || !chosen(identity));
    const changes = plan({ services: kept }, actual);
    const { narrations } = await this.#apply(changes, { ...inputs, actual, during: "stop" });
    this.#deps.report?.({ ...inputs, narrations, onFallback: new Map() });
    this.#keepOwn(kept.map(({ identity }) => printIdentity(identity)).filter((key) => this.#own.has(key)));
    return kept.map(({ identity }) => identity);
  }

  async #doRound(requests: readonly RoundRequest[]): Promise<void> {
    const { plane, log } = this.#deps;
    const inputs = this.#deps.inputs();
    const { config, healthOf, drainOf, overrides } = inputs;
    const refusal = (service: PlannedService) => plane.refusal(service);
    const { state, notActive, onFallback } = desire(config, healthOf, refusal, drainOf, overrides);
    const actual = plane.read();
    const thorough = this.#thorough || requests.some((request) => request.thorough === true);
    this.#thorough = false;
    const due = planWithin(state, actual, {
      asserted: this.#asserted,
      failed: this.#failedTargets,
      own: this.#own,
      touched: new Set(requests.flatMap(({ touched = [] }) => [...touched])),
      thorough,
      readdQuiescent: config.readdQuiescent,
    });
    const changes = [...due, ...requests.flatMap((request) => request.changes ?? [])];
    // What was made by hand stays when the daemon ends, as with ldirectord.
    const configured = new Set(config.services.map(({ identity }) => printIdentity(identity)));
    const ofFile = state.services.map(({ identity }) => printIdentity(identity)).filter((key) => configured.has(key));
    // Before they are there: a daemon that dies in between leaves nothing that the next one would not know.
    this.#keepOwn([...this.#own, ...ofFile]);
    const { narrations, failures } = await this.#apply(changes, { ...inputs, actual, during: "start" });
    this.#asserted = state;
    this.#failedTargets = new Set(failures.map(({ change }) => targetOf(change)));
    const lingering = failures.flatMap(({ change }) => (change.kind === "remove-service" ? [targetOf(change)] : []));
    this.#keepOwn([...lingering, ...ofFile]);
    const failed = withoutConsequences(failures);
    const failedChanges = failed.map(({ change, error }) => `${printChange(change)}: ${error.message}`);
    for (const text of news(failedChanges, this.#outcome.failedChanges)) log.error(`Cannot apply: ${text}`);
    const reasons = (list: readonly NotActive[]): string[] => list.map((item) => `${item.service}: ${item.reason}`);
    for (const text of news(reasons(notActive), reasons(this.#outcome.notActive))) log.warn(`Not active: ${text}`);
    this.#consecutiveFailures = failed.length === 0 ? 0 : this.#consecutiveFailures + 1;
    this.#outcome = {
      rounds: this.#outcome.rounds + 1,
      changes: changes.length,
      notActive,
      failedChanges,
      failures: new Map(failures.map(({ change, error }) => [targetOf(change), error])),
    };
    this.#deps.report?.({ ...inputs, narrations, onFallback });
  }

  /** Applies and logs; returns what failed. */
  async #apply(
    changes: readonly Change[],
    plot: Plot,
  ): Promise<{ readonly narrations: readonly Narration[]; readonly failures: readonly FailedChange[] }> {
    if (changes.length === 0) return { narrations: [], failures: [] };
    const narrate = narrator(plot);
    const narrations: Narration[] = [];
    const failures: FailedChange[] = [];
    for (const { change, error } of await this.#deps.plane.apply(changes)) {
      if (error === undefined) narrations.push(...narrate(change));
      else failures.push({ change, error });
    }
    for (const { text } of narrations) this.#deps.log.info(text);
    return { narrations, failures };
  }

  #keepOwn(keys: readonly string[]): void {
    const now = new Set(keys);
    if (now.size === this.#own.size && [...now].every((key) => this.#own.has(key))) return;
    this.#own.clear();
    for (const key of now) this.#own.add(key);
    this.#deps.own.write([...now]);
  }

  /**
   * With thousands of real servers a round takes long, and one for each check that comes in would leave no time for
   * the checks: requests gather for as long as the round took.
   */
  async #rest(took: number, signal: AbortSignal): Promise<void> {
    if (took < longRoundMs || this.#waiting.length > 0) return;
    this.#hurry = new AbortController();
    try {
      await sleep(Math.min(took, longestRestMs), undefined, { signal: AbortSignal.any([signal, this.#hurry.signal]) });
    } catch {
      // Ended early: by the end, or by one who waits for a round.
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { driftIntervalMs } = this.#deps;
    const failures = this.#consecutiveFailures;
    const ms = failures === 0 ? driftIntervalMs : Math.min(driftIntervalMs, firstRetryMs * 2 ** (failures - 1));
    try {
      await sleep(ms, undefined, { signal });
    } catch (cause) {
      if (!signal.aborted) throw cause; // Aborted is what ends a pause early.
    }
  }
}

/** False if it failed, which only the one who asked is told. */
function doAlso({ request, reject }: Waiting): boolean {
  try {
    request.also?.();
    return true;
  } catch (cause) {
    reject(cause);
    return false;
  }
}

/** Without what failed only because its service could not be added. */
function withoutConsequences(failed: readonly FailedChange[]): FailedChange[] {
  const missing = new Set(
    failed.flatMap(({ change }) => (change.kind === "add-service" ? printIdentity(change.service.identity) : [])),
  );
  return failed.filter(({ change }) => "service" in change || !missing.has(printIdentity(change.identity)));
}

/** What was not said in the round before: a failure that lasts is told once. */
function news(now: readonly string[], before: readonly string[]): string[] {
  const said = new Set(before);
  return now.filter((text) => !said.has(text));
}
