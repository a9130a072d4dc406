import assert from "node:assert/strict";
import { test } from "node:test";
import type { ListFormat } from "../../../src/cli/ipvsadm/parse.ts";
import {
  endpointPrinter,
  printConnection,
  printConnectionsTitle,
  printNumericEndpoint,
  printService,
  printTitle,
} from "../../../src/cli/ipvsadm/print.ts";
import type { ListedServer, ListedService, TableConnection } from "../../../src/cli/ipvsadm/table.ts";
import type { Traffic } from "../../../src/model/statistics.ts";
import { noTraffic } from "./memory-table.ts";

const plain: ListFormat = {
  numeric: true,
  stats: false,
  rate: false,
  thresholds: false,
  persistentConnections: false,
  tunnelInfo: false,
  exact: false,
  unsorted: false,
};

function service(traffic: Partial<Traffic>): ListedService {
  return {
    identity: { kind: "address", protocol: "tcp", address: "10.0.0.1", port: 80 },
    scheduler: "rr",
    schedulerFlags: [],
    onePacket: false,
    traffic: { ...noTraffic, ...traffic },
  };
}

function server(settings: Partial<ListedServer>): ListedServer {
  return {
    address: "10.1.0.2",
    port: 8080,
    method: "masq",
    weight: 3,
    upperThreshold: 0,
    lowerThreshold: 0,
    activeConnections: 2,
    inactiveConnections: 1,
    persistentConnections: 1,
    traffic: noTraffic,
    ...settings,
  };
}

/** As ipvsadm 1.31 has printed them. */
test("counters of a table with traffic", () => {
  const traffic = { ...noTraffic, connections: 3n, packetsIn: 12n, packetsOut: 9n, bytesIn: 6648n, bytesOut: 6492n };
  const format = { ...plain, stats: true };
  assert.equal(
    printTitle(format) + printService(service(traffic), [server({ traffic })], format, printNumericEndpoint),
    "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n" +
      "  -> RemoteAddress:Port\n" +
      "TCP  10.0.0.1:80                         3       12        9     6648     6492\n" +
      "  -> 10.1.0.2:8080                       3       12        9     6648     6492\n",
  );
});

test("rates of a table with traffic", () => {
  const traffic = { ...noTraffic, packetRateIn: 1n, packetRateOut: 1n, byteRateIn: 467n, byteRateOut: 456n };
  const format = { ...plain, rate: true };
  assert.equal(
    printTitle(format) + printService(service(traffic), [server({ traffic })], format, printNumericEndpoint),
    "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n" +
      "  -> RemoteAddress:Port\n" +
      "TCP  10.0.0.1:80                         0        1        1      467      456\n" +
      "  -> 10.1.0.2:8080                       0        1        1      467      456\n",
  );
});

test("large numbers are shortened from 100 million on, and are not with --exact", () => {
  const column = (value: bigint, exact: boolean): string =>
    printService(service({ connections: value }), [], { ...plain, stats: true, exact }, printNumericEndpoint)
      .slice(33)
      .replace(/(?: {8}0){4}\n$/, "");
  const shown: readonly (readonly [bigint, string, string])[] = [
    [0n, "        0", "        0"],
    [99_999_999n, " 99999999", " 99999999"],
    [100_000_000n, "  100000K", " 100000000"],
    [999_999_999n, "  999999K", " 999999999"],
    [1_000_000_000n, "    1000M", " 1000000000"],
    [99_999_999_999n, "   99999M", " 99999999999"],
    [100_000_000_000n, "     100G", " 100000000000"],
    [99_999_999_999_999n, "   99999G", " 99999999999999"],
    [100_000_000_000_000n, "     100T", " 100000000000000"],
    [2n ** 64n - 1n, "18446744T", " 18446744073709551615"],
  ];
  for (const [value, short, exact] of shown) {
    assert.equal(column(value, false), short);
    assert.equal(column(value, true), exact);
  }
});

test("packet rates of real servers are in full where the service's are shortened", () => {
  const traffic = { ...noTraffic, packetRateIn: 123_456_789n, byteRateIn: 123_456_789n };
  const [ofService = "", ofServer = ""] = printService(
    service(traffic),
    [server({ traffic })],
    { ...plain, rate: true },
    printNumericEndpoint,
  ).split("\n");
  assert.equal(ofService.slice(33), "        0  123456K        0  123456K        0");
  assert.equal(ofServer.slice(33), "        0 123456789        0  123456K        0");
});

test("forwarding methods that nothing sets have the words that ipvsadm has for them", () => {
  const row = (method: ListedServer["method"]): string =>
    printService(service({}), [server({ method })], plain, printNumericEndpoint).split("\n")[1]!;
  assert.equal(row("local"), "  -> 10.1.0.2:8080                Local   3      2          1         ");
  assert.equal(row("bypass"), "  -> 10.1.0.2:8080                (null)  3      2          1         ");
});

const connection: TableConnection = {
  protocol: "TCP",
  expiresIn: 14 * 60 + 48,
  state: "ESTABLISHED",
  client: "fd00::1",
  clientPort: 34_074,
  virtualAddress: "fd00::1",
  virtualPort: 80,
  realServer: "fd00:1::1",
  realPort: 8080,
};

test("connections, by number and by name", () => {
  const named = endpointPrinter(
    (address) => (address === "fd00::1" ? "www6.example.org" : undefined),
    (port, protocol) => (port === 80 && protocol === "tcp" ? "http" : undefined),
  );
  assert.equal(
    printConnectionsTitle(plain) +
      printConnection(connection, plain, printNumericEndpoint) +
      printConnection(connection, plain, named),
    "IPVS connection entries\n" +
      "pro expire state       source             virtual            destination\n" +
      "TCP 14:48  ESTABLISHED [fd00::1]:34074    [fd00::1]:80       [fd00:1::1]:8080\n" +
      "TCP 14:48  ESTABLISHED [www6.example.org]:34074 [www6.example.org]:http [fd00:1::1]:8080\n",
  );
});

test("templates of a persistence engine and of a firewall mark", () => {
  const format = { ...plain, persistentConnections: true };
  const sip: TableConnection = {
    ...{ protocol: "UDP", expiresIn: 48, state: "NONE", client: "10.1.0.2", clientPort: 0 },
    ...{ virtualAddress: "10.0.0.1", virtualPort: 5060, realServer: "10.1.0.1", realPort: 5060 },
    persistenceEngine: { name: "sip", data: "call-1@example.org" },
  };
  const mark: TableConnection = {
    ...{ protocol: "IP", expiresIn: 6000, state: "NONE", client: "10.0.0.0", clientPort: 0 },
    ...{ virtualAddress: "0.0.0.7", virtualPort: 0, realServer: "10.1.0.1", realPort: 0 },
  };
  assert.equal(
    printConnectionsTitle(format) +
      printConnection(sip, format, printNumericEndpoint) +
      printConnection(mark, format, printNumericEndpoint),
    "IPVS connection entries\n" +
      "pro expire state       source             virtual            destination        pe name          pe_data\n" +
      "UDP 00:48  NONE        10.1.0.2:0         10.0.0.1:5060      10.1.0.1:5060    sip                call-1@example.org\n" +
      "IP  100:00 NONE        10.0.0.0:0         0.0.0.7:0          10.1.0.1:0\n",
  );
});
