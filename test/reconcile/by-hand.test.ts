import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Config } from "../../src/model/config.ts";
import type { HandChange, Override } from "../../src/model/override.ts";
import { describeSetting, overrideTarget } from "../../src/model/override.ts";
import { printIdentity, realServerKey } from "../../src/model/service.ts";
import type { RealServer, ServiceIdentity } from "../../src/model/service.ts";
import type { DirectorState } from "../../src/model/state.ts";
import { byHand, changesByHand, settingsOf, settleOverrides } from "../../src/reconcile/by-hand.ts";
import { desire } from "../../src/reconcile/desire.ts";
import { planWithin, targetOf } from "../../src/reconcile/plan-scope.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";
import { config, configuredReal, configuredService, identity, real } from "./samples.ts";

const owner = { uid: 0, user: "alice", program: "ipvsadm" };
const now = new Date(0);
const first = "192.168.200.102";
const second = "192.168.200.103";
const third = "192.168.200.104";
const service = configuredService();

/** A director, its file, its checks, and somebody at the keyboard; every change is followed by a round. */
class Situation {
  config: Config;
  overrides: readonly Override[] = [];
  readonly up = new Set([first, second]);
  readonly plane = new MemoryDataPlane();
  #asserted: DirectorState = { services: [] };

  constructor(file: Config = config(service)) {
    this.config = file;
    this.round(new Set(), true);
  }

  desired(overrides: readonly Override[]): DirectorState {
    const healthOf = (_: ServiceIdentity, { address }: { readonly address: string }) =>
      this.up.has(address)
        ? ({ state: "up", since: now } as const)
        : ({ state: "down", since: now, reason: "refused" } as const);
    return desire(this.config, healthOf, () => undefined, undefined, overrides).state;
  }

  round(touched: ReadonlySet<string> = new Set(), thorough = false): void {
    const proven = (_: ServiceIdentity, key: string) => [...this.up].some((address) => key.startsWith(`${address}:`));
    this.overrides = settleOverrides(this.overrides, this.config, proven).overrides;
    const state = this.desired(this.overrides);
    const own = new Set(this.config.services.map((each) => printIdentity(each.identity)));
    const scope = {
      asserted: this.#asserted,
      failed: new Set<string>(),
      own,
      touched,
      thorough,
      readdQuiescent: false,
    };
    for (const change of planWithin(state, this.plane.read(), scope)) {
      assert.equal(this.plane.applyOne(change), undefined);
    }
    this.#asserted = state;
  }

  /** Returns the errno's name of a refusal. */
  hand(change: HandChange): string | undefined {
    const actual = this.plane.read();
    const isUp = (_: ServiceIdentity, key: string) => [...this.up].some((address) => key.startsWith(`${address}:`));
    const outcome = byHand(change, {
      overrides: this.overrides,
      actual,
      ofDirector: new Set(this.config.services.map((each) => printIdentity(each.identity))),
      file: { config: this.config, wanted: this.desired([]), isUp },
      owner,
      now,
    });
    if ("refused" in outcome) return outcome.refused.code;
    const before = new Set(this.overrides);
    const changed = [...outcome.overrides.filter((each) => !before.has(each))].map(overrideTarget);
    this.overrides = outcome.overrides;
    this.round(new Set([...changesByHand(change, actual).map(targetOf), ...changed]));
    return undefined;
  }

  edit(address: string, weight: number): string | undefined {
    return this.hand({ kind: "edit-real-server", identity, realServer: real(address, weight) });
  }

  add(address: string, weight: number): string | undefined {
    return this.hand({ kind: "add-real-server", identity, realServer: real(address, weight) });
  }

  remove(address: string): string | undefined {
    return this.hand({ kind: "remove-real-server", identity, address, port: 80 });
  }

  check(address: string, isUp: boolean): void {
    if (isUp) this.up.add(address);
    else this.up.delete(address);
    this.round();
  }

  /** `ADDRESS=WEIGHT`, in no order. */
  get table(): string[] {
    return this.plane
      .read()
      .services.flatMap(({ realServers }) => realServers.map(({ address, weight }) => `${address}=${weight}`))
      .sort();
  }

  get byHand(): string[] {
    return this.overrides.map((override) => `${overrideTarget(override)}: ${describeSetting(override)}`);
  }
}

