import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { IpvsClient } from "../../src/dataplane/ipvs/client.ts";
import { MalformedMessage } from "../../src/dataplane/netlink/messages.ts";
import {
  daemonState,
  decodeDestination,
  decodeService,
  forwardingMethodNumber,
  serviceFlag,
  tunnelFlag,
  tunnelTypeNumber,
} from "../../src/dataplane/ipvs/messages.ts";
import type { IpvsDestinationSettings } from "../../src/dataplane/ipvs/messages.ts";
import type { Traffic } from "../../src/model/statistics.ts";
import type { ServiceIdentity } from "../../src/model/service.ts";
import type { Native } from "../../src/native.ts";

/** This file runs as build/test/dataplane/ipvs-messages.test.js. */
const goldenFile = join(import.meta.dirname, "../../../test/dataplane/golden/ipvs-exchanges.txt");

interface Exchange {
  readonly sent: readonly string[];
  readonly received: readonly string[];
}

function readExchanges(): Map<string, Exchange> {
  const exchanges = new Map<string, { sent: string[]; received: string[] }>();
  let current = { sent: [] as string[], received: [] as string[] };
  for (const line of readFileSync(goldenFile, "utf8").split("\n")) {
    if (line.startsWith("## ")) exchanges.set(line.slice(3), (current = { sent: [], received: [] }));
    else if (line.startsWith("> ")) current.sent.push(line.slice(2));
    else if (line.startsWith("< ")) current.received.push(line.slice(2));
  }
  return exchanges;
}

const exchanges = readExchanges();
/** Sequence numbers differ from run to run. */
const withoutSequence = (hex: string): string => `${hex.slice(0, 16)}--------${hex.slice(24)}`;

/** A kernel that says again what it said when the exchange was recorded. */
function replay(name: string): { client: IpvsClient; sent: string[]; golden: Exchange } {
  const golden = exchanges.get(name);
  assert.ok(golden, `nothing was recorded as ${name}`);
  const sent: string[] = [];
  const answers: Buffer[] = [];
  const family = Buffer.from("1c000000100000000000000000000000" + "01020000" + "060001001c000000", "hex");
  const fake: Pick<
    Native,
    "socketOpen" | "socketOption" | "socketBind" | "socketSend" | "socketReceive" | "socketClose"
  > = {
    socketOpen: () => 3,
    socketOption: () => {},
    socketBind: () => {},
    socketClose: () => {},
    socketSend: (_fd, data) => {
      const request = Buffer.from(data);
      const isFamilyQuery = request.readUInt16LE(4) === 16;
      if (!isFamilyQuery) sent.push(request.toString("hex"));
      const replies = isFamilyQuery ? [family] : golden.received.map((hex) => Buffer.from(hex, "hex"));
      for (const reply of replies) {
        // The kernel repeats the request's sequence in every message of its answer.
        for (let at = 0; at < reply.length; at += (reply.readUInt32LE(at) + 3) & ~3) {
          request.copy(reply, at + 8, 8, 12);
        }
        answers.push(reply);
      }
      return data.length;
    },
    socketReceive: () => {
      const data = answers.shift();
      return data === undefined ? undefined : { data, address: Buffer.alloc(12) };
    },
  };
  // The client uses nothing else of the addon.
  return { client: IpvsClient.open(fake as unknown as Native), sent, golden };
}

/** What was sent is what was recorded; returns what was made of the answer. */
function exchange<T>(name: string, request: (client: IpvsClient) => T): T {
  const { client, sent, golden } = replay(name);
  try {
    return request(client);
  } finally {
    assert.deepEqual(sent.map(withoutSequence), golden.sent.map(withoutSequence));
    client.close();
  }
}

const web: ServiceIdentity = { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 80 };
const web6: ServiceIdentity = { kind: "address", protocol: "sctp", address: "fd00::1", port: 80 };
const sip: ServiceIdentity = { kind: "address", protocol: "udp", address: "10.0.0.1", port: 5060 };
const mark: ServiceIdentity = { kind: "mark", mark: 7, family: "ipv6" };

const masqueraded: IpvsDestinationSettings = {
  address: "10.0.0.2",
  port: 8080,
  method: forwardingMethodNumber.masquerade,
  weight: 3,
  upperThreshold: 10,
  lowerThreshold: 5,
  tunnelType: tunnelTypeNumber.ipip,
  tunnelPort: 0,
  tunnelFlags: 0,
};
const tunnelled: IpvsDestinationSettings = {
  address: "fd00::2",
  port: 80,
  method: forwardingMethodNumber.tunnel,
  weight: 70_000,
  upperThreshold: 0,
  lowerThreshold: 0,
  tunnelType: tunnelTypeNumber.gue,
  tunnelPort: 6080,
  tunnelFlags: tunnelFlag.remoteChecksum,
};
const zeros: Traffic = {
  connections: 0n,
  packetsIn: 0n,
  packetsOut: 0n,
  bytesIn: 0n,
  bytesOut: 0n,
  connectionRate: 0n,
  packetRateIn: 0n,
  packetRateOut: 0n,
  byteRateIn: 0n,
  byteRateOut: 0n,
};
const idle = { activeConnections: 0, inactiveConnections: 0, persistentConnections: 0, statistics: zeros };
const { persistent, onePacket, hashed, scheduler1, scheduler2 } = serviceFlag;

