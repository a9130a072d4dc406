import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CompositeDataPlane } from "../../src/dataplane/ladder/composite-data-plane.ts";
import type { Rung } from "../../src/dataplane/ladder/composite-data-plane.ts";
import type { Change } from "../../src/model/change.ts";
import type { ConfiguredService } from "../../src/model/config.ts";
import { printIdentity } from "../../src/model/service.ts";
import type { ServiceIdentity } from "../../src/model/service.ts";
import type { InterfaceStatus } from "../../src/model/statistics.ts";
import { desire } from "../../src/reconcile/desire.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { config, configuredService } from "../reconcile/samples.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";

/** The first of two planes: it can meet a service in part, and fail as a whole. */
class FirstPlane extends MemoryDataPlane {
  hinder: (service: ConfiguredService) => string | undefined = () => undefined;
  broken: Error | undefined;
  statuses: readonly InterfaceStatus[] = [];
  #changed: () => void = () => {};
  #breakRun: (cause: Error) => void = () => {};

  hindrance(service: ConfiguredService): string | undefined {
    return this.hinder(service);
  }

  onChange(listener: () => void): void {
    this.#changed = listener;
  }

  changed(): void {
    this.#changed();
  }

  override async apply(changes: readonly Change[]): ReturnType<MemoryDataPlane["apply"]> {
    if (this.broken !== undefined) throw this.broken;
    return await super.apply(changes);
  }

  override interfaces(): readonly InterfaceStatus[] {
    return this.statuses;
  }