test("A weight set by hand stays through rounds and reloads until the file's is set again", () => {
  const situation = new Situation();
  assert.equal(situation.edit(first, 0), undefined);
  assert.deepEqual(situation.table, [`${first}=0`, `${second}=1`]);
  assert.deepEqual(situation.byHand, [`tcp:10.10.10.53:80 ${first}:80: weight 0, gate`]);
  situation.round(new Set(), true);
  assert.deepEqual(situation.table, [`${first}=0`, `${second}=1`]);
  situation.edit(first, 1);
  assert.deepEqual(situation.table, [`${first}=1`, `${second}=1`]);
  assert.deepEqual(situation.byHand, []);
});

test("An override tells the network of its persistence and the kind of its tunnel", () => {
  const identity = { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 80 } as const;
  const identity6 = { ...identity, address: "2001:db8::1" };
  const persistent = (prefix: number) => {
    const settings = {
      scheduler: "rr",
      schedulerFlags: [],
      onePacket: false,
      persistence: { timeout: 60, prefix },
    } as const;
    return { kind: "service", settings, added: false } as const;
  };
  for (const [of, prefix, text] of [
    [identity, 32, "scheduler rr, persistent 60"],
    [identity, 24, "scheduler rr, persistent 60 for each /24"],
    [identity6, 128, "scheduler rr, persistent 60"],
    [identity6, 32, "scheduler rr, persistent 60 for each /32"],
  ] as const) {
    assert.equal(describeSetting({ identity: of, setting: persistent(prefix) }), text);
  }
  const limits = { weight: 1, upperThreshold: 0, lowerThreshold: 0 };
  for (const [tunnel, text] of [
    [undefined, "weight 1, ipip"],
    [{ type: "ipip", port: 0, checksum: "none" }, "weight 1, ipip"],
    [{ type: "gue", port: 6080, checksum: "full" }, "weight 1, ipip by gue port 6080 with checksums"],
    [{ type: "gre", port: 0, checksum: "none" }, "weight 1, ipip by gre"],
  ] as const) {
    const realServer = { address: "10.0.0.2", port: 80, method: "ipip", ...limits, ...(tunnel && { tunnel }) } as const;
    const setting = { kind: "real-server", realServer, added: false, despiteChecks: false } as const;
    assert.equal(describeSetting({ identity, setting }), text);
  }
});

test("Weight 0 by hand holds when the checks are good again", () => {
  const situation = new Situation(config(configuredService({ quiescent: true })));
  situation.edit(first, 0);
  situation.check(first, false);
  situation.check(first, true);
  assert.deepEqual(situation.table, [`${first}=0`, `${second}=1`]);
});

test("A real server with a weight by hand is taken down by its checks, and has that weight when they pass", () => {
  const situation = new Situation();
  situation.edit(first, 7);
  situation.check(first, false);
  assert.deepEqual(situation.table, [`${second}=1`]);
  situation.check(first, true);
  assert.deepEqual(situation.table, [`${first}=7`, `${second}=1`]);
});

test("A weight that is set while the checks fail counts until they pass; then it follows them", () => {
  const situation = new Situation(config(configuredService({ quiescent: true })));
  situation.check(first, false);
  assert.deepEqual(situation.table, [`${first}=0`, `${second}=1`]);
  situation.edit(first, 7);
  assert.deepEqual(situation.table, [`${first}=7`, `${second}=1`]);
  assert.match(situation.byHand[0]!, /against its checks/);
  situation.round(new Set(), true);
  assert.deepEqual(situation.table, [`${first}=7`, `${second}=1`]);
  situation.check(first, true);
  situation.check(first, false);
  assert.deepEqual(situation.table, [`${first}=0`, `${second}=1`]);
});

test("A real server that is down and added by hand with the file's weight is the file's once its checks pass", () => {
  const situation = new Situation();
  situation.check(first, false);
  assert.equal(situation.edit(first, 1), "ENOENT");
  assert.equal(situation.add(first, 1), undefined);
  assert.deepEqual(situation.table, [`${first}=1`, `${second}=1`]);
  situation.check(first, true);
  assert.deepEqual(situation.byHand, []);
  assert.deepEqual(situation.table, [`${first}=1`, `${second}=1`]);
});

