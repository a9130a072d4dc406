import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import fc from "fast-check";
import { addressText } from "../../src/dataplane/xdp/codec.ts";
import {
  MAX_SERVICE_SLOTS,
  MIN_SERVICE_SLOTS,
  serviceSlotKind,
  serviceSlot,
} from "../../src/dataplane/xdp/layout.generated.ts";
import type { ServiceSlot } from "../../src/dataplane/xdp/layout.generated.ts";
import { readSlots } from "../../src/dataplane/xdp/stored.ts";
import { frame } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

/** Of the service of that number; every third is of IPv6. */
function slotOf(number: number, service: number): ServiceSlot {
  const ipv6 = number % 3 === 0;
  return {
    address: ipv6 ? [0xfd000053, 0, 0, number] : [0, 0, 0, 0x0a640000 + number],
    port: 80,
    protocol: 6,
    kind: ipv6 ? serviceSlotKind.SERVICE_SLOT_IPV6 : serviceSlotKind.SERVICE_SLOT_IPV4,
    service,
  };
}

function verdictOf(program: Program, number: number): string {
  const { address, kind } = slotOf(number, 0);
  const ipv6 = kind === serviceSlotKind.SERVICE_SLOT_IPV6;
  const destination = addressText(address, ipv6 ? "ipv6" : "ipv4");
  const source = ipv6 ? "2001:db8::7" : "198.51.100.7";
  return program.run(frame({ source, destination, sourcePort: 1024 + number, destinationPort: 80, flags: "S" }))
    .verdict;
}

/** Service by number of `slotOf()`. */
function present(program: Program): Map<number, number> {
  return new Map([...readSlots(program.maps)].map(({ slot }) => [(slot.address[3] ?? 0) & 0xffff, slot.service]));
}

/** Places of the table in which the program looks that are not free. */
function usedPlaces(program: Program): number {
  const { service_slots: size } = program.maps.settings.read(0);
  const kinds = new Uint8Array(program.maps.serviceSlots.memory);
  const kindAt = (place: number) => kinds[place * serviceSlot.size + serviceSlot.fields.kind.offset];
  return Array.from({ length: size }, (_, index) => kindAt(size + index)).filter((kind) => kind !== 0).length;
}

describe("the table of services", { skip: cannotRun }, () => {
  it("grows with what is in it, and packets find all of it and nothing else", () => {
    const program = openProgram();
    const { service } = program.service({ address: "10.100.255.1", realServers: [{ address: "192.168.200.102" }] });
    assert.equal(program.maps.settings.read(0).service_slots, MIN_SERVICE_SLOTS);
    const sizes = new Set<number>();
    const count = 2200;
    for (let number = 1; number <= count; number++) {
      program.control.putService(slotOf(number, service));
      const { service_slots: size } = program.maps.settings.read(0);
      if (!sizes.has(size)) assert.equal(present(program).size, number + 1, `at ${size} slots`);
      sizes.add(size);
    }
    assert.deepEqual(
      [...sizes],
      Array.from(
        { length: Math.log2(MAX_SERVICE_SLOTS / MIN_SERVICE_SLOTS) + 1 },
        (_, i) => MIN_SERVICE_SLOTS * 2 ** i,
      ),
    );
    for (let number = 1; number <= count; number++) assert.equal(verdictOf(program, number), "TX", `service ${number}`);
    for (let number = count + 1; number <= count + 50; number++) assert.equal(verdictOf(program, number), "PASS");
  });

  it("has what was put there and not deleted, in any order of both", () => {
    const program = openProgram();
    const step = fc.record({
      number: fc.integer({ min: 1, max: 60 }),
      service: fc.option(fc.integer({ min: 1, max: 4095 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: "max" }), (steps) => {
        program.renew();
        const wanted = new Map<number, number>();
        for (const { number, service } of steps) {
          if (service === undefined) {
            program.control.deleteService(slotOf(number, 0));
            wanted.delete(number);
          } else {
            program.control.putService(slotOf(number, service));
            wanted.set(number, service);
          }
        }
        assert.deepEqual(new Map([...present(program)].sort()), new Map([...wanted].sort()));
        assert.equal(program.maps.settings.read(0).service_slots_used, usedPlaces(program));
      }),
      { numRuns: 40 },
    );
  });

  it("grows, too, where so many have the same place that another is not found near it", () => {
    const program = openProgram();
    const size = 2 * MIN_SERVICE_SLOTS;
    const probes = 32;
    // Alone in the table each is in its own place.
    program.set({ service_slots: size });
    const byPlace = new Map<number, number[]>();
    let crowd: number[] = [];
    for (let number = 1; crowd.length <= probes; number++) {
      program.control.putService(slotOf(number, number));
      for (const { index } of readSlots(program.maps)) {
        crowd = byPlace.get(index) ?? [];
        crowd.push(number);
        byPlace.set(index, crowd);
      }
      program.control.deleteService(slotOf(number, number));
    }
    program.set({ service_slots: MIN_SERVICE_SLOTS });
    for (const number of crowd) {
      program.set({ service_slots_used: 0 });
      program.control.putService(slotOf(number, number));
    }
    assert.ok(program.maps.settings.read(0).service_slots > size);
    assert.deepEqual(
      new Map([...present(program)].sort()),
      new Map(crowd.map((number) => [number, number] as const).sort()),
    );
  });

  it("loses no packet of a service while it grows", async (t) => {
    const program = openProgram();
    const { service } = program.service({ address: "10.100.255.1", realServers: [{ address: "192.168.200.102" }] });
    const last = 1100;
    for (let number = 1; number <= last; number++) program.control.putService(slotOf(number, service));
    assert.equal(program.maps.settings.read(0).service_slots, MAX_SERVICE_SLOTS);
    // The one that is copied last.
    program.set({ service_slots: MAX_SERVICE_SLOTS / 2 });
    const ipv4 = [...readSlots(program.maps)].filter(({ slot }) => slot.kind === serviceSlotKind.SERVICE_SLOT_IPV4);
    const address = addressText(ipv4.at(-1)?.slot.address ?? [], "ipv4");
    program.repin();
    const witness = spawn(
      process.execPath,
      [join(import.meta.dirname, "witness.js"), program.pinnedDirector, address],
      {
        stdio: ["pipe", "pipe", "inherit"],
      },
    );
    t.after(() => witness.kill());
    const lines = createInterface({ input: witness.stdout })[Symbol.asyncIterator]();
    const ask = async () => {
      witness.stdin.write("\n");
      return JSON.parse(String((await lines.next()).value)) as { forwarded: number; missed: number };
    };
    // Each time it begins when no packet looks in the table that is made anew.
    for (let round = 0; round < 40; round++) {
      program.set({ service_slots: MAX_SERVICE_SLOTS / 2 });
      await ask();
      program.control.putService(slotOf(last, service));
      assert.equal(program.maps.settings.read(0).service_slots, MAX_SERVICE_SLOTS);
    }
    const { forwarded, missed } = await ask();
    assert.equal(missed, 0, `beside ${forwarded} packets that were forwarded`);
    witness.stdin.end();
  });
});
