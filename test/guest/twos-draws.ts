/**
 * What `twos` draws: real servers of given weights and loads, and how often each of them is chosen. What is drawn is one
 * packet each, which counts for no load, so that the draws do not depend on each other.
 */
import type { Change } from "../../src/model/change.ts";
import type { RealServer } from "../../src/model/service.ts";
import { frame } from "../support/packet.ts";
import { directorMac } from "./play.ts";
import type { Play, Step } from "./play.ts";
import { chosenServer, serverAddress, serverMac } from "./scheduler-traces.ts";

interface DrawnServer {
  readonly weight: number;
  /** Connections. */
  readonly load: number;
  /** It takes no more than it has. */
  readonly full?: true;
}

/** In the order of addition, the last one being the head of the kernel's list. */
export const cases: Readonly<Record<string, readonly DrawnServer[]>> = {
  "equal weights, no load": [1, 1, 1].map((weight) => ({ weight, load: 0 })),
  "the most loaded one is the heaviest": [
    { weight: 1, load: 0 },
    { weight: 2, load: 60 },
    { weight: 3, load: 180 },
    { weight: 4, load: 400 },
  ],
  "the most loaded one is the lightest": [
    { weight: 4, load: 0 },
    { weight: 1, load: 90 },
    { weight: 3, load: 120 },
    { weight: 2, load: 40 },
    { weight: 1, load: 200 },
  ],
  "one without weight, one that is full": [
    { weight: 5, load: 20, full: true },
    { weight: 0, load: 0 },
    { weight: 2, load: 80 },
    { weight: 6, load: 40 },
    { weight: 1, load: 0 },
  ],
};

export const draws = 3000;

const identity = { kind: "address", protocol: "udp", address: "10.10.10.53", port: 80 } as const;

/** The frames that count come last. */
export function drawPlay(servers: readonly DrawnServer[]): Play {
  const steps: Step[] = [];
  let clients = 0;
  const change = (made: Change): void => void steps.push({ kind: "change", change: made });
  const open = (): void => {
    const client = ++clients;
    const source = `11.0.${client >> 8}.${client & 255}`;
    steps.push({
      kind: "frame",
      bytes: frame({ to: directorMac, source, destination: identity.address, protocol: "udp" }),
    });
  };
  const realServer = (index: number, weight: number, upperThreshold = 0): RealServer => ({
    address: serverAddress(index + 1, false),
    port: identity.port,
    method: "gate",
    weight,
    upperThreshold,
    lowerThreshold: 0,
  });
  const service = { identity, scheduler: "twos", schedulerFlags: [], onePacket: false, realServers: [] } as const;
  change({ kind: "add-service", service });
  servers.forEach((_, index) => change({ kind: "add-real-server", identity, realServer: realServer(index, 0) }));
  servers.forEach(({ load, full }, index) => {
    // The only one with a weight gets all.
    change({ kind: "edit-real-server", identity, realServer: realServer(index, 1, full === undefined ? 0 : load) });
    for (let left = load; left > 0; left--) open();
    change({ kind: "edit-real-server", identity, realServer: realServer(index, 0, full === undefined ? 0 : load) });
  });
  servers.forEach(({ weight, load, full }, index) =>
    change({
      kind: "edit-real-server",
      identity,
      realServer: realServer(index, weight, full === undefined ? 0 : load),
    }),
  );
  change({ kind: "edit-service", service: { ...service, onePacket: true } });
  for (let draw = 0; draw < draws; draw++) open();
  return {
    network: [
      "address add 10.10.10.53/32 dev lo",
      "address add 192.168.255.1/16 dev eth0",
      "neighbour add 192.168.255.2 lladdr 02:00:00:00:00:02 dev eth0 nud permanent",
      "route add default via 192.168.255.2",
      ...servers.map(
        (_, index) =>
          `neighbour add ${serverAddress(index + 1, false)} lladdr ${serverMac(index + 1)} dev eth0 nud permanent`,
      ),
    ],
    steps,
  };
}

/** Of each real server how often it was chosen, by what was sent for each step. */
export function countDraws(servers: readonly DrawnServer[], sent: readonly (readonly Buffer[])[]): number[] {
  const counts = servers.map(() => 0);
  for (const frames of sent.slice(-draws)) {
    const chosen = chosenServer(frames);
    if (chosen > 0) counts[chosen - 1] = (counts[chosen - 1] ?? 0) + 1;
  }
  return counts;
}

/** What a chance of one in a million keeps Pearson's statistic below, by its degrees of freedom. */
const bounds = [0, 23.93, 27.63, 30.66, 33.38, 35.89] as const;

/** Whether two samples are of one distribution: the chi-square test of homogeneity. */
export function sameDistribution(a: readonly number[], b: readonly number[]): boolean {
  const sum = (counts: readonly number[]): number => counts.reduce((all, count) => all + count, 0);
  const [all, others] = [sum(a), sum(b)];
  let statistic = 0;
  let kinds = 0;
  a.forEach((count, index) => {
    const other = b[index] ?? 0;
    if (count + other === 0) return;
    kinds++;
    statistic += (count * Math.sqrt(others / all) - other * Math.sqrt(all / others)) ** 2 / (count + other);
  });
  return statistic <= (bounds[kinds - 1] ?? Number.NaN);
}
