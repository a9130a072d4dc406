import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { frame } from "../support/packet.ts";
import { cannotRun, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

interface Load {
  active: number;
  inactive: number;
  weight: number;
}

/** The kernel's choice among servers that stand in the order of its list: the one added last is the first. */
type Choose = (servers: readonly Load[]) => number;

const overhead = ({ active, inactive }: Load) => active * 256 + inactive;

/** ip_vs_wlc_schedule() of net/netfilter/ipvs/ip_vs_wlc.c. */
function wlc(servers: readonly Load[]): number {
  let least = -1;
  servers.forEach((server, i) => {
    if (server.weight === 0) return;
    const best = servers[least];
    if (best === undefined || overhead(best) * server.weight > overhead(server) * best.weight) least = i;
  });
  return least;
}

/** ip_vs_lc_schedule(). */
function lc(servers: readonly Load[]): number {
  let least = -1;
  servers.forEach((server, i) => {
    if (server.weight === 0) return;
    const best = servers[least];
    if (best === undefined || overhead(server) < overhead(best)) least = i;
  });
  return least;
}

/** ip_vs_sed_schedule(). */
function sed(servers: readonly Load[]): number {
  let least = -1;
  servers.forEach((server, i) => {
    if (server.weight === 0) return;
    const best = servers[least];
    if (best === undefined || (best.active + 1) * server.weight > (server.active + 1) * best.weight) least = i;
  });
  return least;
}

/** ip_vs_nq_schedule(). */
function nq(servers: readonly Load[]): number {
  const idle = servers.findIndex(({ weight, active }) => weight > 0 && active === 0);
  return idle >= 0 ? idle : sed(servers);
}

/** ip_vs_fo_schedule(). */
function fo(servers: readonly Load[]): number {
  let highest = -1;
  servers.forEach((server, i) => {
    if (server.weight > (servers[highest]?.weight ?? 0)) highest = i;
  });
  return highest;
}

/** ip_vs_ovf_schedule(). */
function ovf(servers: readonly Load[]): number {
  let highest = -1;
  servers.forEach((server, i) => {
    if (server.active > server.weight) return;
    if (server.weight > (servers[highest]?.weight ?? 0)) highest = i;
  });
  return highest;
}

/** ip_vs_lblc_schedule() for a service of one address. */
function lblcWith(): Choose {
  let sticky = -1;
  return (servers) => {
    const now = servers[sticky];
    const overloaded =
      now !== undefined && now.active > now.weight && servers.some(({ active, weight }) => active * 2 < weight);
    if (now === undefined || now.weight === 0 || overloaded) sticky = wlc(servers);
    return sticky;
  };
}

function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

interface Live {
  readonly port: number;
  readonly source: string;
  readonly server: number;
  established: boolean;
}

/** Opens, establishes, resets and reweighs at random, and compares every single choice. */
function compare(
  program: Program,
  scheduler: "wlc" | "lc" | "sed" | "nq" | "fo" | "ovf" | "lblc",
  count: number,
  seed: number,
): void {
  const choose = { wlc, lc, sed, nq, fo, ovf, lblc: lblcWith() }[scheduler];
  const next = random(seed);
  const weights = Array.from({ length: count }, () => (scheduler === "ovf" ? 20 : 1) * (1 + next(5)));
  const { service, realServers } = program.service({
    scheduler,
    realServers: weights.map((weight, i) => ({ address: `192.168.200.${i + 1}`, weight })),
  });
  // Both in the kernel's order.
  const ids = [...realServers].reverse();
  const loads: Load[] = [...weights].reverse().map((weight) => ({ active: 0, inactive: 0, weight }));
  const live: Live[] = [];
  let flow = 0;
  for (let step = 0; step < 3000; step++) {
    const action = next(10);
    const some = live[next(Math.max(1, live.length))];
    if (action < 5) {
      const port = 1024 + (flow % 60000);
      const source = `192.0.2.${1 + (flow++ % 200)}`;
      const wanted = choose(loads);
      const { data } = program.run(frame({ source, sourcePort: port }));
      if (wanted < 0) {
        assert.equal(data[14 + 9], 1, "an ICMP error");
        continue;
      }
      const taken = ids.findIndex((id, i) => program.load(id).active !== (loads[i]?.active ?? 0));
      assert.equal(taken, wanted, `step ${step}: ${JSON.stringify(loads)}`);
      const load = loads[wanted];
      if (load !== undefined) load.active++;
      live.push({ port, source, server: wanted, established: false });
    } else if (some !== undefined && action < 8) {
      if (some.established) continue;
      program.run(frame({ source: some.source, sourcePort: some.port, flags: "A" }));
      some.established = true;
    } else if (some !== undefined && action === 8) {
      if (!some.established) continue;
      program.run(frame({ source: some.source, sourcePort: some.port, flags: "R" }));
      const load = loads[some.server];
      if (load !== undefined) load.active--;
      if (load !== undefined) load.inactive++;
      live.splice(live.indexOf(some), 1);
    } else if (step % 10 === 9) {
      const i = next(count);
      const weight = next(4) === 0 ? 0 : 1 + next(9);
      const load = loads[i];
      if (load !== undefined) load.weight = weight;
      program.setWeight(ids[i] ?? 0, weight, service);
    }
  }
}

describe("every choice is the kernel's", { skip: cannotRun }, () => {
  for (const scheduler of ["wlc", "lblc", "lc", "sed", "nq", "fo", "ovf"] as const) {
    for (const count of [1, 3, 100]) {
      it(`for ${scheduler} with ${count} real servers, over 3,000 openings, closings and changed weights`, () => {
        const program = openProgram(16384);
        program.maps.settings.write(0, { ...program.maps.settings.read(0), icmp_per_second: 1_000_000 });
        compare(program, scheduler, count, 1000 + count);
      });
    }
  }
});

describe("round robin", { skip: cannotRun }, () => {
  it("goes round the real servers, the newest first, and leaves out weight 0", () => {
    const program = openProgram();
    program.service({
      realServers: [
        { address: "192.168.200.1" },
        { address: "192.168.200.2", weight: 0 },
        { address: "192.168.200.3" },
      ],
    });
    const order = [1, 2, 3, 4].map((port) => program.run(frame({ sourcePort: port })).data[5]);
    assert.deepEqual(order, [3, 1, 3, 1]);
  });
});

describe("least connections", { skip: cannotRun }, () => {
  it("lblc stays with one server until it is overloaded while another has less than half of its weight", () => {
    const program = openProgram();
    program.service({ scheduler: "lblc", realServers: [{ address: "192.168.200.1" }, { address: "192.168.200.2" }] });
    const open = (port: number) => {
      const mac = program.run(frame({ sourcePort: port })).data[5];
      program.run(frame({ sourcePort: port, flags: "A" }));
      return mac;
    };
    // Weight 1: two open at once are one too many while the other has none.
    assert.deepEqual([open(1), open(2), open(3)], [2, 2, 1]);
  });
});