  override async run(signal: AbortSignal): Promise<void> {
    await Promise.race([super.run(signal), new Promise<void>((_, reject) => (this.#breakRun = reject))]);
  }

  failRun(message: string): void {
    this.#breakRun(new Error(message));
  }
}

class Situation {
  readonly first = new FirstPlane(undefined, "xdp");
  readonly second = new MemoryDataPlane(undefined, "ipvs");
  readonly log: string[] = [];
  /** How often the second plane was opened; set `missing` for one that cannot be. */
  opened = 0;
  missing = "";
  rounds = 0;
  readonly plane: CompositeDataPlane;

  constructor() {
    const say = (message: string): void => void this.log.push(message);
    const xdp: Rung = { name: "xdp", open: () => this.first, mayOpenNow: () => false };
    const ipvs: Rung = {
      name: "ipvs",
      open: () => {
        if (this.missing !== "") throw new Error(this.missing);
        this.opened++;
        return this.second;
      },
      mayOpenNow: () => this.missing === "",
    };
    this.plane = new CompositeDataPlane([xdp, ipvs], new Map([["xdp", this.first]]), new Map(), {
      log: { info: say, warn: say, error: say },
      interfacesOf: () => [{ name: "eth0", ifindex: 2 }],
    });
    this.plane.onChange(() => this.rounds++);
  }

  /** As the reconciler does it; returns what was refused and which changes failed. */
  async round(services: readonly ConfiguredService[]): Promise<readonly string[]> {
    const up = { state: "up", since: new Date(0) } as const;
    const { state, notActive } = desire(
      config(...services),
      () => up,
      (service) => this.plane.refusal(service),
    );
    const results = await this.plane.apply(plan(state, this.plane.read()));
    const both = keys(this.first).filter((key) => keys(this.second).includes(key));
    assert.deepEqual(both, [], "no service is on both planes");
    return [
      ...notActive.map(({ service, reason }) => `${service}: ${reason}`),
      ...results.flatMap(({ error }) => error?.message ?? []),
    ];
  }
}

function keys(plane: MemoryDataPlane): string[] {
  return plane
    .read()
    .services.map(({ identity }) => printIdentity(identity))
    .sort();
}

const identityOf = (port: number): ServiceIdentity => ({ kind: "address", protocol: "tcp", address: "10.0.0.1", port });
const web = configuredService({ identity: identityOf(80) });
const dns = configuredService({ identity: { kind: "address", protocol: "udp", address: "10.0.0.1", port: 53 } });
const mark = configuredService({ identity: { kind: "mark", mark: 7, family: "ipv4" } });
const noMarks = ({ identity }: ConfiguredService): string | undefined =>
  identity.kind === "mark" ? "XDP sees no marks" : undefined;

test("what the first plane refuses goes to the second, which is opened for it, and its neighbours stay", async () => {
  const situation = new Situation();
  situation.first.refuse = noMarks;
  assert.deepEqual(await situation.round([web, dns]), []);
  assert.equal(situation.opened, 0);
  assert.deepEqual(await situation.round([web, dns, mark]), []);
  assert.equal(situation.opened, 1);
  assert.deepEqual(keys(situation.first), ["tcp:10.0.0.1:80", "udp:10.0.0.1:53"]);
  assert.deepEqual(keys(situation.second), ["fwm:7"]);
  assert.deepEqual(situation.plane.placements(), [{ service: "fwm:7", plane: "ipvs", reason: "XDP sees no marks" }]);
  assert.deepEqual(
    situation.plane.statistics().services.map(({ plane }) => plane),
    ["xdp", "xdp", "ipvs"],
  );
  assert.deepEqual(
    situation.plane.byPlane().map(({ plane, services }) => [plane, services.length]),
    [
      ["xdp", 2],
      ["ipvs", 1],
    ],
  );
  assert.deepEqual(situation.log, ["plane ipvs is open", "fwm:7: on plane ipvs (XDP sees no marks)"]);
  assert.deepEqual(await situation.round([web]), []);
  assert.deepEqual(keys(situation.second), []);
  assert.deepEqual(situation.plane.placements(), []);
});

test("without a second plane both reasons are told, and it is tried again when it may be there", async () => {
  const situation = new Situation();
  situation.first.refuse = noMarks;
  situation.missing = "Linux has no IPVS";
  assert.deepEqual(await situation.round([web, mark]), ["fwm:7: XDP sees no marks; Linux has no IPVS"]);
  assert.deepEqual(
    situation.plane.planeStatuses().map(({ plane, state, reason }) => `${plane} ${state} ${reason}`.trim()),
    ["xdp active", "ipvs failed Linux has no IPVS"],
  );
  situation.missing = "";
  assert.deepEqual(await situation.round([web, mark]), []);
  assert.deepEqual(keys(situation.second), ["fwm:7"]);
});

test("a service that an interface does not let in moves, whole before it leaves, and comes back", async () => {
  const situation = new Situation();
  await situation.round([web, dns]);
  situation.first.hinder = ({ identity }) =>
    identity.kind === "address" && identity.port === 80 ? "eth1 is busy" : undefined;
  situation.first.statuses = [
    { name: "eth0", ifindex: 2, mode: "native", reason: "" },
    { name: "eth1", ifindex: 3, mode: "detached", reason: "busy" },
  ];
  situation.first.changed();
  assert.equal(situation.rounds, 1);
  let onSecond = 0;
  const leaving = situation.first.applyOne.bind(situation.first);
  situation.first.applyOne = (change) => {
    if (change.kind === "remove-service") onSecond = situation.second.read().services[0]?.realServers.length ?? 0;
    return leaving(change);
  };
  assert.deepEqual(await situation.round([web, dns]), []);
  assert.equal(onSecond, 2, "both real servers were there before the first plane lost the service");
  assert.deepEqual(keys(situation.first), ["udp:10.0.0.1:53"]);
  assert.deepEqual(keys(situation.second), ["tcp:10.0.0.1:80"]);
  assert.deepEqual(
    situation.plane.interfaces().map(({ name, mode }) => `${name} ${mode}`),
    ["eth0 native", "eth1 ipvs"],
  );
  situation.first.hinder = () => undefined;
  await situation.round([web, dns]);
  assert.deepEqual(keys(situation.first), ["tcp:10.0.0.1:80", "udp:10.0.0.1:53"]);
  assert.deepEqual(keys(situation.second), []);
  assert.deepEqual(situation.log.slice(1), [
    "tcp:10.0.0.1:80: on plane ipvs (eth1 is busy)",
    "tcp:10.0.0.1:80: on plane xdp again",
  ]);
});

test("a service that no other plane takes stays where it is met in part", async () => {
  const situation = new Situation();
  situation.missing = "Linux has no IPVS";
  situation.first.hinder = () => "eth1 is busy";
  assert.deepEqual(await situation.round([web]), []);
  assert.deepEqual(keys(situation.first), ["tcp:10.0.0.1:80"]);
});

test("what an earlier run left on the wrong plane is taken away there, what is another's is left alone", async () => {
  const situation = new Situation();
  const other = {
    identity: identityOf(8080),
    scheduler: "rr",
    schedulerFlags: [],
    onePacket: false,
    realServers: [],
  } as const;
  situation.second.applyOne({ kind: "add-service", service: { ...other, identity: identityOf(80) } });
  situation.second.applyOne({ kind: "add-service", service: other });
  situation.first.refuse = noMarks;
  situation.plane.refusal(mark);
  const state = situation.plane.read();
  assert.equal(state.services.length, 2);
  situation.plane.refusal(web);
  const desired = desire(
    config(web),
    () => ({ state: "unknown" }),
    () => undefined,
  ).state;
  const changes = plan(desired, situation.plane.read()).filter(({ kind }) => kind !== "remove-service");
  await situation.plane.apply(changes);
  assert.deepEqual(keys(situation.first), ["tcp:10.0.0.1:80"]);
  assert.deepEqual(keys(situation.second), ["tcp:10.0.0.1:8080"]);
});

test("a plane that fails when it is changed is left for the next one", async () => {
  const situation = new Situation();
  await situation.round([web]);
  situation.first.broken = new Error("the map is gone");
  assert.deepEqual(await situation.round([web, dns]), Array(3).fill("the map is gone"));
  assert.equal(situation.rounds, 1, "another round is asked for");
  // Its services cannot be removed one by one, so the whole plane goes; `round` looks that none is on both.
  assert.deepEqual(await situation.round([web, dns]), []);
  assert.deepEqual(keys(situation.second), ["tcp:10.0.0.1:80", "udp:10.0.0.1:53"]);
  assert.ok(situation.first.destroyed);
  assert.deepEqual(
    situation.plane.planeStatuses().map(({ plane, state, reason }) => `${plane} ${state} ${reason}`.trim()),
    ["xdp failed plane xdp failed: the map is gone", "ipvs active"],
  );
  assert.deepEqual(situation.plane.interfaces(), [
    { name: "eth0", ifindex: 2, mode: "ipvs", reason: "plane xdp failed: the map is gone" },
  ]);
});

test("a plane whose run fails is left for the next one; the last one's failure ends the run", async () => {
  const situation = new Situation();
  await situation.round([web]);
  const ending = new AbortController();
  const running = situation.plane.run(ending.signal);
  situation.first.failRun("no more events");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(situation.rounds, 1);
  await situation.round([web]);
  assert.deepEqual(keys(situation.second), ["tcp:10.0.0.1:80"]);
  situation.second.run = () => Promise.reject(new Error("unused"));
  ending.abort();
  await running;

  const alone = new FirstPlane(undefined, "xdp");
  const rung: Rung = { name: "xdp", open: () => alone, mayOpenNow: () => false };
  const say = (): void => {};
  const log = { info: say, warn: say, error: say };
  const single = new CompositeDataPlane([rung], new Map([["xdp", alone]]), new Map(), { log, interfacesOf: () => [] });
  const failing = single.run(new AbortController().signal);
  alone.failRun("no more events");
  await assert.rejects(failing, /no more events/);
});

test("timeouts hold for all planes, also for one that is opened later", async () => {
  const situation = new Situation();
  situation.first.refuse = noMarks;
  situation.plane.setTimeouts({ tcp: 1000, tcpFin: 0, udp: 0 });
  situation.plane.setTimeouts({ tcp: 0, tcpFin: 0, udp: 50 });
  await situation.round([mark]);
  assert.deepEqual(situation.second.timeouts(), { tcp: 1000, tcpFin: 120, udp: 50 });
  assert.deepEqual(situation.plane.timeouts(), { tcp: 1000, tcpFin: 120, udp: 50 });
});

test("at the end planes without a service are removed, the others go on", async () => {
  const situation = new Situation();
  situation.first.refuse = noMarks;
  await situation.round([web, mark]);
  await situation.round([mark]);
  situation.plane.retire();
  assert.ok(situation.first.destroyed && !situation.first.closed);
  assert.ok(situation.second.closed && !situation.second.destroyed);
});

test("whatever planes refuse from round to round, each service is on one plane and as it is wanted", async () => {
  const services = [80, 81, 82].map((port) => configuredService({ identity: identityOf(port) }));
  const verdicts = fc.constantFrom("first", "hindered", "refused", "gone");
  const history = fc.array(fc.tuple(verdicts, verdicts, verdicts), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(history, async (rounds) => {
      const situation = new Situation();
      for (const verdict of rounds) {
        const of = ({ identity }: ConfiguredService) =>
          verdict[identity.kind === "address" ? identity.port - 80 : 0] ?? "gone";
        situation.first.refuse = (service) => (of(service) === "refused" ? "no" : undefined);
        situation.first.hinder = (service) => (of(service) === "hindered" ? "in part" : undefined);
        const wanted = services.filter((service) => of(service) !== "gone");
        assert.deepEqual(await situation.round(wanted), []);
        const expected = (place: readonly string[]) =>
          wanted.filter((service) => place.includes(of(service))).map(({ identity }) => printIdentity(identity));
        assert.deepEqual(keys(situation.first), expected(["first"]));
        assert.deepEqual(keys(situation.second), expected(["hindered", "refused"]));
      }
    }),
    { numRuns: 100 },
  );
});
