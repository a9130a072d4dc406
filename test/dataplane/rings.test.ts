import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ringMember, ringSchedulers, spreadLength, spreadTable } from "../../src/dataplane/xdp/rings.ts";
import type { Member, RingOrigin, RingScheduler } from "../../src/dataplane/xdp/rings.ts";
import { kernelSchedulers } from "./kernel-schedulers.ts";

function member(id: number, weight: number): Member {
  return { id, weight, lastWeight: weight, address: "192.0.2.1", port: 80, family: "ipv4" };
}

/** A service as the data path and its writer hold it between them. */
class RingService {
  readonly #scheduler: RingScheduler;
  /** The newest first. */
  #members: Member[] = [];
  #cursor = 0n;
  #ringCursor = 0n;
  #origin: RingOrigin = 0;
  #ring;

  constructor(scheduler: RingScheduler) {
    this.#scheduler = scheduler;
    this.#ring = scheduler.ring([]);
    this.#origin = scheduler.started([]);
  }

  /** Changes of one batch, then the ring is made anew. */
  batch(steps: readonly ((service: { add(id: number, weight: number): void } & Editing) => void)[]): void {
    let origin = this.#scheduler.recall(this.#members, this.#cursor, this.#ringCursor, this.#origin, false);
    const changed = () => (origin = this.#scheduler.changed(origin, this.#members));
    for (const step of steps) {
      step({
        add: (id, weight) => {
          this.#members = [member(id, weight), ...this.#members];
          changed();
        },
        remove: (id) => {
          const before = this.#members;
          origin = this.#scheduler.removed(origin, id, () => before);
          this.#members = before.filter((each) => each.id !== id);
          changed();
        },
        edit: (id, weight) => {
          this.#members = this.#members.map((each) => (each.id === id ? { ...each, weight } : each));
          changed();
        },
      });
    }
    this.#ring = this.#scheduler.ring(this.#members);
    this.#origin = origin;
    this.#cursor = this.#ringCursor = BigInt(this.#scheduler.cursor(this.#members, origin));
  }

  schedule(): number {
    if (this.#ring.length === 0) return 0;
    return ringMember(this.#ring, Number(this.#cursor++ % BigInt(this.#ring.length))) ?? 0;
  }
}

interface Editing {
  remove(id: number): void;
  edit(id: number, weight: number): void;
}

type Step =
  | { readonly kind: "add"; readonly weight: number }
  | { readonly kind: "remove"; readonly which: number }
  | { readonly kind: "edit"; readonly which: number; readonly weight: number };

const weight = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constantFrom(0, 1, 10, 15, 100, 150, 65535));
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("add" as const), weight }),
  fc.record({ kind: fc.constant("remove" as const), which: fc.nat(20) }),
  fc.record({ kind: fc.constant("edit" as const), which: fc.nat(20), weight }),
);
/** Batches of changes, each followed by packets. */
const story = fc.array(fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 4 }), packets: fc.nat(25) }), {
  maxLength: 12,
});

for (const name of ["rr", "wrr"] as const) {
  test(`${name} chooses what the kernel chooses, across additions, removals and changes of weight`, () => {
    fc.assert(
      fc.property(story, (batches) => {
        const scheduler = ringSchedulers[name];
        assert.ok(scheduler);
        const ours = new RingService(scheduler);
        const kernel = new kernelSchedulers[name]();
        const present: number[] = [];
        let nextId = 1;
        for (const { steps, packets } of batches) {
          const todo: ((service: { add(id: number, weight: number): void } & Editing) => void)[] = [];
          for (const action of steps) {
            if (action.kind === "add") {
              const id = nextId++;
              present.push(id);
              kernel.add(id, action.weight);
              todo.push((service) => service.add(id, action.weight));
              continue;
            }
            const id = present[action.which % present.length];
            if (id === undefined) continue;
            if (action.kind === "remove") {
              present.splice(present.indexOf(id), 1);
              kernel.remove(id);
              todo.push((service) => service.remove(id));
            } else {
              kernel.edit(id, action.weight);
              todo.push((service) => service.edit(id, action.weight));
            }
          }
          ours.batch(todo);
          for (let packet = 0; packet < packets; packet++) assert.equal(ours.schedule(), kernel.schedule());
        }
      }),
      { numRuns: 500 },
    );
  });
}

test("a wrr ring costs no more memory than its distinct weights ask for", () => {
  const members = Array.from({ length: 100 }, (_, id) => member(id + 1, id % 2 === 0 ? 65535 : 1));
  const ring = ringSchedulers.wrr?.ring(members);
  assert.equal(ring?.members.length, 150);
  assert.equal(ring?.segments.length, 2);
  assert.equal(ring?.length, 50 * 65534 + 100);
});

const endpoints = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    id: index + 1,
    key: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:80`,
  }));

test("the spread table gives every real server its share", () => {
  for (const count of [1, 2, 3, 10, 100, 1000]) {
    const table = spreadTable(endpoints(count));
    assert.equal(table.length, spreadLength(count));
    const shares = new Array<number>(count + 1).fill(0);
    for (const id of table) shares[id] = (shares[id] ?? 0) + 1;
    assert.equal(shares[0], 0);
    const [least, most] = [Math.min(...shares.slice(1)), Math.max(...shares.slice(1))];
    assert.ok(most - least <= 1, `${count} real servers: from ${least} to ${most} places`);
  }
});

test("the spread table does not depend on the order of addition", () => {
  const members = endpoints(17);
  assert.deepEqual(spreadTable([...members].reverse()), spreadTable(members));
});

test("losing a real server moves few places of the others", () => {
  for (const count of [5, 20, 100]) {
    const members = endpoints(count);
    const before = spreadTable(members);
    const after = spreadTable(members.slice(1));
    const moved = before.reduce((sum, id, place) => sum + (id !== 1 && id !== after[place] ? 1 : 0), 0);
    assert.ok(moved / before.length < 0.15, `${count} real servers: ${moved} of ${before.length} places moved`);
  }
});

test("a spread table is a prime between its bounds long", () => {
  assert.equal(spreadLength(1), 251);
  assert.equal(spreadLength(25), 251);
  assert.equal(spreadLength(26), 503);
  assert.equal(spreadLength(100), 1009);
  assert.equal(spreadLength(60000), 65537);
});
