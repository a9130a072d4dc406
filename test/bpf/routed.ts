/** A namespace with a way to clients, for programs that ask the kernel for it: by a gateway behind the interface `out`. */
import { execFileSync } from "node:child_process";
import { inOwnNamespace } from "../support/own-namespace.ts";
import { openProgram } from "./program.ts";
import type { Program } from "./program.ts";

export const gatewayMac = "02:00:00:00:00:99";
/** Of `out`. */
export const outMac = "02:00:00:00:00:52";

const setup = [
  "link set lo up",
  `link add out address ${outMac} type veth peer name far`,
  "link set out up",
  "link set far up",
  "addr add 10.10.10.52/24 dev out",
  "addr add fd00:10::52/64 dev out nodad",
  `neigh add 10.10.10.1 lladdr ${gatewayMac} dev out nud permanent`,
  `neigh add fd00:10::1 lladdr ${gatewayMac} dev out nud permanent`,
  "route add default via 10.10.10.1",
  "-6 route add default via fd00:10::1",
];

/** True inside the namespace; see {@link inOwnNamespace}. */
export function inRoutedNamespace(file: string, skip: string | false): boolean {
  return inOwnNamespace(file, skip, setup);
}

/** A program that may redirect to `out`. */
export function openRoutedProgram(): Program {
  const program = openProgram();
  const [out] = JSON.parse(execFileSync("ip", ["-json", "link", "show", "out"], { encoding: "utf8" })) as {
    ifindex: number;
  }[];
  program.redirectTo(out?.ifindex ?? 0);
  return program;
}
