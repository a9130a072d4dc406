import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { addressOf, parseAddress, printAddress } from "../../src/dataplane/netlink/address.ts";
import { MalformedMessage, decodeErrorNumber, decodeMessages } from "../../src/dataplane/netlink/messages.ts";
import {
  NTF_EXT_LEARNED,
  NTF_EXT_MANAGED,
  NTF_USE,
  NUD_NONE,
  NUD_PROBE,
  RTM_GETLINK,
  RTM_GETNEIGH,
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  decodeRule,
  encodeDump,
  encodeNeighbourRequest,
  encodeRouteQuery,
} from "../../src/dataplane/xdp/netlink.ts";

// Golden bytes are those of Linux 6.18 on x86-64, shortened to the attributes of interest where a message is long.

void describe("links", () => {
  test("an Ethernet interface is decoded", () => {
    const link = decodeLink(
      bytes(
        "00000100 03000000 43100100 00000000", // AF_UNSPEC, ARPHRD_ETHER, ifindex 3, UP BROADCAST RUNNING MULTICAST
        "0900 0300 65746831 00000000", // IFLA_IFNAME eth1
        "0800 0d00 e8030000", // IFLA_TXQLEN
        "0800 0400 dc050000", // IFLA_MTU 1500
        "0a00 0100 020000000001 0000", // IFLA_ADDRESS
        "1000 1200 0900 0100 76657468 00000000", // IFLA_LINKINFO, IFLA_INFO_KIND veth
        "0800 0500 02000000", // IFLA_LINK 2
      ),
    );
    assert.deepEqual(link, {
      family: 0,
      hardware: 1,
      ifindex: 3,
      flags: 0x11043,
      name: "eth1",
      mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
      mtu: 1500,
    });
  });

  const vlan = [
    "00000100 07000000 43100100 00000000",
    "0e00 0300 657468302e3132333400 0000", // IFLA_IFNAME eth0.1234
    "0800 0400 d8050000", // IFLA_MTU 1496
    "0800 0500 02000000", // IFLA_LINK 2
    "0a00 0100 020000000007 0000",
    "2c00 1280", // IFLA_LINKINFO, nested
    "0900 0100 766c616e 00000000", // IFLA_INFO_KIND vlan
    "1c00 0280", // IFLA_INFO_DATA, nested
    "0600 0500 8100 0000", // IFLA_VLAN_PROTOCOL 802.1Q, network byte order
    "0600 0100 d204 0000", // IFLA_VLAN_ID 1234
    "0800 0200 01000000", // IFLA_VLAN_FLAGS, shortened
  ];

  test("a VLAN interface names its parent, id and protocol", () => {
    const link = decodeLink(bytes(...vlan));
    assert.equal(link.name, "eth0.1234");
    assert.deepEqual(link.vlan, { parent: 2, id: 1234, protocol: 0x8100 });
  });

  test("a VLAN interface of 802.1ad is told from one of 802.1Q", () => {
    const stacked = vlan.map((line) => line.replace("8100 0000", "88a8 0000"));
    assert.equal(decodeLink(bytes(...stacked)).vlan?.protocol, 0x88a8);
  });

  test("a VLAN interface whose parent is in another namespace has none here", () => {
    const link = decodeLink(bytes(...vlan, "0800 2500 00000000"));
    assert.deepEqual(link.vlan, { parent: 0, id: 1234, protocol: 0x8100 });
  });
});

