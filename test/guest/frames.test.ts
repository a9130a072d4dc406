import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { cannotRun } from "../dataplane/planes.ts";
import { guest } from "../support/guest.ts";
import { compareFrames, frameScenario, mutationScenario } from "./frame-comparison.ts";
import type { Comparison, Difference, Outcome } from "./frame-comparison.ts";
import { classes } from "./frame-classes.ts";
import type { Story } from "./frame-classes.ts";
import { vlanClasses, vlanScenario } from "./vlan-classes.ts";

const tcpFlags = 47; // of an IPv4 frame without options; 20 more with IPv6
const synAndReset = 0x06;

function sameLengths({ kernel, xdp }: Difference): boolean {
  return kernel.length === xdp.length && kernel.every((bytes, index) => bytes.length === xdp[index]?.length);
}

/** What is behind the IPv4 header of a frame that is given as hexadecimal text. */
function behindIp(text: string): string {
  const bytes = Buffer.from(text, "hex");
  return bytes.toString("hex", 14 + ((bytes[14] ?? 0) & 15) * 4);
}

/** The differences that docs/IPVS.md gives reasons for, and how far they go. */
const deliberate: Readonly<Record<string, (difference: Difference, story: Story) => boolean>> = {
  // SYN and RST together on a closed connection are forwarded.
  "any flags with a connection": ({ frame, kernel }) => {
    const flags = frame[tcpFlags + (frame.readUInt16BE(12) === 0x86dd ? 20 : 0)] ?? 0;
    return kernel.length === 0 && (flags & synAndReset) === synAndReset;
  },
  // The answer has no options.
  "IPv4 options that are refused": ({ kernel: [there = ""], xdp: [here = ""] }) => behindIp(there) === behindIp(here),
  // One-packet services have no connections, and what is unknown goes where a new one would go.
  "ICMP errors about a connection": ({ kernel }, { target }) => target.onePacket && kernel.length === 0,
  // No daemon runs that would hold what comes before the first fragment: it is left to the stack.
  "fragments, the last one first": ({ kernel, xdp, verdict }) =>
    /^((tx|redirect) )*(pass )+(tx|redirect)$/.test(verdict) &&
    kernel.length === xdp.length &&
    kernel.filter((arrived) => !xdp.includes(arrived)).length === 1 &&
    xdp.filter((arrived) => arrived.endsWith("is not whole")).length === 1,
  // Record route and timestamp are left as they are.
  "IPv4 options that the director is asked to fill in": sameLengths,
  // masq leaves a datagram without a checksum without one.
  "no UDP checksum": sameLengths,
  // The fragment header stays; the kernel takes it off, and sends one of its own with ipip over IPv6.
  "an atomic fragment": ({ kernel: [there = ""], xdp: [here = ""] }) =>
    here.length === there.length + 16 || (there.length === here.length && there.slice(0, 24) === here.slice(0, 24)),
};

/** 46,000 frames and more by `make test-guest`, else some thousands; and those that chance has changed. */
const rounds = process.env["XLB_GUEST"] === "all" ? 9 : 1;
const mutated = process.env["XLB_GUEST"] === "all" ? 6000 : 400;
const seed = Number(process.env["XLB_SEED"] ?? 1);
const skip = cannotRun === false ? (guest.unavailable() ?? false) : cannotRun;

const comparisons =
  skip === false
    ? compareFrames([frameScenario(rounds, seed), vlanScenario, mutationScenario(mutated, seed)])
    : undefined;
comparisons?.catch(() => {}); // each test sees it

function check(name: string, comparison: Comparison): string {
  return checkThose(({ story }) => story.name === name, comparison);
}

function checkThose(isThat: (outcome: Outcome) => boolean, { outcomes, frames }: Comparison): string {
  const told = outcomes.filter(isThat);
  assert.ok(told.length > 0);
  for (const { story, difference } of told) {
    if (difference === undefined) continue;
    // Those of a story that chance has changed are told apart by reasonFor().
    if (story.mutations === undefined && deliberate[story.name]?.(difference, story) === true) continue;
    const { frame, verdict, kernel, xdp } = difference;
    const lines = [
      `${frame.toString("hex")} comes in`,
      `${kernel.join(" ")} the kernel`,
      `${xdp.join(" ")} ${verdict}`,
    ];
    if (story.mutations !== undefined) lines.unshift(`${story.name}: ${story.mutations.join("; ")}`);
    assert.fail(`${story.target.name}:\n${lines.join("\n")}`);
  }
  return `${told.length} stories, of ${frames} frames in all`;
}

describe("what becomes of a frame is what the kernel's IPVS makes of it, byte by byte", { skip }, () => {
  for (const name of Object.keys(classes)) {
    test(name, async (t) => {
      const [comparison] = (await comparisons) ?? [];
      assert.ok(comparison !== undefined);
      t.diagnostic(check(name, comparison));
    });
  }
});

describe("likewise with VLANs, between three arms: a frame comes in", { skip }, () => {
  for (const name of Object.keys(vlanClasses)) {
    test(name, async (t) => {
      const [, comparison] = (await comparisons) ?? [];
      assert.ok(comparison !== undefined);
      t.diagnostic(check(name, comparison));
    });
  }
});

describe("likewise frames that chance has changed, but for what docs/IPVS.md lists:", { skip }, () => {
  for (const family of ["IPv4", "IPv6"]) {
    for (const protocol of ["tcp", "udp", "sctp"] as const) {
      test(`${family}, ${protocol}`, async (t) => {
        const [, , comparison] = (await comparisons) ?? [];
        assert.ok(comparison !== undefined);
        const isThat = ({ story: { target } }: Outcome): boolean =>
          target.protocol === protocol && target.address.includes(":") === (family === "IPv6");
        t.diagnostic(checkThose(isThat, comparison));
      });
    }
  }
});
