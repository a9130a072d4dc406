import assert from "node:assert/strict";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { Generator, tcpFlags } from "../../bench/generator.ts";
import type { Stream } from "../../bench/generator.ts";
import { generatorBytes, openDirector, openFloor, openUsual } from "../../bench/targets.ts";
import type { Target } from "../../bench/targets.ts";
import type { Traffic } from "../../bench/traffic.ts";
import { ensureBpffs } from "../../src/dataplane/xdp/load.ts";
import { loadNative } from "../../src/native.ts";
import { checksum } from "../support/packet.ts";

const build = join(import.meta.dirname, "..", "..");
const missing = ["bpf/director.bpf.o", "bench-bpf/generator.bpf.o", "bench-bpf/usual.bpf.o"].find(
  (object) => !existsSync(join(build, object)),
);
const options = {
  skip:
    process.getuid?.() !== 0
      ? "loading BPF programs needs root"
      : missing !== undefined && `build/${missing} is missing: run \`make bpf bench-bpf\``,
};

const xdpTx = 3;
const bpffs = `/sys/fs/bpf/xlb-bench-test-${process.pid}`;
after(() => rmSync(bpffs, { recursive: true, force: true }));

const traffics: readonly Traffic[] = [
  { family: "ipv4", protocol: "tcp", services: 4 },
  { family: "ipv6", protocol: "tcp", services: 4 },
  { family: "ipv4", protocol: "udp", services: 4 },
];

function openGenerator(traffic: Traffic): Generator {
  return new Generator(loadNative(), generatorBytes(), traffic);
}

function prepare(generator: Generator, stream: Stream): void {
  generator.prepare(
    stream,
    Array.from({ length: loadNative().possibleCpus() }, (_, cpu) => cpu),
  );
}

/** Addresses and ports, as text. */
function flowOf(frame: Buffer, { family }: Traffic): string {
  return family === "ipv6" ? frame.toString("hex", 22, 58) : frame.toString("hex", 26, 38);
}

for (const traffic of traffics) {
  const title = `${traffic.family} ${traffic.protocol}`;
  test(`${title} packets of the generator are forwarded, and each is of another flow`, options, async (t) => {
    const native = loadNative();
    const generator = openGenerator(traffic);
    t.after(() => generator.close());
    ensureBpffs(native, bpffs);
    const targets: Target[] = [];
    t.after(() => targets.forEach((target) => target.close()));
    targets.push(openFloor(native), openUsual(native, traffic, 10));
    const folder = join(bpffs, title.replace(" ", "-"));
    mkdirSync(folder, { recursive: true });
    const director = { name: "rr", scheduler: "rr", realServers: 10, bpffs: folder } as const;
    targets.push(await openDirector(native, traffic, director));
    for (const target of targets) {
      generator.aim(target.program);
      prepare(generator, { order: "sequence", first: 65_000, flags: tcpFlags.SYN });
      const flows = new Set<string>();
      const services = new Set<string>();
      const servers = new Set<string>();
      for (let packet = 0; packet < 2000; packet++) {
        const { verdict, data } = generator.send();
        assert.equal(verdict, xdpTx, target.name);
        if (traffic.family === "ipv4") assert.equal(checksum(data.subarray(14, 34)), 0);
        const flow = flowOf(data, traffic);
        flows.add(flow);
        services.add(flow.slice((flow.length - 8) / 2, -8));
        servers.add(data.toString("hex", 0, 6));
      }
      assert.equal(flows.size, 2000);
      assert.equal(services.size, traffic.services);
      assert.ok(target.name === "floor" || servers.size >= 10, `${target.name} used ${servers.size} real servers`);
    }
    assert.equal(generator.faults, 0);
  });
}

test("random packets are of live flows only", options, (t) => {
  const traffic: Traffic = { family: "ipv4", protocol: "tcp", services: 1 };
  const generator = openGenerator(traffic);
  t.after(() => generator.close());
  generator.aim(generator.nothing);
  const flowsOf = (stream: Stream) => {
    // Each CPU by itself, so that all have the same flows: the test may move from one to another.
    for (let cpu = 0; cpu < loadNative().possibleCpus(); cpu++) generator.prepare(stream, [cpu]);
    return new Set(Array.from({ length: 4000 }, () => flowOf(generator.send().data, traffic)));
  };
  const live = flowsOf({ order: "random", flows: 200, seed: 1 });
  assert.deepEqual(live, flowsOf({ order: "random", flows: 200, seed: 2 }));
});

test("a connection that ends has a SYN, then ACKs, then a FIN", options, (t) => {
  const traffic: Traffic = { family: "ipv4", protocol: "tcp", services: 1 };
  const generator = openGenerator(traffic);
  t.after(() => generator.close());
  generator.aim(generator.nothing);
  prepare(generator, { order: "churn", flows: 64, packetsPerConnection: 4, pass: 0 });
  const connections = new Map<string, string>();
  const letters = new Map([
    [0x02, "S"],
    [0x10, "A"],
    [0x11, "F"],
  ]);
  for (let packet = 0; packet < 64 * 20; packet++) {
    const { data } = generator.send();
    const flow = flowOf(data, traffic);
    connections.set(flow, (connections.get(flow) ?? "") + (letters.get(data[47] ?? 0) ?? "?"));
  }
  // The first ones may have been old when it began, the last ones are not over.
  for (const packets of connections.values()) assert.ok("SAAF".includes(packets), packets);
  assert.ok([...connections.values()].filter((packets) => packets === "SAAF").length >= 64);
});
