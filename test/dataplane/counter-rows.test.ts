import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_REAL_SERVERS, realServerCounters } from "../../src/dataplane/xdp/layout.generated.ts";
import { CounterRows } from "../../src/dataplane/xdp/maps.ts";

const cpus = 3;

/** Every counter of every CPU has a value of its own. */
function filled(): { memory: ArrayBuffer; rows: CounterRows<"packets" | "bytes" | "connections"> } {
  const memory = new ArrayBuffer(cpus * MAX_REAL_SERVERS * realServerCounters.size);
  const view = new DataView(memory);
  for (let cpu = 0; cpu < cpus; cpu++) {
    for (const id of [1, 2, 3, MAX_REAL_SERVERS - 1]) {
      const packets = BigInt(1000 * cpu + id);
      realServerCounters.write(view, (cpu * MAX_REAL_SERVERS + id) * realServerCounters.size, {
        packets,
        bytes: packets << 40n,
        connections: packets + 7n,
      });
    }
  }
  return { memory, rows: new CounterRows(memory, realServerCounters, ["packets", "bytes", "connections"]) };
}

test("counters are summed over the rows of all CPUs", () => {
  const { rows } = filled();
  assert.deepEqual(rows.sum(2), { packets: 3006n, bytes: 3006n << 40n, connections: 3027n });
  const last = BigInt(3 * (MAX_REAL_SERVERS - 1) + 3000);
  assert.deepEqual(rows.sum(MAX_REAL_SERVERS - 1), { packets: last, bytes: last << 40n, connections: last + 21n });
  assert.deepEqual(rows.sum(9), { packets: 0n, bytes: 0n, connections: 0n });
});

test("clearing one real server's counters leaves all others", () => {
  const { rows } = filled();
  const others = [1, 3, MAX_REAL_SERVERS - 1].map((id) => [id, rows.sum(id)] as const);
  rows.clear(2);
  assert.deepEqual(rows.sum(2), { packets: 0n, bytes: 0n, connections: 0n });
  for (const [id, before] of others) assert.deepEqual(rows.sum(id), before);
});
