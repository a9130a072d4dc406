/**
 * Frames with and without VLAN tags for a director with three arms on one cable: untagged, VLAN 10 and VLAN 20. Real
 * servers and clients are on each of them, so that frames go out with another tag than they came in with, the same one,
 * or none.
 */
import { familyOf } from "../../src/model/service.ts";
import { frame } from "../support/packet.ts";
import type { FrameSpec } from "../support/packet.ts";
import { changesFor } from "./frame-classes.ts";
import type { Story, Target } from "./frame-classes.ts";
import type { Scenario } from "./frame-comparison.ts";
import { directorMac } from "./play.ts";

/** By VLAN; 0: untagged. */
const arms = [0, 10, 20] as const;
type Arm = (typeof arms)[number];

const deviceOf = (arm: Arm): string => (arm === 0 ? "eth0" : `eth0.${arm}`);
const hex = (byte: number): string => byte.toString(16).padStart(2, "0");
const routerMac = (arm: Arm): string => `02:00:00:00:aa:${hex(arm)}`;
const addressOn = (arm: Arm, host: number, ipv6: boolean): string =>
  ipv6 ? `fd00:${100 + arm}::${host.toString(16)}` : `192.168.${100 + arm}.${host}`;
/** Of clients behind an arm's router. */
const clientOf = (arm: Arm, ipv6: boolean): string => (ipv6 ? `2001:db8:${arm}::9` : `11.${arm}.0.9`);

const methods = [
  { name: "gate", method: "gate", port: 80, weight: 1 },
  { name: "masq", method: "masq", port: 8080, weight: 1 },
  { name: "gate, weight 0", method: "gate", port: 80, weight: 0 },
] as const;

interface VlanTarget extends Target {
  readonly arm: Arm;
}

const targets: readonly VlanTarget[] = methods.flatMap((way, place) =>
  arms.flatMap((arm) =>
    [false, true].flatMap((ipv6) =>
      (["tcp", "udp"] as const).map((protocol, turn): VlanTarget => {
        // Of masqueraded ones each its own: a real server's packet belongs to one service.
        const host = 101 + 2 * place + turn;
        const number = 1 + place * 50 + arm;
        return {
          name: `${way.name}, ${ipv6 ? "IPv6" : "IPv4"}, ${protocol}, ${arm === 0 ? "untagged" : `VLAN ${arm}`}`,
          arm,
          address: ipv6 ? `fd00:10::${number.toString(16)}` : `10.10.10.${number}`,
          port: 80,
          protocol,
          realMac: `02:00:00:01:${hex(arm)}:${hex(host)}`,
          realPort: way.port,
          allPorts: false,
          onePacket: false,
          realServer: {
            address: addressOn(arm, host, ipv6),
            port: way.port,
            method: way.method,
            weight: way.weight,
            upperThreshold: 0,
            lowerThreshold: 0,
          },
        };
      }),
    ),
  ),
);

interface Arrival {
  /** Where the client's router is. */
  readonly arm: Arm;
  readonly vlans: NonNullable<FrameSpec["vlans"]>;
}

const serviceTag = 0x88a8;

/** How frames of a client come in, by the name of the class. */
export const vlanClasses: Readonly<Record<string, Arrival>> = {
  "without a tag": { arm: 0, vlans: [] },
  "of VLAN 10": { arm: 10, vlans: [{ id: 10 }] },
  "of VLAN 20": { arm: 20, vlans: [{ id: 20 }] },
  "of VLAN 10, with a priority": { arm: 10, vlans: [{ id: 10, priority: 5 }] },
  "with a priority tag": { arm: 0, vlans: [{ id: 0, priority: 3 }] },
  "of VLAN 10 in a priority tag": { arm: 10, vlans: [{ id: 0, priority: 6 }, { id: 10 }] },
  "of VLAN 10 with a priority tag inside": { arm: 10, vlans: [{ id: 10 }, { id: 0, priority: 1 }] },
  "of a VLAN that nobody has": { arm: 0, vlans: [{ id: 30 }] },
  "of VLAN 20 in VLAN 10": { arm: 10, vlans: [{ id: 10 }, { id: 20 }] },
  "of VLAN 10 by an 802.1ad tag": { arm: 10, vlans: [{ id: 10, type: serviceTag }] },
  "with an 802.1ad priority tag": { arm: 0, vlans: [{ id: 0, priority: 2, type: serviceTag }] },
  "of VLAN 10 in an 802.1ad priority tag": { arm: 10, vlans: [{ id: 0, type: serviceTag }, { id: 10 }] },
};

