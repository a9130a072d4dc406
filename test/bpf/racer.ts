/**
 * Hammers a pinned director with a seeded random mix of packets of few clients: `racer.js DIRECTOR SEED PACKETS
 * SERVICES CLIENTS`. Several of them at once are several CPUs in the connection table at once.
 */
import { createRandom } from "../guest/seeded.ts";
import { loadNative } from "../../src/native.ts";
import { frame } from "../support/packet.ts";
import { ingress } from "./program.ts";

const [path = "", seed = "1", packets = "1", ports = "80", clientCount = "64"] = process.argv.slice(2);
const native = loadNative();
const director = native.programOpenPinned(path);
const random = createRandom(Number(seed));
const next = (bound: number) => Math.floor(random() * bound);
const clients = Number(clientCount);
const flags = ["S", "S", "A", "A", "A", "FA", "R", "S"];
const services = ports.split(",").map(Number);
// Built beforehand: the time between two packets is what races are made of.
const frames = Array.from({ length: clients }, (_, client) =>
  services.map((destinationPort) =>
    flags.map((letters) =>
      frame({ source: `192.0.2.${1 + (client % 8)}`, sourcePort: 2000 + client, destinationPort, flags: letters }),
    ),
  ),
);
for (let i = 0; i < Number(packets); i++) {
  const bytes = frames[next(clients)]?.[next(services.length)]?.[next(flags.length)];
  if (bytes !== undefined) native.programTestRun(director, bytes, 1, ingress);
}
