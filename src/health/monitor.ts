import type { CheckSpec, ConfiguredRealServer, ConfiguredService } from "../model/config.ts";
import type { CheckResult } from "../model/health.ts";
import type { ServiceIdentity } from "../model/service.ts";
import { startAttempt } from "./attempt.ts";
import type { Attempt } from "./attempt.ts";
import type { Check, CheckSurroundings } from "./check.ts";
import { describeCheck, prepareCheck } from "./checks.ts";
import type { HealthState } from "./transition.ts";

/** One real server of one virtual service: it counts failures for itself, though it may share its check. */
export interface WatchedRealServer {
  readonly identity: ServiceIdentity;
  readonly service: ConfiguredService;
  readonly realServer: ConfiguredRealServer;
  /** `tcp:10.0.0.1:80` and `10.0.0.2:80`. */
  readonly identityText: string;
  readonly realServerText: string;
  readonly address: string;
  readonly port: number;
  readonly failureCount: number;
  readonly check: string;
  /** Absent with `checktype=off`. */
  readonly monitor?: Monitor;
  state: HealthState;
}

/** Jitter of the pause between two attempts: 5 % either way keeps equal intervals from marching in step. */
const jitter = 0.05;

/** One check, made again and again for all real servers that share it. It decides nothing about their health. */
export class Monitor {
  readonly watched = new Set<WatchedRealServer>();
  readonly label: string;
  readonly address: string;
  /** As configured, 0 if left out. */
  readonly realPort: number;
  last: { readonly at: Date; readonly result: CheckResult } | undefined;
  /** No longer wanted: an attempt that is still under way means nothing. */
  retired = false;
  readonly #intervalMs: number;
  readonly #surroundings: CheckSurroundings;
  #spec: CheckSpec;
  #check: Check;
  #attempt: Attempt | undefined;
  #nextPauseShare = 1;

  constructor(spec: CheckSpec, intervalMs: number, surroundings: CheckSurroundings) {
    this.label = describeCheck(spec);
    this.address = spec.address;
    this.realPort = spec.realPort;
    this.#intervalMs = intervalMs;
    this.#surroundings = surroundings;
    this.#spec = spec;
    this.#check = prepareCheck(spec, surroundings);
  }

  /** Takes over other timeouts, from the next attempt on. Everything else in the spec is the same. */
  retune(spec: CheckSpec): void {
    const { checkTimeoutMs, negotiateTimeoutMs, checkCount } = this.#spec;
    if (
      spec.checkTimeoutMs === checkTimeoutMs &&
      spec.negotiateTimeoutMs === negotiateTimeoutMs &&
      spec.checkCount === checkCount
    ) {
      return;
    }
    this.#spec = spec;
    this.#check = prepareCheck(spec, this.#surroundings);
  }

  /** One attempt under the check's deadline. */
  async attempt(): Promise<CheckResult> {
    this.#attempt = startAttempt(this.#check);
    try {
      return await this.#attempt.result;
    } finally {
      this.#attempt = undefined;
    }
  }

  cancel(): void {
    this.#attempt?.cancel();
  }

  /** Shortens the next pause, so that checks that started together drift apart. */
  shortenNextPause(share: number): void {
    this.#nextPauseShare = share;
  }

  /** From the end of one attempt to the start of the next, milliseconds. */
  pauseMs(): number {
    const pause = this.#intervalMs * this.#nextPauseShare * (1 - jitter + 2 * jitter * Math.random());
    this.#nextPauseShare = 1;
    return pause;
  }
}
