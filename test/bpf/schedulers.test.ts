import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { join } from "node:path";
import { openMaps } from "../../src/dataplane/xdp/maps.ts";
import { PlaneFolder, add, addService, edit, real, remove, service, web } from "../dataplane/planes.ts";
import { kernelSchedulers } from "../dataplane/kernel-schedulers.ts";
import type { Scheduler } from "../../src/model/service.ts";
import { frame } from "../support/packet.ts";
import { createRandom } from "../guest/seeded.ts";
import { cannotRun, openProgram } from "./program.ts";

const options = { skip: cannotRun };
const refused = "refused";

const bounded = (address: string, upperThreshold: number, lowerThreshold = 0, weight = 1) => ({
  ...real(address, weight),
  upperThreshold,
  lowerThreshold,
});

/** The real server that a new connection goes to; `refused` if the client is told that there is none. */
function connect(folder: PlaneFolder, port: number, source = "192.0.2.1", destinationPort = 80): string {
  const director = folder.native.programOpenPinned(join(folder.bpffs, "director"));
  const syn = frame({ source, sourcePort: port, destinationPort });
  const { verdict, data } = folder.native.programTestRun(director, syn, 1, 1);
  folder.native.programClose(director);
  assert.equal(verdict, 3);
  return data[14 + 9] === 1 ? refused : [...data.subarray(2, 6)].join(".");
}

describe("thresholds", options, () => {
  for (const scheduler of ["rr", "wrr", "wlc", "sed", "twos"] as const) {
    it(`${scheduler} passes over a real server with as many connections as its upper threshold`, async () => {
      const folder = new PlaneFolder();
      await folder.open();
      await folder.apply(addService(service(scheduler)), add(real("10.1.0.1")), add(bounded("10.1.0.2", 3)));
      const chosen = Array.from({ length: 40 }, (_, port) => connect(folder, 1000 + port));
      assert.equal(chosen.filter((address) => address === "10.1.0.2").length, 3);
      assert.equal(chosen.filter((address) => address === "10.1.0.1").length, 37);
    });
  }

  it("a client is refused when all are overloaded, until one is allowed more", async () => {
    const folder = new PlaneFolder();
    await folder.open();
    await folder.apply(addService(service("rr")), add(bounded("10.1.0.1", 1)), add(bounded("10.1.0.2", 2)));
    const five = (from: number) => Array.from({ length: 5 }, (_, i) => connect(folder, from + i));
    assert.deepEqual(five(1000), ["10.1.0.2", "10.1.0.1", "10.1.0.2", refused, refused]);
    await folder.apply(edit(bounded("10.1.0.1", 1)));
    assert.equal(connect(folder, 1010), refused, "the same threshold again relieves nobody");
    await folder.apply(edit(bounded("10.1.0.1", 3)));
    assert.deepEqual(five(1020), ["10.1.0.1", "10.1.0.1", refused, refused, refused]);
    await folder.apply(edit(real("10.1.0.2")));
    assert.deepEqual(new Set(five(1030)), new Set(["10.1.0.2"]));
  });

  it("sh refuses whom it leads to an overloaded real server, and finds another one with sh-fallback", async () => {
    for (const fallback of [false, true]) {
      const folder = new PlaneFolder();
      await folder.open();
      const flags = { schedulerFlags: fallback ? ["sh-fallback"] : [] };
      await folder.apply(addService(service("sh", web, flags)), add(real("10.1.0.1")), add(bounded("10.1.0.2", 1)));
      const chosen = Array.from({ length: 60 }, (_, i) => connect(folder, 1000, `192.0.2.${1 + i}`));
      assert.equal(chosen.filter((address) => address === "10.1.0.2").length, 1);
      assert.equal(chosen.includes(refused), !fallback);
    }
  });

  it("the flag goes below the lower threshold, or below three quarters of the upper one", () => {
    for (const { lower, stays, goes } of [
      { lower: 2, stays: 2, goes: 1 },
      { lower: 0, stays: 3, goes: 2 },
    ]) {
      const program = openProgram();
      const { service: id, realServers } = program.service({
        scheduler: "wlc",
        realServers: [{ address: "10.1.0.1" }],
      });
      const [server = 0] = realServers;
      const record = program.maps.realServers.read(server);
      program.maps.realServers.write(server, { ...record, upper_threshold: 4, lower_threshold: lower });
      program.maps.services.write(id, { ...program.maps.services.read(id), flags: 2 });
      for (let port = 1; port <= 4; port++) program.run(frame({ sourcePort: port }));
      const isOverloaded = () => program.load(server).weight > 0x7fffffff;
      assert.equal(isOverloaded(), true);
      const close = (left: number) => {
        // Half-open and closed ones count alike; what is reset is gone ten seconds later.
        const { active, inactive } = program.load(server);
        for (let port = active + inactive; port > left; port--) {
          program.run(frame({ sourcePort: port, flags: "A" }));
          program.run(frame({ sourcePort: port, flags: "R" }));
        }
        program.age(11);
        program.control.sweep();
        const after = program.load(server);
        assert.equal(after.active + after.inactive, left);
      };
      close(stays);
      assert.equal(isOverloaded(), true);
      close(goes);
      assert.equal(isOverloaded(), false);
    }
  });
});

