import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApplyResult, Handover, ImportOptions, ImportReport } from "../../src/dataplane/data-plane.ts";
import { CompositeDataPlane } from "../../src/dataplane/ladder/composite-data-plane.ts";
import type { Change } from "../../src/model/change.ts";
import type { ConfiguredService } from "../../src/model/config.ts";
import { printIdentity } from "../../src/model/service.ts";
import type { ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { Connection, PlaneName } from "../../src/model/statistics.ts";
import { desire } from "../../src/reconcile/desire.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { config, configuredService } from "../reconcile/samples.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";

const identity: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 80 };
const web = configuredService({ identity, persistence: { timeout: 300, prefix: 32 } });

function connection(client: string, more: Partial<Connection> = {}): Connection {
  return {
    identity,
    client,
    clientPort: 4711,
    virtualAddress: "10.0.0.1",
    virtualPort: 80,
    realServer: web.realServers[0]?.address ?? "",
    realPort: 80,
    state: "ESTABLISHED",
    template: false,
    expiresIn: 100,
    ...more,
  };
}

const template = (client: string): Connection => connection(client, { clientPort: 0, state: "NONE", template: true });

/** Keeps connections, and tells in a common log what is done to it. */
class Plane extends MemoryDataPlane {
  readonly table = new Map<string, Connection>();
  readonly #log: string[];
  trouble: Error | undefined;
  /** Runs while connections come in. */
  meanwhile: () => void = () => {};
  declare setLeaving?: (services: readonly ServiceIdentity[], leaving: boolean) => void;

  constructor(name: PlaneName, log: string[], inFront: boolean) {
    super(undefined, name);
    this.#log = log;
    if (inFront) this.setLeaving = (_services, leaving) => void log.push(`${name} ${leaving ? "leaving" : "staying"}`);
  }

  open(...connections: readonly Connection[]): void {
    for (const each of connections) this.table.set(`${each.client} ${each.clientPort}`, each);
  }

  override *connections(): Generator<Connection> {
    yield* this.table.values();
  }

  override async apply(changes: readonly Change[], handover?: Handover): Promise<readonly ApplyResult[]> {
    const before = keys(this);
    const results = await super.apply(changes);
    const arrived = keys(this).filter((key) => !before.includes(key));
    for (const key of before) if (!keys(this).includes(key)) this.#log.push(`${this.name} loses ${key}`);
    for (const key of arrived) this.#log.push(`${this.name} gets ${key}`);
    if (arrived.length === 0) return results;
    try {
      await handover?.arrived([identity]);
    } catch (cause) {
      this.applyOne({ kind: "remove-service", identity });
      return results.map((result) => ({ ...result, error: cause as Error }));
    }
    return results;
  }

  forgetConnections(services: readonly VirtualService[]): Promise<void> {
    this.#log.push(`${this.name} forgets ${services.map(({ identity: each }) => printIdentity(each)).join()}`);
    return Promise.resolve();
  }

  async importConnections(connections: Iterable<Connection>, options: ImportOptions): Promise<ImportReport> {
    const all = [...connections];
    const what = all.map(({ client, template: kept }) => (kept ? `template ${client}` : client));
    this.#log.push(`${this.name} takes ${what.join(", ") || "none"}${options.replace ? "" : " if missing"}`);
    if (this.trouble !== undefined) throw this.trouble;
    for (const each of all) {
      if (options.replace || !this.table.has(`${each.client} ${each.clientPort}`)) this.open(each);
    }
    options.progress?.(all.length);
    this.meanwhile();
    await Promise.resolve();
    return { taken: all.length, strange: 0, homeless: 0 };
  }
}

function keys(plane: MemoryDataPlane): string[] {
  return plane.read().services.map(({ identity: each }) => printIdentity(each));
}

class Situation {
  readonly log: string[] = [];
  readonly xdp = new Plane("xdp", this.log, true);
  readonly ipvs = new Plane("ipvs", this.log, false);
  readonly told: string[] = [];
  reopened = 0;
  readonly plane: CompositeDataPlane;

