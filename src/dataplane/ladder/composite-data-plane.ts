/** Several data planes as one: each service is on the first that can serve it, and on no other. */
import type { Change } from "../../model/change.ts";
import type { PlannedService } from "../../model/config.ts";
import { printIdentity } from "../../model/service.ts";
import type { ServiceIdentity, VirtualService } from "../../model/service.ts";
import type { DirectorState, Timeouts } from "../../model/state.ts";
import type {
  Connection,
  ConnectionFilter,
  InterfaceStatus,
  Placement,
  PlaneMove,
  PlaneMoveTotals,
  PlaneName,
  PlaneStatistics,
  PlaneStatus,
} from "../../model/statistics.ts";
import type { ApplyResult, DataPlane, Handover, ImportReport } from "../data-plane.ts";
import { carry, timeoutsToCarry } from "./carry.ts";
import type { Load } from "./carry.ts";
import { connectionsOnce } from "./connections-once.ts";
import { withInterfaces } from "./interfaces.ts";

/** Moves that are remembered. */
const movesKept = 10;
/** How often a long move says how far it is, milliseconds. */
const tellIntervalMs = 2000;

export interface CompositeLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** One plane of several, which may not be open: because it was not needed yet, or because it cannot be had. */
export interface Rung {
  readonly name: PlaneName;
  /** Opens it, or throws an Error that says why not; asked again as often as `mayOpen` says so. */
  open(): DataPlane;
  /** Whether it may be worth another try after `open` has thrown. */
  mayOpenNow(): boolean;
  /** Opens it when the operator asks for it; absent: as `open`. */
  reopen?(): Promise<DataPlane>;
}

export interface CompositeDeps {
  readonly log: CompositeLog;
  /** Where the addresses of services that the first plane does not meet come in. */
  interfacesOf(services: readonly VirtualService[]): readonly Pick<InterfaceStatus, "name" | "ifindex">[];
}

/** A rung with what became of it. */
interface Step {
  readonly rung: Rung;
  plane: DataPlane | undefined;
  /** Why there is no plane, or why it is not to be used any more; empty if it was not needed yet. */
  reason: string;
  failed: boolean;
  /** The operator wants it not to be used, and only the operator can end that; `failed` is true then, too. */
  barred: boolean;
  /** The bar is as old as the director: not worth telling. */
  readonly unwanted: boolean;
}

type OpenStep = Step & { plane: DataPlane };

interface Running {
  readonly signal: AbortSignal;
  readonly tasks: Set<Promise<void>>;
  readonly fail: (cause: Error) => void;
}

/** Which plane a service belongs on, and why on no faster one (empty on the first). */
interface Place {
  readonly step: Step;
  readonly reason: string;
  /** Absent: nobody has asked for it, it only was on a plane that is left. */
  readonly service?: PlannedService;
  /** The plane meets only a part of its packets, and no other takes it. */
  readonly inPart?: true;
}

/**
 * Made of rungs, the fastest first. `refusal` decides where a service belongs; the next `read` leaves out what is on
 * another plane, so that the reconciler plans it anew, and `apply` then takes it away there. So a service moves as it is
 * added: the new plane has it whole before the old one loses it.
 *
 * Its connections go along, so that packets meet them at every moment. To a plane in front of the kernel's stack (XDP):
 * before packets meet the service there, and once more when they do; what is opened in between goes through to the plane
 * behind until then. From such a plane: the new one gets the templates first, then the old one leaves new connections to
 * the stack, its own ones follow, and it is left last.
 */
export class CompositeDataPlane implements DataPlane {
  readonly #steps: readonly Step[];
  readonly #deps: CompositeDeps;
  readonly #places = new Map<string, Place>();
  #misplaced: ReadonlySet<string> = new Set();
  #timeouts: Timeouts | undefined;
  #running: Running | undefined;
  #listener: () => void = () => {};
  readonly #moves: PlaneMove[] = [];
  /** By the names of both planes. */
  readonly #moveTotals = new Map<string, PlaneMoveTotals>();
  #moving: { from: PlaneName; to: PlaneName; connections: number; readonly began: number } | undefined;
  /** While the operator has a plane changed: what went wrong, which ends it. */
  #troubles: string[] | undefined;

