/** Real servers behind tunnels. This machine's kernel may have no tunnel devices, so a program takes packets out of them. */
import { join } from "node:path";
import type { TunnelType } from "../../src/model/service.ts";
import { projectRoot } from "./lab.ts";
import type { Lab } from "./lab.ts";

const decapsulator = join(projectRoot, "build", "test-bpf", "decapsulate.bpf.o");

/** Lets real servers take packets out of tunnels of that type, whatever is inside and outside, and of no other. */
export async function openTunnels(lab: Lab, type: TunnelType = "ipip", servers = lab.servers): Promise<void> {
  for (const server of servers) {
    await lab.run(
      server,
      "ip",
      "-force",
      "link",
      "set",
      "dev",
      "eth0",
      "xdpdrv",
      "obj",
      decapsulator,
      "sec",
      `tunnel/${type}`,
    );
  }
}

/** Bytes that a host's interfaces have received. */
export async function received(lab: Lab, host: string): Promise<number> {
  const links = JSON.parse(await lab.run(host, "ip", "-json", "-stats", "link", "show")) as readonly {
    readonly ifname: string;
    readonly stats64: { readonly rx: { readonly bytes: number } };
  }[];
  return links.filter(({ ifname }) => ifname !== "lo").reduce((sum, { stats64 }) => sum + stats64.rx.bytes, 0);
}
