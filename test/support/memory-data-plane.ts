import type { ApplyResult, DataPlane } from "../../src/dataplane/data-plane.ts";
import type { Change } from "../../src/model/change.ts";
import type { ConfiguredService } from "../../src/model/config.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { DirectorState, Timeouts } from "../../src/model/state.ts";
import type { Connection, InterfaceStatus, PlaneName, PlaneStatistics } from "../../src/model/statistics.ts";

/** A data plane that forwards nothing: what a plane promises, in a map. */
export class MemoryDataPlane implements DataPlane {
  readonly name: PlaneName;
  /** Every batch that was applied, in order. */
  readonly batches: (readonly Change[])[] = [];
  destroyed = false;
  closed = false;
  /** Says of a change why it cannot be applied; set by a test. */
  fail: (change: Change) => Error | undefined = () => undefined;
  /** Set by a test to have services refused. */
  refuse: (service: ConfiguredService) => string | undefined = () => undefined;
  /** Awaited inside `apply`, before anything changes; set by a test. */
  hold: () => Promise<void> = () => Promise.resolve();
  #services = new Map<string, VirtualService>();
  #timeouts: Timeouts = { tcp: 900, tcpFin: 120, udp: 300 };

  constructor(state: DirectorState = { services: [] }, name: PlaneName = "xdp") {
    this.name = name;
    for (const service of state.services) this.#services.set(printIdentity(service.identity), service);
  }

  read(): DirectorState {
    return { services: [...this.#services.values()] };
  }

  refusal(service: ConfiguredService): string | undefined {
    return this.refuse(service);
  }

  async apply(changes: readonly Change[]): Promise<readonly ApplyResult[]> {
    this.batches.push(changes);
    await this.hold();
    return changes.map((change) => {
      const error = this.fail(change) ?? this.applyOne(change);
      return error === undefined ? { change } : { change, error };
    });
  }

  /** Applies a single change; the error is as the kernel's IPVS would name it. */
  applyOne(change: Change): Error | undefined {
    switch (change.kind) {
      case "add-service":
        if (!this.#services.has(printIdentity(change.service.identity))) {
          this.#services.set(printIdentity(change.service.identity), { ...change.service, realServers: [] });
        }
        return undefined;
      case "edit-service": {
        const before = this.#services.get(printIdentity(change.service.identity));
        if (before === undefined) return new Error("no such service");
        const { realServers } = before;
        this.#services.set(printIdentity(change.service.identity), { ...change.service, realServers });
        return undefined;
      }
      case "remove-service":
        this.#services.delete(printIdentity(change.identity));
        return undefined;
      case "add-real-server":
      case "edit-real-server":
        return this.#changeRealServers(change.identity, (realServers) => {
          const key = realServerKey(change.realServer);
          const index = realServers.findIndex((realServer) => realServerKey(realServer) === key);
          if (index < 0 && change.kind === "edit-real-server") return undefined;
          return index < 0 ? [...realServers, change.realServer] : realServers.with(index, change.realServer);
        });
      case "remove-real-server":
        if (!this.#services.has(printIdentity(change.identity))) return undefined;
        return this.#changeRealServers(change.identity, (realServers) =>
          realServers.filter((realServer) => realServerKey(realServer) !== realServerKey(change)),
        );
    }
  }

  timeouts(): Timeouts {
    return this.#timeouts;
  }

  setTimeouts({ tcp, tcpFin, udp }: Timeouts): void {
    const before = this.#timeouts;
    this.#timeouts = { tcp: tcp || before.tcp, tcpFin: tcpFin || before.tcpFin, udp: udp || before.udp };
  }

  /** It counts nothing. */
  zero(identity?: ServiceIdentity): void {
    if (identity === undefined || this.#services.has(printIdentity(identity))) return;
    throw new Error("no such service");
  }

  interfaces(): readonly InterfaceStatus[] {
    return [];
  }

  statistics(): PlaneStatistics {
    const none = { connections: 0n, packets: 0n, bytes: 0n, packetsOut: 0n, bytesOut: 0n };
    return {
      plane: this.name,
      interfaces: [],
      services: this.read().services.map((service) => ({
        ...none,
        service,
        plane: this.name,
        realServers: service.realServers.map((realServer) => ({
          ...none,
          realServer,
          active: 0,
          inactive: 0,
          persistent: 0,
          nextHop: "",
        })),
      })),
      table: { size: 0, live: 0, liveByState: {}, sweepNanoseconds: 0n, sweepPasses: 0n },
      packets: {},
    };
  }

  connections(): Iterable<Connection> {
    return [];
  }

  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  close(): void {
    this.closed = true;
  }

  destroy(): void {
    this.destroyed = true;
    this.#services.clear();
  }

  #changeRealServers(
    identity: ServiceIdentity,
    change: (realServers: readonly RealServer[]) => readonly RealServer[] | undefined,
  ): Error | undefined {
    const service = this.#services.get(printIdentity(identity));
    if (service === undefined) return new Error("no such service");
    const realServers = change(service.realServers);
    if (realServers === undefined) return new Error("no such real server");
    this.#services.set(printIdentity(identity), { ...service, realServers });
    return undefined;
  }
}