test("version and table size are asked for", () => {
  assert.deepEqual(
    exchange("info", (client) => client.info()),
    { version: "1.2.1", connectionTableSize: 4096 },
  );
});

test("timeouts are read, and set one by one", () => {
  assert.deepEqual(
    exchange("timeouts", (client) => client.timeouts()),
    { tcp: 900, tcpFin: 120, udp: 300 },
  );
  exchange("set", (client) => client.setTimeouts({ tcp: 0, tcpFin: 0, udp: 60 }));
});

test("services are added by address and by firewall mark, of both families", () => {
  const flags = persistent | scheduler1 | scheduler2;
  exchange("new web", (client) =>
    client.newService({ identity: web, scheduler: "sh", flags, timeout: 77, prefix: 24 }),
  );
  exchange("new mark", (client) =>
    client.newService({ identity: mark, scheduler: "wlc", flags: 0, timeout: 0, prefix: 128 }),
  );
  exchange("new web6", (client) =>
    client.newService({ identity: web6, scheduler: "mh", flags: persistent | scheduler2, timeout: 300, prefix: 64 }),
  );
  const engine = { persistenceEngine: "sip", flags: persistent | onePacket, timeout: 60, prefix: 32 };
  exchange("new sip", (client) => client.newService({ identity: sip, scheduler: "rr", ...engine }));
});

test("a refusal carries the kernel's errno", () => {
  assert.throws(
    () =>
      exchange("dup", (client) =>
        client.newService({ identity: mark, scheduler: "wlc", flags: 0, timeout: 0, prefix: 128 }),
      ),
    { name: "NetlinkError", code: "EEXIST", message: "IPVS: add fwm6:7: EEXIST" },
  );
});

test("destinations are added with thresholds, tunnels and any weight, and removed", () => {
  exchange("new rs", (client) => client.newDestination(web, masqueraded));
  exchange("new gue", (client) => client.newDestination(web, tunnelled));
  exchange("del", (client) => client.deleteDestination(web, { address: "fd00::2", port: 80 }));
});

test("services are read back as they were added", () => {
  const ofSip = {
    identity: sip,
    scheduler: "rr",
    flags: persistent | onePacket | hashed,
    timeout: 60,
    prefix: 32,
    persistenceEngine: "sip",
    statistics: zeros,
  };
  assert.deepEqual(
    exchange("get service", (client) => client.service(sip)),
    ofSip,
  );
  const plain = { statistics: zeros };
  assert.deepEqual(
    exchange("services", (client) => client.services()),
    [
      { identity: web6, scheduler: "mh", flags: persistent | hashed | scheduler2, timeout: 300, prefix: 64, ...plain },
      ofSip,
      {
        identity: web,
        scheduler: "sh",
        flags: persistent | hashed | scheduler1 | scheduler2,
        timeout: 77,
        prefix: 24,
        ...plain,
      },
      { identity: mark, scheduler: "wlc", flags: hashed, timeout: 0, prefix: 128, ...plain },
    ],
  );
});

test("destinations are read back, the newest first", () => {
  assert.deepEqual(
    exchange("dests", (client) => client.destinations(web)),
    [
      { ...tunnelled, ...idle },
      { ...masqueraded, ...idle },
    ],
  );
});

test("synchronisation daemons are started with and without details, listed and stopped", () => {
  exchange("daemon", (client) => client.newDaemon({ state: daemonState.master, interfaceName: "v0", syncId: 5 }));
  const backup = { state: daemonState.backup, interfaceName: "v0", syncId: 6 };
  const details = { maxLength: 1400, group: "ff02::7", port: 9000, ttl: 3 };
  exchange("daemon2", (client) => client.newDaemon({ ...backup, ...details }));
  assert.deepEqual(
    exchange("daemons", (client) => client.daemons()),
    [
      { state: 1, interfaceName: "v0", syncId: 5, maxLength: 1472, group: "224.0.0.81", port: 8848, ttl: 1 },
      { ...backup, ...details },
    ],
  );
  exchange("deldaemon", (client) => client.deleteDaemon(backup));
});

test("counters of a service are set to zero, and every service is removed", () => {
  exchange("zero", (client) => client.zero(web));
  exchange("flush", (client) => client.flush());
  assert.equal(
    exchange("no", (client) => client.service(web)),
    undefined,
  );
});

test("an answer that is cut off or lacks what it must have is refused", () => {
  const hex = exchanges.get("dests")?.received[0] ?? "";
  const whole = Buffer.from(hex, "hex").subarray(16, 400);
  assert.equal(decodeDestination(whole, "ipv4").port, 80);
  for (let length = 0; length < 40; length++) {
    assert.throws(() => decodeDestination(whole.subarray(0, length), "ipv4"), MalformedMessage, `${length} bytes`);
  }
  assert.throws(() => decodeService(whole), MalformedMessage);
});

test("a service of a protocol without a name is passed over", () => {
  const hex = exchanges.get("get service")?.received[0] ?? "";
  const payload = Buffer.from(hex, "hex").subarray(16);
  const protocol = payload.indexOf(Buffer.from("060002001100", "hex"));
  payload.writeUInt16LE(51, protocol + 4);
  assert.equal(decodeService(payload), undefined);
});