test("A real server removed by hand is absent until it is added again", () => {
  const situation = new Situation();
  assert.equal(situation.remove(first), undefined);
  situation.check(first, false);
  situation.check(first, true);
  assert.deepEqual(situation.table, [`${second}=1`]);
  assert.equal(situation.remove(first), "ENOENT");
  assert.equal(situation.add(first, 1), undefined);
  assert.deepEqual(situation.byHand, []);
});

test("A real server added by hand is there until it is removed, or the file gets it", () => {
  const situation = new Situation();
  assert.equal(situation.add(third, 5), undefined);
  assert.equal(situation.add(third, 5), "EEXIST");
  situation.round(new Set(), true);
  assert.deepEqual(situation.table, [`${first}=1`, `${second}=1`, `${third}=5`]);
  assert.equal(situation.remove(third), undefined);
  assert.deepEqual(situation.byHand, []);
  situation.add(third, 5);
  situation.config = config(configuredService({ realServers: [...service.realServers, configuredReal(third)] }));
  situation.up.add(third);
  situation.round(new Set(), true);
  assert.deepEqual(situation.byHand, []);
  assert.deepEqual(situation.table, [`${first}=1`, `${second}=1`, `${third}=1`]);
});

test("The fallback serves while every real server is out of service by hand, and not while one that was added serves", () => {
  const situation = new Situation();
  situation.edit(first, 0);
  situation.remove(second);
  assert.deepEqual(situation.table, ["127.0.0.1=1", `${first}=0`]);
  situation.add(third, 1);
  assert.deepEqual(situation.table, [`${first}=0`, `${third}=1`]);
  situation.edit(third, 0);
  assert.deepEqual(situation.table, ["127.0.0.1=1", `${first}=0`, `${third}=0`]);
  situation.edit("127.0.0.1", 3);
  assert.ok(situation.table.includes("127.0.0.1=3"));
  situation.edit(first, 1);
  assert.ok(!situation.table.some((entry) => entry.startsWith("127.")), "the fallback goes with its override");
});

test("A service's scheduler set by hand stays; a service removed by hand stays away", () => {
  const situation = new Situation();
  const settings = { ...settingsOf(service), scheduler: "wlc" as const };
  assert.equal(situation.hand({ kind: "edit-service", identity, settings }), undefined);
  situation.round(new Set(), true);
  assert.equal(situation.plane.read().services[0]!.scheduler, "wlc");
  situation.hand({ kind: "edit-service", identity, settings: settingsOf(service) });
  assert.deepEqual(situation.byHand, []);
  assert.equal(situation.hand({ kind: "remove-service", identity }), undefined);
  situation.round(new Set(), true);
  assert.deepEqual(situation.plane.read().services, []);
  assert.deepEqual(situation.byHand, ["tcp:10.10.10.53:80: removed"]);
  assert.equal(situation.hand({ kind: "remove-service", identity }), "ESRCH");
});

test("Saved, cleared and restored, as by ipvsadm -S, -C and -R, nothing is left that was set by hand", () => {
  const situation = new Situation(config(configuredService({ quiescent: true })));
  situation.check(second, false);
  const saved = situation.plane.read().services[0]!;
  situation.hand({ kind: "remove-all-services" });
  situation.round(new Set(), true);
  assert.deepEqual(situation.plane.read().services, []);
  situation.hand({ kind: "remove-all-services" });
  situation.round();
  assert.deepEqual(situation.plane.read().services, [], "what was removed before is not forgotten by another -C");
  situation.hand({ kind: "add-service", identity, settings: settingsOf(saved) });
  assert.deepEqual(situation.table, ["127.0.0.1=1"], "an added service is empty, so that the fallback serves");
  for (const realServer of saved.realServers) {
    assert.equal(situation.hand({ kind: "add-real-server", identity, realServer }), undefined);
  }
  assert.deepEqual(situation.byHand, []);
  assert.deepEqual(situation.table, [`${first}=1`, `${second}=0`]);
  situation.check(second, true);
  assert.deepEqual(situation.table, [`${first}=1`, `${second}=1`]);
});