  /**
   * `opened`: planes that are open from the start, by their rung; why others are not is told by `reasons`, and by `barred`
   * why some are not to be used: what is on them goes elsewhere.
   */
  constructor(
    rungs: readonly Rung[],
    opened: ReadonlyMap<PlaneName, DataPlane>,
    reasons: ReadonlyMap<PlaneName, string>,
    deps: CompositeDeps,
    barred: ReadonlyMap<PlaneName, string> = new Map(),
  ) {
    this.#deps = deps;
    this.#steps = rungs.map((rung) => {
      const bar = barred.get(rung.name);
      const reason = bar ?? reasons.get(rung.name) ?? "";
      const unwanted = bar !== undefined;
      return { rung, plane: undefined, reason, failed: reason !== "", barred: unwanted, unwanted };
    });
    for (const step of this.#steps) {
      const plane = opened.get(step.rung.name);
      if (plane !== undefined) this.#take(step, plane);
    }
  }

  get name(): PlaneName {
    return (this.#open()[0] ?? this.#steps[0])?.rung.name ?? "xdp";
  }

  /** Called when services may belong elsewhere now: the next round sees to it. */
  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  /**
   * Also chooses the plane: the first that serves the service wholly, else the first that serves it at all. One that is
   * not open yet is opened for that.
   */
  refusal(service: PlannedService): string | undefined {
    const key = printIdentity(service.identity);
    const reasons: string[] = [];
    let partly: Place | undefined;
    for (const step of this.#steps) {
      const plane = this.#demand(step);
      const refusal = plane === undefined ? step.reason : plane.refusal(service);
      const hindrance = refusal === undefined ? plane?.hindrance?.(service) : undefined;
      if (refusal === undefined && hindrance === undefined) {
        this.#place(key, { step, reason: reasons.join("; "), service });
        return undefined;
      }
      if (refusal === undefined) partly ??= { step, reason: reasons.join("; "), service, inPart: true };
      reasons.push(refusal ?? hindrance ?? "");
    }
    if (partly !== undefined) {
      this.#place(key, partly);
      return undefined;
    }
    this.#places.delete(key);
    return reasons.join("; ");
  }

  #place(key: string, place: Place): void {
    const before = this.#places.get(key);
    this.#places.set(key, place);
    if (before?.step === place.step && before.reason === place.reason) return;
    const { name } = place.step.rung;
    const moved = before !== undefined && before.step !== place.step;
    if (place.reason === "") {
      if (moved) this.#deps.log.info(`${key}: on plane ${name} again`);
    } else if (moved || !this.#isGeneral(place.reason)) {
      this.#deps.log.warn(`${key}: on plane ${name} (${place.reason})`);
    }
  }

  /** That a whole plane cannot be used is told once, and not for each service. */
  #isGeneral(reason: string): boolean {
    return this.#steps.some((step) => step.failed && step.reason === reason);
  }

  read(): DirectorState {
    const found = new Map<string, VirtualService>();
    const misplaced = new Set<string>();
    for (const step of this.#open()) {
      for (const service of step.plane.read().services) {
        const key = printIdentity(service.identity);
        const place = this.#places.get(key);
        if (place !== undefined && place.step !== step) misplaced.add(key);
        else if (!found.has(key)) found.set(key, service);
      }
    }
    this.#misplaced = misplaced;
    for (const key of misplaced) found.delete(key);
    return { services: [...found.values()] };
  }

  async apply(changes: readonly Change[]): Promise<readonly ApplyResult[]> {
    const errors = new Map<Change, Error | undefined>(changes.map((change) => [change, noPlane(change)]));
    for (const step of this.#open()) {
      const own = changes.filter((change) => this.#concerns(step, change));
      if (own.length === 0) continue;
      for (const { change, error } of await this.#applyTo(step, own)) errors.set(change, error);
    }
    for (const change of changes) {
      if (change.kind === "remove-service") this.#places.delete(printIdentity(change.identity));
    }
    await this.#settle();
    return changes.map((change) => {
      const error = errors.get(change);
      return error === undefined ? { change } : { change, error };
    });
  }

  /** What is removed is removed everywhere; all else is done where the service belongs or, if nobody asked, where it is. */
  #concerns(step: OpenStep, change: Change): boolean {
    if (change.kind === "remove-service") return true;
    const key = printIdentity("service" in change ? change.service.identity : change.identity);
    const place = this.#places.get(key);
    if (place !== undefined) return place.step === step;
    const holder = this.#open().find(({ plane }) => holds(plane, key)) ?? this.#open()[0];
    return holder === step;
  }

  async #applyTo(step: OpenStep, changes: readonly Change[]): Promise<readonly ApplyResult[]> {
    try {
      return await step.plane.apply(changes, this.#handoverTo(step));
    } catch (cause) {
      this.#fail(step, cause as Error);
      return changes.map((change) => ({ change, error: cause as Error }));
    }
  }

  /** Services that are new on one plane, and still on another, bring their connections. */
  #handoverTo(to: OpenStep): Handover | undefined {
    const others = this.#open().filter((step) => step !== to);
    if (others.length === 0) return undefined;
    return {
      arrived: async (services) => {
        const arriving = new Set(services.map(printIdentity));
        for (const from of others) {
          const moving = new Set([...keysOf(from.plane)].filter((key) => arriving.has(key)));
          if (moving.size === 0) continue;
          const timeouts = timeoutsToCarry(from.plane.timeouts(), to.plane.timeouts());
          if (timeouts.tcp + timeouts.tcpFin + timeouts.udp > 0) to.plane.setTimeouts(timeouts);
          const what = from.plane.setLeaving === undefined ? "all" : "templates";
          await this.#carry(from, to, { services: moving, what, replace: true });
        }
      },
    };
  }

  /** Undefined: it could not be done, which matters only to an operator who has asked for it; then it rejects. */
  async #carry(from: OpenStep, to: OpenStep, load: Load): Promise<ImportReport | undefined> {
    const moving = { from: from.rung.name, to: to.rung.name, connections: 0, began: performance.now() };
    let told = moving.began;
    this.#moving = moving;
    try {
      return await carry(from.plane, to.plane, {
        ...load,
        progress: (done) => {
          moving.connections = done;
          if (performance.now() - told < tellIntervalMs) return;
          told = performance.now();
          this.#deps.log.info(`from plane ${moving.from} to plane ${moving.to}: ${done} connections so far`);
        },
      });
    } catch (cause) {
      const trouble = `connections cannot go from plane ${moving.from} to plane ${moving.to}: ${(cause as Error).message}`;
      this.#deps.log.error(trouble);
      this.#addToTotals(moving.from, moving.to, ({ failures }) => ({ failures: failures + 1 }));
      this.#troubles?.push(trouble);
      if (this.#troubles !== undefined) throw new Error(trouble, { cause });
      return undefined;
    } finally {
      this.#moving = undefined;
    }
  }

  /** Takes services off planes that they do not belong on, once they are where they belong. */
  async #settle(): Promise<void> {
    const [first] = this.#steps;
    if (first?.plane !== undefined && first.failed) await this.#placeUnasked(first as OpenStep);
    const leftOnes = this.#open().filter(({ failed }) => failed);
    if (this.#misplaced.size === 0 && leftOnes.length === 0) return;
    const open = this.#open();
    const present = new Map<Step, ReadonlySet<string>>(open.map((step) => [step, keysOf(step.plane)]));
    for (const step of open) {
      const { services } = step.plane.read();
      const astray = services.filter(({ identity }) => {
        const place = this.#places.get(printIdentity(identity));
        return place !== undefined && place.step !== step;
      });
      let left = 0;
      for (const target of open) {
        const leaving = astray.filter(({ identity }) => {
          const key = printIdentity(identity);
          return this.#places.get(key)?.step === target && present.get(target)?.has(key) === true && this.#isMet(key);
        });
        if (leaving.length > 0 && (await this.#leave(step, target, leaving))) left += leaving.length;
      }
      if (step.failed && left === services.length) this.#abandon(step);
    }
  }

  /** Whether the plane that a service belongs on still meets its packets, now that it has it. */
  #isMet(key: string): boolean {
    const place = this.#places.get(key);
    if (place?.service === undefined || place.inPart === true) return true;
    return place.step.plane?.hindrance?.(place.service) === undefined;
  }

  /** False: the services stay where they are, as the operator's wish cannot be fulfilled without loss. */
  async #leave(from: OpenStep, to: OpenStep, services: readonly VirtualService[]): Promise<boolean> {
    const began = performance.now();
    const identities = services.map(({ identity }) => identity);
    const keys = identities.map(printIdentity);
    let report: ImportReport | undefined;
    try {
      from.plane.setLeaving?.(identities, true);
      const replace = from.plane.setLeaving !== undefined;
      report = await this.#carry(from, to, { services: new Set(keys), what: "all", replace });
    } catch {
      // The trouble is noted, and told to the operator.
      from.plane.setLeaving?.(identities, false);
      return false;
    }
    const changes = identities.map((identity): Change => ({ kind: "remove-service", identity }));
    for (const { error } of await this.#applyTo(from, changes)) {
      if (error !== undefined) this.#deps.log.error(`cannot leave plane ${from.rung.name}: ${error.message}`);
    }
    await this.#forget(from, services);
    this.#noteMove(from, to, keys, report, began);
    return true;
  }

  /** Else they would be taken for live ones if the services come back before their time is over. */
  async #forget(from: OpenStep, services: readonly VirtualService[]): Promise<void> {
    try {
      await from.plane.forgetConnections?.(services);
    } catch (cause) {
      this.#deps.log.warn(
        `plane ${from.rung.name} keeps its connections until their time is over: ${(cause as Error).message}`,
      );
    }
  }

  #noteMove(from: Step, to: Step, services: readonly string[], report: ImportReport | undefined, began: number): void {
    const { taken = 0, strange = 0, homeless = 0 } = report ?? {};
    const seconds = (performance.now() - began) / 1000;
    const planes = { from: from.rung.name, to: to.rung.name };
    const move = { at: new Date(), ...planes, services, connections: taken, left: strange + homeless, seconds };
    this.#moves.push(move);
    this.#moves.splice(0, this.#moves.length - movesKept);
    this.#addToTotals(move.from, move.to, (totals) => ({
      moves: totals.moves + 1,
      services: totals.services + move.services.length,
      connections: totals.connections + move.connections,
      left: totals.left + move.left,
      seconds: totals.seconds + move.seconds,
    }));
    if (report === undefined) return;
    const what = `services: ${services.length}, connections: ${taken}`;
    const left = [
      ...(strange > 0 ? [`${strange} of real servers that are none any more stay behind`] : []),
      ...(homeless > 0 ? [`${homeless} find no room`] : []),
    ];
    this.#deps.log.info(
      [`Moved from plane ${planes.from} to plane ${planes.to}: ${what} in ${seconds.toFixed(1)} s`, ...left].join("; "),
    );
  }

  /** What nobody asks for, but packets meet on a plane that ends when it is left, goes along. */
  async #placeUnasked(step: OpenStep): Promise<void> {
    const target = this.#open().find((other) => other !== step && !other.failed);
    const unasked = step.plane.read().services.filter(({ identity }) => !this.#places.has(printIdentity(identity)));
    if (target === undefined || unasked.length === 0) return;
    for (const service of unasked) {
      const { identity } = service;
      const changes = [
        { kind: "add-service" as const, service },
        ...service.realServers.map((realServer) => ({ kind: "add-real-server" as const, identity, realServer })),
      ];
      const failed = (await this.#applyTo(target, changes)).find(({ error }) => error !== undefined);
      if (failed === undefined) this.#places.set(printIdentity(identity), { step: target, reason: step.reason });
      else
        this.#deps.log.error(`${printIdentity(identity)} stays on plane ${step.rung.name}: ${failed.error?.message}`);
    }
  }

  #addToTotals(from: PlaneName, to: PlaneName, change: (totals: PlaneMoveTotals) => Partial<PlaneMoveTotals>): void {
    const key = `${from} ${to}`;
    const none = { from, to, moves: 0, failures: 0, services: 0, connections: 0, left: 0, seconds: 0 };
    const totals = this.#moveTotals.get(key) ?? none;
    this.#moveTotals.set(key, { ...totals, ...change(totals) });
  }

  moveTotals(): readonly PlaneMoveTotals[] {
    return [...this.#moveTotals.values()];
  }

  moves(): readonly PlaneMove[] {
    return this.#moves;
  }

  moving(): { readonly from: PlaneName; readonly to: PlaneName; readonly connections: number } | undefined {
    return this.#moving;
  }

  async changePlane(to: PlaneName, round: () => Promise<unknown>): Promise<void> {
    if (this.#troubles !== undefined) throw new Error("the planes are being changed already");
    const [first, ...slower] = this.#steps;
    const wanted = this.#steps.find(({ rung }) => rung.name === to);
    if (first === undefined || wanted === undefined) throw new Error(`there is no plane ${to}`);
    this.#troubles = [];
    try {
      if (wanted === first) await this.#adopt(first, slower, round);
      else await this.#handBack(first, wanted, round);
    } finally {
      this.#troubles = undefined;
    }
  }

  async #handBack(first: Step, wanted: Step, round: () => Promise<unknown>): Promise<void> {
    if (first.plane === undefined || first.barred) throw new Error(`plane ${first.rung.name} is not in use`);
    const before = { ...wanted };
    if (wanted.barred) Object.assign(wanted, { barred: false, failed: false, reason: "" });
    if (this.#demand(wanted) === undefined) {
      const { reason } = wanted;
      Object.assign(wanted, {
        barred: before.barred,
        failed: before.failed || wanted.failed,
        reason: before.reason || reason,
      });
      throw new Error(reason);
    }
    const { failed, reason } = first;
    Object.assign(first, { barred: true, failed: true, reason: "handed back to the kernel by the operator" });
    await round();
    if (first.plane === undefined) return;
    // Whatever has come to the other plane goes away there as it has come.
    const troubles = this.#troubles?.splice(0) ?? [];
    Object.assign(first, { barred: false, failed, reason });
    if (before.barred) Object.assign(wanted, { barred: true, failed: true, reason: before.reason });
    await round();
    throw new Error(troubles[0] ?? `services cannot leave plane ${first.rung.name}; the log tells why`);
  }

  async #adopt(first: Step, slower: readonly Step[], round: () => Promise<unknown>): Promise<void> {
    if (first.plane !== undefined && !first.failed) throw new Error(`plane ${first.rung.name} is in use already`);
    const { failed, barred, reason } = first;
    const fresh = first.plane === undefined;
    if (fresh) this.#take(first, await (first.rung.reopen?.() ?? Promise.resolve(first.rung.open())));
    Object.assign(first, { barred: false, failed: false, reason: "" });
    await round();
    const stuck = [...this.#misplaced].filter((key) =>
      slower.some(({ plane }) => plane !== undefined && holds(plane, key)),
    );
    const served = [...this.#places.values()].some(({ step }) => step === first);
    if (served && stuck.length === 0) return;
    const troubles = [...(this.#troubles?.splice(0) ?? []), ...this.placements().map((each) => each.reason)];
    Object.assign(first, { failed, barred, reason });
    await round();
    throw new Error(troubles[0] ?? `no service can be on plane ${first.rung.name}`);
  }

  timeouts(): Timeouts {
    return this.#first().timeouts();
  }

  setTimeouts(timeouts: Timeouts): void {
    const before = this.#timeouts;
    this.#timeouts = {
      tcp: timeouts.tcp || (before?.tcp ?? 0),
      tcpFin: timeouts.tcpFin || (before?.tcpFin ?? 0),
      udp: timeouts.udp || (before?.udp ?? 0),
    };
    for (const plane of this.#planes()) plane.setTimeouts(timeouts);
  }

  zero(identity?: ServiceIdentity): void {
    if (identity === undefined) {
      for (const plane of this.#planes()) plane.zero();
      return;
    }
    const key = printIdentity(identity);
    const holder = this.#planes().find((plane) => holds(plane, key)) ?? this.#first();
    holder.zero(identity);
  }

  /**
   * An interface that the first plane cannot be attached to has mode `ipvs` if services are served there by the kernel's
   * IPVS; so have all that services come in by, if that is the only plane.
   */
  interfaces(): readonly InterfaceStatus[] {
    const statuses = this.#planes().flatMap((plane) => plane.interfaces());
    const last = this.#open().find(({ rung }) => rung.name === "ipvs");
    if (last === undefined) return statuses;
    const fallen = [...this.#places.values()].filter(({ step }) => step === last);
    const first = this.#steps[0];
    if (first === undefined || first === last || first.plane === undefined || first.failed) {
      const known = new Set(statuses.map(({ ifindex }) => ifindex));
      const reason = first === undefined || first === last || first.unwanted ? "" : first.reason;
      const others = this.#deps
        .interfacesOf(last.plane.read().services.filter(({ identity }) => this.#places.has(printIdentity(identity))))
        .filter(({ ifindex }) => !known.has(ifindex))
        .map(({ name, ifindex }): InterfaceStatus => ({ name, ifindex, mode: "ipvs", reason }));
      return [...statuses.filter(({ mode }) => mode !== "detached"), ...others];
    }
    if (fallen.length === 0) return statuses;
    return statuses.map((status) =>
      status.mode === "detached" && status.ifindex !== 0 ? { ...status, mode: "ipvs" } : status,
    );
  }

  /** Those that are not on the first plane for a reason of their own. */
  placements(): readonly Placement[] {
    return [...this.#places].flatMap(([service, { step, reason }]) =>
      reason === "" || this.#isGeneral(reason) ? [] : { service, plane: step.rung.name, reason },
    );
  }

  planeStatuses(): readonly PlaneStatus[] {
    const told = this.#steps.filter(({ barred, unwanted, plane }) => !(barred && unwanted) || plane !== undefined);
    return told.map(({ rung, plane, reason, failed }) => ({
      plane: rung.name,
      state: failed ? "failed" : plane === undefined ? "idle" : "active",
      reason,
    }));
  }

  /** Of the first plane, with the services and interfaces of all. */
  statistics(): PlaneStatistics {
    const all = this.#planes().map((plane) => plane.statistics());
    const [first] = all;
    if (first === undefined) throw new Error("no data plane is open");
    return { ...first, interfaces: this.interfaces(), services: all.flatMap(({ services }) => services) };
  }

  byPlane(): readonly PlaneStatistics[] {
    const all = this.#planes().map((plane) => plane.statistics());
    return withInterfaces(all, this.interfaces());
  }

  *connections(filter: ConnectionFilter): Generator<Connection> {
    yield* connectionsOnce(this.#planes(), filter);
  }

  /** Ends when the signal aborts. A plane whose work fails is left for the next one; it throws if there is none. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await new Promise<void>((resolve, reject) => {
        this.#running = { signal, tasks: new Set(), fail: reject };
        for (const step of this.#open()) this.#start(step);
        if (signal.aborted) resolve();
        else signal.addEventListener("abort", () => resolve(), { once: true });
      });
      await Promise.all([...(this.#running?.tasks ?? [])]);
    } finally {
      this.#running = undefined;
    }
  }

  #start(step: OpenStep): void {
    const running = this.#running;
    if (running === undefined) return;
    const task = this.#runOne(step, running).finally(() => running.tasks.delete(task));
    running.tasks.add(task);
  }

  async #runOne(step: OpenStep, { signal, fail }: Running): Promise<void> {
    const { plane } = step;
    try {
      await plane.run(signal);
    } catch (cause) {
      // The end may show as an exception of whatever was waited for; of a plane that was left it is no news.
      if (signal.aborted || (step as Step).plane !== plane) return;
      if (step === this.#steps.at(-1)) fail(cause as Error);
      else this.#fail(step, cause as Error);
    }
  }

  close(): void {
    for (const plane of this.#planes()) plane.close();
  }

  retire(): void {
    for (const plane of this.#planes()) {
      if (plane.read().services.length > 0) plane.close();
      else plane.destroy();
    }
  }

  destroy(): void {
    for (const plane of this.#planes()) plane.destroy();
  }

  #open(): OpenStep[] {
    return this.#steps.filter((step): step is OpenStep => step.plane !== undefined);
  }

  #planes(): DataPlane[] {
    return this.#open().map(({ plane }) => plane);
  }

  #first(): DataPlane {
    const plane = this.#planes()[0];
    if (plane === undefined) throw new Error("no data plane is open");
    return plane;
  }

  /** The plane, opened if it is not yet; undefined if it cannot be had, with the reason in the step. */
  #demand(step: Step): DataPlane | undefined {
    if (step.failed && (step.barred || step.plane !== undefined || !step.rung.mayOpenNow())) return undefined;
    if (step.plane !== undefined) return step.plane;
    try {
      this.#take(step, step.rung.open());
      step.failed = false;
      step.reason = "";
      this.#deps.log.info(`plane ${step.rung.name} is open`);
      return step.plane;
    } catch (cause) {
      step.failed = true;
      step.reason = (cause as Error).message;
      return undefined;
    }
  }

  #take(step: Step, plane: DataPlane): void {
    step.plane = plane;
    if (this.#timeouts !== undefined) plane.setTimeouts(this.#timeouts);
    plane.onChange?.(() => this.#listener());
    this.#start(step as OpenStep);
  }

  /** From now on services go elsewhere; those that are there stay until then, as packets may still meet them. */
  #fail(step: Step, cause: Error): void {
    if (step.failed || step === this.#steps.at(-1)) return;
    step.failed = true;
    step.reason = `plane ${step.rung.name} failed: ${cause.message}`;
    this.#deps.log.error(step.reason);
    this.#listener();
  }

  /** Of a failed plane whose services have left: packets must not meet it any more. */
  #abandon(step: OpenStep): void {
    try {
      step.plane.destroy();
    } catch (error) {
      this.#deps.log.error(`plane ${step.rung.name} cannot be removed: ${(error as Error).message}`);
    }
    (step as Step).plane = undefined;
  }
}

function noPlane(change: Change): Error | undefined {
  return change.kind === "remove-service" ? undefined : new Error("no data plane takes it");
}

function keysOf(plane: DataPlane): Set<string> {
  return new Set(plane.read().services.map(({ identity }) => printIdentity(identity)));
}

function holds(plane: DataPlane, key: string): boolean {
  return keysOf(plane).has(key);
}
