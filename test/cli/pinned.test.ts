/** stats and connections against a real director's maps, attached to no interface and without a daemon. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { mapPath } from "../../src/dataplane/xdp/load.ts";
import {
  connectionDetail,
  connectionExtra,
  connectionLine,
  connectionState,
  SLOTS_PER_LINE,
} from "../../src/dataplane/xdp/layout.generated.ts";
import { openMaps } from "../../src/dataplane/xdp/maps.ts";
import type { Network } from "../../src/dataplane/xdp/network.ts";
import { openXdpDataPlane } from "../../src/dataplane/xdp/xdp-data-plane.ts";
import type { XdpDataPlane } from "../../src/dataplane/xdp/xdp-data-plane.ts";
import type { ServiceIdentity, VirtualService } from "../../src/model/service.ts";
import { tunings } from "../../src/model/tuning.ts";
import { loadNative } from "../../src/native.ts";
import { realServer } from "../report/sample.ts";
import { run, start } from "./command.ts";

const bpffs = `/sys/fs/bpf/xlb-test-cli-${process.pid}`;
/** 1048576 for a table as large as the default one can get half full. */
const established = Number(process.env["XLB_TEST_CONNECTIONS"] ?? 100_000);
const templates = 10;

const identity: ServiceIdentity = { kind: "address", protocol: "tcp", address: "192.0.2.1", port: 80 };
const identity6: ServiceIdentity = { kind: "address", protocol: "udp", address: "2001:db8::1", port: 53 };
const web: VirtualService = {
  identity,
  scheduler: "rr",
  schedulerFlags: [],
  persistence: { timeout: 100, prefix: 32 },
  onePacket: false,
  realServers: [realServer("192.0.2.11", 80), realServer("192.0.2.12", 80, 0)],
};
const dns: VirtualService = {
  identity: identity6,
  scheduler: "wlc",
  schedulerFlags: [],
  onePacket: false,
  realServers: [realServer("2001:db8::11", 53, 5)],
};

/** A machine without interfaces. */
const network: Network = {
  interfaces: () => [],
  ownAddresses: () => [],
  resolve: () => ({ kind: "unresolved", reason: "no interfaces" }),
  watch: () => undefined,
  derive: () => [],
  onChange: () => undefined,
  run: () => Promise.resolve(),
  close: () => undefined,
};

function missing(): string | false {
  if (process.geteuid?.() !== 0) return "needs root";
  for (const file of ["native/xlb.node", "bpf/director.bpf.o"]) {
    if (!existsSync(new URL(`../../${file}`, import.meta.url))) return `build/${file} is not built`;
  }
  return false;
}

/** Writes connections of 10.x.x.x to the first real server as the data path would, into every other slot. */
function fillTable(): void {
  const native = loadNative();
  const maps = openMaps(native, bpffs, false);
  let id = 0;
  while (maps.realServers.read(id).address[3] === 0 || maps.realServers.read(id).family !== 4) id++;
  const tick = BigInt(maps.sweep.read(0).tick);
  const handles = (["connections", "connection_extras"] as const).map((name) =>
    native.mapOpenPinned(mapPath(bpffs, name)),
  );
  const [table, extras] = handles.map((handle) => native.mapMemory(handle, true));
  assert.ok(table && extras);
  const slots = new BigUint64Array(table);
  const view = new DataView(table);
  const { client, client_port, virtual_port } = connectionDetail.fields;
  const { detail } = connectionLine.fields;
  for (let index = 0; index < established + templates; index++) {
    const slot = 2 * index;
    const template = index >= established;
    const state = template ? connectionState.STATE_TEMPLATE : connectionState.STATE_ESTABLISHED;
    const place = slot % SLOTS_PER_LINE;
    const at = ((slot - place) / SLOTS_PER_LINE) * connectionLine.size + detail.offset + place * connectionDetail.size;
    view.setUint32(at + client.offset, 0x0a000000 + index);
    view.setUint16(at + client_port.offset, template ? 0 : 40000);
    view.setUint16(at + virtual_port.offset, 80);
    new DataView(extras).setUint32(
      slot * connectionExtra.size + connectionExtra.fields.used.offset,
      Number(tick),
      true,
    );
    const word = (BigInt(index + 1) << 34n) | (BigInt(id) << 17n) | (BigInt(state) << 12n) | (tick & 0xfffn);
    slots[maps.connections.wordAt(slot) / 2] = word;
  }
  for (const handle of handles) native.mapClose(handle);
  maps.close();
}