describe("round robin with thresholds and changes", options, () => {
  for (const name of ["rr", "wrr"] as const) {
    it(`${name} goes on where the kernel does after all were overloaded`, async () => {
      const random = createRandom(7);
      const below = (bound: number) => Math.floor(random() * bound);
      const folder = new PlaneFolder();
      await folder.open();
      const kernel = new kernelSchedulers[name]();
      const servers = new Map<number, { weight: number; upper: number; count: number; overloaded: boolean }>();
      const address = (id: number) => `10.1.0.${id}`;
      await folder.apply(addService(service(name)));
      let port = 1024;
      for (let round = 0; round < 60; round++) {
        const id = 1 + below(5);
        const before = servers.get(id);
        const weight = below(5);
        const upper = below(4) === 0 ? 0 : 1 + below(8) + (before?.count ?? 0);
        if (before === undefined) {
          await folder.apply(add(bounded(address(id), upper, 0, weight)));
          kernel.add(id, weight);
          servers.set(id, { weight, upper, count: 0, overloaded: false });
        } else if (below(8) === 0 && before.count === 0) {
          await folder.apply(remove(address(id)));
          kernel.remove(id);
          servers.delete(id);
        } else {
          await folder.apply(edit(bounded(address(id), upper, 0, weight)));
          if (upper === 0 || upper > before.upper) before.overloaded = false;
          Object.assign(before, { weight, upper });
          kernel.edit(id, weight);
        }
        for (let packet = below(14); packet > 0; packet--) {
          const wanted = kernel.schedule((each) => servers.get(each)?.overloaded === true);
          const chosen = connect(folder, ++port);
          assert.equal(chosen, wanted === 0 ? refused : address(wanted), `round ${round}`);
          const server = servers.get(wanted);
          if (server === undefined) continue;
          server.count++;
          if (server.upper > 0 && server.count >= server.upper) server.overloaded = true;
        }
      }
    });
  }
});

/** What a scheduler compares, as in the kernel's ip_vs_wlc.c, ip_vs_sed.c, ...: cost and weight, the least fraction wins. */
const fractions = {
  lc: ({ active, inactive }, _weight) => [256 * active + inactive, 1],
  wlc: ({ active, inactive }, weight) => [256 * active + inactive, weight],
  sed: ({ active }, weight) => [active + 1, weight],
  nq: ({ active }, weight) => (active === 0 ? [0, 1] : [active + 1, weight]),
  fo: (_load, weight) => [1, weight],
  ovf: ({ active }, weight) => (active > weight ? undefined : [1, weight]),
} as const satisfies Partial<Record<Scheduler, Fraction>>;
type Fraction = (load: { active: number; inactive: number }, weight: number) => [number, number] | undefined;

