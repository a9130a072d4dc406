import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { sweep } from "../../src/dataplane/xdp/layout.generated.ts";
import { loadNative } from "../../src/native.ts";
import type { MapHandle, Native } from "../../src/native.ts";
import { frame } from "../support/packet.ts";
import { LoadedMaps } from "./loaded-maps.ts";
import { cannotRun, objectPath, openProgram } from "./program.ts";
import type { Program } from "./program.ts";

/** Of `enum bpf_map_type` (linux/bpf.h). */
const ARRAY = 2;
const PERCPU_ARRAY = 6;
const DEVMAP_HASH = 25;
const RINGBUF = 27;

/** Changes an array's first element and its last one; a hash gets one element. */
function spoil(native: Native, map: MapHandle): void {
  const { type, keySize, valueSize, maxEntries } = native.mapInfo(map);
  if (type === RINGBUF) return;
  const size = type === PERCPU_ARRAY ? Math.ceil(valueSize / 8) * 8 * native.possibleCpus() : valueSize;
  const value = Buffer.alloc(size, 0xa5);
  // An interface, here loopback, and no program.
  if (type === DEVMAP_HASH) value.fill(0).writeUInt32LE(1);
  for (const index of type === ARRAY || type === PERCPU_ARRAY ? [0, maxEntries - 1] : [1]) {
    const key = Buffer.alloc(keySize);
    key.writeUInt32LE(index);
    native.mapUpdate(map, key, value, 0);
  }
}

/** What is random and what is the time is the same for all. */
function comparable(program: Program): Map<string, Buffer> {
  program.set({ key: [1n, 1n, 1n, 1n] });
  const contents = program.contents();
  const clock = sweep.decode(contents.get(".data.sweep") ?? Buffer.alloc(0));
  assert.ok(clock.tick > 0);
  return contents.set(".data.sweep", Buffer.from(sweep.encode({ ...clock, tick: 0 })));
}

it("every map of an object can be put back to what it was when it was loaded", { skip: cannotRun }, () => {
  const native = loadNative();
  const object = native.objectOpen(readFileSync(objectPath), "director");
  try {
    native.objectLoad(object);
    const maps = new LoadedMaps(native, object);
    const before = maps.contents();
    for (const name of before.keys()) {
      const map = native.objectMap(object, name);
      spoil(native, map);
      native.mapClose(map);
    }
    const spoilt = maps.contents();
    const alike = [...before].filter(([name, bytes]) => spoilt.get(name)?.equals(bytes)).map(([name]) => name);
    // A timer cannot be written, and a ring buffer by programs alone.
    assert.deepEqual(alike.sort(), ["held_fragments", "sweeper"]);
    maps.restore();
    for (const [name, bytes] of maps.contents()) assert.ok(bytes.equals(before.get(name) ?? Buffer.alloc(0)), name);
    maps.close();
  } finally {
    native.objectClose(object);
  }
});

it("a program that was used is, made new, as one that is just loaded", { skip: cannotRun }, () => {
  const used = openProgram();
  const other = openProgram();
  const use = (program: Program) => {
    program.set({ key: [1n, 1n, 1n, 1n] });
    const netmask = "255.255.255.0";
    return [
      program.service({ realServers: [{ address: "192.168.200.1" }], persistence: { timeout: 300, netmask } }),
      program.service({ port: 21, scheduler: "wlc", realServers: [{ address: "192.168.200.2", method: "ipip" }] }),
      program.service({ port: 53, protocol: "udp", realServers: [{ address: "192.168.200.3", method: "masq" }] }),
      program.service({ port: 81, realServers: [], limits: { perSecond: 5, perSource: 2 } }),
    ];
  };
  const pristine = comparable(other);
  const first = use(used);
  used.ownAddress("10.10.10.52");
  used.redirectTo(1);
  for (const destinationPort of [80, 21, 81]) used.run(frame({ destinationPort, ttl: 1 }));
  used.run(frame({ protocol: "udp", destinationPort: 53, payload: Buffer.alloc(64), fragment: 0x2000 }));
  used.age(5);
  const dirty = [...comparable(used)].filter(([name, bytes]) => !bytes.equals(pristine.get(name) ?? bytes));
  assert.ok(dirty.length > 15, dirty.map(([name]) => name).join(" "));
  used.renew();
  assert.notDeepEqual(used.maps.settings.read(0).key, [1n, 1n, 1n, 1n]);
  for (const [name, bytes] of comparable(used)) assert.ok(bytes.equals(pristine.get(name) ?? Buffer.alloc(0)), name);
  // And what is given to it arrives there as in a new one.
  assert.deepEqual(use(used), first);
  assert.deepEqual(use(other), first);
  const given = comparable(other);
  for (const [name, bytes] of comparable(used)) assert.ok(bytes.equals(given.get(name) ?? Buffer.alloc(0)), name);
});