test("A service that was made by hand stays, and is gone for good when it is removed", () => {
  const situation = new Situation();
  const other: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.54", port: 80 };
  const settings = { scheduler: "rr", schedulerFlags: [], onePacket: false } as const;
  assert.equal(situation.hand({ kind: "add-service", identity: other, settings }), undefined);
  assert.equal(situation.hand({ kind: "add-real-server", identity: other, realServer: real(third, 2) }), undefined);
  situation.round(new Set(), true);
  assert.ok(situation.table.includes(`${third}=2`));
  assert.equal(situation.overrides.length, 2);
  assert.equal(situation.hand({ kind: "add-service", identity: other, settings }), "EEXIST");
  situation.hand({ kind: "remove-service", identity: other });
  assert.equal(situation.overrides.length, 0);
  assert.equal(situation.plane.read().services.length, 1);
});

test("The file takes over a service that was made by hand and is in it now", () => {
  const overrides: Override[] = [
    {
      identity,
      setting: { kind: "service", settings: { scheduler: "rr", schedulerFlags: [], onePacket: false }, added: true },
      owner,
      since: now,
    },
  ];
  const settled = settleOverrides(overrides, config(service), () => false);
  assert.deepEqual(settled.overrides, []);
  assert.equal(settled.notes.length, 1);
});

test("A service that is nobody's is changed where it is, and leaves no override", () => {
  const other: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.10.10.54", port: 80 };
  const present = { identity: other, scheduler: "rr", schedulerFlags: [], onePacket: false } as const;
  const actual: DirectorState = { services: [{ ...present, realServers: [real(first)] }] };
  const change: HandChange = { kind: "edit-real-server", identity: other, realServer: real(first, 4) };
  const outcome = byHand(change, { overrides: [], actual, ofDirector: new Set(), owner, now });
  assert.deepEqual(outcome, { overrides: [] });
  assert.deepEqual(changesByHand(change, actual), [change]);
});

test("What the kernel's IPVS refuses is refused", () => {
  const situation = new Situation();
  const refuse = (realServer: RealServer) => situation.hand({ kind: "add-real-server", identity, realServer });
  assert.equal(refuse(real("fd00::1")), "EINVAL");
  assert.equal(refuse(real(third, 1, { upperThreshold: 1, lowerThreshold: 2 })), "ERANGE");
  assert.equal(refuse(real("fd00::1", 1, { method: "ipip" })), undefined);
  const nowhere: ServiceIdentity = { kind: "mark", mark: 7, family: "ipv4" };
  assert.equal(situation.hand({ kind: "remove-real-server", identity: nowhere, address: first, port: 80 }), "ESRCH");
  assert.equal(situation.remove(third), "ENOENT");
});

test("Whatever is done by hand, the table is what was asked for, and stays so until a check has news", () => {
  const steps: fc.Arbitrary<HandChange> = fc.oneof(
    fc.record({
      kind: fc.constantFrom("add-real-server" as const, "edit-real-server" as const),
      identity: fc.constant(identity),
      realServer: fc.tuple(fc.constantFrom(first, second, third), fc.nat(2)).map(([at, weight]) => real(at, weight)),
    }) as fc.Arbitrary<HandChange>,
    fc.constantFrom(first, second, third).map((address) => {
      return { kind: "remove-real-server", identity, address, port: 80 } as const;
    }),
    fc.constantFrom<HandChange>(
      { kind: "remove-service", identity },
      { kind: "remove-all-services" },
      { kind: "add-service", identity, settings: settingsOf(service) },
    ),
  );
  const down = fc.subarray([first, second]);
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 12 }), down, fc.boolean(), (changes, failing, quiescent) => {
      const situation = new Situation(config(configuredService({ quiescent, fallback: undefined as never })));
      for (const address of failing) situation.check(address, false);
      const alone = new MemoryDataPlane(situation.plane.read());
      for (const change of changes) {
        if (situation.hand(change) !== undefined) continue;
        for (const each of changesByHand(change, alone.read())) assert.equal(alone.applyOne(each), undefined);
      }
      situation.round(new Set(), true);
      assert.deepEqual(plan(alone.read(), situation.plane.read()), []);
      assert.equal(new Set(situation.overrides.map(overrideTarget)).size, situation.overrides.length);
      for (const { realServer } of situation.overrides) if (realServer !== undefined) realServerKey(realServer);
    }),
    { numRuns: 500 },
  );
});