  constructor(barred: ReadonlyMap<PlaneName, string> = new Map(), opened: readonly PlaneName[] = ["xdp"]) {
    const say = (message: string): void => void this.told.push(message);
    const planes = { xdp: this.xdp, ipvs: this.ipvs };
    this.plane = new CompositeDataPlane(
      [
        {
          name: "xdp",
          open: () => assert.fail("it is opened at the start"),
          mayOpenNow: () => false,
          reopen: () => {
            this.reopened++;
            return Promise.resolve(this.xdp);
          },
        },
        { name: "ipvs", open: () => this.ipvs, mayOpenNow: () => true },
      ],
      new Map(opened.map((name) => [name, planes[name]])),
      new Map(),
      { log: { info: say, warn: say, error: say }, interfacesOf: () => [] },
      barred,
    );
  }

  readonly round = async (services: readonly ConfiguredService[] = [web]): Promise<void> => {
    const up = { state: "up", since: new Date(0) } as const;
    const { state } = desire(
      config(...services),
      () => up,
      (service) => this.plane.refusal(service),
    );
    await this.plane.apply(plan(state, this.plane.read()));
  };

  /** What was done to the planes since the last look. */
  steps(): readonly string[] {
    return this.log.splice(0);
  }
}

const key = "tcp:10.0.0.1:80";

test("a service that goes to the plane behind leaves its new connections to it, and is left last", async () => {
  const situation = new Situation();
  await situation.round();
  situation.steps();
  situation.xdp.open(connection("192.0.2.1"), template("192.0.2.1"));
  // A connection that is opened while templates move is carried with the others.
  const seen: string[][] = [];
  situation.ipvs.meanwhile = () => {
    situation.xdp.open(connection("192.0.2.2"));
    seen.push([...situation.plane.connections({})].map(({ client, state }) => `${client} ${state}`).sort());
  };
  await situation.plane.changePlane("ipvs", situation.round);
  const all = ["192.0.2.1 ESTABLISHED", "192.0.2.1 NONE", "192.0.2.2 ESTABLISHED"];
  assert.deepEqual(seen, [all, all], "though both planes have them, each is told once");
  assert.deepEqual(situation.steps(), [
    `ipvs gets ${key}`,
    "ipvs takes template 192.0.2.1",
    "xdp leaving",
    "ipvs takes template 192.0.2.1, 192.0.2.1, 192.0.2.2",
    `xdp loses ${key}`,
    `xdp forgets ${key}`,
  ]);
  assert.equal(situation.xdp.destroyed, true);
  assert.deepEqual(
    situation.plane.planeStatuses().map(({ plane, state, reason }) => `${plane} ${state} ${reason}`.trim()),
    ["xdp failed handed back to the kernel by the operator", "ipvs active"],
  );
  const [move] = situation.plane.moves();
  assert.deepEqual(
    { ...move, at: 0, seconds: 0 },
    { at: 0, from: "xdp", to: "ipvs", services: [key], connections: 3, left: 0, seconds: 0 },
  );
  const totals = { from: "xdp", to: "ipvs", moves: 1, failures: 0, services: 1, connections: 3, left: 0, seconds: 0 };
  assert.deepEqual(
    situation.plane.moveTotals().map((each) => ({ ...each, seconds: 0 })),
    [totals],
  );
  assert.match(situation.told.at(-1) ?? "", /^Moved from plane xdp to plane ipvs: services: 1, connections: 3 in \d/);
  await situation.round();
  assert.deepEqual(situation.steps(), [], "it stays there");
});

test("a service that comes to the plane in front has its connections before it is met, and those opened meanwhile after", async () => {
  const situation = new Situation(new Map([["xdp", "plane ipvs was asked for"]]), ["ipvs"]);
  await situation.round();
  situation.steps();
  situation.ipvs.setTimeouts({ tcp: 7200, tcpFin: 0, udp: 0 });
  situation.ipvs.open(connection("192.0.2.1"), template("192.0.2.1"));
  situation.xdp.meanwhile = () => situation.ipvs.open(connection("192.0.2.2"));
  await situation.plane.changePlane("xdp", situation.round);
  assert.deepEqual(situation.steps(), [
    `xdp gets ${key}`,
    "xdp takes template 192.0.2.1, 192.0.2.1",
    "xdp takes template 192.0.2.1, 192.0.2.1, 192.0.2.2 if missing",
    `ipvs loses ${key}`,
    `ipvs forgets ${key}`,
  ]);
  assert.equal(situation.reopened, 1);
  assert.equal(situation.xdp.timeouts().tcp, 7200, "what ipvsadm --set has set goes along");
  assert.deepEqual([...situation.xdp.table.values()].length, 3);
  await assert.rejects(situation.plane.changePlane("xdp", situation.round), /plane xdp is in use already/);
});

