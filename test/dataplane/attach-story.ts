/** The stories of attach.test.ts, each run as `attach-story STORY BPFFS FAR-NAMESPACE` in a network namespace. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CompositeDataPlane } from "../../src/dataplane/ladder/composite-data-plane.ts";
import { destroyPinned } from "../../src/dataplane/xdp/destroy.ts";
import { openNetwork } from "../../src/dataplane/xdp/netlink-network.ts";
import { openXdpReader } from "../../src/dataplane/xdp/reader.ts";
import { openXdpDataPlane } from "../../src/dataplane/xdp/xdp-data-plane.ts";
import type { XdpOptions } from "../../src/dataplane/xdp/xdp-data-plane.ts";
import { loadNative } from "../../src/native.ts";
import { desire } from "../../src/reconcile/desire.ts";
import { plan } from "../../src/reconcile/plan.ts";
import { config, configuredReal, configuredService } from "../reconcile/samples.ts";
import { MemoryDataPlane } from "../support/memory-data-plane.ts";
import { add, addService, real, service } from "./planes.ts";

const [story = "", bpffs = "", far = ""] = process.argv.slice(2);
const native = loadNative();
const logged: string[] = [];
const note = (message: string) => void logged.push(message);
const log = { info: note, warn: note, error: note };
const networkLog = { debug: () => {}, info: () => {}, warn: () => {} };

const ip = (line: string) => execFileSync("ip", line.split(" "), { stdio: ["ignore", "ignore", "inherit"] });

function plugIn(): void {
  ip(`link add up0 type veth peer name far0 netns ${far}`);
  ip("addr add 10.10.10.52/24 dev up0");
  ip("addr add 10.10.10.53/32 dev up0");
  ip("link set up0 up");
  ip(`-n ${far} link set far0 up`);
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 60_000; !condition(); await sleep(20)) {
    assert.ok(Date.now() < deadline, `waited for ${what}; log:\n${logged.join("\n")}`);
  }
}

const told = (pattern: RegExp) => until(String(pattern), () => logged.some((line) => pattern.test(line)));

async function open(options: XdpOptions = {}) {
  const network = await openNetwork(native, networkLog);
  const plane = await openXdpDataPlane({ bpffs, tableSlots: 1024, ...options }, { native, network, log });
  const ending = new AbortController();
  const running = Promise.all([network.run(ending.signal), plane.run(ending.signal)]);
  const end = async (): Promise<void> => {
    ending.abort();
    await running;
    network.close();
  };
  return { plane, end };
}

const serve = [addService(service("rr")), add(real("10.10.10.102"))];

function linkOf(name: string): { id: number; programId: number; ifindex: number } {
  const link = native.linkOpenPinned(join(bpffs, "links", name));
  const info = native.linkInfo(link);
  native.linkClose(link);
  return info;
}

const stories: Readonly<Record<string, () => Promise<void>>> = {
  async update() {
    plugIn();
    const first = await open();
    await first.plane.apply(serve);
    assert.deepEqual(
      first.plane.interfaces().map(({ name, mode, reason }) => ({ name, mode, reason })),
      [{ name: "up0", mode: "native", reason: "" }],
    );
    const before = linkOf("up0");
    assert.equal(before.ifindex, native.interfaceIndex("up0"));
    await first.end();
    first.plane.close();
    assert.equal(native.xdpQuery(before.ifindex).programId, before.programId);

    const second = await open();
    const now = linkOf("up0");
    assert.equal(now.id, before.id);
    assert.notEqual(now.programId, before.programId);
    const director = native.programOpenPinned(join(bpffs, "director"));
    assert.equal(now.programId, native.programInfo(director).id);
    const reader = openXdpReader(bpffs, native);
    assert.equal(reader.statistics().interfaces[0]?.mode, "native");
    reader.close();
    await second.end();
    second.plane.destroy();
    assert.equal(native.xdpQuery(before.ifindex).mode, 0);
    assert.ok(!existsSync(bpffs));
  },

  async events() {
    plugIn();
    const { plane, end } = await open();
    await plane.apply(serve);
    const before = linkOf("up0").ifindex;
    ip(`-n ${far} link set far0 down`);
    await told(/^interface up0: carrier lost/);
    ip(`-n ${far} link set far0 up`);
    await told(/^interface up0: carrier is back/);
    ip("link set up0 address 02:00:00:00:00:99");
    await told(/^interface up0: MAC address is now 02:00:00:00:00:99/);
    ip("link del up0");
    await told(/^interface up0 is gone/);
    plugIn();
    await until("a new link", () => plane.interfaces().some(({ name, mode }) => name === "up0" && mode === "native"));
    const after = linkOf("up0");
    assert.notEqual(after.ifindex, before);
    ip("link set up0 down");
    ip("link set up0 name wan0");
    ip("link set wan0 up");
    await until("the new name", () =>
      plane.interfaces().some(({ name, mode }) => name === "wan0" && mode === "native"),
    );
    assert.equal(linkOf("wan0").id, after.id);
    assert.deepEqual(
      logged.filter((line) => /replaced|cannot attach|no redirection/.test(line)),
      [],
    );
    await end();
    plane.destroy();
  },

  async modes() {
    plugIn();
    ip("link add br0 type bridge");
    ip("link set br0 up");
    const auto = await open({ interfaces: ["up0", "br0", "nowhere0"] });
    const modes = new Map(auto.plane.interfaces().map(({ name, mode, reason }) => [name, { mode, reason }]));
    assert.equal(modes.get("up0")?.mode, "native");
    assert.equal(modes.get("br0")?.mode, "generic");
    assert.match(modes.get("br0")?.reason ?? "", /^native mode was refused: /);
    await told(/^interface nowhere0 does not exist/);
    await auto.end();
    auto.plane.destroy();

    const strict = await open({ interfaces: ["br0"], mode: "native" });
    assert.deepEqual(
      strict.plane.interfaces().map(({ name, mode }) => ({ name, mode })),
      [{ name: "br0", mode: "detached" }],
    );
    await told(/^interface br0: cannot attach \(native mode was refused: /);
    await strict.end();
    strict.plane.destroy();

    const generic = await open({ interfaces: ["up0"], mode: "generic" });
    assert.deepEqual(
      generic.plane.interfaces().map(({ mode, reason }) => ({ mode, reason })),
      [{ mode: "generic", reason: "generic mode was asked for" }],
    );
    await generic.end();
    generic.plane.destroy();
  },

  async leave() {
    plugIn();
    const passes = join(import.meta.dirname, "..", "..", "test-bpf", "xdp_pass.bpf.o");
    const network = await openNetwork(native, networkLog);
    const xdp = await openXdpDataPlane({ bpffs, tableSlots: 1024 }, { native, network, log });
    const other = new MemoryDataPlane(undefined, "ipvs");
    const rungs = [
      { name: "xdp" as const, open: () => xdp, mayOpenNow: () => false },
      { name: "ipvs" as const, open: () => other, mayOpenNow: () => true },
    ];
    const plane = new CompositeDataPlane(rungs, new Map([["xdp", xdp]]), new Map(), { log, interfacesOf: () => [] });
    const web = configuredService({ realServers: [configuredReal("10.10.10.102")] });
    const round = async (): Promise<void> => {
      const { state } = desire(
        config(web),
        () => ({ state: "up", since: new Date(0) }),
        (each) => plane.refusal(each),
      );
      for (const { error } of await plane.apply(plan(state, plane.read()))) assert.ifError(error);
    };
    let rounds: Promise<void> = round();
    plane.onChange(() => {
      rounds = rounds.then(round);
    });
    await rounds;
    const ending = new AbortController();
    const running = Promise.all([network.run(ending.signal), plane.run(ending.signal)]);
    const places = () => [xdp, other].map((each) => each.read().services.length).join(" ");
    assert.equal(places(), "1 0");

    // Somebody else's program takes the interface, so that neither native nor generic mode can be had.
    const link = native.linkOpenPinned(join(bpffs, "links", "up0"));
    native.linkDetach(link);
    native.linkClose(link);
    ip(`link set dev up0 xdpdrv obj ${passes} sec xdp`);
    await until("the service to move", () => places() === "0 1");
    const [status] = plane.interfaces();
    assert.equal(status?.mode, "ipvs");
    assert.match(status?.reason ?? "", /native mode was refused: .*EBUSY.*generic mode was refused/);
    assert.match(plane.placements()[0]?.reason ?? "", /^interface up0: native mode was refused/);
    await told(/^interface up0: somebody has detached the program/);

    ip("link set dev up0 xdp off");
    await until("the service to come back", () => places() === "1 0");
    assert.equal(plane.interfaces()[0]?.mode, "native");
    assert.deepEqual(plane.placements(), []);
    await rounds;
    ending.abort();
    await running;
    network.close();
    plane.destroy();
    assert.ok(!existsSync(bpffs));
  },

  remove() {
    destroyPinned(native, bpffs);
    return Promise.resolve();
  },
};

await stories[story]?.();