void describe("addresses, routes, rules and neighbours", () => {
  test("an IPv4 address is decoded", () => {
    const address = decodeAddress(
      bytes("02188000 03000000", "08000100 0a000001", "08000200 0a000001", "09000300 65746831 00000000"),
    );
    assert.deepEqual(address, {
      family: 2,
      ifindex: 3,
      prefixLength: 24,
      local: Buffer.of(10, 0, 0, 1),
      subnet: Buffer.of(10, 0, 0, 1),
    });
  });

  test("the subnet of a point-to-point address is the peer's", () => {
    const address = decodeAddress(bytes("02208000 03000000", "08000100 0a080002", "08000200 0a080001"));
    assert.deepEqual([address?.local, address?.subnet], [Buffer.of(10, 8, 0, 1), Buffer.of(10, 8, 0, 2)]);
  });

  test("an IPv6 address is decoded", () => {
    const address = decodeAddress(
      bytes("0a408200 03000000", "14000100 fd000000000000000000000000000001", "08000800 82000000"),
    );
    assert.equal(printAddress(address?.local ?? Buffer.alloc(16)), "fd00::1");
    assert.equal(address?.prefixLength, 64);
  });

  test("an IPv4 route through an IPv6 gateway with metric and MTU is decoded", () => {
    const route = decodeRoute(
      bytes(
        "02100000 fe030001 00000000",
        "08000f00 fe000000", // RTA_TABLE main
        "08000100 0a090000", // RTA_DST 10.9.0.0
        "08000600 07000000", // RTA_PRIORITY
        "0c000800 08000200 78050000", // RTA_METRICS, RTAX_MTU 1400
        "16001200 0a00 fd000000000000000000000000000002 0000", // RTA_VIA AF_INET6
        "08000400 03000000", // RTA_OIF
      ),
    );
    assert.deepEqual(route, {
      family: 2,
      prefixLength: 16,
      destination: Buffer.of(10, 9, 0, 0),
      kind: 1,
      table: 254,
      flags: 0,
      metric: 7,
      ifindex: 3,
      gateway: Buffer.from("fd000000000000000000000000000002", "hex"),
      mtu: 1400,
      multipath: false,
      pathInterfaces: [],
    });
  });

  test("a default route of several paths in a table above 255 is decoded", () => {
    const route = decodeRoute(
      bytes(
        "02000000 fc030001 00000000",
        "08000f00 e8030000", // RTA_TABLE 1000
        "24000900", // RTA_MULTIPATH
        "10000000 03000000 08000500 0a000003",
        "10000000 03000000 08000500 0a000004",
      ),
    );
    assert.equal(route?.table, 1000);
    assert.equal(route?.multipath, true);
    assert.deepEqual(route?.pathInterfaces, [3, 3]);
    assert.equal(route?.destination, undefined);
  });

  test("a rule with a destination is decoded, one of multicast routing left out", () => {
    const rule = decodeRule(bytes("02180000 07000001 00000000", "08000f00 07000000", "08000100 0a090700"));
    assert.deepEqual(rule, { family: 2, prefixLength: 24, destination: Buffer.of(10, 9, 7, 0) });
    assert.equal(decodeRule(bytes("80000000 fd000001 00000000")), undefined);
  });

  test("a managed neighbour is decoded with its flags and protocol", () => {
    const neighbour = decodeNeighbour(
      bytes(
        "02000000 03000000 08001001",
        "08000100 0a000002", // NDA_DST
        "0a000200 020000000002 0000", // NDA_LLADDR
        "08000400 00000000", // NDA_PROBES
        "14000300 7b170000 0a000000 0a000000 01000000", // NDA_CACHEINFO
        "05000c00 78000000", // NDA_PROTOCOL
        "08000f00 01000000", // NDA_FLAGS_EXT
      ),
    );
    assert.deepEqual(neighbour, {
      family: 2,
      ifindex: 3,
      state: 0x08,
      flags: NTF_EXT_LEARNED,
      extendedFlags: NTF_EXT_MANAGED,
      protocol: 120,
      address: Buffer.of(10, 0, 0, 2),
      mac: Uint8Array.of(2, 0, 0, 0, 0, 2),
    });
  });

  test("bridge forwarding entries and proxy entries are no neighbours", () => {
    assert.equal(decodeNeighbour(bytes("07000000 03000000 80000200", "0a000200 020000000002 0000")), undefined);
    assert.equal(decodeNeighbour(bytes("02000000 03000000 00000800", "08000100 0a000002")), undefined);
  });
});

