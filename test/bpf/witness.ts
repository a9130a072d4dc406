/**
 * Sends SYNs to one service of a pinned director, again and again, until its input ends: `witness.js DIRECTOR ADDRESS`.
 * Answers each line with how many were forwarded so far, and how many were not; none is on its way at that moment.
 */
import { createInterface } from "node:readline";
import { setImmediate as turn } from "node:timers/promises";
import { loadNative } from "../../src/native.ts";
import { frame } from "../support/packet.ts";
import { ingress, verdicts } from "./program.ts";

const [path = "", destination = ""] = process.argv.slice(2);
const native = loadNative();
const director = native.programOpenPinned(path);
const bytes = frame({ source: "198.51.100.7", sourcePort: 4000, destination, destinationPort: 80, flags: "S" });
const batch = 100;
const counts = { forwarded: 0, missed: 0 };
let goesOn = true;
createInterface({ input: process.stdin })
  .on("line", () => console.log(JSON.stringify(counts)))
  .on("close", () => (goesOn = false));
while (goesOn) {
  for (let i = 0; i < batch; i++) {
    const { verdict } = native.programTestRun(director, bytes, 1, ingress);
    counts[verdicts[verdict] === "TX" ? "forwarded" : "missed"]++;
  }
  await turn();
}