describe("the least fraction wins, and of equal ones the newest", options, () => {
  const folder = new PlaneFolder();
  before(() => folder.open());
  let services = 0;
  for (const name of Object.keys(fractions) as (keyof typeof fractions)[]) {
    // The greatest that the nodes of a tree with room for 13 tell apart by themselves, and others.
    for (const greatest of [3, 2 ** 14, 2 ** 14 + 1, 2 ** 16, 2 ** 20, 2 ** 31 - 1]) {
      it(`${name} with weights up to ${greatest}`, async () => {
        const random = createRandom(greatest);
        const below = (bound: number) => Math.floor(random() * bound);
        const fraction: Fraction = fractions[name];
        const maps = openMaps(folder.native, folder.bpffs, true);
        // Great ones lie close together, which makes fractions that differ by as little as can be.
        const anyWeight = () => Math.max(1, greatest - below(20));
        const weights = Array.from({ length: 13 }, (_, i) => (i === 7 ? greatest : anyWeight()));
        const identity = { ...web, port: 1 + services };
        const first = 1 + weights.length * services++;
        const server = (place: number) => real(`10.1.0.${place}`, weights[place]);
        await folder.apply(
          addService(service(name, identity)),
          ...weights.map((_, place) => add(server(place), identity)),
        );
        const expected = () => {
          let best: { place: number; cost: bigint; weight: bigint } | undefined;
          for (const [place, weight] of [...weights.entries()].reverse()) {
            const found = weight > 0 ? fraction(maps.loads.read(first + place), weight) : undefined;
            if (found === undefined) continue;
            const [cost, per] = found.map(BigInt) as [bigint, bigint];
            if (best === undefined || cost * best.weight < best.cost * per) best = { place, cost, weight: per };
          }
          return best === undefined ? refused : server(best.place).address;
        };
        let port = 1000;
        for (let round = 0; round < 12; round++) {
          // Loads by which all are nearly equal, or equal.
          const ratio = 1 + below(2 ** 30 / greatest);
          for (const [place, weight] of weights.entries()) {
            const cost = Math.min(ratio * weight - below(3), 2 ** 30);
            const load = maps.loads.read(first + place);
            const active = name === "wlc" || name === "lc" ? cost >> 8 : Math.max(cost - 1, 0);
            maps.loads.write(first + place, { ...load, active, inactive: cost & 255 });
          }
          const changed = below(weights.length);
          weights[changed] = below(4) === 0 ? 0 : anyWeight();
          await folder.apply(edit(server(changed), identity));
          for (let packet = 0; packet < 8; packet++) {
            const wanted = expected();
            const chosen = connect(folder, ++port, "192.0.2.1", identity.port);
            assert.equal(chosen, wanted, `round ${round}, packet ${packet}`);
            folder.send({ source: "192.0.2.1", sourcePort: port, destinationPort: identity.port, flags: "A" });
          }
        }
      });
    }
  }
});

describe("a tree whose winner may no longer be chosen", options, () => {
  /** The last byte of the MAC address is the number of the server, in the order of addition. */
  function opened(weight: number) {
    const program = openProgram();
    const realServers = [1, 2, 3, 4, 5].map((id) => ({ address: `10.1.0.${id}`, weight }));
    program.service({ scheduler: "wlc", realServers });
    let port = 1000;
    const choices = (count: number) =>
      Array.from({ length: count }, () => program.run(frame({ sourcePort: ++port })).data[5]);
    return { program, choices };
  }

  for (const weight of [1, 2 ** 20]) {
    it(`gives way to the next one that may, with weights of ${weight}`, () => {
      const { program, choices } = opened(weight);
      assert.deepEqual(choices(6), [5, 4, 3, 2, 1, 5]);
      // Of two the weight goes, and one is taken away; nobody builds the tree anew.
      for (const id of [4, 2]) program.setWeight(id, 0);
      const leaves = program.maps.treeLeaves.read(0, 8);
      assert.deepEqual([...leaves], [0, 0, 0, 5, 4, 3, 2, 1]);
      program.maps.treeLeaves.write(0, leaves.with(5, 0));
      assert.deepEqual(choices(4), [1, 5, 1, 5]);
    });
  }

  it("of another service is no other for a real server whose leaf is in a tree to come", () => {
    const program = openProgram();
    const opened = [80, 81].map((port) =>
      program.service({ port, scheduler: "wlc", realServers: [{ address: "10.1.0.1" }, { address: "10.1.0.2" }] }),
    );
    const [early = 0] = opened[0]?.realServers ?? [];
    const first = { sourcePort: 1001, destinationPort: 80 };
    for (const sourcePort of [1000, 1001]) program.run(frame({ ...first, sourcePort }));
    program.maps.loads.write(early, { ...program.load(early), active: 50 });
    program.maps.realServers.write(early, { ...program.maps.realServers.read(early), leaf: 4 });
    assert.equal(program.run(frame({ ...first, flags: "FA" })).data[5], 1);
    const choices = [1, 2, 3, 4].map((client) =>
      program.run(frame({ sourcePort: client + 2000, destinationPort: 81 })),
    );
    assert.deepEqual(
      choices.map(({ data }) => data[5]),
      [2, 1, 2, 1],
    );
  });

  it("refuses when none may", () => {
    const { program, choices } = opened(1);
    for (const id of [1, 2, 3, 4, 5]) program.setWeight(id, 0);
    choices(2);
    assert.deepEqual(program.packets(5), 0n);
    assert.equal(program.counters().icmp_unreachable, 2n);
  });
});