void describe("requests", () => {
  test("dumps are asked for", () => {
    assert.equal(hex(encodeDump(RTM_GETNEIGH, 5)), "1c000000" + "1e000103" + "05000000" + "00000000" + "00".repeat(12));
    assert.equal(hex(encodeDump(RTM_GETLINK, 6)), "20000000" + "12000103" + "06000000" + "00000000" + "00".repeat(16));
  });

  test("a route is asked for with the whole address", () => {
    assert.equal(
      hex(encodeRouteQuery(Buffer.of(10, 0, 0, 2), 7)),
      "24000000" + "1a000100" + "07000000" + "00000000" + "022000000000000000000000" + "080001000a000002",
    );
  });

  test("a neighbour is kept and probed", () => {
    const common = { ifindex: 3, address: Buffer.of(10, 0, 0, 2), protocol: 120 };
    assert.equal(
      hex(
        encodeNeighbourRequest(
          {
            ...common,
            state: NUD_NONE,
            flags: NTF_USE | NTF_EXT_LEARNED,
            extendedFlags: NTF_EXT_MANAGED,
            create: true,
          },
          8,
        ),
      ),
      "34000000" +
        "1c000104" +
        "08000000" +
        "00000000" +
        "020000000300000000001100" +
        "080001000a000002" +
        "05000c0078000000" +
        "08000f0001000000",
    );
    assert.equal(
      hex(
        encodeNeighbourRequest(
          { ...common, protocol: 0, state: NUD_PROBE, flags: NTF_EXT_LEARNED, extendedFlags: 0, create: false },
          9,
        ),
      ),
      "24000000" + "1c000100" + "09000000" + "00000000" + "020000000300000010001000" + "080001000a000002",
    );
  });
});

void describe("datagrams", () => {
  test("are split into messages, with padding between them", () => {
    const messages = decodeMessages(
      bytes("15000000 1400 0200 01000000 00000000 aabbccddee 000000", "14000000 0300 0200 01000000 00000000 00000000"),
    );
    assert.deepEqual(
      messages.map(({ type, flags, sequence, payload }) => [type, flags, sequence, hex(payload)]),
      [
        [20, 2, 1, "aabbccddee"],
        [3, 2, 1, "00000000"],
      ],
    );
  });

  test("errors carry the errno", () => {
    assert.equal(decodeErrorNumber(bytes("9bffffff")), 101);
    assert.equal(decodeErrorNumber(bytes("00000000")), 0);
  });

  test("that contradict their lengths are refused", () => {
    assert.throws(() => decodeMessages(bytes("20000000 1400 0200 01000000 00000000")), MalformedMessage);
    assert.throws(() => decodeMessages(bytes("0f000000 1400 0200 01000000 00000000")), MalformedMessage);
    assert.throws(() => decodeMessages(bytes("1000")), MalformedMessage);
    assert.throws(() => decodeLink(bytes("0000")), MalformedMessage);
    assert.throws(() => decodeAddress(bytes("02188000 03000000 0c000100 0a000001")), MalformedMessage);
    assert.throws(() => decodeAddress(bytes("02188000 03000000 06000100 0a00 0000")), MalformedMessage);
    assert.throws(() => decodeNeighbour(bytes("02000000 03000000 08000000 03000100")), MalformedMessage);
  });

  test("of any bytes are decoded or refused, and nothing else happens", () => {
    const decoders = [decodeLink, decodeAddress, decodeRoute, decodeRule, decodeNeighbour, decodeMessages];
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 96 }), fc.constantFrom(...decoders), (random, decode) => {
        try {
          decode(Buffer.from(random));
        } catch (error) {
          assert.ok(error instanceof MalformedMessage, String(error));
        }
      }),
      { numRuns: 5000 },
    );
  });
});

void describe("address text", () => {
  test("is read and printed in canonical form", () => {
    for (const [text, canonical] of [
      ["10.0.0.1", "10.0.0.1"],
      ["FD00:0:0:0:0:0:0:1", "fd00::1"],
      ["::", "::"],
    ] as const) {
      assert.equal(parseAddress(text)?.text, canonical);
    }
    assert.equal(parseAddress("10.0.0"), undefined);
    assert.equal(parseAddress("10.0.0.256"), undefined);
    assert.equal(parseAddress("host.example"), undefined);
  });

  test("survives being printed and read again", () => {
    const address = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    );
    fc.assert(
      fc.property(address, (source) => {
        assert.equal(parseAddress(printAddress(source))?.key, addressOf(source).key);
      }),
    );
  });
});

function bytes(...lines: string[]): Buffer {
  return Buffer.from(lines.join("").replaceAll(" ", ""), "hex");
}

function hex(buffer: Buffer): string {
  return buffer.toString("hex");
}