const skip = missing();

describe("with a pinned director", { skip }, () => {
  let plane: XdpDataPlane | undefined;

  before(async () => {
    const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const tableSlots = 2 ** Math.ceil(Math.log2(2 * (established + templates)));
    plane = await openXdpDataPlane({ bpffs, tableSlots }, { native: loadNative(), network, log: silent });
    const changes = [web, dns].flatMap((service) => [
      { kind: "add-service", service } as const,
      ...service.realServers.map(
        (server) => ({ kind: "add-real-server", identity: service.identity, realServer: server }) as const,
      ),
    ]);
    for (const { change, error } of await plane.apply(changes)) assert.equal(error, undefined, change.kind);
    fillTable();
  });

  after(() => plane?.destroy());

  const xlb = (command: string, ...args: readonly string[]) =>
    run(command, "--bpffs", bpffs, "--state-dir", `${bpffs}-none`, ...args);

  test("stats lists services and real servers, and says that the daemon is dead", async () => {
    const { code, stdout, stderr } = await xlb("stats");
    assert.equal(stderr, "");
    assert.equal(code, 0);
    assert.match(stdout, /^daemon: not running/);
    assert.match(stdout, /^plane xdp: on no interface$/m);
    assert.match(stdout, /^TCP {2}192\.0\.2\.1:80 rr persistent 100 +0 +0 +0 +0 +0$/m);
    assert.match(stdout, /^ {2}-> 192\.0\.2\.11:80 +Route {3}1 +0 +0 +0 +0 +0 unresolved/m);
    assert.match(stdout, /^ {2}-> 192\.0\.2\.12:80 +Route {3}0 /m);
    assert.match(stdout, /^UDP {2}\[2001:db8::1\]:53 wlc /m);
  });

  test("stats shows one service only, as rates, as JSON", async () => {
    const { code, stdout } = await xlb("stats", "--service", "2001:db8::1", "--rate", "--interval", "0.1", "--json");
    assert.equal(code, 0);
    const { daemon, rateSeconds, planes } = JSON.parse(stdout) as {
      daemon: unknown;
      rateSeconds: number;
      planes: { services: { key: string; perSecond: unknown }[] }[];
    };
    assert.deepEqual(daemon, { running: false });
    assert.ok(rateSeconds >= 0.1);
    const services = planes.flatMap((each) => each.services);
    assert.deepEqual(
      services.map(({ key, perSecond }) => ({ key, perSecond })),
      [
        {
          key: "udp:[2001:db8::1]:53",
          perSecond: { connections: 0, packets: 0, bytes: 0, packetsOut: 0, bytesOut: 0 },
        },
      ],
    );
  });

  test("stats --watch goes on until it is interrupted, which is success", async () => {
    const child = start(["stats", "--bpffs", bpffs, "--state-dir", `${bpffs}-none`, "--watch", "0.1", "--json"]);
    let lines = 0;
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      lines += chunk.split("\n").length - 1;
      if (lines === 3) child.kill("SIGINT");
    });
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    assert.deepEqual([code, signal], [0, null]);
    assert.ok(lines >= 3);
  });

  test("connections are counted and filtered", async () => {
    const cases: readonly (readonly [string[], number])[] = [
      [[], established + templates],
      [["--no-templates"], established],
      [["--templates"], templates],
      [["--state", "none"], templates],
      [["--state", "SYN_RECV"], 0],
      [["--client", "10.0.0.7"], 1],
      [["--client", "10.0.1.0/24"], 256],
      [["--client", "2001:db8::/32"], 0],
      [["--real-server", "192.0.2.11"], established + templates],
      [["--real-server", "192.0.2.11:81"], 0],
      [["--service", "tcp:192.0.2.1:80", "--client", "10.0.0.0/30"], 4],
      [["--service", "192.0.2.2"], 0],
      [["--limit", "17"], 17],
    ];
    for (const [filters, count] of cases) {
      const { code, stdout } = await xlb("connections", "--count", ...filters);
      assert.equal(code, 0);
      assert.equal(stdout, `${count}\n`, filters.join(" "));
    }
  });

  test("connections are a table like ipvsadm's", async () => {
    const { code, stdout } = await xlb("connections", "--client", "10.0.0.7");
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^IPVS connection entries\npro expire state +source +virtual +destination\nTCP 1[45]:\d\d +ESTABLISHED 10\.0\.0\.7:40000 +192\.0\.2\.1:80 +192\.0\.2\.11:80\n$/,
    );
  });

  test("a large table is streamed as one JSON array with little memory", async () => {
    const child = start(["connections", "--json", "--bpffs", bpffs], { NODE_OPTIONS: "--max-old-space-size=24" });
    let first = "";
    let last = "";
    let bytes = 0;
    let lines = 0;
    child.stdout.setEncoding("latin1").on("data", (chunk: string) => {
      first ||= chunk.slice(0, 20);
      last = (last + chunk).slice(-20);
      bytes += chunk.length;
      for (let at = chunk.indexOf("\n"); at >= 0; at = chunk.indexOf("\n", at + 1)) lines++;
    });
    child.stderr.resume();
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(code, 0);
    assert.equal(lines, established + templates + 2);
    assert.ok(bytes > 150 * established);
    assert.match(first, /^\[\n\{"service":"tcp:/);
    assert.match(last, /\}\n\]\n$/);
  });

  test("no connections are an empty JSON array", async () => {
    const { stdout } = await xlb("connections", "--json", "--state", "LISTEN");
    assert.equal(stdout, "[]\n");
  });

  test("tune shows every setting, changes what is given, and refuses what makes no sense", async () => {
    const all = await xlb("tune");
    assert.equal(all.code, 0);
    assert.match(all.stdout, /^timeout_tcp=900\ntimeout_tcpfin=120\ntimeout_udp=300\n/);
    assert.equal(all.stdout.split("\n").length - 1, tunings.length);
    const changed = await xlb("tune", "timeout_udp=7200", "sloppy_tcp=1");
    assert.deepEqual([changed.code, changed.stdout], [0, "timeout_udp=7200\nsloppy_tcp=1\n"]);
    const values = JSON.parse((await xlb("tune", "--json")).stdout) as Record<string, number>;
    assert.deepEqual([values["timeout_udp"], values["sloppy_tcp"], values["timeout_tcp"]], [7200, 1, 900]);
    for (const [setting, message] of [
      ["timeout_udp=0", "at least 1"],
      ["sloppy_tcp=2", "at most 1"],
      ["sloppy=1", "there is no setting sloppy"],
      ["sloppy_tcp", "NAME=NUMBER"],
      ["new_per_source=5", "belongs to services"],
      ["tcp:192.0.2.1:80/sloppy_tcp=1", "not of a service"],
    ] as const) {
      const { code, stderr } = await xlb("tune", "icmp_per_second=1", setting);
      assert.equal(code, 2, setting);
      assert.ok(stderr.includes(message), stderr);
    }
    assert.match((await xlb("tune")).stdout, /^icmp_per_second=1000$/m, "a command with an error changes nothing");
  });

  test("a reader that goes away early is no failure", async () => {
    const child = start(["connections", "--bpffs", bpffs]);
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    await once(child.stdout, "readable");
    child.stdout.destroy();
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(stderr, "");
    assert.equal(code, 0);
  });
});
