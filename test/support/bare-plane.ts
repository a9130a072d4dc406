/**
 * The XDP data plane without a daemon, for services that no ldirectord.cf can name: `bare-plane.js BPFFS`, run in the
 * director's namespace. Each line of its input is a JSON list of changes; each is answered by a line, `applied` or an
 * error. At the end of its input it detaches and removes what it has made.
 */
import { createInterface } from "node:readline";
import { openNetwork } from "../../src/dataplane/xdp/netlink-network.ts";
import { openXdpDataPlane } from "../../src/dataplane/xdp/xdp-data-plane.ts";
import type { Change } from "../../src/model/change.ts";
import { loadNative } from "../../src/native.ts";

const [bpffs = ""] = process.argv.slice(2);
const native = loadNative();
const note = (message: string) => void process.stderr.write(`${message}\n`);
const log = { info: note, warn: note, error: note };
const network = await openNetwork(native, { debug: () => {}, info: () => {}, warn: (_, message) => note(message) });
const plane = await openXdpDataPlane({ bpffs, tableSlots: 2 ** 14 }, { native, network, log });
const ending = new AbortController();
const running = Promise.all([network.run(ending.signal), plane.run(ending.signal)]);

for await (const line of createInterface({ input: process.stdin })) {
  // Written by BareDirector.
  const results = await plane.apply(JSON.parse(line) as readonly Change[]);
  const failed = results.find(({ error }) => error !== undefined);
  process.stdout.write(`${failed?.error?.message ?? "applied"}\n`);
}
ending.abort();
await running;
plane.destroy();
network.close();