describe("locality", options, () => {
  const day = 86400;
  function opened(scheduler: "lblc" | "lblcr", weight: number, count: number) {
    const program = openProgram();
    const realServers = Array.from({ length: count }, (_, i) => ({ address: `10.1.0.${i + 1}`, weight }));
    const { service: id } = program.service({ scheduler, realServers });
    const begun = program.maps.serviceStates.read(id);
    program.maps.serviceStates.write(id, { ...begun, scheduled: program.maps.sweep.read(0).tick });
    let port = 1000;
    /** The last byte of the MAC address is the number of the server. */
    const open = () => {
      const mac = program.run(frame({ sourcePort: ++port })).data[5];
      program.run(frame({ sourcePort: port, flags: "A" }));
      return mac;
    };
    const later = (seconds: number, ...fields: readonly ("sticky_used" | "scheduled" | "replicas_changed")[]) => {
      const state = program.maps.serviceStates.read(id);
      const moved = Object.fromEntries(fields.map((field) => [field, state[field] - seconds]));
      program.maps.serviceStates.write(id, { ...state, ...moved });
    };
    return { program, open, later };
  }

  it("lblc forgets its real server when the kernel's timer finds that it was unused for a day", () => {
    // The timer's 46th look is 84,787.2 s, its 47th 86,630.4 s after the service got its scheduler.
    for (const { seconds, chosen } of [
      { seconds: 84_800, chosen: 2 },
      { seconds: day + 10, chosen: 2 },
      { seconds: 86_620, chosen: 2 },
      { seconds: 86_640, chosen: 1 },
    ]) {
      const { open, later } = opened("lblc", 100, 2);
      assert.deepEqual([open(), open()], [2, 2]);
      later(seconds, "sticky_used", "scheduled");
      assert.equal(open(), chosen, `after ${seconds} seconds`);
    }
  });

  it("lblcr adds a replica when its least loaded one is crowded, and takes the newest at a tie", () => {
    const { open } = opened("lblcr", 2, 3);
    // Crowded: more than two active, while another has none.
    assert.deepEqual([open(), open(), open()], [3, 3, 3]);
    assert.deepEqual([open(), open(), open()], [2, 2, 2], "the replica that was added is the least loaded");
    assert.equal(open(), 1);
  });

  it("lblcr takes the most loaded replica out when the set has not changed for a day", () => {
    const { open, later } = opened("lblcr", 2, 2);
    assert.deepEqual([open(), open(), open(), open()], [2, 2, 2, 1]);
    assert.equal(open(), 1);
    later(day + 1, "replicas_changed");
    // Server 2 leaves the set; the choice was made before.
    assert.equal(open(), 1);
    assert.deepEqual([open(), open()], [1, 1], "although server 2 has less");
  });
});

describe("twos", options, () => {
  it("draws twice by weight, the head of the list with one chance more, and takes the less loaded", async () => {
    const folder = new PlaneFolder();
    await folder.open();
    const identity = { kind: "address", protocol: "udp", address: "10.10.10.53", port: 53 } as const;
    await folder.apply(
      addService(service("twos", identity, { onePacket: true })),
      ...[1, 2, 6].map((weight, i) => add(real(`10.1.0.${i + 1}`, weight, 53), identity)),
    );
    const director = folder.native.programOpenPinned(join(folder.bpffs, "director"));
    const maps = openMaps(folder.native, folder.bpffs, true);
    const datagram = frame({ protocol: "udp", destinationPort: 53 });
    const shares = (): number[] => {
      const count = 8000;
      const found = [0, 0, 0];
      for (let i = 0; i < count; i++) {
        const { data } = folder.native.programTestRun(director, datagram, 1, 1);
        const server = data[5] ?? 0;
        found[server - 1] = (found[server - 1] ?? 0) + 1;
      }
      return found.map((number) => number / count);
    };
    const areNear = (found: readonly number[], wanted: readonly number[]) => {
      const far = wanted.some((share, i) => Math.abs((found[i] ?? 0) - share) > 0.03);
      assert.equal(far, false, `${found.join(" ")} in place of ${wanted.join(" ")}`);
    };
    // The newest, of weight 6, is the head: 7 of 10 chances, then 2, then 1.
    areNear(shares(), [0.1, 0.2, 0.7]);
    // A loaded head is taken only when both draws are it.
    maps.loads.write(3, { ...maps.loads.read(3), active: 1000 });
    areNear(shares(), [0.1 + 0.7 * 0.1, 0.2 + 0.7 * 0.2, 0.49]);
    maps.close();
    folder.native.programClose(director);
  });
});
