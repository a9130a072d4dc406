/** A connection is its tuple's, whichever service that is of by now: a service of one port comes beside one of all ports. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cannotRun } from "../dataplane/planes.ts";
import { guest } from "../support/guest.ts";
import { frame } from "../support/packet.ts";
import { changesFor, network, routerMac, targets } from "./frame-classes.ts";
import type { Target } from "./frame-classes.ts";
import { directorMac, playToKernel } from "./play.ts";
import type { Play, Step } from "./play.ts";
import { sentBy } from "./xdp-player.ts";
import { playToXdpInNamespace } from "./xdp-in-namespace.ts";

const skip = cannotRun === false ? (guest.unavailable() ?? false) : cannotRun;

function target(name: string): Target {
  const found = targets.find((each) => each.name === name);
  assert.ok(found, name);
  return found;
}

/** The service of all ports, the one of port 80 at the same address, and what is sent before and after that one comes. */
function playOf(way: string): { play: Play; words: string[] } {
  const ofAll = target(`gate, all ports, ${way}`);
  const ofOne = { ...target(`gate, ${way}`), address: ofAll.address };
  const ipv6 = ofAll.address.includes(":");
  const steps: Step[] = changesFor(ofAll).map((change) => ({ kind: "change", change }));
  const words: string[] = steps.map(() => "a change");
  const send = (client: number, flags: string): void => {
    const bytes = frame({
      to: directorMac,
      from: routerMac,
      source: ipv6 ? `2001:db8::${client}` : `11.0.0.${client}`,
      destination: ofAll.address,
      sourcePort: 5000,
      destinationPort: 80,
      protocol: ofAll.protocol === "udp" ? "udp" : "tcp",
      flags,
    });
    steps.push({ kind: "frame", bytes });
    words.push(`client ${client}: ${flags}`);
  };
  for (const flags of ["S", "A"]) send(1, flags);
  send(2, "S");
  for (const change of changesFor(ofOne)) {
    steps.push({ kind: "change", change });
    words.push("a change");
  }
  for (const client of [1, 2]) send(client, "A");
  for (const client of [1, 2, 3]) for (const flags of ["S", "A", "PA", "FA", "A"]) send(client, flags);
  return { play: { network: network(), steps }, words };
}

describe("a service of one port comes beside one of all ports", { skip }, () => {
  const ways = ["IPv4, tcp", "IPv6, tcp", "IPv4, udp", "IPv6, udp"];
  const plays = skip === false ? ways.map(playOf) : [];
  const kernel = skip === false ? playToKernel(plays.map(({ play }) => play)) : undefined;
  kernel?.catch(() => {}); // each test sees it
  ways.forEach((way, index) => {
    test(way, async () => {
      const { play, words } = plays[index]!;
      const answers = (await kernel)?.[index] ?? [];
      const { verdicts } = await playToXdpInNamespace(play);
      const hex = (frames: readonly Uint8Array[]): string[] => frames.map((each) => Buffer.from(each).toString("hex"));
      const receivers = new Set<string>();
      play.steps.forEach(({ kind }, step) => {
        if (kind !== "frame") return;
        const own = hex(sentBy(verdicts[step]));
        assert.deepEqual(own, hex(answers[step] ?? []), words[step]);
        for (const sent of own) receivers.add(sent.slice(0, 12));
      });
      assert.equal(receivers.size, 2, "both services were met");
    });
  });
});
