import assert from "node:assert/strict";
import { test } from "node:test";
import { importConnections } from "../../src/dataplane/ipvs/imports.ts";
import { encodeSyncRecord, SyncMessageBuilder, syncFlag } from "../../src/dataplane/ipvs/sync-messages.ts";
import type { SyncRecord } from "../../src/dataplane/ipvs/sync-messages.ts";
import { parseQueue } from "../../src/dataplane/ipvs/sync-receiver.ts";
import type { ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import type { Connection } from "../../src/model/statistics.ts";

const syncId = 0x35;

function message(...records: readonly SyncRecord[]): string | undefined {
  const builder = new SyncMessageBuilder(syncId);
  for (const record of records) assert.equal(builder.add(encodeSyncRecord(record)), undefined);
  return builder.take()?.toString("hex");
}

const ipv4: SyncRecord = {
  protocol: 6,
  flags: 0,
  state: 1,
  client: "10.9.0.100",
  clientPort: 40003,
  virtualAddress: "10.9.0.50",
  virtualPort: 80,
  realServer: "10.9.0.12",
  realPort: 80,
  timeout: 900,
};
const ipv6: SyncRecord = {
  ...ipv4,
  client: "fd09::100",
  clientPort: 40012,
  virtualAddress: "fd09::50",
  realServer: "fd09::11",
};
const { inactive, template } = syncFlag;

/** Recorded from a Linux 6.1 that told another director of its connections, masqueraded all. */
const recorded: readonly { readonly what: string; readonly records: readonly SyncRecord[]; readonly hex: string }[] = [
  {
    what: "TCP in three states, and UDP",
    records: [
      ipv4,
      { ...ipv4, flags: inactive, state: 7, timeout: 60 },
      { ...ipv4, flags: inactive, state: 5, timeout: 120 },
      {
        ...ipv4,
        protocol: 17,
        flags: inactive,
        state: 0,
        clientPort: 40004,
        virtualPort: 53,
        realPort: 53,
        timeout: 300,
      },
    ],
    hex:
      "0035009804010000" +
      "000600240000000000019c430050005000000000000003840a0900640a0900320a09000c" +
      "000600240000010000079c4300500050000000000000003c0a0900640a0900320a09000c" +
      "000600240000010000059c430050005000000000000000780a0900640a0900320a09000c" +
      "001100240000010000009c4400350035000000000000012c0a0900640a0900320a09000c",
  },
  {
    what: "IPv6",
    records: [
      { ...ipv6, clientPort: 40011, realServer: "fd09::12" },
      ipv6,
      { ...ipv6, flags: inactive, state: 7, timeout: 60 },
      { ...ipv6, flags: inactive, state: 5, timeout: 120 },
    ],
    hex:
      "0035012804010000" +
      "010600480000000000019c4b005000500000000000000384fd090000000000000000000000000100fd090000000000000000000000000050fd090000000000000000000000000012" +
      "010600480000000000019c4c005000500000000000000384fd090000000000000000000000000100fd090000000000000000000000000050fd090000000000000000000000000011" +
      "010600480000010000079c4c00500050000000000000003cfd090000000000000000000000000100fd090000000000000000000000000050fd090000000000000000000000000011" +
      "010600480000010000059c4c005000500000000000000078fd090000000000000000000000000100fd090000000000000000000000000050fd090000000000000000000000000011",
  },
  {
    what: "the template of a network and a connection by it",
    records: [
      {
        ...ipv4,
        flags: inactive | template,
        state: 0,
        client: "10.9.0.0",
        clientPort: 0,
        virtualPort: 81,
        realPort: 81,
        timeout: 600,
      },
      { ...ipv4, clientPort: 40022, virtualPort: 81, realPort: 81 },
    ],
    hex:
      "0035005002010000" +
      "0006002400001100000000000051005100000000000002580a0900000a0900320a09000c" +
      "000600240000000000019c560051005100000000000003840a0900640a0900320a09000c",
  },
  {
    what: "the template of a firewall mark and a connection by it",
    records: [
      {
        ...ipv4,
        protocol: 0,
        flags: inactive | template,
        state: 0,
        client: "10.9.0.50",
        clientPort: 0,
        virtualAddress: "0.0.0.7",
        virtualPort: 0,
        realPort: 0,
        mark: 7,
        timeout: 120,
      },
      { ...ipv4, client: "10.9.0.50", clientPort: 40023, virtualPort: 8443, realPort: 8443, mark: 7 },
    ],
    hex:
      "0035005002010000" +
      "0000002400001100000000000000000000000007000000780a090032000000070a09000c" +
      "000600240000000000019c5720fb20fb00000007000003840a0900320a0900320a09000c",
  },
];

for (const { what, records, hex } of recorded) {
  test(`${what}: byte for byte what the kernel sends`, () => {
    assert.equal(message(...records), hex);
  });
}

test("messages end at their greatest length and at 255 records, and none is empty", () => {
  const records = (record: SyncRecord, maxLength: number, count: number): Buffer[] => {
    const builder = new SyncMessageBuilder(syncId, maxLength);
    const full = Array.from({ length: count }, () => builder.add(encodeSyncRecord(record)) ?? []).flat();
    return [...full, builder.take() ?? []].flat();
  };
  const counts = (messages: readonly Buffer[]) => messages.map((each) => each.readUInt8(4));
  assert.deepEqual(counts(records(ipv4, 1472, 81)), [40, 40, 1]);
  assert.deepEqual(counts(records(ipv6, 1472, 41)), [20, 20, 1]);
  assert.deepEqual(counts(records(ipv4, 65507, 256)), [255, 1]);
  for (const each of records(ipv6, 1472, 41)) {
    assert.equal(each.readUInt16BE(2), each.length);
    assert.ok(each.length <= 1472 && each.length % 4 === 0);
  }
  assert.deepEqual(records(ipv4, 1472, 0), []);
});

test("connections become records by their service: method, activity, template's whole time, ports of all-ports services", async () => {
  const identity: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.9.0.50", port: 0 };
  const service: VirtualService = {
    identity,
    scheduler: "rr",
    schedulerFlags: [],
    persistence: { timeout: 600, prefix: 24 },
    onePacket: false,
    realServers: [
      { address: "10.9.0.12", port: 0, method: "gate", weight: 1, upperThreshold: 0, lowerThreshold: 0 },
      { address: "10.9.0.13", port: 0, method: "ipip", weight: 0, upperThreshold: 0, lowerThreshold: 0 },
    ],
  };
  const connection: Connection = {
    identity,
    client: "10.9.0.100",
    clientPort: 40022,
    virtualAddress: "10.9.0.50",
    virtualPort: 81,
    realServer: "10.9.0.12",
    realPort: 81,
    state: "ESTABLISHED",
    template: false,
    expiresIn: 0,
  };
  const kept = { ...connection, client: "10.9.0.0", clientPort: 0, virtualPort: 0, realPort: 0, state: "NONE" };
  const sent: Buffer[] = [];
  const receiver = {
    syncId,
    maxLength: 1472,
    send: (messages: readonly Buffer[]) => Promise.resolve(void sent.push(...messages)),
  };
  const report = await importConnections(
    receiver,
    [service],
    [
      { ...kept, template: true, expiresIn: 5 },
      connection,
      { ...connection, realServer: "10.9.0.13", state: "FIN_WAIT", expiresIn: 77 },
      { ...connection, realServer: "10.9.0.14" },
    ],
    {},
  );
  assert.deepEqual(report, { taken: 3, strange: 1, homeless: 0 });
  const expected = [
    {
      ...ipv4,
      flags: 3 | inactive | template,
      state: 0,
      client: "10.9.0.0",
      clientPort: 0,
      virtualPort: 0,
      realPort: 0,
      timeout: 600,
    },
    { ...ipv4, flags: 3, clientPort: 40022, virtualPort: 81, realPort: 81, timeout: 1 },
    {
      ...ipv4,
      flags: 2 | inactive,
      state: 4,
      clientPort: 40022,
      virtualPort: 81,
      realServer: "10.9.0.13",
      realPort: 81,
      timeout: 77,
    },
  ];
  assert.deepEqual(
    sent.map((each) => each.toString("hex")),
    [message(...expected)],
  );
});

test("the kernel's socket is found by group and port, with what waits in it and what it has dropped", () => {
  const text = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  144: 00000000:2290 00000000:0000 07 00000000:00000100 00:00000000 00000000     0        0 4711 2 0000000000000000 9
  145: 510000E0:2290 00000000:0000 07 00000000:00000A00 00:00000000 00000000     0        0 4712 2 0000000000000000 3
`;
  assert.deepEqual(parseQueue(text, "224.0.0.81", 8848), { bytes: 0xa00, dropped: 3 });
  assert.equal(parseQueue(text, "224.0.0.82", 8848), undefined);
  assert.equal(parseQueue(text, "224.0.0.81", 8849), undefined);
});
