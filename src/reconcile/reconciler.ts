import { setTimeout as sleep } from "node:timers/promises";
import type { ApplyResult, DataPlane } from "../dataplane/data-plane.ts";
import { printChange } from "../model/change.ts";
import type { Change } from "../model/change.ts";
import type { Config } from "../model/config.ts";
import { printIdentity } from "../model/service.ts";
import type { ServiceIdentity } from "../model/service.ts";
import { desire } from "./desire.ts";
import type { HealthLookup, NotActive } from "./desire.ts";
import { narrator } from "./narrate.ts";
import { plan } from "./plan.ts";

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
}

export interface ReconcilerDeps {
  readonly plane: Pick<DataPlane, "read" | "apply" | "refusal">;
  readonly log: ReconcilerLog;
  /** What a round starts from, asked for when it begins. */
  inputs(): RoundInputs;
  /** Pause after which the tables are compared though nobody asked, milliseconds. */
  readonly driftIntervalMs: number;
}

/** Who awaits a round. */
interface Waiting {
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
}

/**
 * The only writer of the data plane. A round compares what is desired with what packets meet and applies the
 * difference. Rounds never overlap; requests that come during one are served by the next, together. A round also
 * runs when nobody asked, to repair drift, and sooner while changes fail.
 */
export class Reconciler {
  readonly #deps: ReconcilerDeps;
  #outcome: RoundOutcome = { rounds: 0, changes: 0, notActive: [], failedChanges: [] };
  #wake = new AbortController();
  #hurry = new AbortController();
  #waiting: Waiting[] = [];
  #consecutiveFailures = 0;
  #ended = false;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  get outcome(): RoundOutcome {
    return this.#outcome;
  }

  /** Asks for a round as soon as the present one is over. */
  request(): void {
    this.#wake.abort();
  }

  /** The outcome of a round that begins after this call. Rejects if the reconciler ends before. */
  round(): Promise<RoundOutcome> {
    if (this.#ended) return Promise.reject(new Error("the daemon is stopping"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
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
        await this.#doRound();
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
   * Takes services out of the data plane, after `run` has ended: what `cleanstop=yes` asks for.
   * Returns how many services are left there.
   */
  async removeServices(chosen: (identity: ServiceIdentity) => boolean): Promise<number> {
    const actual = this.#deps.plane.read();
    const kept = actual.services.filter(({ identity }) => !chosen(identity));
    await this.#apply(plan({ services: kept }, actual), narrator(this.#deps.inputs().config, actual));
    return kept.length;
  }

  async #doRound(): Promise<void> {
    const { plane, log } = this.#deps;
    const { config, healthOf } = this.#deps.inputs();
    const { state, notActive } = desire(config, healthOf, (service) => plane.refusal(service));
    const actual = plane.read();
    const changes = plan(state, actual);
    const failed = await this.#apply(changes, narrator(config, actual));
    const failedChanges = failed.map(({ change, error }) => `${printChange(change)}: ${error.message}`);
    for (const text of news(failedChanges, this.#outcome.failedChanges)) log.error(`Cannot apply: ${text}`);
    const reasons = (list: readonly NotActive[]): string[] => list.map((item) => `${item.service}: ${item.reason}`);
    for (const text of news(reasons(notActive), reasons(this.#outcome.notActive))) log.warn(`Not active: ${text}`);
    this.#consecutiveFailures = failed.length === 0 ? 0 : this.#consecutiveFailures + 1;
    this.#outcome = { rounds: this.#outcome.rounds + 1, changes: changes.length, notActive, failedChanges };
  }

  /** Applies and logs; returns what failed. */
  async #apply(changes: readonly Change[], narrate: (change: Change) => string): Promise<FailedChange[]> {
    if (changes.length === 0) return [];
    const failed: FailedChange[] = [];
    for (const { change, error } of await this.#deps.plane.apply(changes)) {
      if (error === undefined) this.#deps.log.info(narrate(change));
      else failed.push({ change, error });
    }
    return withoutConsequences(failed);
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