function storyOf(name: string, { arm, vlans }: Arrival, target: VlanTarget, number: number): Story {
  const ipv6 = familyOf(target.address) === "ipv6";
  const client = clientOf(arm, ipv6);
  const packet = (sourcePort: number, spec: FrameSpec = {}): Buffer =>
    frame({
      to: directorMac,
      from: routerMac(arm),
      vlans,
      source: client,
      destination: target.address,
      sourcePort,
      destinationPort: target.port,
      protocol: target.protocol === "udp" ? "udp" : "tcp",
      ...spec,
    });
  const reply = (destinationPort: number, spec: FrameSpec = {}): Buffer =>
    packet(target.realPort, {
      from: target.realMac,
      vlans: target.arm === 0 ? [] : [{ id: target.arm }],
      source: target.realServer.address,
      destination: client,
      destinationPort,
      ...spec,
    });
  const port = 2000 + 4 * number;
  const masqueraded = target.realServer.method === "masq" && target.realServer.weight > 0;
  return {
    name,
    target,
    frames: [
      packet(port),
      ...(masqueraded ? [reply(port, { flags: "SA" })] : []),
      packet(port, { flags: "A" }),
      packet(port, { flags: "PA", payload: Buffer.alloc(1 + (number % 1200), 1) }),
      packet(port, { flags: "A", ttl: 1 }),
      packet(port + 1, { ttl: 1, payload: Buffer.alloc(40, 2) }),
      ...(masqueraded
        ? [reply(port, { flags: "PA", payload: Buffer.alloc(600, 3) }), reply(port, { flags: "A", ttl: 1 })]
        : []),
      packet(port, { flags: "FA" }),
    ],
  };
}

const network: readonly string[] = [
  ...arms.flatMap((arm) =>
    arm === 0 ? [] : [`link add link eth0 name ${deviceOf(arm)} type vlan id ${arm}`, `link set ${deviceOf(arm)} up`],
  ),
  ...new Set(
    targets.map(
      ({ address }) => `address add ${address}/${familyOf(address) === "ipv6" ? "128 dev lo nodad" : "32 dev lo"}`,
    ),
  ),
  ...arms.flatMap((arm) => {
    const device = deviceOf(arm);
    return [
      `address add ${addressOn(arm, 1, false)}/24 dev ${device}`,
      `address add ${addressOn(arm, 1, true)}/64 dev ${device} nodad`,
      ...[false, true].flatMap((ipv6) => [
        `neighbour add ${addressOn(arm, 2, ipv6)} lladdr ${routerMac(arm)} dev ${device} nud permanent`,
        `route add ${ipv6 ? `2001:db8:${arm}::/48` : `11.${arm}.0.0/16`} via ${addressOn(arm, 2, ipv6)}`,
      ]),
    ];
  }),
  ...targets.map(
    ({ realServer, realMac, arm }) =>
      `neighbour add ${realServer.address} lladdr ${realMac} dev ${deviceOf(arm)} nud permanent`,
  ),
];

/** Every arrival to every service. */
export const vlanScenario: Scenario = {
  network,
  modules: ["8021q"],
  changes: targets.flatMap(changesFor),
  stories: Object.entries(vlanClasses).flatMap(([name, arrival], turn) =>
    targets.map((target, place) => storyOf(name, arrival, target, turn * targets.length + place)),
  ),
};