test("if connections cannot go, a change by the operator ends where it began", async () => {
  const situation = new Situation();
  await situation.round();
  situation.xdp.open(connection("192.0.2.1"));
  situation.ipvs.trouble = new Error("no multicast");
  await assert.rejects(
    situation.plane.changePlane("ipvs", situation.round),
    /connections cannot go from plane xdp to plane ipvs: no multicast/,
  );
  assert.deepEqual([keys(situation.xdp), keys(situation.ipvs)], [[key], []]);
  assert.equal(situation.xdp.destroyed, false);
  assert.deepEqual(
    situation.plane.moveTotals().map(({ moves, failures }) => [moves, failures]),
    [[0, 1]],
  );
  assert.equal(situation.plane.name, "xdp");
  situation.steps();
  await situation.round();
  assert.deepEqual(situation.steps(), []);
  situation.ipvs.trouble = undefined;
  await situation.plane.changePlane("ipvs", situation.round);

  situation.xdp.trouble = new Error("the table is gone");
  await assert.rejects(situation.plane.changePlane("xdp", situation.round), /the table is gone/);
  assert.deepEqual([keys(situation.xdp), keys(situation.ipvs)], [[], [key]]);
});

test("a plane that fails is left even if its connections are lost with it", async () => {
  const situation = new Situation();
  await situation.round();
  situation.ipvs.trouble = new Error("no multicast");
  const hindered = (): string => "eth0 is busy";
  Object.assign(situation.xdp, { hindrance: hindered });
  await situation.round();
  assert.deepEqual([keys(situation.xdp), keys(situation.ipvs)], [[], [key]]);
  assert.ok(situation.told.some((line) => line.includes("no multicast")));
});

test("what nobody asks for goes along when its plane is left", async () => {
  const situation = new Situation();
  await situation.round();
  const other: ServiceIdentity = { ...identity, port: 8080 };
  situation.xdp.applyOne({
    kind: "add-service",
    service: { identity: other, scheduler: "rr", schedulerFlags: [], onePacket: false, realServers: [] },
  });
  const before = situation.plane.read();
  assert.equal(before.services.length, 2);
  // The reconciler leaves alone what is not its own.
  const round = async (): Promise<void> => {
    situation.plane.refusal(web);
    const state = { services: situation.plane.read().services.filter(({ identity: each }) => each !== identity) };
    await situation.plane.apply(
      plan({ services: [...state.services, ...before.services.slice(0, 1)] }, situation.plane.read()),
    );
  };
  await situation.plane.changePlane("ipvs", round);
  assert.deepEqual(keys(situation.ipvs).sort(), [key, "tcp:10.0.0.1:8080"]);
  assert.equal(situation.xdp.destroyed, true);
});

test("a plane that is not wanted from the start hands its services on and is left", async () => {
  const situation = new Situation(new Map([["xdp", "plane ipvs was asked for"]]), ["xdp", "ipvs"]);
  situation.xdp.applyOne({ kind: "add-service", service: { ...web, realServers: [] } });
  situation.xdp.open(connection("192.0.2.1"));
  await situation.round();
  assert.deepEqual([keys(situation.xdp), keys(situation.ipvs)], [[], [key]]);
  assert.equal(situation.xdp.destroyed, true);
  assert.equal(situation.ipvs.table.size, 1);
  assert.deepEqual(
    situation.plane.planeStatuses().map(({ plane }) => plane),
    ["ipvs"],
  );
});

test("a kernel that is not wanted gives up what is asked for, and keeps what is another's", async () => {
  const situation = new Situation(new Map([["ipvs", "plane native was asked for"]]), ["xdp", "ipvs"]);
  const other: ServiceIdentity = { ...identity, port: 8080 };
  for (const each of [identity, other]) {
    situation.ipvs.applyOne({ kind: "add-service", service: { ...web, identity: each, realServers: [] } });
  }
  situation.ipvs.open(connection("192.0.2.1"));
  situation.plane.refusal(web);
  const state = situation.plane.read();
  const desired = desire(
    config(web),
    () => ({ state: "up", since: new Date(0) }),
    (each) => situation.plane.refusal(each),
  ).state;
  await situation.plane.apply(plan({ services: [...desired.services, ...state.services] }, state));
  assert.deepEqual([keys(situation.xdp), keys(situation.ipvs)], [[key], ["tcp:10.0.0.1:8080"]]);
  assert.equal(situation.xdp.table.size, 1);
});
